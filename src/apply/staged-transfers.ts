/**
 * Receives large files leaf by leaf into the staging folder, outside any batch. Runs in a worker; while a file
 * is open there, the scope's jobs come to it. Files are known by a token, unique in this process: transfers of two sessions
 * may have the same number.
 *
 * Invariant: a leaf is written only when it has its digest, wherever its bytes came from; a file is staged only when
 * all its leaves are there and make the announced content. Memory does not grow with the file: leaves come in order, and
 * a digest is kept only of those that were rejected.
 */
import {constants} from 'node:fs';
import type {JobHandlers, ScopeHandlers} from '../base/jobs.ts';
import {release} from '../base/memory.ts';
import {buildLeaf, NO_BASE, type BaseReader} from '../delta/patch.ts';
import {openBeneath} from '../linux/beneath.ts';
import {openRegular, readInto, truncate, unlinkAt, writeFrom} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd, openAt} from '../linux/open-fd.ts';
import {startWriteback, syncFd} from '../linux/sync.ts';
import {ContentHash} from '../model/content-hash.ts';
import {LEAF_BYTES, leafCountOf, sha256, type Digest} from '../model/digest.ts';
import {isUntouched, type Seen} from '../model/entry.ts';
import type {Failed, OpResult} from '../model/op.ts';
import {nameOf, parentOf, type RelPath} from '../model/path.ts';
import {decode} from '../wire/codec.ts';
import type {LeafDelta} from '../wire/messages.ts';
import type {WithPlaces} from './context.ts';
import {DONE, failure, failureFrom} from './failure.ts';
import {makeRoom, noSpace, roomOn} from './make-room.ts';
import {writeSparse} from './sparse.ts';
import type {Freed} from './trash-age.ts';

export type StagedJobs = {
  'open-staged': {
    in: {
      token: number;
      stage: string;
      path: RelPath;
      sizeBytes: number;
      base: {path: RelPath; expected: Seen} | undefined;
      isDurable: boolean;
      /** Of a file with holes: what it takes on the source. */
      allocatedBytes: number | undefined;
    };
    out: OpResult & {freed?: Freed};
    part: never;
  };
  /** @returns leaves that do not have their digest, and whether the base is to blame */
  'write-leaves': {
    in: {token: number; frame: Uint8Array};
    out: {rejected: number[]; isBaseChanged: boolean; result: OpResult; freed?: Freed};
    part: never;
  };
  /** The next leaves of a file with holes are zeros: nothing is written. */
  'pass-holes': {in: {token: number; leafIndexFirst: number; leafCount: number}; out: OpResult; part: never};
  /** A file that is not whole is closed all the same, and is to be dropped. */
  'finish-staged': {in: {token: number; content: Uint8Array}; out: OpResult; part: never};
  /** Removes the file, open or not; one that is not there is fine. */
  'drop-staged': {in: {token: number; stage: string}; out: undefined; part: never};
};

/** What a batch needs to know of staged files. */
export interface StagedTransfers {
  /** The staging name of a finished transfer with that content, once. */
  claim(transfer: number, content: Digest): string | undefined;
}

interface Receiving {
  stage: string;
  path: RelPath;
  fd: number;
  sizeBytes: number;
  baseFd: number;
  base: BaseReader;
  /** Over the digests that were announced, up to the next leaf. */
  content: ContentHash;
  nextLeaf: number;
  /** Announced digests of leaves that did not have them and are to come again. */
  missing: Map<number, Digest>;
  isSparse: boolean;
  isDurable: boolean;
  /** See OpenPlaces. */
  reserve: number;
}

const MISSING_MAX = 1_024; // a source gives up long before

const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
const leafInto = Buffer.allocUnsafeSlow(LEAF_BYTES); // a thread builds one leaf at a time, whatever the volume

