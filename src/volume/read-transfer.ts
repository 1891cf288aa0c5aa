/**
 * Reads one large file leaf by leaf and makes its delta against what the peer holds. Runs in a worker, below a held
 * root; the open file is kept between jobs by a token, and until it is closed the scope's jobs come to this worker.
 *
 * Invariant: `content` is only given when the file was the expected version from the first leaf to the last.
 */
import type {JobHandlers, ScopeHandlers} from '../base/jobs.ts';
import {OWN_MEMORY_BYTES, release} from '../base/memory.ts';
import {Differ} from '../delta/differ.ts';
import {blockBytesFor, SignatureBuilder, type Signature} from '../delta/signature.ts';
import {openBeneath} from '../linux/beneath.ts';
import {openRegular, readInto} from '../linux/files.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {contentDigest, LEAF_BYTES, leafCountOf, sha256, type Digest} from '../model/digest.ts';
import {isUntouched, type Seen} from '../model/entry.ts';
import {nameOf, parentOf} from '../model/path.ts';
import type {OpenRoot, WithRoot} from '../model/root.ts';
import {encode} from '../wire/codec.ts';
import type {LeafDelta, LeafOp} from '../wire/messages.ts';
import {failureOf, notesOf, READ, type FileToRead} from './read-files.ts';

export interface LeavesRead {
  status: number;
  errno: number;
  /** Encoded `file-leaves` messages, ready to send. */
  frames: Uint8Array[];
  literalBytes: number;
  copiedBytes: number;
  /** The rolling search needs the base's weak sums now; nothing more comes before they are given. */
  needsWeak: boolean;
  /** Set with the last leaf. */
  end: {content: Uint8Array; signature: Signature} | undefined;
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
    out: {status: number; errno: number; notes: number};
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
  link: number;
  transfer: number;
  differ: Differ | undefined;
  signature: SignatureBuilder;
  leafDigests: Buffer;
  leavesRead: number;
  leavesSent: number;
  isFinished: boolean;
}

const FRAME_LITERAL_BYTES = LEAF_BYTES; // a frame goes out when it holds this much, so that small messages get between
const FRAME_LEAVES_MAX = 64;

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
  try {
    const opened = openRegular(dirFd, nameOf(input.file.path));
    if (!isUntouched(input.file.expected, opened.stat)) {
      closeFd(opened.fd);
      return {status: READ.changed, errno: 0, notes: 0};
    }
    open.set(input.token, newTransfer(opened.fd, input));
    return {status: READ.ok, errno: 0, notes: notesOf(opened.fd, opened.stat)};
  } finally {
    closeFd(dirFd);
  }
}

function newTransfer(fd: number, input: TransferJobs['open-transfer']['in']): OpenTransfer {
  const {expected} = input.file;
  const seed = bufferOf(input.seed);
  const base =
    input.base === undefined
      ? undefined
      : {...input.base, strong: bufferOf(input.base.strong), weak: bufferOf(input.base.weak)};
  return {
    fd,
    expected,
    link: input.link,
    transfer: input.transfer,
    differ: base === undefined ? undefined : new Differ({base, seed}),
    signature: new SignatureBuilder({blockBytes: blockBytesFor(expected.sizeBytes), seed, withWeak: false}),
    leafDigests: Buffer.alloc(leafCountOf(expected.sizeBytes) * 32),
    leavesRead: 0,
    leavesSent: 0,
    isFinished: false,
  };
}

