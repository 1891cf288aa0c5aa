/**
 * Signatures that travel: cut into parts for sending, checked and joined on arrival.
 *
 * Not the wire format; a part has the shape of the wire's signature rows.
 * Invariant: nothing from a peer is allocated or believed beyond the size that was asked for.
 */
import {TowlineError} from '../base/errors.ts';
import {LEAF_BYTES} from '../model/digest.ts';
import {BLOCK_BYTES_MIN, BLOCK_COUNT_MAX, blockCountOf} from './block.ts';
import type {Signature} from './signature.ts';
import {STRONG_BYTES} from './strong.ts';
import {WEAK_BYTES} from './weak.ts';

/** Consecutive blocks of a signature. */
export interface SignaturePart extends Signature {
  blockIndexFirst: number;
  isLast: boolean;
}

function refuse(rule: string, value: unknown, limit: string): never {
  const text = String(value);
  throw new TowlineError('PROTOCOL', `the peer sent a signature whose ${rule} is ${text}, allowed is ${limit}`, {
    rule: `signature ${rule}`,
    value: text,
    limit,
  });
}

function checkShape(blockBytes: number, sizeBytes: number): void {
  const isPowerOfTwo = Number.isInteger(blockBytes) && Number.isInteger(Math.log2(blockBytes));
  if (!isPowerOfTwo || blockBytes < BLOCK_BYTES_MIN || blockBytes > LEAF_BYTES) {
    refuse('block size', blockBytes, `a power of two from ${BLOCK_BYTES_MIN} to ${LEAF_BYTES}`);
  }
  const sizeBytesMax = BLOCK_COUNT_MAX * blockBytes;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > sizeBytesMax) {
    refuse('file size', sizeBytes, `0 to ${sizeBytesMax} bytes`);
  }
}

/** Cuts a signature into parts of at most `blockCountMax` blocks; one empty part for an empty file. */
export function* signatureParts(signature: Signature, blockCountMax: number): Generator<SignaturePart> {
  const {blockBytes, sizeBytes, strong, weak} = signature;
  const blockCount = blockCountOf(sizeBytes, blockBytes);
  let first = 0;
  do {
    const end = Math.min(blockCount, first + blockCountMax);
    yield {
      blockBytes,
      sizeBytes,
      blockIndexFirst: first,
      strong: strong.subarray(first * STRONG_BYTES, end * STRONG_BYTES),
      weak: weak.subarray(first * WEAK_BYTES, end * WEAK_BYTES),
      isLast: end === blockCount,
    };
    first = end;
  } while (first < blockCount);
}

/** What was asked for; a peer's parts must fit it. */
export interface SignatureWanted {
  blockBytes: number;
  /** Of the base file, as it was acknowledged. */
  sizeBytes: number;
  withWeak: boolean;
}

/** Joins the parts that a peer sends in order. */
export class SignatureCollector {
  readonly #wanted: SignatureWanted;
  readonly #blockCount: number;
  readonly #strong: Buffer;
  readonly #weak: Buffer;
  #arrived = 0;

  /** @throws PROTOCOL when what is wanted is outside the limits: it may stem from a peer's file size */
  constructor(wanted: SignatureWanted) {
    checkShape(wanted.blockBytes, wanted.sizeBytes);
    this.#wanted = wanted;
    this.#blockCount = blockCountOf(wanted.sizeBytes, wanted.blockBytes);
    this.#strong = Buffer.alloc(this.#blockCount * STRONG_BYTES);
    this.#weak = Buffer.alloc(wanted.withWeak ? this.#blockCount * WEAK_BYTES : 0);
  }

  /**
   * Takes the next part.
   * @returns the signature after the last part, else undefined
   * @throws PROTOCOL when the part is out of order, of another file, or too long
   */
  add(part: SignaturePart): Signature | undefined {
    const count = this.#checkedCount(part);
    part.strong.copy(this.#strong, this.#arrived * STRONG_BYTES);
    part.weak.copy(this.#weak, this.#arrived * WEAK_BYTES);
    this.#arrived += count;
    const isWhole = this.#arrived === this.#blockCount;
    if (part.isLast !== isWhole) refuse('last part', `at block ${this.#arrived}`, `at block ${this.#blockCount}`);
    if (!isWhole) return undefined;
    const {blockBytes, sizeBytes} = this.#wanted;
    return {blockBytes, sizeBytes, strong: this.#strong, weak: this.#weak};
  }

  #checkedCount(part: SignaturePart): number {
    const {blockBytes, sizeBytes, withWeak} = this.#wanted;
    if (part.blockBytes !== blockBytes) refuse('block size', part.blockBytes, String(blockBytes));
    if (part.sizeBytes !== sizeBytes) refuse('file size', part.sizeBytes, String(sizeBytes));
    if (part.blockIndexFirst !== this.#arrived) refuse('first block', part.blockIndexFirst, String(this.#arrived));
    const count = part.strong.length / STRONG_BYTES;
    const countMax = this.#blockCount - this.#arrived;
    if (!Number.isInteger(count) || count > countMax || (count === 0 && countMax > 0)) {
      refuse('length of strong sums', part.strong.length, `1 to ${countMax} sums of ${STRONG_BYTES} bytes`);
    }
    const weakBytes = withWeak ? count * WEAK_BYTES : 0;
    if (part.weak.length !== weakBytes) refuse('length of weak sums', part.weak.length, `${weakBytes} bytes`);
    return count;
  }
}
