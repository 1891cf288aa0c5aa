/**
 * Reads one large file leaf by leaf and makes its delta against what the peer holds. Runs in a worker, below a held
 * root; the open file is kept between jobs by a token, and until it is closed the scope's jobs come to this worker.
 *
 * Invariant: `content` is only given when the file was the version that `open-transfer` has told from the first leaf to
 * the last, or when it is told to be torn.
 */
import type {JobHandlers, ScopeHandlers} from '../base/jobs.ts';
import {OWN_MEMORY_BYTES, release} from '../base/memory.ts';
import {DELTA_BYTES_MAX} from '../delta/block.ts';
import {Differ} from '../delta/differ.ts';
import {blockBytesFor, SignatureBuilder, type Signature} from '../delta/signature.ts';
import {openBeneath} from '../linux/beneath.ts';
import {openRegular, readInto} from '../linux/files.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {ContentHash, zeroLeafDigest} from '../model/content-hash.ts';
import {DIGEST_BYTES, LEAF_BYTES, leafCountOf, sha256, type Digest} from '../model/digest.ts';
import {isUntouched, seenOf, type FileTime, type Seen, type Stat, type StatMeta} from '../model/entry.ts';
import {nameOf, parentOf} from '../model/path.ts';
import type {Reading} from '../model/reading.ts';
import type {OpenRoot, WithRoot} from '../model/root.ts';
import {FileClones} from './file-clones.ts';
import {LeafFrames, literalFrame, type PackedLeaves} from './leaf-frames.ts';
import {holesOf, toldAllocation, type LeafHoles} from './leaf-holes.ts';
import {failureOf, READ, type FileToRead} from './read-files.ts';

/** With frames that are ready to be sent. */
export interface LeavesRead extends PackedLeaves {
  status: number;
  errno: number;
  /** The rolling search needs the base's weak sums now; nothing more comes before they are given. */
  needsWeak: boolean;
  /** Of the file, in all. */
  leavesRead: number;
  /** Set with the last leaf. */
  end: TransferEnd | undefined;
}

export interface TransferEnd {
  content: Uint8Array;
  /** None for a file that is too large for one. */
  signature: Signature | undefined;
  /** The file changed while it was read as it is: these bytes were never together in it. */
  isTorn: boolean;
  /** Whether the file is still what was read. */
  isCurrent: boolean;
  /** Of the file, now. */
  mtime: FileTime;
}

/** What a transfer reads. */
export interface OpenedVersion extends StatMeta {
  sizeBytes: number;
  /** Whether it is the version that was asked for. */
  isExpected: boolean;
}

export type TransferJobs = {
  'open-transfer': {
    in: {
      token: number;
      file: FileToRead;
      reading: Reading;
      base: Signature | undefined;
      seed: Uint8Array;
      link: number;
      transfer: number;
    };
    /** `allocatedBytes`: its size where it has no holes. `as`: how it is read now. */
    out: {status: number; errno: number; allocatedBytes: number; as: Reading; version: OpenedVersion | undefined};
    part: never;
  };
  'give-weak': {in: {token: number; weak: Uint8Array | undefined}; out: undefined; part: never};
  /** `held`: what the target has already; nothing behind it is read unless it is the last of that. */
  'read-leaves': {in: {token: number; leafCount: number; held?: Held | undefined}; out: LeavesRead; part: never};
  /** One leaf again, literal. */
  'read-leaf': {in: {token: number; leafIndex: number}; out: LeavesRead; part: never};
  'close-transfer': {in: {token: number}; out: undefined; part: never};
};

/** Digests of leaves in a row that the target has. */
interface Held {
  leafIndexFirst: number;
  digests: Uint8Array;
  isLast: boolean;
}

interface OpenTransfer {
  /** What is read: the file, or its clone. */
  fd: number;
  /** The file itself. */
  fileFd: number;
  as: Reading;
  expected: Seen;
  /** Whether `expected` is the version of the clone's bytes, and not an older one. */
  isExact: boolean;
  numbers: {link: number; transfer: number};
  holes: LeafHoles | undefined;
  differ: Differ | undefined;
  frames: LeafFrames;
  signature: SignatureBuilder | undefined;
  content: ContentHash;
  /** Of leaves that were read and not packed: the differ has not decided on them. */
  undecided: Digest[];
  leavesRead: number;
  isFinished: boolean;
}

const RUN_LEAVES_MAX = 1 << 19; // 128 GiB: about 10 ms of hashing, several times in a job

