/**
 * The signature of a file: strong sums of its blocks, and weak ones where a shift is looked for.
 *
 * Not tied to a file's name or version: whoever stores one keys it by content digest and seed.
 * Invariant: `strong` holds 8 bytes for each block, the short last one included; `weak` 4 bytes for each or nothing.
 */
import {invariant} from '../base/errors.ts';
import {LEAF_BYTES} from '../model/digest.ts';
import {BLOCK_BYTES_DEFAULT, BLOCK_BYTES_MIN, BLOCK_COUNT_GOAL, blockCountOf} from './block.ts';
import {STRONG_BYTES, StrongSum} from './strong.ts';
import {WEAK_BYTES, weakSum} from './weak.ts';

export interface Signature {
  /** A power of two that divides LEAF_BYTES. */
  blockBytes: number;
  /** Of the whole file. */
  sizeBytes: number;
  /** One u64 per block, little-endian. */
  strong: Buffer;
  /** One u32 per block, little-endian; empty when not computed. */
  weak: Buffer;
}

/** Bytes of a delta block for a base file of this size: 8 KiB up to 2 GiB, at most LEAF_BYTES. */
export function blockBytesFor(sizeBytes: number): number {
  let blockBytes = BLOCK_BYTES_DEFAULT;
  while (blockBytes < LEAF_BYTES && sizeBytes > blockBytes * BLOCK_COUNT_GOAL) blockBytes *= 2;
  return blockBytes;
}

export interface SignatureOptions {
  blockBytes: number;
  /** 8 bytes. */
  seed: Buffer;
  withWeak: boolean;
}

/** Makes a signature from a file's bytes in order, in pieces of any size. Needs `loadXxhash`. */
export class SignatureBuilder {
  readonly #options: SignatureOptions;
  readonly #sum: StrongSum;
  readonly #carry: Buffer;
  #carryBytes = 0;
  #sizeBytes = 0;
  #blockCount = 0;
  #strong: Buffer = Buffer.allocUnsafe(64 * STRONG_BYTES);
  #weak: Buffer;

  constructor(options: SignatureOptions) {
    this.#options = options;
    this.#sum = new StrongSum(options.seed);
    this.#carry = Buffer.allocUnsafe(options.blockBytes);
    this.#weak = Buffer.allocUnsafe(options.withWeak ? 64 * WEAK_BYTES : 0);
  }

  /** Takes the next bytes; they may be overwritten afterwards. */
  update(bytes: Buffer): void {
    const {blockBytes} = this.#options;
    this.#sizeBytes += bytes.length;
    let at = 0;
    if (this.#carryBytes > 0) {
      at = bytes.copy(this.#carry, this.#carryBytes);
      this.#carryBytes += at;
      if (this.#carryBytes < blockBytes) return;
      this.#add(this.#carry);
      this.#carryBytes = 0;
    }
    for (; at + blockBytes <= bytes.length; at += blockBytes) this.#add(bytes.subarray(at, at + blockBytes));
    this.#carryBytes = bytes.copy(this.#carry, 0, at);
  }

  /** Takes a run of zeros from the beginning of a block on, without going over them. */
  zeros(sizeBytes: number): void {
    invariant(this.#carryBytes === 0, 'a run of zeros begins with a block');
    const {blockBytes} = this.#options;
    const zero = this.#carry.fill(0);
    this.#sum.sum(zero);
    const weak = this.#options.withWeak ? weakSum(zero) : 0;
    for (let left = Math.floor(sizeBytes / blockBytes); left > 0; left--) this.#append(weak);
    this.#sizeBytes += sizeBytes;
    this.#carryBytes = sizeBytes % blockBytes;
  }

  /** The signature of all bytes so far; the builder is used up. */
  finish(): Signature {
    if (this.#carryBytes > 0) this.#add(this.#carry.subarray(0, this.#carryBytes));
    this.#carryBytes = 0;
    return {
      blockBytes: this.#options.blockBytes,
      sizeBytes: this.#sizeBytes,
      strong: this.#strong.subarray(0, this.#blockCount * STRONG_BYTES),
      weak: this.#weak.subarray(0, this.#options.withWeak ? this.#blockCount * WEAK_BYTES : 0),
    };
  }

  #add(block: Buffer): void {
    this.#sum.sum(block);
    this.#append(this.#options.withWeak ? weakSum(block) : 0);
  }

  /** The next block, whose strong sum was made last. */
  #append(weak: number): void {
    const index = this.#blockCount++;
    if ((index + 1) * STRONG_BYTES > this.#strong.length) this.#grow();
    this.#strong.writeUInt32LE(this.#sum.low, index * STRONG_BYTES);
    this.#strong.writeUInt32LE(this.#sum.high, index * STRONG_BYTES + 4);
    if (this.#options.withWeak) this.#weak.writeInt32LE(weak, index * WEAK_BYTES);
  }

  #grow(): void {
    this.#strong = doubled(this.#strong);
    this.#weak = doubled(this.#weak);
  }
}

function doubled(bytes: Buffer): Buffer {
  const larger = Buffer.allocUnsafe(bytes.length * 2);
  bytes.copy(larger);
  return larger;
}

/** Strong sums of the blocks of one leaf: a row to store. Shares memory with the signature. */
export function leafRow(signature: Signature, leafIndex: number): Buffer {
  const rowBytes = (LEAF_BYTES / signature.blockBytes) * STRONG_BYTES;
  return signature.strong.subarray(leafIndex * rowBytes, (leafIndex + 1) * rowBytes);
}

/**
 * A signature from its stored rows, in the order of leaves.
 * @returns undefined when they are not one of this file: what is lost is made again by reading it
 */
export function assembleSignature(
  blockBytes: number,
  sizeBytes: number,
  rows: Iterable<Buffer>,
): Signature | undefined {
  if (blockBytes < BLOCK_BYTES_MIN || LEAF_BYTES % blockBytes !== 0) return undefined;
  const wantedBytes = blockCountOf(sizeBytes, blockBytes) * STRONG_BYTES;
  const kept: Buffer[] = [];
  let leftBytes = wantedBytes;
  for (const row of rows) {
    if ((leftBytes -= row.length) < 0) return undefined;
    kept.push(row);
  }
  return leftBytes === 0 ? {blockBytes, sizeBytes, strong: Buffer.concat(kept), weak: Buffer.alloc(0)} : undefined;
}
