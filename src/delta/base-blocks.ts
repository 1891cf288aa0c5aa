/**
 * The blocks of the base file as strong sums, to compare with ranges of the new file.
 *
 * Invariant: a range is compared only with a block of the same length; the short last block is apart from the others.
 */
import {invariant} from '../base/errors.ts';
import {blockCountOf} from './block.ts';
import type {Signature} from './signature.ts';
import {STRONG_BYTES, StrongSum} from './strong.ts';
import {WEAK_BYTES} from './weak.ts';
import {WeakIndex} from './weak-index.ts';

export class BaseBlocks {
  readonly blockBytes: number;
  /** Blocks of full length; the short last one, if any, has this index. */
  readonly wholeCount: number;
  /** Length of the short last block; 0 for none. */
  readonly tailBytes: number;
  readonly #blockCount: number;
  readonly #strong: Uint32Array;
  readonly #sum: StrongSum;

  /** @param base a checked signature */
  constructor(base: Signature, seed: Buffer) {
    this.blockBytes = base.blockBytes;
    this.wholeCount = Math.floor(base.sizeBytes / base.blockBytes);
    this.tailBytes = base.sizeBytes % base.blockBytes;
    this.#blockCount = blockCountOf(base.sizeBytes, base.blockBytes);
    invariant(base.strong.length === this.#blockCount * STRONG_BYTES, 'a signature has one strong sum for each block');
    this.#strong = alignedWords(base.strong);
    this.#sum = new StrongSum(seed);
  }

  /** Sums a range; `equals` and `find` then speak of it. */
  sum(bytes: Buffer): void {
    this.#sum.sum(bytes);
  }

  /** Whether the summed range has the strong sum of a block. The caller compares lengths. */
  equals(blockIndex: number): boolean {
    return this.#strong[blockIndex * 2] === this.#sum.low && this.#strong[blockIndex * 2 + 1] === this.#sum.high;
  }

  /** A block that the index lists for a weak sum and that the summed range equals, or -1. */
  find(index: WeakIndex, weak: number): number {
    for (let block = index.first(weak); block >= 0; block = index.next(block, weak)) {
      if (this.equals(block)) return block;
    }
    return -1;
  }

  isWhole(blockIndex: number): boolean {
    return blockIndex >= 0 && blockIndex < this.wholeCount;
  }

  /** Index of the whole blocks by weak sums (u32 little-endian, one for each block of the base). */
  indexOf(weak: Buffer): WeakIndex {
    invariant(weak.length === this.#blockCount * WEAK_BYTES, 'weak sums are given for each block of the base');
    return new WeakIndex(
      {blockBytes: this.blockBytes, count: this.wholeCount},
      {weak: new Int32Array(alignedWords(weak).buffer), strong: this.#strong},
    );
  }
}

/** Little-endian words of a buffer in an array of their own; every platform Node runs on is little-endian. */
function alignedWords(bytes: Buffer): Uint32Array {
  const words = new Uint32Array(bytes.length / 4);
  new Uint8Array(words.buffer).set(bytes);
  return words;
}
