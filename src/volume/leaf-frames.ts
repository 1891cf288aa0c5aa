/**
 * Packs the leaves of one transfer into frames, in the order of the file: ops where there is data, runs where there is
 * none.
 *
 * Invariant: a frame is small enough not to hold back others, and large enough to cost little.
 */
import {DIGEST_BYTES, digestAt, LEAF_BYTES, type Digest} from '../model/digest.ts';
import {encode} from '../wire/codec.ts';
import {HOLE_LEAVES_MAX, SAME_LEAVES_MAX} from '../wire/limits.ts';
import type {LeafDelta, LeafOp} from '../wire/messages.ts';

const FRAME_LITERAL_BYTES = LEAF_BYTES; // a frame goes out when it holds this much, so that small messages get between
const FRAME_LEAVES_MAX = 64;
const BLOCK_BYTES = 4096; // of the usual filesystems: a smaller hole takes as much as data
const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

export interface TransferNumbers {
  link: number;
  transfer: number;
}

/** What was packed since it was taken last. */
export interface PackedLeaves {
  /** Encoded `file-leaves` and `file-holes` messages. */
  frames: Uint8Array[];
  literalBytes: number;
  copiedBytes: number;
}

export class LeafFrames {
  readonly #numbers: TransferNumbers;
  readonly #isSparse: boolean;
  readonly #hasRuns: boolean;
  #packed: PackedLeaves = {frames: [], literalBytes: 0, copiedBytes: 0};
  #leaves: LeafDelta[] = [];
  #literalBytes = 0;
  /** Leaves of the run of holes at the end of what was given. */
  #holeCount = 0;
  #leafCount = 0;

  /**
   * @param options `isSparse`: blocks of zeros inside of leaves are left out too; `hasRuns`: the peer takes leaves that are
   *   as the base has them in runs
   */
  constructor(numbers: TransferNumbers, options: {isSparse: boolean; hasRuns?: boolean}) {
    this.#numbers = numbers;
    this.#isSparse = options.isSparse;
    this.#hasRuns = options.hasRuns === true;
  }

  /** Leaves that were given, holes among them. */
  get leafCount(): number {
    return this.#leafCount;
  }

  /** The next leaf. */
  add(digest: Digest, ops: readonly LeafOp[]): void {
    this.#flushHoles();
    const leaf = {digest, ops: this.#isSparse ? withoutZeros(ops) : [...ops]};
    const literalBytes = sizeOf(leaf.ops, 'literal');
    if (this.#literalBytes + literalBytes > FRAME_LITERAL_BYTES || this.#leaves.length === FRAME_LEAVES_MAX)
      this.#flushLeaves();
    this.#leaves.push(leaf);
    this.#leafCount++;
    this.#literalBytes += literalBytes;
    this.#packed.literalBytes += literalBytes;
    this.#packed.copiedBytes += sizeOf(leaf.ops, 'copy') + sizeOf(leaf.ops, 'kept');
  }

  /** The next leaves lie in a hole. */
  addHoles(count: number): void {
    this.#flushLeaves();
    if (this.#holeCount + count > HOLE_LEAVES_MAX) this.#flushHoles();
    this.#holeCount += count;
    this.#leafCount += count;
  }

  /** The next leaves are as the base has them in this place, of which the last may be short. @param digests of them */
  addSame(digests: Buffer, sizeBytes: number): void {
    const count = digests.length / DIGEST_BYTES;
    const first = this.#leafCount;
    for (let index = 0; !this.#hasRuns && index < count; index++) {
      const leafBytes = Math.min(LEAF_BYTES, sizeBytes - index * LEAF_BYTES);
      this.add(digestAt(digests, index), [
        {kind: 'copy', baseOffset: (first + index) * LEAF_BYTES, sizeBytes: leafBytes},
      ]);
    }
    if (!this.#hasRuns) return;
    this.#flushLeaves();
    this.#flushHoles();
    for (let index = 0; index < count; index += SAME_LEAVES_MAX) {
      const run = digests.subarray(index * DIGEST_BYTES, (index + SAME_LEAVES_MAX) * DIGEST_BYTES);
      const leafIndexFirst = first + index;
      this.#packed.frames.push(encode({kind: 'file-same', ...this.#numbers, leafIndexFirst, digests: run}));
    }
    this.#leafCount += count;
    this.#packed.copiedBytes += sizeBytes;
  }

  /** All that was given since the last call. */
  take(): PackedLeaves {
    this.#flushLeaves();
    this.#flushHoles();
    const packed = this.#packed;
    this.#packed = {frames: [], literalBytes: 0, copiedBytes: 0};
    return packed;
  }

  #flushLeaves(): void {
    if (this.#leaves.length === 0) return;
    const leafIndexFirst = this.#leafCount - this.#leaves.length;
    this.#packed.frames.push(encode({kind: 'file-leaves', ...this.#numbers, leafIndexFirst, leaves: this.#leaves}));
    this.#leaves = [];
    this.#literalBytes = 0;
  }

  #flushHoles(): void {
    if (this.#holeCount === 0) return;
    const [leafIndexFirst, leafCount] = [this.#leafCount - this.#holeCount, this.#holeCount];
    this.#packed.frames.push(encode({kind: 'file-holes', ...this.#numbers, leafIndexFirst, leafCount}));
    this.#holeCount = 0;
  }
}

/** One leaf again, as it is given. */
export function literalFrame(numbers: TransferNumbers, leafIndexFirst: number, leaf: LeafDelta): Uint8Array {
  return encode({kind: 'file-leaves', ...numbers, leafIndexFirst, leaves: [leaf]});
}

function sizeOf(ops: readonly LeafOp[], kind: Exclude<LeafOp['kind'], 'zeros'>): number {
  return ops.reduce(
    (sum, op) => (op.kind === kind ? sum + (op.kind === 'literal' ? op.bytes.length : op.sizeBytes) : sum),
    0,
  );
}

/** The same bytes, with whole blocks of zeros inside of literals as what they are. */
function withoutZeros(ops: readonly LeafOp[]): LeafOp[] {
  let at = 0;
  return ops.flatMap((op): LeafOp[] => {
    const from = at;
    at += op.kind === 'literal' ? op.bytes.length : op.sizeBytes;
    return op.kind === 'literal' ? splitAtZeros(op.bytes, from) : [op];
  });
}

/** @param from where the bytes begin in their leaf */
function splitAtZeros(bytes: Buffer, from: number): LeafOp[] {
  const ops: LeafOp[] = [];
  let begin = 0;
  let isZeros = false;
  const turn = (at: number, toZeros: boolean): void => {
    if (at > begin)
      ops.push(isZeros ? {kind: 'zeros', sizeBytes: at - begin} : {kind: 'literal', bytes: bytes.subarray(begin, at)});
    begin = at;
    isZeros = toZeros;
  };
  let at = (BLOCK_BYTES - (from % BLOCK_BYTES)) % BLOCK_BYTES;
  for (; at + BLOCK_BYTES <= bytes.length; at += BLOCK_BYTES) {
    const isZero = bytes.compare(ZERO_BLOCK, 0, BLOCK_BYTES, at, at + BLOCK_BYTES) === 0;
    if (isZero !== isZeros) turn(at, isZero);
  }
  if (isZeros) turn(at, false);
  turn(bytes.length, false);
  return ops;
}