export function transferHandlers(withRoot: WithRoot): ScopeHandlers<TransferJobs> {
  const open = new Map<number, OpenTransfer>();
  const clones = new FileClones();
  const close = (token: number): undefined => {
    const transfer = open.get(token);
    open.delete(token);
    if (transfer === undefined) return;
    try {
      if (transfer.fd !== transfer.fileFd) clones.close(transfer.fd);
    } finally {
      closeFd(transfer.fileFd);
    }
  };
  const handlers: JobHandlers<TransferJobs> = {
    'open-transfer': (input) => {
      try {
        return withRoot((root) => openTransfer(root, input, {open, clones}));
      } catch (error) {
        return notOpened(failureOf(error));
      }
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
  };
  return {
    handlers,
    isHolding: () => open.size > 0,
    close: () => {
      for (const token of [...open.keys()]) close(token);
    },
  };
}

type Opened = TransferJobs['open-transfer']['out'];

function notOpened({status, errno}: {status: number; errno: number}): Opened {
  return {status, errno, allocatedBytes: 0, as: 'at-rest', version: undefined};
}

function openTransfer(
  root: OpenRoot,
  input: TransferJobs['open-transfer']['in'],
  {open, clones}: {open: Map<number, OpenTransfer>; clones: FileClones},
): Opened {
  const {path, expected} = input.file;
  const dirFd = openBeneath(root.fd, parentOf(path));
  let openedFd = -1;
  let cloneFd = -1;
  try {
    const opened = openRegular(dirFd, nameOf(path));
    openedFd = opened.fd;
    if (input.reading === 'at-rest' && !isUntouched(expected, opened.stat))
      return notOpened({status: READ.changed, errno: 0});
    const clone = input.reading === 'at-rest' ? undefined : clones.take(dirFd, opened.fd);
    cloneFd = clone?.fd ?? -1;
    const {fd, stat, isExact} = clone ?? {...opened, isExact: true};
    const as = clone !== undefined ? 'clone' : input.reading === 'torn' ? 'torn' : 'at-rest';
    const holes = as === 'torn' ? undefined : holesOf(fd, stat);
    open.set(input.token, newTransfer({fd, fileFd: opened.fd, stat, isExact, as, holes}, input));
    openedFd = -1;
    cloneFd = -1;
    const {sizeBytes, mode, uid, gid, mtime} = stat;
    const isExpected = isExact && isUntouched(expected, stat);
    const allocatedBytes = toldAllocation(stat, holes !== undefined);
    return {status: READ.ok, errno: 0, allocatedBytes, as, version: {sizeBytes, mode, uid, gid, mtime, isExpected}};
  } finally {
    if (cloneFd >= 0) clones.close(cloneFd);
    if (openedFd >= 0) closeFd(openedFd);
    closeFd(dirFd);
  }
}

function newTransfer(
  opened: {fd: number; fileFd: number; stat: Stat; isExact: boolean; as: Reading; holes: LeafHoles | undefined},
  input: TransferJobs['open-transfer']['in'],
): OpenTransfer {
  const {stat, ...rest} = opened;
  const {sizeBytes} = stat;
  const numbers = {link: input.link, transfer: input.transfer};
  const seed = bufferOf(input.seed);
  const base =
    input.base === undefined
      ? undefined
      : {...input.base, strong: bufferOf(input.base.strong), weak: bufferOf(input.base.weak)};
  return {
    ...rest,
    expected: seenOf(stat),
    numbers,
    differ: base === undefined ? undefined : new Differ({base, seed}),
    frames: new LeafFrames(numbers, {isSparse: opened.holes !== undefined}),
    signature:
      sizeBytes > DELTA_BYTES_MAX
        ? undefined
        : new SignatureBuilder({blockBytes: blockBytesFor(sizeBytes), seed, withWeak: false}),
    content: new ContentHash(),
    undecided: [],
    leavesRead: 0,
    isFinished: false,
  };
}

/** @param leafCount leaves to be read at most; a run of holes counts as one */
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
    transfer.content.leaf(digest);
    transfer.signature?.update(leaf);
    transfer.leavesRead++;
    if (differ === undefined) {
      frames.add(digest, [isZeros ? {kind: 'zeros', sizeBytes: leaf.length} : {kind: 'literal', bytes: leaf}]);
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
  transfer.content.leaf(digest);
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

/** Structured clone turns Buffers into plain Uint8Arrays. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
