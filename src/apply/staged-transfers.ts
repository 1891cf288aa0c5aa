/**
 * Receives large files leaf by leaf into the staging folder, outside any batch, and goes on with the part that an earlier
 * transfer has left there (partial-file.ts). Runs in a worker; while a file
 * is open there, the scope's jobs come to it. Files are known by a token, unique in this process: transfers of two sessions
 * may have the same number.
 *
 * Invariant: a file is staged only when all its leaves are there (receiving.ts, same-leaves.ts) and their digests make the
 * announced content.
 */
import {constants} from 'node:fs';
import type {JobHandlers, ScopeHandlers} from '../base/jobs.ts';
import {release} from '../base/memory.ts';
import {clone} from '../linux/extents.ts';
import {truncate} from '../linux/files.ts';
import {closeFd, openAt} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {syncFd} from '../linux/sync.ts';
import {ContentHash} from '../model/content-hash.ts';
import {LEAF_BYTES, leafCountOf, type Digest} from '../model/digest.ts';
import {isUntouched, type Seen} from '../model/entry.ts';
import type {Failed, OpResult} from '../model/op.ts';
import type {PartialFile} from '../model/partial-file.ts';
import type {Name, RelPath} from '../model/path.ts';
import type {OpenRoot} from '../model/root.ts';
import {decode} from '../wire/codec.ts';
import type {OpenPlaces, WithPlaces} from './context.ts';
import {openBase, type OpenBase} from './delta-base.ts';
import {DONE, failure, failureFrom} from './failure.ts';
import {noSpace} from './make-room.ts';
import {clearRange, fit, heldDigests, removePart, takeUp, writeZeros, type Noted} from './partial-file.ts';
import {leafInto, writeLeaves, type LeavesWritten, type Receiving} from './receiving.ts';
import {removeIfPossible} from './remove-tree.ts';
import {mayStayInPlace, RedoWriter} from './redo.ts';
import {roomFor, roomForLeaves, type Gone} from './room-for-file.ts';
import {passSame, type SamePassed} from './same-leaves.ts';
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
      /** What an earlier transfer of the path has left: it is gone on with if it is still there. */
      partial: PartialFile | undefined;
      /** Such files of other paths, which go one by one where room is needed. */
      spare: readonly PartialFile[];
      /** A file of this size or more is not staged whole, but what changes in it: see redo.ts. */
      inPlaceAbove: number | undefined;
    };
    out: OpenedStage;
    part: never;
  };
  /** Digests of leaves that are in the file from an earlier transfer, from one on; fewer where that ends. */
  'held-leaves': {
    in: {token: number; leafIndexFirst: number; leafCount: number};
    out: {digests: Uint8Array[]};
    part: never;
  };
  /** @returns leaves that do not have their digest, and whether the base is to blame */
  'write-leaves': {
    in: {token: number; frame: Uint8Array};
    out: LeavesWritten & {freed?: Freed};
    part: never;
  };
  /** The next leaves are as the base has them: as many of them are passed as one job may take. */
  'pass-same': {
    in: {token: number; leafIndexFirst: number; digests: Uint8Array};
    out: SamePassed & {freed?: Freed};
    part: never;
  };
  /** The next leaves of a file with holes are zeros: nothing is written. */
  'pass-holes': {in: {token: number; leafIndexFirst: number; leafCount: number}; out: OpResult; part: never};
  /** A file that is not whole is closed all the same, and is to be dropped. */
  'finish-staged': {in: {token: number; content: Uint8Array}; out: OpResult; part: never};
  /**
   * Closes the file and removes it; one that is not there is fine.
   * @param mayStay it is kept if enough of it came, so that a later transfer can go on
   */
  'drop-staged': {in: {token: number; stage: string; mayStay: boolean}; out: {isKept: boolean}; part: never};
  /** Removes parts that nobody goes on with. */
  'drop-parts': {in: {parts: readonly PartialFile[]}; out: undefined; part: never};
};

export interface OpenedStage {
  result: OpResult;
  /** The file in the staging folder; undefined where there is none. */
  file: Noted | undefined;
  /** Files of other paths that went. */
  removed: Name[];
  freed?: Freed;
  /** See StagedFile. Then `file` is undefined: no later transfer can go on with it. */
  redoOf?: Seen | undefined;
}

/** A finished transfer. */
export interface StagedFile {
  /** Its name in the staging folder. */
  stage: string;
  content: Uint8Array;
  /** Set where it holds only what changes of the file that is at the path (redo.ts): that file as it was. */
  redoOf?: Seen | undefined;
}

