/**
 * Files with holes on the target: written around their zeros, and made to take no more, or no less, than the source's.
 *
 * Invariants: no byte that a reader sees is changed; what is made a hole was read as zeros a moment before, in a file that
 * nobody had touched since; space is given back or taken only because the source said what it has.
 */
import {hasHole, nextData, nextHole, punchHole, reserve} from '../linux/extents.ts';
import {openRegular, readInto, writeFrom} from '../linux/files.ts';
import {filesystemOf} from '../linux/filesystem.ts';
import {ENOSPC, isLinuxError, LinuxError} from '../linux/linux-error.ts';
import {chmodFd, setTimeFd} from '../linux/metadata.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {getXattr, setXattr} from '../linux/xattrs.ts';
import {CAPABILITY} from '../model/attrs.ts';
import {isUntouched, type Seen, type Stat} from '../model/entry.ts';
import type {Name} from '../model/path.ts';

/** Of a hole: a block of the usual filesystems. */
const BLOCK_BYTES = 4096;
const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);
const PIECE_BYTES = 1 << 20;
const STEP_BYTES = 16 << 20; // read in one step: about 10 ms, so that batches get their turn
const STEP_RANGES_MAX = 512;
/** Filesystems count their own notes about a file too: so much more is not worth a look. */
const SHARE_UNNOTICED = 1 / 256;
const CAPABILITY_BYTES_MAX = 64;

/** A name in a directory of the volume. */
export interface PlaceOfFile {
  dirFd: number;
  name: Name;
  /** Of the volume's root. */
  mountId: number;
}

/** Writes bytes into a file that is all hole there, at a multiple of the block size; blocks of zeros stay holes. */
export function writeSparse(fd: number, bytes: Buffer, offset: number): void {
  for (const {from, end} of runs(bytes, bytes.length, false)) writeFrom(fd, bytes, from, end - from, offset + from);
}

/** Makes a range of a file a hole; the block with the end of the file goes as a whole. @returns false where the filesystem cannot */
export function punchRange(fd: number, from: number, end: number, {sizeBytes}: {sizeBytes: number}): boolean {
  const endOfBlock = end === sizeBytes ? Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES : end;
  return punchHole(fd, from, endOfBlock - from);
}

/** Runs of whole blocks that are zeros, or that are not; the last block may be short. */
function* runs(bytes: Buffer, length: number, isZeros: boolean): Generator<{from: number; end: number}> {
  let from = -1;
  for (let at = 0; at < length; at += BLOCK_BYTES) {
    const end = Math.min(length, at + BLOCK_BYTES);
    const isZero = bytes.compare(ZERO_BLOCK, 0, end - at, at, end) === 0;
    if (isZero === isZeros && from < 0) from = at;
    if (isZero !== isZeros && from >= 0) {
      yield {from, end: at};
      from = -1;
    }
  }
  if (from >= 0) yield {from, end: length};
}

/** Whether a file takes clearly more than the source's. @param allocatedBytes of the source, less than the size */
export function isAbove(own: Stat, allocatedBytes: number): boolean {
  const excessBytes = own.allocatedBytes - allocatedBytes;
  return allocatedBytes < own.sizeBytes && excessBytes >= Math.max(BLOCK_BYTES, allocatedBytes * SHARE_UNNOTICED);
}

/** Whether a file may have holes where the source's has none. @param allocatedBytes of the source */
export function isBelow(own: Stat, allocatedBytes: number): boolean {
  return own.allocatedBytes < own.sizeBytes && allocatedBytes >= own.sizeBytes;
}

/**
 * Gives the holes of a file space that reads as zeros, as far as it may be opened to be written.
 * @throws LinuxError ENOSPC before anything is taken
 */
export function fillHoles(place: PlaceOfFile): void {
  const opened = openToWrite(place);
  if (opened === undefined) return;
  const {fd, stat} = opened;
  try {
    if (!hasHole(fd, stat)) return;
    if (stat.sizeBytes - stat.allocatedBytes > filesystemOf(fd).freeBytes) throw new LinuxError('fallocate', ENOSPC);
    reserve(fd, 0, stat.sizeBytes);
  } finally {
    closeFd(fd);
  }
}

