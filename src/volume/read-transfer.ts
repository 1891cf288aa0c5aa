/**
 * Reads one large file leaf by leaf and makes its delta against what the peer holds. Runs in a worker, below a held
 * root; the open file is kept between jobs by a token, and until it is closed the scope's jobs come to this worker. Of one
 * whose version before is kept as a clone (kept-versions.ts) only what changed is read.
 *
 * Invariant: `content` is only given when the file was the version that `open-transfer` has told from the first leaf to
 * the last, or when it is told to be torn.
 */
import type {JobHandlers, ScopeHandlers} from '../base/jobs.ts';
import {OWN_MEMORY_BYTES, release} from '../base/memory.ts';
import {readInto} from '../linux/files.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {zeroLeafDigest} from '../model/content-hash.ts';
import {DIGEST_BYTES, LEAF_BYTES, leafCountOf, sha256, type Digest} from '../model/digest.ts';
import {isUntouched} from '../model/entry.ts';
import type {WithRoot} from '../model/root.ts';
import {SAME_LEAVES_MAX} from '../wire/limits.ts';
import {newKeptFiles, type KeptFiles} from './kept-content.ts';
import {literalFrame} from './leaf-frames.ts';
import {
  bufferOf,
  differOf,
  isStillThere,
  keepVersion,
  notOpened,
  openTransfer,
  type OpenTransfer,
} from './open-transfer.ts';
import {failureOf, READ} from './read-files.ts';
import type {Held, LeavesRead, TransferJobs} from './transfer-jobs.ts';

const RUN_LEAVES_MAX = 1 << 19; // 128 GiB: about 10 ms of hashing, several times in a job

/** @param kept of the scope's files, which end with these handlers */
export function transferHandlers(
  withRoot: WithRoot,
  {clones, versions}: KeptFiles = newKeptFiles(),
): ScopeHandlers<TransferJobs> {
  const open = new Map<number, OpenTransfer>();
  const close = (token: number): undefined => {
    const transfer = open.get(token);
    open.delete(token);
    if (transfer === undefined) return;
    try {
      if (transfer.changes !== undefined) versions.release(transfer.changes.version);
      if (transfer.kept !== undefined) versions.release(transfer.kept);
      else if (transfer.fd !== transfer.fileFd) clones.close(transfer.fd);
    } finally {
      closeFd(transfer.fileFd);
    }
  };
  const handlers: JobHandlers<TransferJobs> = {
    'open-transfer': (input) => {
      try {
        return withRoot((root) => openTransfer(root, input, {open, clones, versions}));
      } catch (error) {
        return notOpened(failureOf(error));
      }
    },
    'give-base': ({token, base, seed}) => {
      const transfer = open.get(token);
      if (transfer !== undefined) transfer.differ = differOf(base, seed);
      return undefined;
    },
    'give-weak': ({token, weak}) => {
      open.get(token)?.differ?.provideWeak(weak === undefined ? undefined : bufferOf(weak));
      return undefined;
    },
    'read-leaves': ({token, leafCount, held}, context) => {
      const transfer = open.get(token);
      if (transfer === undefined || !clones.mayKeep(transfer.fd)) return lost();
      try {
        const read = readLeaves(transfer, leafCount, held && {...held, digests: bufferOf(held.digests)});
        if (read.end !== undefined) keepVersion(transfer, read.end, {clones, versions});
        context.transfer(
          ...read.frames
            .filter((frame) => frame.length >= OWN_MEMORY_BYTES)
            .map((frame) => frame.buffer as ArrayBuffer),
        );
        return read;
      } catch (error) {
        return {...nothing(READ.vanished), ...failureOf(error)};
      }
    },
    'read-leaf': ({token, leafIndex}) => {
      const transfer = open.get(token);
      return transfer === undefined ? lost() : readLiteralLeaf(transfer, leafIndex);
    },
    'close-transfer': ({token}) => close(token),
    'tend-kept': ({reserveShare}) => {
      if (versions.count > 0) withRoot((root) => versions.tend(reserveShare, (version) => isStillThere(root, version)));
      return {keptCount: versions.count};
    },
  };
  return {
    handlers,
    isHolding: () => open.size > 0,
    isCaching: () => versions.count > 0,
    close: () => {
      for (const token of [...open.keys()]) close(token);
      versions.close();
    },
  };
}

