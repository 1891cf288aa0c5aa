/**
 * Reads one large file leaf by leaf and makes its delta against what the peer holds. Runs in a worker, below a held
 * root; the open file is kept between jobs by a token, and until it is closed the scope's jobs come to this worker.
 *
 * Invariant: `content` is only given when the file was the expected version from the first leaf to the last.
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
import {LEAF_BYTES, leafCountOf, sha256, type Digest} from '../model/digest.ts';
import {isUntouched, type Seen} from '../model/entry.ts';
import {nameOf, parentOf} from '../model/path.ts';
import type {OpenRoot, WithRoot} from '../model/root.ts';
import {LeafFrames, literalFrame, type PackedLeaves} from './leaf-frames.ts';
import {holesOf, toldAllocation, type LeafHoles} from './leaf-holes.ts';
import {failureOf, READ, type FileToRead} from './read-files.ts';

/** With frames that are ready to be sent. */
export interface LeavesRead extends PackedLeaves {
  status: number;
  errno: number;
  /** The rolling search needs the base's weak sums now; nothing more comes before they are given. */
  needsWeak: boolean;
  /** Set with the last leaf; without a signature for a file that is too large for one. */
  end: {content: Uint8Array; signature: Signature | undefined} | undefined;
}

export type TransferJobs = {
  'open-transfer': {
    in: {
      token: number;
      file: FileToRead;
      base: Signature | undefined;
      seed: Uint8Array;
      link: number;
      transfer: number;
    };
    /** `allocatedBytes`: its size where it has no holes. */
    out: {status: number; errno: number; allocatedBytes: number};
    part: never;
  };
  'give-weak': {in: {token: number; weak: Uint8Array | undefined}; out: undefined; part: never};
  'read-leaves': {in: {token: number; leafCount: number}; out: LeavesRead; part: never};
  /** One leaf again, literal. */
  'read-leaf': {in: {token: number; leafIndex: number}; out: LeavesRead; part: never};
  'close-transfer': {in: {token: number}; out: undefined; part: never};
};

interface OpenTransfer {
  fd: number;
  expected: Seen;
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
  const close = (token: number): undefined => {
    const transfer = open.get(token);
    open.delete(token);
    if (transfer !== undefined) closeFd(transfer.fd);
  };
  const handlers: JobHandlers<TransferJobs> = {
    'open-transfer': (input) => {
      try {
        return withRoot((root) => openTransfer(root, input, open));
      } catch (error) {
        return failureOf(error);
      }
    },
    'give-weak': ({token, weak}) => {
      open.get(token)?.differ?.provideWeak(weak === undefined ? undefined : bufferOf(weak));
      return undefined;
    },
    'read-leaves': ({token, leafCount}, context) => {
      const transfer = open.get(token);
      if (transfer === undefined) return lost();
      try {
        const read = readLeaves(transfer, leafCount);
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

function openTransfer(
  root: OpenRoot,
  input: TransferJobs['open-transfer']['in'],
  open: Map<number, OpenTransfer>,
): TransferJobs['open-transfer']['out'] {
  const dirFd = openBeneath(root.fd, parentOf(input.file.path));
  let openedFd = -1;
  try {
    const {fd, stat} = openRegular(dirFd, nameOf(input.file.path));
    openedFd = fd;
    if (!isUntouched(input.file.expected, stat)) return {status: READ.changed, errno: 0, allocatedBytes: 0};
    const holes = holesOf(fd, stat);
    open.set(input.token, newTransfer(fd, holes, input));
    openedFd = -1;
    return {status: READ.ok, errno: 0, allocatedBytes: toldAllocation(stat, holes !== undefined)};
  } finally {
    if (openedFd >= 0) closeFd(openedFd);
    closeFd(dirFd);
  }
}

function newTransfer(
  fd: number,
  holes: LeafHoles | undefined,
  input: TransferJobs['open-transfer']['in'],
): OpenTransfer {
  const {expected} = input.file;
  const numbers = {link: input.link, transfer: input.transfer};
  const seed = bufferOf(input.seed);
  const base =
    input.base === undefined
      ? undefined
      : {...input.base, strong: bufferOf(input.base.strong), weak: bufferOf(input.base.weak)};
  return {
    fd,
    expected,
    numbers,
    holes,
    differ: base === undefined ? undefined : new Differ({base, seed}),
    frames: new LeafFrames(numbers, {isSparse: holes !== undefined}),
    signature:
      expected.sizeBytes > DELTA_BYTES_MAX
        ? undefined
        : new SignatureBuilder({blockBytes: blockBytesFor(expected.sizeBytes), seed, withWeak: false}),
    content: new ContentHash(),
    undecided: [],
    leavesRead: 0,
    isFinished: false,
  };
}

/** @param leafCount leaves to be read at most; a run of holes counts as one */
function readLeaves(transfer: OpenTransfer, leafCount: number): LeavesRead {
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
  const out: LeavesRead = {...nothing(READ.ok), ...frames.take(), needsWeak: needsWeak(transfer)};
  // A differ keeps what it may still refer to; without one every leaf is in its frame by now.
  for (const leaf of literals) release(leaf);
  if (transfer.isFinished && frames.leafCount === leafTotal) {
    if (!isUntouched(transfer.expected, statFd(transfer.fd))) return {...out, status: READ.changed};
    out.end = {content: transfer.content.finish(), signature: transfer.signature?.finish()};
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
  if (leaf === undefined || !isUntouched(transfer.expected, statFd(transfer.fd))) return nothing(READ.changed);
  const frame = literalFrame(transfer.numbers, leafIndex, {
    digest: sha256(leaf),
    ops: [{kind: 'literal', bytes: leaf}],
  });
  return {...nothing(READ.ok), frames: [frame], literalBytes: leaf.length};
}

/** The thread that had it open has ended, or had to be given up: it is read once more from the start. */
function lost(): LeavesRead {
  return nothing(READ.changed);
}

function nothing(status: number): LeavesRead {
  return {status, errno: 0, frames: [], literalBytes: 0, copiedBytes: 0, needsWeak: false, end: undefined};
}

/** Structured clone turns Buffers into plain Uint8Arrays. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