/** What a batch needs to know of staged files. */
export interface StagedTransfers {
  /** A finished transfer with that content. */
  claim(transfer: number, content: Digest): StagedFile | undefined;
}

const WORTH_BYTES_MIN = 1 << 20; // less is sent again soon

const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;

export function stagedHandlers(withPlaces: WithPlaces): ScopeHandlers<StagedJobs> {
  const open = new Map<number, Receiving>();
  const close = (token: number): unknown => {
    const receiving = open.get(token);
    open.delete(token);
    return receiving && closeFiles(receiving);
  };
  const handlers: JobHandlers<StagedJobs> = {
    'open-staged': (input) => {
      const gone: Gone = {removed: []};
      const {result, receiving} = tryToOpen(withPlaces, input, gone);
      if (receiving === undefined) return {result, file: undefined, ...gone};
      open.set(input.token, receiving);
      if (receiving.redo !== undefined) return {result, file: undefined, redoOf: input.base?.expected, ...gone};
      const {ino, btime} = statFd(receiving.fd);
      return {result, file: {stage: receiving.stage, ino, btime}, ...gone};
    },
    'held-leaves': ({token, leafIndexFirst, leafCount}) => {
      const receiving = open.get(token);
      if (receiving === undefined) return {digests: []};
      const {sizeBytes} = receiving;
      return {digests: heldDigests(receiving, {leafIndexFirst, leafCount, sizeBytes}, leafInto)};
    },
    'write-leaves': ({token, frame}) => writeFrame(open.get(token), frame, withPlaces),
    'pass-holes': ({token, leafIndexFirst, leafCount}) => {
      const receiving = open.get(token);
      return receiving === undefined ? LOST : passHoles(receiving, leafIndexFirst, leafCount);
    },
    'pass-same': ({token, leafIndexFirst, digests}) => {
      const receiving = open.get(token);
      if (receiving === undefined) return {passedCount: 0, rejected: [], isBaseChanged: false, result: LOST};
      return passSame(receiving, {leafIndexFirst, digests}, withPlaces);
    },
    'finish-staged': ({token, content}) => {
      const receiving = open.get(token);
      if (receiving === undefined) return LOST;
      const result = finish(receiving, content);
      const fault = close(token);
      return fault === undefined ? result : failureFrom(fault, receiving.path);
    },
    'drop-staged': ({token, stage, mayStay}) => {
      // Where the thread that had it open has ended nobody knows what came.
      const isWorth = (open.get(token)?.worthBytes ?? Infinity) >= WORTH_BYTES_MIN;
      const isKept = close(token) === undefined && mayStay && isWorth;
      if (!isKept) withPlaces((_root, {stagingFd}) => removeIfPossible(stagingFd, stage));
      return {isKept};
    },
    'drop-parts': ({parts}) =>
      withPlaces((_root, {stagingFd}) => {
        for (const part of parts) removePart(stagingFd, part);
        return undefined;
      }),
  };
  return {
    handlers,
    isHolding: () => open.size > 0,
    close: () => {
      for (const token of [...open.keys()]) close(token); // files that nobody noted go with the next sweep of the folder
    },
  };
}

function writeFrame(
  receiving: Receiving | undefined,
  frame: Uint8Array,
  withPlaces: WithPlaces,
): StagedJobs['write-leaves']['out'] {
  const message = decode(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength));
  if (message.kind !== 'file-leaves') throw new Error('a frame that is no file-leaves was handed over');
  if (receiving === undefined) return {rejected: [], isBaseChanged: false, result: LOST};
  const {fault, freed} = roomForLeaves(receiving, message.leaves.length, withPlaces);
  const written =
    fault === undefined
      ? writeLeaves(receiving, message.leafIndexFirst, message.leaves)
      : {rejected: [], isBaseChanged: false, result: fault};
  release(frame);
  return {...written, ...freed};
}

/** @returns an error that says that what was written may not be there: some filesystems tell it only now. Source: close(2) */
function closeFiles({fd, baseFd}: Receiving): unknown {
  let fault: unknown;
  try {
    closeFd(fd);
  } catch (error) {
    fault = error;
  }
  if (baseFd >= 0) closeFd(baseFd);
  return fault;
}