function readLeaves(transfer: OpenTransfer, leafCount: number): LeavesRead {
  const leafTotal = leafCountOf(transfer.expected.sizeBytes);
  const out: LeavesRead = nothing(READ.ok);
  const ready: {ops: LeafOp[]}[] = [];
  for (let count = 0; count < leafCount && transfer.leavesRead < leafTotal; count++) {
    if (transfer.differ?.needsWeak === true) break;
    const leaf = readLeaf(transfer, transfer.leavesRead);
    if (leaf === undefined) return {...out, status: READ.changed};
    sha256(leaf).copy(transfer.leafDigests, transfer.leavesRead * 32);
    transfer.signature.update(leaf);
    transfer.leavesRead++;
    if (transfer.differ === undefined) ready.push({ops: [{kind: 'literal', bytes: leaf}]});
    else transfer.differ.push(leaf);
  }
  out.needsWeak = transfer.differ?.needsWeak === true;
  if (transfer.leavesRead === leafTotal && !out.needsWeak && !transfer.isFinished) {
    transfer.differ?.finish();
    out.needsWeak = transfer.differ?.needsWeak === true;
    transfer.isFinished = !out.needsWeak;
  }
  if (transfer.differ !== undefined) ready.push(...transfer.differ.take());
  packLeaves(transfer, ready, out);
  // A differ keeps what it may still refer to; without one every leaf is in its frame by now.
  if (transfer.differ === undefined)
    for (const {ops} of ready) for (const op of ops) if (op.kind === 'literal') release(op.bytes);
  if (transfer.isFinished && transfer.leavesSent === leafTotal) {
    if (!isUntouched(transfer.expected, statFd(transfer.fd))) return {...out, status: READ.changed};
    out.end = {content: contentDigest(transfer.leafDigests), signature: transfer.signature.finish()};
  }
  return out;
}

function readLeaf(transfer: OpenTransfer, leafIndex: number): Buffer | undefined {
  const offset = leafIndex * LEAF_BYTES;
  const leaf = Buffer.allocUnsafeSlow(Math.min(LEAF_BYTES, transfer.expected.sizeBytes - offset));
  return readInto(transfer.fd, leaf, 0, leaf.length, offset) === leaf.length ? leaf : undefined;
}

/** Leaves into frames: small enough not to hold back others, large enough to cost little. */
function packLeaves(transfer: OpenTransfer, ready: {ops: LeafOp[]}[], out: LeavesRead): void {
  let leaves: LeafDelta[] = [];
  let literalBytes = 0;
  const flush = (): void => {
    if (leaves.length === 0) return;
    const leafIndexFirst = transfer.leavesSent - leaves.length;
    const {link, transfer: number} = transfer;
    out.frames.push(encode({kind: 'file-leaves', link, transfer: number, leafIndexFirst, leaves}));
    leaves = [];
    literalBytes = 0;
  };
  for (const {ops} of ready) {
    const literal = ops.reduce((sum, op) => sum + (op.kind === 'literal' ? op.bytes.length : 0), 0);
    if (literalBytes + literal > FRAME_LITERAL_BYTES || leaves.length === FRAME_LEAVES_MAX) flush();
    leaves.push({digest: leafDigest(transfer, transfer.leavesSent), ops});
    literalBytes += literal;
    out.literalBytes += literal;
    out.copiedBytes += ops.reduce((sum, op) => sum + (op.kind === 'copy' ? op.sizeBytes : 0), 0);
    transfer.leavesSent++;
  }
  flush();
}

function readLiteralLeaf(transfer: OpenTransfer, leafIndex: number): LeavesRead {
  const leaf = readLeaf(transfer, leafIndex);
  const digest = leafDigest(transfer, leafIndex);
  if (leaf === undefined || !sha256(leaf).equals(digest)) return nothing(READ.changed);
  const {link, transfer: number} = transfer;
  const leaves = [{digest, ops: [{kind: 'literal' as const, bytes: leaf}]}];
  const frame = encode({kind: 'file-leaves', link, transfer: number, leafIndexFirst: leafIndex, leaves});
  return {...nothing(READ.ok), frames: [frame], literalBytes: leaf.length};
}

function leafDigest(transfer: OpenTransfer, leafIndex: number): Digest {
  return transfer.leafDigests.subarray(leafIndex * 32, leafIndex * 32 + 32);
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
