/**
 * Compares a new file, streamed, with the signature of its base: leaves of copies and literals come out.
 *
 * Aligned blocks are compared first, by strong sum alone. A long run of mismatches raises `needsWeak`: with weak sums
 * the window rolls inside mismatched regions, and a match predicts the next block, so that shifted content is again
 * compared by strong sum alone. Not a reader and not a verifier: equality is proven by the leaf's digest.
 *
 * Invariant: everything before `#emitted` is decided; a match never covers an emitted byte.
 *
 * Source: A. Tridgell, "Efficient Algorithms for Sorting and Synchronization", 1999 (rsync); the order of comparison
 * is our own.
 */
import {invariant} from '../base/errors.ts';
import {LEAF_BYTES} from '../model/digest.ts';
import {BaseBlocks} from './base-blocks.ts';
import {ByteWindow} from './byte-window.ts';
import type {LeafOps} from './leaf-op.ts';
import {LeafWriter} from './leaf-writer.ts';
import type {Signature} from './signature.ts';
import {weakSum} from './weak.ts';
import type {WeakIndex} from './weak-index.ts';

export interface DifferOptions {
  /** Signature of the base, checked; with or without weak sums. */
  base: Signature;
  /** The 8 bytes that the strong sums of the base were made with. */
  seed: Buffer;
  /** Output of one leaf; a multiple of the base's block size. LEAF_BYTES but in tests. */
  leafBytes?: number;
}

/** Mismatched blocks in a row from which a shift is suspected: fewer are cheaper sent than searched. */
const SUSPICIOUS_BLOCKS = 16;
/** A run is held back until it is judged: at most this many leaves. */
const HELD_LEAVES = 2;
// A rolled byte costs as much as about 30 strongly summed ones: failed comparisons stay below a sixth of the rolling.
const FAILED_BYTES_PER_ROLLED = 4;
const FAILED_BLOCKS_FREE = 64;

type Mode =
  /** Weak sums are unknown and would be asked for. */
  | 'aligned'
  /** Waits for weak sums. */
  | 'held'
  /** There will be no weak sums. */
  | 'aligned-only'
  | 'rolling';

/** Streaming comparison of one file. Needs `loadXxhash`. Memory: what is pushed and not yet decided. */
export class Differ {
  readonly #base: BaseBlocks;
  readonly #window = new ByteWindow();
  readonly #leaves: LeafWriter;
  readonly #suspiciousBlocks: number;
  #mode: Mode;
  #index: WeakIndex | undefined;
  #isEnded = false;
  #isDone = false;
  /** Next offset to compare; between `#emitted` and here all is literal unless a roll finds it. */
  #at = 0;
  #emitted = 0;
  #runBlocks = 0;
  /** The base block expected at `#at`, or -1. */
  #predicted = -1;
  /** Weak sum of the window at `#at`, once it was looked up in vain. */
  #weak: number | undefined;
  #rolledBytes = 0;
  #failedBytes = 0;

  constructor({base, seed, leafBytes = LEAF_BYTES}: DifferOptions) {
    invariant(leafBytes % base.blockBytes === 0, 'a leaf is a whole number of blocks');
    this.#base = new BaseBlocks(base, seed);
    this.#leaves = new LeafWriter(leafBytes);
    this.#suspiciousBlocks = Math.min(SUSPICIOUS_BLOCKS, (HELD_LEAVES * leafBytes) / base.blockBytes);
    this.#mode = 'aligned';
    if (base.weak.length > 0) this.#startRolling(base.weak);
  }

  /** Whether output is held back until `provideWeak` is called. Pushing on is allowed; what is pushed is then kept. */
  get needsWeak(): boolean {
    return this.#mode === 'held';
  }

  /** Whether all leaves were decided: after `finish`, unless weak sums are awaited. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** Pushed bytes that are not yet in a leaf's ops, and the rest of the pieces they came in. */
  get heldBytes(): number {
    return this.#window.heldBytes;
  }