function finish(receiving: Receiving, content: Uint8Array): OpResult {
  try {
    const {missing, nextLeaf, sizeBytes} = receiving;
    const [leaf = nextLeaf] = missing.keys();
    if (leaf < leafCountOf(sizeBytes)) return failure('corrupt', receiving.path, `its leaf ${leaf} is missing`);
    if (!receiving.content.finish().equals(content))
      return failure('corrupt', receiving.path, 'its leaves do not make the announced content');
    const {trusted, baseFd} = receiving;
    if (trusted !== undefined && !isUntouched(trusted, statFd(baseFd)))
      return failure('base-changed', receiving.path, 'what its delta was made against changed meanwhile');
    // Half a patch is worth nothing, whatever was agreed.
    if (receiving.isDurable || receiving.redo !== undefined) syncFd(receiving.fd);
    return DONE;
  } catch (error) {
    return failureFrom(error, receiving.path);
  }
}

/** The thread that had it open has ended, or had to be given up: the source sends it once more. */
const LOST: OpResult = {status: 'failed', code: 'corrupt', message: 'what was received is lost; it is sent again'};

function tryToOpen(
  withPlaces: WithPlaces,
  input: StagedJobs['open-staged']['in'],
  gone: Gone,
): {result: OpResult; receiving?: Receiving} {
  try {
    const opened = withPlaces((root, places) => openStaged(root, places, input, gone));
    return 'status' in opened ? {result: opened} : {result: DONE, receiving: opened};
  } catch (error) {
    return {result: failureFrom(error, input.path)};
  }
}

/** @param gone gets what had to go */
function openStaged(
  root: OpenRoot,
  places: OpenPlaces,
  input: StagedJobs['open-staged']['in'],
  gone: Gone,
): Receiving | Failed {
  const {stage, path, sizeBytes, isDurable, partial, spare} = input;
  const isSparse = input.allocatedBytes !== undefined;
  const taken = partial && takeUp(places.stagingFd, partial, {sizeBytes, isSparse});
  if (partial !== undefined && taken === undefined) {
    removePart(places.stagingFd, partial);
    gone.removed.push(partial.stage);
  }
  let fd = taken?.fd ?? -1;
  let base: OpenBase | undefined;
  try {
    base = openBase(root.fd, input.base);
    if (base === undefined)
      return failure('base-changed', path, 'what its delta was made against is not there any more');
    const isInPlace = taken === undefined && mayStayInPlace(input, base.baseFd);
    const haveBytes = isInPlace ? base.base.sizeBytes : (taken?.allocatedBytes ?? 0);
    const neededBytes = Math.max(0, (input.allocatedBytes ?? sizeBytes) - haveBytes);
    const room = roomFor(neededBytes, places, spare, gone);
    if (neededBytes > room.spareBytes) return noSpace(path, neededBytes, room);
    if (fd < 0) fd = openAt(places.stagingFd, stage, CREATE, 0o600);
    const isCloned = isInPlace && clone(fd, base.baseFd);
    const redo = isInPlace && !isCloned ? new RedoWriter(fd) : undefined;
    const filled = isCloned ? fit(fd, statFd(fd), {sizeBytes, isSparse}) : taken;
    if (isSparse && filled === undefined && redo === undefined) truncate(fd, sizeBytes);
    const received = {content: new ContentHash(), nextLeaf: 0, missing: new Map<number, Digest>()};
    const heldBytes = filled?.heldBytes ?? 0;
    const worthBytes = taken?.allocatedBytes ?? 0;
    const name = taken === undefined ? stage : (partial as PartialFile).stage;
    const receiving = {
      stage: name,
      path,
      fd,
      sizeBytes,
      ...base,
      expectedBase: input.base?.expected,
      trusted: undefined,
      ...received,
      isSparse,
      isDurable,
      reserve: places.reserve,
      heldBytes,
      worthBytes,
      redo,
      hasBase: isInPlace,
    };
    fd = -1;
    base = undefined;
    return receiving;
  } finally {
    if (fd >= 0) closeFd(fd);
    if (base !== undefined && base.baseFd >= 0) closeFd(base.baseFd);
  }
}

function passHoles(receiving: Receiving, leafIndexFirst: number, leafCount: number): OpResult {
  const {path, sizeBytes, nextLeaf, isSparse} = receiving;
  const end = leafIndexFirst + leafCount;
  if (!isSparse || leafIndexFirst !== nextLeaf || end > leafCountOf(sizeBytes))
    return failure('corrupt', path, `holes from leaf ${leafIndexFirst} to ${end} came out of turn`);
  const [from, to] = [leafIndexFirst * LEAF_BYTES, Math.min(sizeBytes, end * LEAF_BYTES)];
  try {
    if (receiving.redo !== undefined) receiving.redo.zeros(from, to - from);
    else if (!clearRange(receiving, from, to)) writeZeros(receiving, from, to);
  } catch (error) {
    return failureFrom(error, path);
  }
  receiving.content.zeros(to - from);
  receiving.nextLeaf = end;
  return DONE;
}