export function stagedHandlers(withPlaces: WithPlaces): ScopeHandlers<StagedJobs> {
  const open = new Map<number, Receiving>();
  const close = (token: number): void => {
    const receiving = open.get(token);
    open.delete(token);
    if (receiving === undefined) return;
    closeFd(receiving.fd);
    if (receiving.baseFd >= 0) closeFd(receiving.baseFd);
  };
  const handlers: JobHandlers<StagedJobs> = {
    'open-staged': (input) => {
      try {
        return withPlaces((root, places) => {
          const {stagingFd, reserve} = places;
          const neededBytes = input.allocatedBytes ?? input.sizeBytes;
          const room = makeRoom(places, neededBytes);
          const freed = room.freed && {freed: room.freed};
          if (neededBytes > room.spareBytes) return {...noSpace(input.path, neededBytes, room), ...freed};
          const base = openBase(root.fd, input.base);
          if (base === undefined)
            return failure('base-changed', input.path, 'what its delta was made against is not there any more');
          open.set(input.token, openStaged({stagingFd, reserve}, base, input));
          return {...DONE, ...freed};
        });
      } catch (error) {
        return failureFrom(error, input.path);
      }
    },
    'write-leaves': ({token, frame}) => {
      const message = decode(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength));
      if (message.kind !== 'file-leaves') throw new Error('a frame that is no file-leaves was handed over');
      const receiving = open.get(token);
      if (receiving === undefined) return {rejected: [], isBaseChanged: false, result: LOST};
      const {fault, freed} = roomForLeaves(receiving, message.leaves.length, withPlaces);
      const written =
        fault === undefined
          ? writeLeaves(receiving, message.leafIndexFirst, message.leaves)
          : {rejected: [], isBaseChanged: false, result: fault};
      release(frame);
      return {...written, ...freed};
    },
    'pass-holes': ({token, leafIndexFirst, leafCount}) => {
      const receiving = open.get(token);
      return receiving === undefined ? LOST : passHoles(receiving, leafIndexFirst, leafCount);
    },
    'finish-staged': ({token, content}) => {
      const receiving = open.get(token);
      if (receiving === undefined) return LOST;
      const result = finish(receiving, content);
      close(token);
      return result;
    },
    'drop-staged': ({token, stage}) => {
      close(token);
      withPlaces((_root, {stagingFd}) => unlinkIfAny(stagingFd, stage));
      return undefined;
    },
  };
  return {
    handlers,
    isHolding: () => open.size > 0,
    close: () => {
      for (const token of [...open.keys()]) close(token); // the files go with the next sweep of the folder
    },
  };
}

function unlinkIfAny(stagingFd: number, stage: string): void {
  try {
    unlinkAt(stagingFd, stage);
  } catch (error) {
    if (!isLinuxError(error, 'ENOENT')) throw error;
  }
}

function finish(receiving: Receiving, content: Uint8Array): OpResult {
  try {
    const {missing, nextLeaf, sizeBytes} = receiving;
    const [leaf = nextLeaf] = missing.keys();
    if (leaf < leafCountOf(sizeBytes)) return failure('corrupt', receiving.path, `its leaf ${leaf} is missing`);
    if (!receiving.content.finish().equals(content))
      return failure('corrupt', receiving.path, 'its leaves do not make the announced content');
    if (receiving.isDurable) syncFd(receiving.fd);
    return DONE;
  } catch (error) {
    return failureFrom(error, receiving.path);
  }
}

/** The thread that had it open has ended, or had to be given up: the source sends it once more. */
const LOST: OpResult = {status: 'failed', code: 'corrupt', message: 'what was received is lost; it is sent again'};

interface OpenBase {
  baseFd: number;
  base: BaseReader;
}

