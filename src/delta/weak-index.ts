/**
 * Finds blocks by weak sum while a window rolls over the new file, one byte a step.
 *
 * A bit filter in front of a chained table: at nearly every byte one load decides that nothing matches.
 * Invariant: a chain has at most CANDIDATES_MAX blocks and no two with equal strong sums, so that a file of equal
 * blocks, or of blocks made to collide, costs no more than any other.
 */
import {WEAK_MULTIPLIER, weakLeaving} from './weak.ts';

export const CANDIDATES_MAX = 64;
const FILTER_BITS_PER_BLOCK = 32; // with two bits a block in one word about one byte in 200 passes by chance
const FILTER_BITS_MIN = 1 << 13;
const FILTER_BITS_MAX = 1 << 23; // 1 MiB: beyond it the filter falls out of the second-level cache
const GROUP = 4; // steps between two tests of the filter
const MULTIPLIER = WEAK_MULTIPLIER; // of this module: V8 folds it into the loop below
const SCATTER = 0x9e3779b1 | 0; // Knuth's multiplicative hashing: neighbours fall into different buckets

export interface WeakIndexOptions {
  blockBytes: number;
  /** Blocks to list: the whole ones. */
  count: number;
}

export interface BlockSums {
  weak: Int32Array;
  /** Two words a block. */
  strong: Uint32Array;
}

interface Filter {
  /** The word is chosen by the highest bits of a sum, one bit in it by the next five, one by the lowest five. */
  words: Uint32Array;
  bitShift: number;
  /** What a leaving byte is multiplied with. */
  power: number;
}

export class WeakIndex {
  /** Sum of the window after the last `roll`. */
  weak = 0;
  readonly #sums: BlockSums;
  readonly #filter: Filter;
  readonly #heads: Int32Array; // block index + 1, 0 for none
  readonly #nexts: Int32Array;
  readonly #headShift: number;

  constructor({blockBytes, count}: WeakIndexOptions, sums: BlockSums) {
    this.#sums = sums;
    const bits = clamp(ceilLog2(count * FILTER_BITS_PER_BLOCK), FILTER_BITS_MIN, FILTER_BITS_MAX);
    this.#filter = {words: new Uint32Array(2 ** bits / 32), bitShift: 32 - bits, power: weakLeaving(blockBytes)};
    const headBits = ceilLog2(Math.max(2, count * 2));
    this.#headShift = 32 - headBits;
    this.#heads = new Int32Array(2 ** headBits);
    this.#nexts = new Int32Array(count);
    for (let block = 0; block < count; block++) this.#add(block);
  }

  /** First listed block with this weak sum, or -1. */
  first(weak: number): number {
    return this.#skipTo(this.#heads[this.#bucketOf(weak)]! - 1, weak);
  }

  /** The listed block with this weak sum after `block`, or -1. */
  next(block: number, weak: number): number {
    return this.#skipTo(this.#nexts[block]! - 1, weak);
  }

  /**
   * Rolls a window until a listed weak sum or the end.
   * @param leaving bytes that leave the window, from the first
   * @param entering bytes that enter it
   * @param count steps at most
   * @param weak sum of the window now; not looked up itself
   * @returns steps made, with the sum after them in `weak`; below `count` only when that sum is listed
   */
  roll(leaving: Buffer, entering: Buffer, count: number, weak: number): number {
    const filter = this.#filter;
    let at = 0;
    this.weak = weak;
    while (at < count) {
      at = rollPassed(this, filter, leaving, entering, at, count);
      let sum = this.weak;
      for (const end = Math.min(count, at + GROUP); at < end; at++) {
        sum = rolled(sum, leaving[at]!, entering[at]!, filter.power);
        if (!mayHold(filter, sum) || this.first(sum) < 0) continue;
        this.weak = sum;
        return at + 1;
      }
      this.weak = sum;
    }
    return count;
  }

  #bucketOf(weak: number): number {
    return Math.imul(weak, SCATTER) >>> this.#headShift;
  }

  #skipTo(block: number, weak: number): number {
    while (block >= 0 && this.#sums.weak[block] !== weak) block = this.#nexts[block]! - 1;
    return block;
  }

  /** Lists a block at the end of its chain, unless the chain is full or holds its content. */
  #add(block: number): void {
    const weak = this.#sums.weak[block]!;
    const bucket = this.#bucketOf(weak);
    let last = -1;
    let length = 0;
    for (let other = this.#heads[bucket]! - 1; other >= 0; other = this.#nexts[other]! - 1) {
      if (++length === CANDIDATES_MAX || this.#hasEqualSums(block, other)) return;
      last = other;
    }
    if (last < 0) this.#heads[bucket] = block + 1;
    else this.#nexts[last] = block + 1;
    const bit = weak >>> this.#filter.bitShift;
    this.#filter.words[bit >>> 5]! |= (1 << bit) | (1 << weak);
  }

  #hasEqualSums(block: number, other: number): boolean {
    const {strong} = this.#sums;
    return strong[block * 2] === strong[other * 2] && strong[block * 2 + 1] === strong[other * 2 + 1];
  }
}

