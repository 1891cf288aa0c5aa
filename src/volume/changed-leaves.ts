/**
 * What of a new version of a large file is sent, where the blocks of its clone tell what has changed: leaves that are as
 * the target's base has them need no reading, of the others only what changed is literal.
 *
 * Invariant: a leaf counts as the base's only when no byte of it may differ from the version that is kept, whose digest of it
 * is taken over, nor from the base.
 */
import {readInto} from '../linux/files.ts';
import {DIGEST_BYTES, LEAF_BYTES, leafCountOf, type Digest} from '../model/digest.ts';
import type {LeafOp} from '../wire/messages.ts';
import type {ByteRanges} from './byte-ranges.ts';
import type {ChangesSince, KeptVersion} from './kept-versions.ts';

const BLOCK_BYTES = 4096; // what changed back, or was written as it was, is found in blocks of this size
/** More of the base, and it is read all: content may have been shifted, which only its sums find. */
const CHANGED_SHARE_MAX = 1 / 4;

const before = Buffer.allocUnsafeSlow(LEAF_BYTES);

export class ChangedLeaves {
  /** What is read of it stays open with it. */
  readonly version: KeptVersion;
  readonly #ranges: ByteRanges;
  readonly #sizeBytes: number;
  readonly #baseBytes: number;
  /** Set where the version that is kept is the base. */
  readonly #baseFd: number | undefined;

  private constructor(
    version: KeptVersion,
    parts: {ranges: ByteRanges; sizeBytes: number; baseBytes: number; baseFd: number | undefined},
  ) {
    this.version = version;
    this.#ranges = parts.ranges;
    this.#sizeBytes = parts.sizeBytes;
    this.#baseBytes = parts.baseBytes;
    this.#baseFd = parts.baseFd;
  }

  /**
   * @param sizeBytes of the new version; @param base the content of the target's
   * @returns undefined where all of the file is to be read: it is another base, or too much changed
   */
  static of({version, ranges}: ChangesSince, sizeBytes: number, base: Digest): ChangedLeaves | undefined {
    if (version.content.equals(base)) {
      const parts = {ranges, sizeBytes, baseBytes: version.sizeBytes, baseFd: version.fd};
      return isMuch(parts) ? undefined : new ChangedLeaves(version, parts);
    }
    const earlier = version.earlier.find(({content}) => content.equals(base));
    const all = earlier?.ranges.and(ranges);
    if (earlier === undefined || all === undefined) return undefined;
    const parts = {ranges: all, sizeBytes, baseBytes: earlier.sizeBytes, baseFd: undefined};
    return isMuch(parts) ? undefined : new ChangedLeaves(version, parts);
  }

  /** Digests of the leaves from one on that are as the base has them in their place, as many as there are in a row. */
  sameFrom(leafIndex: number, countMax: number): Buffer {
    const count = sameLeaves(this.version, this.#ranges, {leafIndex, sizeBytes: this.#sizeBytes});
    // The short last leaf may be longer in the base: it is cut then.
    const inBase = Math.min(this.#sizeBytes, this.#baseBytes);
    const countInBase = inBase === this.#sizeBytes ? Infinity : Math.floor(inBase / LEAF_BYTES) - leafIndex;
    return digestsOf(this.version, leafIndex, Math.max(0, Math.min(count, countInBase, countMax)));
  }

  /** What makes a leaf of the new version: copies of the base in their place, and literals. */
  opsOf(leafIndex: number, leaf: Buffer): LeafOp[] {
    const offset = leafIndex * LEAF_BYTES;
    const inBase = Math.max(0, Math.min(leaf.length, this.#baseBytes - offset));
    const ops: LeafOp[] = [];
    let at = 0;
    for (const {from, end} of this.#differing(offset, leaf, inBase)) {
      if (from > at) ops.push({kind: 'copy', baseOffset: offset + at, sizeBytes: from - at});
      ops.push({kind: 'literal', bytes: leaf.subarray(from, end)});
      at = end;
    }
    if (leaf.length > at) ops.push({kind: 'copy', baseOffset: offset + at, sizeBytes: leaf.length - at});
    return ops;
  }

  /** Ranges of a leaf, from its beginning. @param inBase so many of its bytes the base has at its place */
  *#differing(offset: number, leaf: Buffer, inBase: number): Generator<{from: number; end: number}> {
    for (const {from, end} of this.#ranges.within(offset, offset + inBase)) {
      if (this.#baseFd === undefined) yield {from: from - offset, end: end - offset};
      else yield* differingBlocks(this.#baseFd, {offset, from: from - offset, end: end - offset}, leaf);
    }
    if (inBase < leaf.length) yield {from: inBase, end: leaf.length};
  }
}

/** How many leaves from one on are as in the version that is kept, by their blocks and their length. */
export function sameLeaves(
  version: KeptVersion,
  ranges: ByteRanges,
  {leafIndex, sizeBytes}: {leafIndex: number; sizeBytes: number},
): number {
  const changed = Math.floor(ranges.next(leafIndex * LEAF_BYTES) / LEAF_BYTES);
  const whole =
    sizeBytes === version.sizeBytes
      ? leafCountOf(sizeBytes)
      : Math.floor(Math.min(sizeBytes, version.sizeBytes) / LEAF_BYTES);
  return Math.max(0, Math.min(changed, whole) - leafIndex);
}

/** Digests of leaves of the version that is kept, in a row, as a view. */
export function digestsOf({leafDigests}: KeptVersion, leafIndex: number, count: number): Buffer {
  return leafDigests.subarray(leafIndex * DIGEST_BYTES, (leafIndex + count) * DIGEST_BYTES);
}

/** Whether so much changed that all is read. What is only appended is new, and no reason to read the rest. */
export function isMuch({
  ranges,
  sizeBytes,
  baseBytes,
}: {
  ranges: ByteRanges;
  sizeBytes: number;
  baseBytes: number;
}): boolean {
  const appendedBytes = Math.max(0, sizeBytes - baseBytes);
  return ranges.totalBytes - appendedBytes > baseBytes * CHANGED_SHARE_MAX;
}

function* differingBlocks(
  baseFd: number,
  {offset, from, end}: {offset: number; from: number; end: number},
  leaf: Buffer,
): Generator<{from: number; end: number}> {
  const isRead = readInto(baseFd, before, 0, end - from, offset + from) === end - from;
  let begin = -1;
  for (let at = from; at < end; at += BLOCK_BYTES) {
    const blockEnd = Math.min(end, at + BLOCK_BYTES);
    const isEqual = isRead && leaf.compare(before, at - from, blockEnd - from, at, blockEnd) === 0;
    if (!isEqual && begin < 0) begin = at;
    if (isEqual && begin >= 0) {
      yield {from: begin, end: at};
      begin = -1;
    }
  }
  if (begin >= 0) yield {from: begin, end};
}