/** The reserve may have shrunk since the file was begun: by others, or by files that came beside it. */
function roomForLeaves(
  {fd, path, reserve}: Receiving,
  leafCount: number,
  withPlaces: WithPlaces,
): {fault?: Failed; freed?: {freed: Freed}} {
  const neededBytes = leafCount * LEAF_BYTES;
  if (roomOn(fd, reserve).spareBytes >= neededBytes) return {};
  try {
    return withPlaces((_root, places) => {
      const room = makeRoom(places, neededBytes);
      const fault = neededBytes > room.spareBytes ? noSpace(path, neededBytes, room) : undefined;
      return {...(fault && {fault}), ...(room.freed && {freed: {freed: room.freed}})};
    });
  } catch (error) {
    return {fault: failureFrom(error, path)};
  }
}

function openStaged(
  {stagingFd, reserve}: {stagingFd: number; reserve: number},
  base: OpenBase,
  input: StagedJobs['open-staged']['in'],
): Receiving {
  const {stage, path, sizeBytes, isDurable} = input;
  const isSparse = input.allocatedBytes !== undefined;
  let fd = -1;
  try {
    fd = openAt(stagingFd, stage, CREATE, 0o600);
    if (isSparse) truncate(fd, sizeBytes);
    const received = {content: new ContentHash(), nextLeaf: 0, missing: new Map<number, Digest>()};
    return {stage, path, fd, sizeBytes, ...base, ...received, isSparse, isDurable, reserve};
  } catch (error) {
    if (fd >= 0) closeFd(fd);
    if (base.baseFd >= 0) closeFd(base.baseFd);
    throw error;
  }
}

/** @returns undefined when it is not what the state knows: the delta does not fit it */
function openBase(rootFd: number, base: StagedJobs['open-staged']['in']['base']): OpenBase | undefined {
  if (base === undefined) return {baseFd: -1, base: NO_BASE};
  let dirFd = -1;
  try {
    dirFd = openBeneath(rootFd, parentOf(base.path));
    const {fd, stat} = openRegular(dirFd, nameOf(base.path));
    const read = (offset: number, size: number, into: Buffer, at: number): void => {
      if (readInto(fd, into, at, size, offset) !== size) into.fill(0, at, at + size); // shorter by now: its digest will not fit
    };
    if (isUntouched(base.expected, stat)) return {baseFd: fd, base: {sizeBytes: stat.sizeBytes, read}};
    closeFd(fd);
    return undefined;
  } catch (error) {
    if (isLinuxError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL')) return undefined;
    throw error;
  } finally {
    if (dirFd >= 0) closeFd(dirFd);
  }
}

function writeLeaves(
  receiving: Receiving,
  leafIndexFirst: number,
  leaves: readonly LeafDelta[],
): StagedJobs['write-leaves']['out'] {
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
  const bytes = only?.kind === 'literal' && only.bytes.length === leafBytes ? only.bytes : built(ops, leafBytes, base);
  if (!sha256(bytes).equals(digest)) return false;
  if (isSparse) writeSparse(fd, bytes, offset);
  else writeFrom(fd, bytes, 0, leafBytes, offset);
  if (isDurable) startWriteback(fd, offset, leafBytes); // so that the fsync at the end is short
  return true;
}

function built(ops: LeafDelta['ops'], sizeBytes: number, base: BaseReader): Buffer {
  buildLeaf(ops, sizeBytes, leafInto, base);
  return leafInto.subarray(0, sizeBytes);
}

function passHoles(receiving: Receiving, leafIndexFirst: number, leafCount: number): OpResult {
  const {path, sizeBytes, nextLeaf, isSparse} = receiving;
  const end = leafIndexFirst + leafCount;
  if (!isSparse || leafIndexFirst !== nextLeaf || end > leafCountOf(sizeBytes))
    return failure('corrupt', path, `holes from leaf ${leafIndexFirst} to ${end} came out of turn`);
  receiving.content.zeros(Math.min(sizeBytes, end * LEAF_BYTES) - leafIndexFirst * LEAF_BYTES);
  receiving.nextLeaf = end;
  return DONE;
}