  /** The next bytes of the new file; they must not change until the leaves that hold them were used. */
  push(bytes: Buffer): void {
    invariant(!this.#isEnded, 'nothing is pushed after the end of a file');
    this.#window.push(bytes);
    this.#advance();
  }

  /**
   * Says that a run of zeros follows, from the end of a leaf to the end of another or of the file, which is not compared
   * and makes no ops: all before it is decided now. Not while weak sums are awaited.
   */
  skip(sizeBytes: number): void {
    invariant(!this.#isEnded && this.#mode !== 'held', 'a run of zeros comes when all before it can be decided');
    if (this.#mode === 'rolling') {
      this.#isEnded = true; // so that the last block before it is compared too
      this.#scanRolling();
      this.#isEnded = false;
    }
    this.#at = this.#window.end;
    this.#emitLiteral();
    this.#window.release(this.#emitted);
    this.#window.skip(sizeBytes);
    this.#at = this.#window.end;
    this.#emitted = this.#at;
    this.#runBlocks = 0;
    this.#predicted = -1;
    this.#weak = undefined;
  }

  /** Says that the file ends here; may be said again. */
  finish(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#advance();
  }

  /** held -> rolling, or held -> aligned-only without sums. Checked sums: 4 bytes for each block of the base. */
  provideWeak(weak: Buffer | undefined): void {
    invariant(this.#mode === 'held', 'weak sums were not asked for');
    this.#runBlocks = 0;
    if (weak === undefined) {
      this.#mode = 'aligned-only';
    } else {
      this.#at = this.#emitted;
      this.#startRolling(weak);
    }
    this.#advance();
  }

  /** The leaves decided since the last call, in order. */
  take(): LeafOps[] {
    return this.#leaves.take();
  }

  #startRolling(weak: Buffer): void {
    // Without a whole block there is nothing to find: the tail is compared in every mode.
    this.#mode = this.#base.wholeCount > 0 ? 'rolling' : 'aligned-only';
    this.#index = this.#base.indexOf(weak);
  }

  #advance(): void {
    if (this.#mode === 'rolling') this.#scanRolling();
    else if (this.#mode !== 'held') this.#scanAligned();
    if (!this.#needsToWait()) this.#settle();
    this.#window.release(this.#emitted);
  }

  /** Emits what was compared in vain; at the end of the file, all that is left. */
  #settle(): void {
    if (this.#isEnded) {
      this.#compareTail();
      this.#at = this.#window.end;
    }
    this.#emitLiteral();
    if (this.#isEnded) this.#leaves.finish();
    this.#isDone = this.#isEnded;
  }

  /** Whether the literal run before `#at` is still undecided. */
  #needsToWait(): boolean {
    if (this.#mode === 'held') return true;
    return !this.#isEnded && this.#runBlocks > 0;
  }

  #scanAligned(): void {
    const {blockBytes} = this.#base;
    while (this.#at + blockBytes <= this.#window.end) {
      const block = this.#at / blockBytes;
      if (this.#base.isWhole(block) && this.#equalsAt(this.#at, block)) {
        this.#emitCopy(block);
        this.#runBlocks = 0;
      } else {
        this.#at += blockBytes;
        if (this.#isSuspicious(block)) {
          this.#mode = 'held';
          return;
        }
      }
    }
  }

  /** Counts a mismatch. Behind the end of the base nothing was shifted: appended content is simply new. */
  #isSuspicious(block: number): boolean {
    if (this.#mode === 'aligned-only') return false;
    this.#runBlocks = this.#base.isWhole(block) ? this.#runBlocks + 1 : 0;
    return this.#runBlocks >= this.#suspiciousBlocks;
  }

  #scanRolling(): void {
    const {blockBytes} = this.#base;
    while (this.#at + blockBytes <= this.#window.end) {
      if (!this.#copyExpected() && !this.#rollOn()) return;
    }
  }

  /** Copies the block that the last match predicts, or the one at this very offset in the base. */
  #copyExpected(): boolean {
    const {blockBytes} = this.#base;
    const predicted = this.#base.isWhole(this.#predicted) ? this.#predicted : -1;
    const aligned = this.#alignedBlock(this.#at);
    this.#predicted = -1;
    if (predicted < 0 && aligned < 0) return false;
    this.#base.sum(this.#window.view(this.#at, blockBytes));
    const block = predicted >= 0 && this.#base.equals(predicted) ? predicted : aligned;
    if (block < 0 || !this.#base.equals(block)) return false;
    this.#emitCopy(block);
    return true;
  }

  /** Rolls to the next offset that needs a look; false when more bytes are needed or none are left. */
  #rollOn(): boolean {
    const {blockBytes} = this.#base;
    const index = this.#index as WeakIndex;
    // One block ahead is kept back, to prefer an aligned match that follows.
    const last = this.#window.end - (this.#isEnded ? 1 : 2) * blockBytes;
    if (this.#at > last || (this.#weak !== undefined && this.#at === last)) return false;
    if (this.#weak === undefined) this.#weak = weakSum(this.#window.view(this.#at, blockBytes));
    else this.#roll(Math.min(last, this.#boundaryAfter(this.#at)));
    if (index.first(this.#weak) >= 0) this.#compareCandidates(this.#weak, last);
    return true;
  }

  #roll(stop: number): void {
    const index = this.#index as WeakIndex;
    const leaving = this.#window.rest(this.#at);
    const entering = this.#window.rest(this.#at + this.#base.blockBytes);
    const count = Math.min(stop - this.#at, leaving.length, entering.length);
    const steps = index.roll(leaving, entering, count, this.#weak as number);
    this.#weak = index.weak;
    this.#at += steps;
    this.#rolledBytes += steps;
  }

  #compareCandidates(weak: number, last: number): void {
    const {blockBytes} = this.#base;
    if (this.#failedBytes > FAILED_BYTES_PER_ROLLED * this.#rolledBytes + FAILED_BLOCKS_FREE * blockBytes) {
      this.#skip(Math.min(last, this.#boundaryAfter(this.#at), this.#at + Math.ceil(blockBytes / 4)));
      return;
    }
    this.#base.sum(this.#window.view(this.#at, blockBytes));
    const aligned = this.#alignedBlock(this.#at);
    const isAligned = aligned >= 0 && this.#base.equals(aligned);
    const block = isAligned ? aligned : this.#base.find(this.#index as WeakIndex, weak);
    if (block < 0) {
      this.#failedBytes += blockBytes;
      return;
    }
    this.#emitCopy(this.#preferAligned() ?? block);
  }

  /**
   * Content that repeats matches anywhere. The aligned block just ahead is worth the bytes before it: the file stays
   * in place, and what follows is compared without rolling.
   */
  #preferAligned(): number | undefined {
    const {blockBytes} = this.#base;
    const ahead = this.#at % blockBytes === 0 ? -1 : this.#boundaryAfter(this.#at);
    const block = ahead < 0 ? -1 : this.#alignedBlock(ahead);
    if (block < 0 || ahead + blockBytes > this.#window.end || !this.#equalsAt(ahead, block)) return undefined;
    this.#at = ahead;
    return block;
  }

  /** Bytes made to collide are passed over: the search costs no more than it would without them. */
  #skip(to: number): void {
    if (to === this.#at) return;
    this.#rolledBytes += to - this.#at;
    this.#at = to;
    this.#weak = undefined;
  }

  /** The short last block of the base may only be the end of the new file. */
  #compareTail(): void {
    const {tailBytes, wholeCount} = this.#base;
    const from = this.#window.end - tailBytes;
    if (tailBytes === 0 || from < this.#emitted) return;
    this.#base.sum(this.#window.view(from, tailBytes));
    if (!this.#base.equals(wholeCount)) return;
    this.#at = from;
    this.#emitLiteral();
    this.#leaves.copy(wholeCount * this.#base.blockBytes, tailBytes);
    this.#emitted = this.#window.end;
  }

  #equalsAt(offset: number, block: number): boolean {
    this.#base.sum(this.#window.view(offset, this.#base.blockBytes));
    return this.#base.equals(block);
  }

  /** The whole base block at the same offset, or -1. */
  #alignedBlock(offset: number): number {
    const block = offset / this.#base.blockBytes;
    return Number.isInteger(block) && this.#base.isWhole(block) ? block : -1;
  }

  #boundaryAfter(offset: number): number {
    return offset - (offset % this.#base.blockBytes) + this.#base.blockBytes;
  }

  /** Emits what is pending as literal, then the block at `#at`. */
  #emitCopy(block: number): void {
    const {blockBytes} = this.#base;
    this.#emitLiteral();
    this.#leaves.copy(block * blockBytes, blockBytes);
    this.#at += blockBytes;
    this.#emitted = this.#at;
    this.#predicted = block + 1;
    this.#weak = undefined;
  }

  #emitLiteral(): void {
    if (this.#emitted === this.#at) return;
    for (const slice of this.#window.slices(this.#emitted, this.#at - this.#emitted)) this.#leaves.literal(slice);
    this.#emitted = this.#at;
  }
}