function ceilLog2(value: number): number {
  return Math.ceil(Math.log2(value));
}

function clamp(log2: number, min: number, max: number): number {
  return Math.min(Math.log2(max), Math.max(Math.log2(min), log2));
}

function rolled(weak: number, leaving: number, entering: number, power: number): number {
  return (Math.imul(weak, MULTIPLIER) + ((Math.imul(leaving, power) + entering) | 0)) | 0;
}

function mayHold({words, bitShift}: Filter, sum: number): boolean {
  const word = words[sum >>> (bitShift + 5)]!;
  return ((word >>> sum) & (word >>> (sum >>> bitShift)) & 1) === 1;
}

/**
 * Rolls over whole groups of steps until the filter lets one pass; the sum before that group is left in `state`.
 *
 * Written out, with locals only and larger than V8 inlines: as a part of `roll`, or with the table's lookup inside, it
 * runs at half the speed.
 * @returns the step before which it stands
 */
function rollPassed(
  state: {weak: number},
  {words, bitShift, power}: Filter,
  leaving: Buffer,
  entering: Buffer,
  from: number,
  count: number,
): number {
  const wordShift = bitShift + 5;
  let sum = state.weak;
  let before = sum;
  let at = from;
  let word = 0;
  let bits = 0;
  for (const end = count - 2 * GROUP + 1; at < end; at += 2 * GROUP) {
    before = sum;
    sum = (Math.imul(sum, MULTIPLIER) + ((Math.imul(leaving[at]!, power) + entering[at]!) | 0)) | 0;
    word = words[sum >>> wordShift]!;
    bits = (word >>> sum) & (word >>> (sum >>> bitShift));
    sum = (Math.imul(sum, MULTIPLIER) + ((Math.imul(leaving[at + 1]!, power) + entering[at + 1]!) | 0)) | 0;
    word = words[sum >>> wordShift]!;
    bits |= (word >>> sum) & (word >>> (sum >>> bitShift));
    sum = (Math.imul(sum, MULTIPLIER) + ((Math.imul(leaving[at + 2]!, power) + entering[at + 2]!) | 0)) | 0;
    word = words[sum >>> wordShift]!;
    bits |= (word >>> sum) & (word >>> (sum >>> bitShift));
    sum = (Math.imul(sum, MULTIPLIER) + ((Math.imul(leaving[at + 3]!, power) + entering[at + 3]!) | 0)) | 0;
    word = words[sum >>> wordShift]!;
    bits |= (word >>> sum) & (word >>> (sum >>> bitShift));
    if ((bits & 1) !== 0) break;
    before = sum;
    sum = (Math.imul(sum, MULTIPLIER) + ((Math.imul(leaving[at + 4]!, power) + entering[at + 4]!) | 0)) | 0;
    word = words[sum >>> wordShift]!;
    bits = (word >>> sum) & (word >>> (sum >>> bitShift));
    sum = (Math.imul(sum, MULTIPLIER) + ((Math.imul(leaving[at + 5]!, power) + entering[at + 5]!) | 0)) | 0;
    word = words[sum >>> wordShift]!;
    bits |= (word >>> sum) & (word >>> (sum >>> bitShift));
    sum = (Math.imul(sum, MULTIPLIER) + ((Math.imul(leaving[at + 6]!, power) + entering[at + 6]!) | 0)) | 0;
    word = words[sum >>> wordShift]!;
    bits |= (word >>> sum) & (word >>> (sum >>> bitShift));
    sum = (Math.imul(sum, MULTIPLIER) + ((Math.imul(leaving[at + 7]!, power) + entering[at + 7]!) | 0)) | 0;
    word = words[sum >>> wordShift]!;
    bits |= (word >>> sum) & (word >>> (sum >>> bitShift));
    if ((bits & 1) !== 0) {
      at += GROUP;
      break;
    }
  }
  state.weak = (bits & 1) !== 0 ? before : sum;
  return at;
}