/** @param leafCount leaves to be read at most; a run of holes counts as one, and one of leaves that need no reading */
function readLeaves(transfer: OpenTransfer, leafCount: number, held: Held | undefined): LeavesRead {
  const {differ, frames} = transfer;
  const leafTotal = leafCountOf(transfer.expected.sizeBytes);
  const literals: Buffer[] = [];
  for (let count = 0; count < leafCount && transfer.leavesRead < leafTotal; count++) {
    if (needsWeak(transfer)) break;
    const holeBytes = transfer.holes?.bytesAt(transfer.leavesRead, RUN_LEAVES_MAX) ?? 0;
    if (holeBytes > 0) {
      passHoles(transfer, holeBytes);
      continue;
    }
    const same = transfer.changes?.sameFrom(transfer.leavesRead, SAME_LEAVES_MAX);
    if (same !== undefined && same.length > 0) {
      passSame(transfer, same);
      continue;
    }
    if (isBehind(held, transfer.leavesRead)) break;
    const leaf = readLeaf(transfer, transfer.leavesRead);
    if (leaf === undefined) return nothing(READ.changed);
    const digest = sha256(leaf);
    // The digest of zeros is at hand for a whole leaf; for the end of a file it would have to be made.
    const mayBeZeros = leaf.length === LEAF_BYTES || transfer.holes !== undefined;
    const isZeros = mayBeZeros && digest.equals(zeroLeafDigest(leaf.length));
    if (isZeros && transfer.holes !== undefined) {
      passHoles(transfer, leaf.length);
      continue;
    }
    if (isHeld(held, transfer.leavesRead, digest)) {
      keepLeaf(transfer, leaf, digest);
      release(leaf);
      continue;
    }
    const ops = isZeros
      ? [{kind: 'zeros', sizeBytes: leaf.length} as const]
      : (transfer.changes?.opsOf(transfer.leavesRead, leaf) ?? [{kind: 'literal', bytes: leaf} as const]);
    transfer.content.leaves(digest);
    transfer.signature?.update(leaf);
    transfer.leavesRead++;
    if (differ === undefined) {
      frames.add(digest, ops);
      literals.push(leaf);
    } else {
      transfer.undecided.push(digest);
      differ.push(leaf);
    }
  }
  if (transfer.leavesRead === leafTotal && !needsWeak(transfer) && !transfer.isFinished) {
    differ?.finish();
    transfer.isFinished = !needsWeak(transfer);
  }
  packDecided(transfer);
  const {leavesRead} = transfer;
  const out: LeavesRead = {...nothing(READ.ok), ...frames.take(), needsWeak: needsWeak(transfer), leavesRead};
  // A differ keeps what it may still refer to; without one every leaf is in its frame by now.
  for (const leaf of literals) release(leaf);
  if (transfer.isFinished && frames.leafCount === leafTotal) {
    const stat = statFd(transfer.fileFd);
    const isUnchanged = isUntouched(transfer.expected, stat);
    if (!isUnchanged && transfer.as === 'at-rest') return {...out, status: READ.changed};
    out.end = {
      content: transfer.content.finish(),
      signature: transfer.signature?.finish(),
      isTorn: !isUnchanged && transfer.as === 'torn',
      isCurrent: isUnchanged && transfer.isExact,
      mtime: stat.mtime,
    };
  }
  return out;
}

function needsWeak({differ}: OpenTransfer): boolean {
  return differ?.needsWeak === true;
}

/** Leaves of zeros: nothing of them is compared, and a run of them is one record. */
function passHoles(transfer: OpenTransfer, sizeBytes: number): void {
  transfer.differ?.skip(sizeBytes);
  packDecided(transfer);
  const count = leafCountOf(sizeBytes);
  transfer.frames.addHoles(count);
  transfer.leavesRead += count;
  transfer.content.zeros(sizeBytes);
  transfer.signature?.zeros(sizeBytes);
}

/** Leaves that are as the target's base has them. */
function passSame(transfer: OpenTransfer, digests: Buffer): void {
  const from = transfer.leavesRead * LEAF_BYTES;
  const count = digests.length / DIGEST_BYTES;
  transfer.frames.addSame(digests, Math.min(transfer.expected.sizeBytes - from, count * LEAF_BYTES));
  transfer.leavesRead += count;
  transfer.content.leaves(digests);
}

/** Whether more of what the target has must be known before this leaf is read. */
function isBehind(held: Held | undefined, leafIndex: number): boolean {
  return held?.isLast === false && leafIndex >= held.leafIndexFirst + held.digests.length / DIGEST_BYTES;
}

function isHeld(held: Held | undefined, leafIndex: number, digest: Digest): boolean {
  const at = held === undefined ? -1 : (leafIndex - held.leafIndexFirst) * DIGEST_BYTES;
  return held !== undefined && at >= 0 && digest.equals(held.digests.subarray(at, at + DIGEST_BYTES));
}

/** The target has this leaf in its place: nothing of it is compared, and nothing is sent but its digest. */
function keepLeaf(transfer: OpenTransfer, leaf: Buffer, digest: Digest): void {
  transfer.differ?.skip(leaf.length);
  packDecided(transfer);
  transfer.frames.add(digest, [{kind: 'kept', sizeBytes: leaf.length}]);
  transfer.leavesRead++;
  transfer.content.leaves(digest);
  transfer.signature?.update(leaf);
}

function packDecided({differ, frames, undecided}: OpenTransfer): void {
  for (const {ops} of differ?.take() ?? []) frames.add(undecided.shift() as Digest, ops);
}

function readLeaf(transfer: OpenTransfer, leafIndex: number): Buffer | undefined {
  const offset = leafIndex * LEAF_BYTES;
  const leaf = Buffer.allocUnsafeSlow(Math.min(LEAF_BYTES, transfer.expected.sizeBytes - offset));
  return readInto(transfer.fd, leaf, 0, leaf.length, offset) === leaf.length ? leaf : undefined;
}

/** Whether it is the leaf that was announced is seen by who takes it: it is not kept here what that was. */
function readLiteralLeaf(transfer: OpenTransfer, leafIndex: number): LeavesRead {
  const leaf = readLeaf(transfer, leafIndex);
  if (leaf === undefined || !isReadable(transfer)) return nothing(READ.changed);
  const frame = literalFrame(transfer.numbers, leafIndex, {
    digest: sha256(leaf),
    ops: [{kind: 'literal', bytes: leaf}],
  });
  return {...nothing(READ.ok), frames: [frame], literalBytes: leaf.length};
}

/** Whether a leaf can be what it was: a clone never changes; of a torn file the peer sees whether it is the same. */
function isReadable({as, expected, fd}: OpenTransfer): boolean {
  return as !== 'at-rest' || isUntouched(expected, statFd(fd));
}

/** The thread that had it open has ended, or had to be given up: it is read once more from the start. */
function lost(): LeavesRead {
  return nothing(READ.changed);
}

function nothing(status: number): LeavesRead {
  return {
    status,
    errno: 0,
    frames: [],
    literalBytes: 0,
    copiedBytes: 0,
    needsWeak: false,
    leavesRead: 0,
    end: undefined,
  };
}