export interface DugStep {
  /** The file as it is now. */
  stat: Stat;
  /** Where the next step goes on; undefined at the end. */
  next: number | undefined;
}

/**
 * One step of making blocks of zeros holes, from an offset on; modification time and rights stay.
 * @param expected the file as it was last seen by this link
 * @returns undefined where nothing can be done, or somebody else has written to the file
 */
export function digHoles(place: PlaceOfFile, expected: Seen, from: number): DugStep | undefined {
  const opened = openToWrite(place);
  if (opened === undefined) return undefined;
  const {fd, stat} = opened;
  try {
    if (!isUntouched(expected, stat)) return undefined;
    const capability = getXattr(fd, CAPABILITY, CAPABILITY_BYTES_MAX);
    const digging = new Digging(fd, stat);
    const next = digging.from(from);
    if (!digging.isAlone()) return undefined; // with what they wrote it is not this link's any more
    // A hole counts as a write: that takes a capability away, and the setuid bit where this process is not root.
    if (statFd(fd).mode !== stat.mode) chmodFd(fd, stat.mode);
    if (capability !== undefined) setXattr(fd, CAPABILITY, capability);
    setTimeFd(fd, expected.mtime);
    return {stat: statFd(fd), next};
  } finally {
    closeFd(fd);
  }
}

/** @returns undefined where this process may not, the file is a program that runs, or another one is mounted there */
function openToWrite({dirFd, name, mountId}: PlaceOfFile): {fd: number; stat: Stat} | undefined {
  try {
    const opened = openRegular(dirFd, name, {isWritten: true});
    if (opened.stat.mountId === mountId) return opened;
    closeFd(opened.fd);
    return undefined;
  } catch (error) {
    if (isLinuxError(error, 'EACCES', 'EPERM', 'ETXTBSY')) return undefined;
    throw error;
  }
}

let piece: Buffer | undefined;

class Digging {
  readonly #fd: number;
  #seen: Stat;

  constructor(fd: number, stat: Stat) {
    this.#fd = fd;
    this.#seen = stat;
  }

  /** Whether nobody else has touched the file. */
  isAlone(): boolean {
    return isUntouched(this.#seen, statFd(this.#fd));
  }

  /** @returns where the next step goes on; undefined at the end, or where it cannot go on */
  from(from: number): number | undefined {
    const {sizeBytes} = this.#seen;
    let offset = from;
    let readBytes = 0;
    for (let ranges = 0; offset < sizeBytes; ranges++) {
      if (readBytes >= STEP_BYTES || ranges >= STEP_RANGES_MAX) return offset;
      const data = nextData(this.#fd, offset);
      const dataFrom = data < 0 ? sizeBytes : Math.min(data, sizeBytes);
      // Also what is no data may be preallocated.
      if (dataFrom > offset && !this.#punch(offset, dataFrom)) return undefined;
      if (dataFrom === sizeBytes) return undefined;
      const end = Math.min(sizeBytes, dataFrom + PIECE_BYTES, Math.max(dataFrom + 1, nextHole(this.#fd, dataFrom)));
      if (!this.#digPiece(dataFrom, end)) return undefined;
      readBytes += end - dataFrom;
      offset = end;
    }
    return undefined;
  }

  #digPiece(from: number, end: number): boolean {
    piece ??= Buffer.allocUnsafeSlow(PIECE_BYTES);
    const length = end - from;
    if (readInto(this.#fd, piece, 0, length, from) !== length) return false;
    for (const zeros of runs(piece, length, true)) if (!this.#punch(from + zeros.from, from + zeros.end)) return false;
    return true;
  }

  /** @returns false when the file was touched, or cannot have holes */
  #punch(from: number, end: number): boolean {
    if (!this.isAlone()) return false;
    if (!punchRange(this.#fd, from, end, this.#seen)) return false;
    this.#seen = statFd(this.#fd);
    return true;
  }
}
