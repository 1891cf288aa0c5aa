/**
 * A part of a large file that an earlier transfer left in the staging folder: taken up, asked what is in it, cleared
 * where zeros belong. Runs in a worker.
 *
 * Invariant: only the very file that was noted is taken up, and with the rights of a new one; nothing is said of a leaf
 * that was not read just now.
 */
import {setAttrsFd} from '../linux/attrs.ts';
import {hasHole, reserve} from '../linux/extents.ts';
import {openRegular, readInto, truncate, writeFrom} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {chmodFd, chownFd} from '../linux/metadata.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statAtIfAny, statFd} from '../linux/stat.ts';
import {NO_ATTRS, XATTR_CLASSES} from '../model/attrs.ts';
import {zeroLeafDigest} from '../model/content-hash.ts';
import {LEAF_BYTES, leafCountOf, sha256, type Digest} from '../model/digest.ts';
import {sameTime, type Stat} from '../model/entry.ts';
import type {PartialFile} from '../model/partial-file.ts';
import {LeafHoles} from '../volume/leaf-holes.ts';
import {removeIfPossible} from './remove-tree.ts';
import {punchRange} from './sparse.ts';

/** Which file it is. */
export type Noted = Pick<PartialFile, 'stage' | 'ino' | 'btime'>;

/** A part that is open. */
export interface TakenUp {
  fd: number;
  /** From here on nothing is in it. */
  heldBytes: number;
  allocatedBytes: number;
}

const ZERO_LEAF = Buffer.alloc(LEAF_BYTES);

/**
 * Opens the part that was noted, and makes it as long as the file will be at most.
 * @param file how the file will be
 * @returns undefined when it is not there any more, another file is, or it cannot be written
 */
export function takeUp(
  stagingFd: number,
  noted: Noted,
  file: {sizeBytes: number; isSparse: boolean},
): TakenUp | undefined {
  let fd = -1;
  try {
    const opened = openRegular(stagingFd, noted.stage, {isWritten: true});
    ({fd} = opened);
    if (isNoted(opened.stat, noted) && makeOurs(fd, opened.stat)) {
      const taken = {fd, ...fit(fd, opened.stat, file)};
      fd = -1;
      return taken;
    }
    return undefined;
  } catch (error) {
    if (isLinuxError(error)) return undefined;
    throw error;
  } finally {
    if (fd >= 0) closeFd(fd);
  }
}

/** Removes a part that was noted, if it can be: else the next sweep tries. What lies there instead is not ours to drop. */
export function removePart(stagingFd: number, noted: Noted): void {
  if (partAt(stagingFd, noted) !== undefined) removeIfPossible(stagingFd, noted.stage);
}

/** What a part that was noted takes on disk; 0 where it is not there any more. */
export function partBytes(stagingFd: number, noted: Noted): number {
  return partAt(stagingFd, noted)?.allocatedBytes ?? 0;
}

function partAt(stagingFd: number, noted: Noted): Stat | undefined {
  const stat = statAtIfAny(stagingFd, noted.stage);
  return stat?.type === 'file' && isNoted(stat, noted) ? stat : undefined;
}

function isNoted({ino, btime}: Stat, noted: Noted): boolean {
  return ino === noted.ino && sameTime(btime, noted.btime);
}

/** It may have got the owner and the mode of the path already: nobody else has a right to it before it is in place. */
function makeOurs(fd: number, {nlink, uid, mode}: Stat): boolean {
  if (nlink !== 1) return false;
  const [ownUid, ownGid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
  if (uid !== ownUid) chownFd(fd, ownUid, ownGid);
  const isClean = setAttrsFd(fd, NO_ATTRS, XATTR_CLASSES).length === 0;
  if (mode !== 0o600) chmodFd(fd, 0o600);
  return isClean;
}

/** Makes a file that holds something as long as the file will be at most. @returns what it holds */
export function fit(
  fd: number,
  stat: Stat,
  {sizeBytes, isSparse}: {sizeBytes: number; isSparse: boolean},
): Omit<TakenUp, 'fd'> {
  const heldBytes = Math.min(stat.sizeBytes, sizeBytes);
  if (stat.sizeBytes > sizeBytes || isSparse) truncate(fd, sizeBytes);
  // Of a file without holes none stays, also where a crash has made them.
  if (!isSparse && hasHole(fd, statFd(fd))) reserve(fd, 0, heldBytes);
  return {heldBytes, allocatedBytes: statFd(fd).allocatedBytes};
}

/** Digests of the leaves from one on, as many as are asked for; fewer where what is in it ends. */
export function heldDigests(
  {fd, heldBytes}: {fd: number; heldBytes: number},
  {leafIndexFirst, leafCount, sizeBytes}: {leafIndexFirst: number; leafCount: number; sizeBytes: number},
  into: Buffer,
): Digest[] {
  const digests: Digest[] = [];
  const holes = new LeafHoles(fd, heldBytes);
  const end = Math.min(leafCountOf(sizeBytes), leafIndexFirst + leafCount);
  for (let leafIndex = leafIndexFirst; leafIndex < end; leafIndex++) {
    const offset = leafIndex * LEAF_BYTES;
    const leafBytes = Math.min(LEAF_BYTES, sizeBytes - offset);
    if (offset + leafBytes > heldBytes) break;
    const holeBytes = holes.bytesAt(leafIndex, leafCountOf(heldBytes));
    if (holeBytes >= heldBytes - offset) break;
    const isHole = holeBytes >= leafBytes;
    if (!isHole && readInto(fd, into, 0, leafBytes, offset) !== leafBytes) break;
    digests.push(isHole ? zeroLeafDigest(leafBytes) : sha256(into.subarray(0, leafBytes)));
  }
  return digests;
}

/** Whether a leaf that lies in the file has its digest. */
export function hasLeaf(fd: number, offset: number, into: Buffer, digest: Digest): boolean {
  return readInto(fd, into, 0, into.length, offset) === into.length && sha256(into).equals(digest);
}

/** Makes a range a hole where something was in it. @returns false where the filesystem cannot */
export function clearRange(
  part: {fd: number; heldBytes: number; sizeBytes: number},
  from: number,
  end: number,
): boolean {
  return from >= part.heldBytes || punchRange(part.fd, from, end, part);
}

/** The same by writing; what is zeros takes no more space. The file is not cut: leaves behind may have come already. */
export function writeZeros({fd, heldBytes}: {fd: number; heldBytes: number}, from: number, end: number): void {
  const endOfHeld = Math.min(end, heldBytes);
  const into = Buffer.allocUnsafe(LEAF_BYTES);
  for (let offset = from; offset < endOfHeld; offset += LEAF_BYTES) {
    const length = readInto(fd, into, 0, Math.min(LEAF_BYTES, endOfHeld - offset), offset);
    if (into.compare(ZERO_LEAF, 0, length, 0, length) !== 0) writeFrom(fd, ZERO_LEAF, 0, length, offset);
  }
}
