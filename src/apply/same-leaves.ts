/**
 * Leaves that a large file has in the place where its base has them: the source has compared where their blocks lie, and
 * read them no more than is done here where the filesystem shares blocks.
 *
 * Invariant: what is taken unread is that of a base that was the version which the state knows, when it was opened and once
 * all has come; what cannot be shared is read and checked like any other leaf.
 */
import {shareRange} from '../linux/extent-map.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {DIGEST_BYTES, digestAt, LEAF_BYTES, leafCountOf} from '../model/digest.ts';
import type {LeafDelta} from '../wire/messages.ts';
import type {WithPlaces} from './context.ts';
import {DONE, failure, failureFrom} from './failure.ts';
import {writeLeaves, type LeavesWritten, type Receiving} from './receiving.ts';
import {roomForLeaves} from './room-for-file.ts';
import type {Freed} from './trash-age.ts';

/** `passedCount`: leaves from the first on; the others are to be passed next. */
export type SamePassed = LeavesWritten & {passedCount: number; freed?: Freed};

const LEAVES_READ_MAX = 32; // 8 MiB in one job, so that others get their turn

export function passSame(
  receiving: Receiving,
  {leafIndexFirst, digests}: {leafIndexFirst: number; digests: Uint8Array},
  withPlaces: WithPlaces,
): SamePassed {
  const {path, sizeBytes, nextLeaf, base, baseFd} = receiving;
  const none = {passedCount: 0, rejected: [], isBaseChanged: false};
  const leafCount = digests.length / DIGEST_BYTES;
  const end = leafIndexFirst + leafCount;
  const [from, to] = [leafIndexFirst * LEAF_BYTES, Math.min(sizeBytes, end * LEAF_BYTES)];
  const isIn = leafIndexFirst === nextLeaf && end <= leafCountOf(sizeBytes) && baseFd >= 0 && to <= base.sizeBytes;
  if (!isIn)
    return {
      ...none,
      result: failure('corrupt', path, `leaves ${leafIndexFirst} to ${end} of its base came out of turn`),
    };
  try {
    if (receiving.hasBase || shareRange(receiving.fd, baseFd, from, to - from)) {
      receiving.trusted = receiving.expectedBase;
      receiving.content.leaf(Buffer.from(digests.buffer, digests.byteOffset, digests.byteLength));
      receiving.nextLeaf = end;
      return {...none, passedCount: leafCount, result: DONE};
    }
  } catch (error) {
    if (!isLinuxError(error)) throw error;
    return {...none, result: failureFrom(error, path)};
  }
  return copySame(receiving, {leafIndexFirst, digests, count: Math.min(leafCount, LEAVES_READ_MAX)}, withPlaces);
}

function copySame(
  receiving: Receiving,
  {leafIndexFirst, digests, count}: {leafIndexFirst: number; digests: Uint8Array; count: number},
  withPlaces: WithPlaces,
): SamePassed {
  const {fault, freed} = roomForLeaves(receiving, count, withPlaces);
  if (fault !== undefined) return {passedCount: 0, rejected: [], isBaseChanged: false, result: fault, ...freed};
  const leaves = Array.from({length: count}, (_, index): LeafDelta => {
    const baseOffset = (leafIndexFirst + index) * LEAF_BYTES;
    const sizeBytes = Math.min(LEAF_BYTES, receiving.sizeBytes - baseOffset);
    return {digest: digestAt(digests, index), ops: [{kind: 'copy', baseOffset, sizeBytes}]};
  });
  return {...writeLeaves(receiving, leafIndexFirst, leaves), passedCount: count, ...freed};
}
