/**
 * Opens a large file to be sent: the file itself or a clone of it, and finds out whether its blocks tell what has changed
 * since a version that is kept. Keeps the version once it was read.
 *
 * Invariant: who asks for the file at rest gets the version that was asked for, or is told that it changed.
 */
import {DELTA_BYTES_MAX} from '../delta/block.ts';
import {Differ} from '../delta/differ.ts';
import {blockBytesFor, SignatureBuilder, type Signature} from '../delta/signature.ts';
import {openBeneath} from '../linux/beneath.ts';
import {openRegular} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statAtIfAny} from '../linux/stat.ts';
import {dropCached} from '../linux/sync.ts';
import {leafCountOf, type Digest} from '../model/digest.ts';
import {isUntouched, seenOf, type Seen, type Stat} from '../model/entry.ts';
import {nameOf, parentOf, type RelPath} from '../model/path.ts';
import type {Reading} from '../model/reading.ts';
import type {OpenRoot} from '../model/root.ts';
import {ChangedLeaves} from './changed-leaves.ts';
import type {SizedFile} from './changed-ranges.ts';
import type {FileClones} from './file-clones.ts';
import {KEPT_BYTES_MIN, LEAVES_MAX, tellsChanges, type KeptVersion, type KeptVersions} from './kept-versions.ts';
import {LeafDigests} from './leaf-digests.ts';
import {LeafFrames} from './leaf-frames.ts';
import {holesOf, toldAllocation, type LeafHoles} from './leaf-holes.ts';
import {READ} from './read-files.ts';
import type {ByExtents, TransferEnd, TransferJobs} from './transfer-jobs.ts';

export interface OpenTransfer {
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
  content: LeafDigests;
  /** Set where its blocks told what has changed. */
  changes: ChangedLeaves | undefined;
  /** Set where the version is kept once it was read. */
  keep: {path: RelPath; reserveShare: number} | undefined;
  /** Once it is kept. */
  kept: KeptVersion | undefined;
  /** Of leaves that were read and not packed: the differ has not decided on them. */
  undecided: Digest[];
  leavesRead: number;
  isFinished: boolean;
}

type Opened = TransferJobs['open-transfer']['out'];

export function notOpened({status, errno}: {status: number; errno: number}): Opened {
  return {status, errno, allocatedBytes: 0, as: 'at-rest', version: undefined};
}

export function openTransfer(
  root: OpenRoot,
  input: TransferJobs['open-transfer']['in'],
  {open, clones, versions}: {open: Map<number, OpenTransfer>; clones: FileClones; versions: KeptVersions},
): Opened {
  const {path, expected} = input.file;
  const dirFd = openBeneath(root.fd, parentOf(path));
  let openedFd = -1;
  let cloneFd = -1;
  let changes: ChangedLeaves | undefined;
  try {
    const opened = openRegular(dirFd, nameOf(path));
    openedFd = opened.fd;
    if (input.reading === 'at-rest' && !isUntouched(expected, opened.stat))
      return notOpened({status: READ.changed, errno: 0});
    const isLarge = input.extents !== undefined && mayBeKept(opened.stat);
    const extents = isLarge && tellsChanges(opened.fd) ? input.extents : undefined;
    const clone = input.reading === 'at-rest' && extents === undefined ? undefined : clones.take(dirFd, opened.fd);
    cloneFd = clone?.fd ?? -1;
    if (input.reading === 'at-rest' && clone !== undefined && !(clone.isExact && isUntouched(expected, clone.stat)))
      return notOpened({status: READ.changed, errno: 0});
    const {fd, stat, isExact} = clone ?? {...opened, isExact: true};
    const as = clone !== undefined ? 'clone' : input.reading === 'torn' ? 'torn' : 'at-rest';
    // Space that is preallocated is a hole in a clone.
    const ofFile = input.reading === 'at-rest' ? {...stat, allocatedBytes: opened.stat.allocatedBytes} : stat;
    const holes = as === 'torn' ? undefined : holesOf(fd, ofFile);
    const by = clone && extents;
    changes = by && changesOf({ino: stat.ino, fd, sizeBytes: stat.sizeBytes}, by, versions);
    open.set(input.token, newTransfer({fd, fileFd: opened.fd, stat, isExact, as, holes, by, changes}, input));
    openedFd = -1;
    cloneFd = -1;
    const told =
      changes !== undefined
        ? 'changes'
        : isLarge && (extents === undefined || clones.isRefused)
          ? 'refused'
          : undefined;
    changes = undefined; // the transfer's
    const {sizeBytes, mode, uid, gid, mtime} = stat;
    const isExpected = isExact && isUntouched(expected, stat);
    const allocatedBytes = toldAllocation(ofFile, holes !== undefined);
    const version = {sizeBytes, mode, uid, gid, mtime, isExpected};
    return {status: READ.ok, errno: 0, allocatedBytes, as, version, extents: told};
  } finally {
    if (changes !== undefined) versions.release(changes.version);
    if (cloneFd >= 0) clones.close(cloneFd);
    if (openedFd >= 0) closeFd(openedFd);
    closeFd(dirFd);
  }
}

