/**
 * A large file while its leaves come: what is open of it, what came, what may come next, and how a leaf is written.
 *
 * Invariants: a leaf is written only when it has its digest, wherever its bytes came from (what is taken as the base
 * has it, unread, is same-leaves.ts); memory does not grow with the file: leaves come in order, and a digest is kept only of
 * those that were rejected.
 */
import {buildLeaf, type BaseReader} from '../delta/patch.ts';
import {shareRange} from '../linux/extent-map.ts';
import {writeFrom} from '../linux/files.ts';
import {startWriteback} from '../linux/sync.ts';
import type {ContentHash} from '../model/content-hash.ts';
import {LEAF_BYTES, leafCountOf, sha256, type Digest} from '../model/digest.ts';
import type {Seen} from '../model/entry.ts';
import type {Failed, OpResult} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import type {LeafDelta} from '../wire/messages.ts';
import {DONE, failure, failureFrom} from './failure.ts';
import {clearRange, hasLeaf} from './partial-file.ts';
import {isInPlace, type RedoWriter} from './redo.ts';
import {writeSparse} from './sparse.ts';

const MISSING_MAX = 1_024; // a source gives up long before

/** A thread builds one leaf at a time, whatever the volume. */
export const leafInto = Buffer.allocUnsafeSlow(LEAF_BYTES);

/** Leaves that do not have their digest, and whether the base is to blame. */
export interface LeavesWritten {
  rejected: number[];
  isBaseChanged: boolean;
  result: OpResult;
}

export interface Receiving {
  stage: string;
  path: RelPath;
  fd: number;
  sizeBytes: number;
  baseFd: number;
  base: BaseReader;
  /** The base as the state knows it, and as it was when it was opened. */
  expectedBase: Seen | undefined;
  /** That, where it must still be so at the end: leaves of it were taken unread. */
  trusted: Seen | undefined;
  /** Over the digests that were announced, up to the next leaf. */
  content: ContentHash;
  nextLeaf: number;
  /** Announced digests of leaves that did not have them and are to come again. */
  missing: Map<number, Digest>;
  isSparse: boolean;
  isDurable: boolean;
  /** See OpenPlaces. */
  reserve: number;
  /** Up to here there may be something in it, of an earlier transfer or of the base. */
  heldBytes: number;
  /** Where the file as it is stays, and `fd` takes what changes in it. */
  redo: RedoWriter | undefined;
  /** What has not changed is there already. */
  hasBase: boolean;
  /** What would have to come again without it. */
  worthBytes: number;
}

export function writeLeaves(receiving: Receiving, leafIndexFirst: number, leaves: readonly LeafDelta[]): LeavesWritten {
  const rejected: number[] = [];
  let isBaseChanged = false;
  try {
    for (const [count, leaf] of leaves.entries()) {
      const leafIndex = leafIndexFirst + count;
      const fault = announce(receiving, leafIndex, leaf.digest);
      if (fault !== undefined) return {rejected, isBaseChanged, result: fault};
      if (writeLeaf(receiving, leafIndex, leaf)) receiving.missing.delete(leafIndex);
      else {
        rejected.push(leafIndex);
        isBaseChanged ||= leaf.ops.some((op) => op.kind === 'copy');
        if (receiving.missing.size > MISSING_MAX) {
          const result = failure('base-changed', receiving.path, 'too many of its leaves are not what they should be');
          return {rejected, isBaseChanged, result};
        }
      }
    }
    return {rejected, isBaseChanged, result: DONE};
  } catch (error) {
    return {rejected, isBaseChanged, result: failureFrom(error, receiving.path)};
  }
}

/** A leaf is the next one, or one that was rejected and comes again with the digest that it had. */
function announce(receiving: Receiving, leafIndex: number, digest: Digest): Failed | undefined {
  const {path, missing, nextLeaf} = receiving;
  if (leafIndex >= leafCountOf(receiving.sizeBytes))
    return failure('corrupt', path, `leaf ${leafIndex} lies behind its end`);
  if (leafIndex === nextLeaf) {
    receiving.content.leaf(digest);
    receiving.nextLeaf++;
    missing.set(leafIndex, Buffer.from(digest)); // until it is written
    return undefined;
  }
  const expected = missing.get(leafIndex);
  if (expected === undefined) return failure('corrupt', path, `leaf ${leafIndex} came out of turn`);
  return expected.equals(digest) ? undefined : failure('corrupt', path, `leaf ${leafIndex} came as another`);
}

/** @returns whether it has its digest */
function writeLeaf(receiving: Receiving, leafIndex: number, {digest, ops}: LeafDelta): boolean {
  const {fd, sizeBytes, base, isSparse, isDurable} = receiving;
  const offset = leafIndex * LEAF_BYTES;
  const leafBytes = Math.min(LEAF_BYTES, sizeBytes - offset);
  const only = ops.length === 1 ? ops[0] : undefined;
  if (only?.kind === 'kept') {
    if (receiving.redo !== undefined) return false; // nothing of a redo file lies where the leaf does
    return only.sizeBytes === leafBytes && hasLeaf(fd, offset, leafInto.subarray(0, leafBytes), digest);
  }
  const bytes = only?.kind === 'literal' && only.bytes.length === leafBytes ? only.bytes : built(ops, leafBytes, base);
  if (!sha256(bytes).equals(digest)) return false;
  if (receiving.hasBase && isInPlace(ops, offset)) return true;
  if (receiving.redo !== undefined) receiving.redo.leaf(offset, bytes, ops);
  else if (!isSparse && isShared(receiving, offset, leafBytes)) writeOthers(fd, {offset, bytes, ops});
  else if (isSparse && clearRange(receiving, offset, offset + leafBytes)) writeSparse(fd, bytes, offset);
  else writeFrom(fd, bytes, 0, leafBytes, offset);
  receiving.worthBytes += ops.reduce((sum, op) => sum + (op.kind === 'literal' ? op.bytes.length : 0), 0);
  if (isDurable && receiving.redo === undefined) startWriteback(fd, offset, leafBytes); // so that the fsync at the end is short
  return true;
}

/** Makes the leaf share what the base has in its place, where other leaves do. */
function isShared({fd, baseFd, base, trusted, hasBase}: Receiving, offset: number, leafBytes: number): boolean {
  if (trusted === undefined || offset + leafBytes > base.sizeBytes) return false;
  return hasBase || shareRange(fd, baseFd, offset, leafBytes);
}

/** What of a leaf the base does not have in this place. @param leaf `bytes` of all of it, which were verified */
function writeOthers(fd: number, {offset, bytes, ops}: {offset: number; bytes: Buffer; ops: LeafDelta['ops']}): void {
  let at = 0;
  for (const op of ops) {
    const length = op.kind === 'literal' ? op.bytes.length : op.sizeBytes;
    if (op.kind !== 'copy' || op.baseOffset !== offset + at) writeFrom(fd, bytes, at, length, offset + at);
    at += length;
  }
}

function built(ops: LeafDelta['ops'], sizeBytes: number, base: BaseReader): Buffer {
  const building = ops.filter((op) => op.kind !== 'kept'); // which stands alone
  buildLeaf(building, sizeBytes, leafInto, base);
  return leafInto.subarray(0, sizeBytes);
}