function mayBeKept({sizeBytes}: Stat): boolean {
  return sizeBytes >= KEPT_BYTES_MIN && leafCountOf(sizeBytes) <= LEAVES_MAX;
}

function changesOf(
  file: SizedFile & {ino: number},
  {base}: ByExtents,
  versions: KeptVersions,
): ChangedLeaves | undefined {
  const since = base && versions.changesOf(file);
  const changes = since && ChangedLeaves.of(since, file.sizeBytes, bufferOf(base));
  if (since !== undefined && changes === undefined) versions.release(since.version);
  return changes;
}

/** Whether a file of which a version is kept is still at its path, and still large. */
export function isStillThere(root: OpenRoot, {path, ino}: KeptVersion): boolean {
  let dirFd = -1;
  try {
    dirFd = openBeneath(root.fd, parentOf(path));
    const stat = statAtIfAny(dirFd, nameOf(path));
    return stat?.ino === ino && stat.sizeBytes >= KEPT_BYTES_MIN;
  } catch (error) {
    if (isLinuxError(error)) return false;
    throw error;
  } finally {
    if (dirFd >= 0) closeFd(dirFd);
  }
}

/** All of it was read as one version: of the next one only what changed is. */
export function keepVersion(
  transfer: OpenTransfer,
  {content}: TransferEnd,
  {clones, versions}: {clones: FileClones; versions: KeptVersions},
): void {
  const {keep, fd, expected} = transfer;
  const leafDigests = transfer.content.kept;
  if (keep === undefined || leafDigests === undefined) return;
  const file = {ino: expected.ino, path: keep.path, fd, sizeBytes: expected.sizeBytes};
  transfer.kept = versions.keep({...file, content: bufferOf(content), leafDigests}, keep.reserveShare);
  if (transfer.kept === undefined) return;
  clones.release(fd);
  dropCached(fd); // the file itself is what others have in memory
}

function newTransfer(
  opened: {
    fd: number;
    fileFd: number;
    stat: Stat;
    isExact: boolean;
    as: Reading;
    holes: LeafHoles | undefined;
    by: ByExtents | undefined;
    changes: ChangedLeaves | undefined;
  },
  input: TransferJobs['open-transfer']['in'],
): OpenTransfer {
  const {stat, by, ...rest} = opened;
  const {sizeBytes} = stat;
  const numbers = {link: input.link, transfer: input.transfer};
  const seed = bufferOf(input.seed);
  const isSummed = sizeBytes <= DELTA_BYTES_MAX && opened.changes === undefined;
  return {
    ...rest,
    expected: seenOf(stat),
    numbers,
    differ: input.base === undefined ? undefined : differOf(input.base, seed),
    frames: new LeafFrames(numbers, {isSparse: opened.holes !== undefined, hasRuns: by?.hasRuns === true}),
    signature: isSummed
      ? new SignatureBuilder({blockBytes: blockBytesFor(sizeBytes), seed, withWeak: false})
      : undefined,
    content: new LeafDigests({keepOf: by === undefined ? undefined : sizeBytes}),
    keep: by && {path: input.file.path, reserveShare: by.reserveShare},
    kept: undefined,
    undecided: [],
    leavesRead: 0,
    isFinished: false,
  };
}

export function differOf({strong, weak, ...shape}: Signature, seed: Uint8Array): Differ {
  return new Differ({base: {...shape, strong: bufferOf(strong), weak: bufferOf(weak)}, seed: bufferOf(seed)});
}

/** Structured clone turns Buffers into plain Uint8Arrays. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
