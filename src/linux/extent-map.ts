/**
 * Where the blocks of an open file lie (FIEMAP), piece by piece, and sharing a range of one file with another.
 *
 * Says nothing of what is in them. Invariant: an extent whose place does not tell which bytes it holds (compressed, inline,
 * not written out yet) is marked as uncertain, never left out.
 * Source: Documentation/filesystems/fiemap.rst, ioctl_ficlonerange(2).
 */
import {errno, fail, ioctl, scratch} from './libc.ts';
import {EINVAL, ENOSYS, ENOTSUP, ENOTTY, EPERM, ETXTBSY, EXDEV} from './linux-error.ts';

const FS_IOC_FIEMAP = 0xc020660b;
const FICLONERANGE = 0x4020940d;
const FIEMAP_FLAG_SYNC = 1;
const HEADER_BYTES = 32;
const EXTENT_BYTES = 56;

const LAST = 0x1;
/** Unknown, not allocated yet, encoded, encrypted, not aligned, inline, tail. */
const UNCERTAIN = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x400;
const UNWRITTEN = 0x800; // merged (0x1000) and shared (0x2000) change with what others do, and tell nothing of the bytes
const PLACE_HIGH_MAX = 2 ** 21; // a place beyond 2^53 is no exact number
const UNSUPPORTED = [EINVAL, ENOSYS, ENOTSUP, ENOTTY, EPERM, ETXTBSY, EXDEV];

/** Of a piece: 28 KiB for the kernel to fill. */
export const EXTENTS_MAX = 512;

const map = scratch(HEADER_BYTES + EXTENTS_MAX * EXTENT_BYTES);
const range = scratch(32);

/** A range of a file that lies in one piece on the disk. */
export interface Extent {
  from: number;
  end: number;
  /** Where it begins on the disk, in bytes. */
  place: number;
  /** It is allocated, and reads as zeros. */
  isUnwritten: boolean;
  /** Its place does not tell which bytes it holds. */
  isUncertain: boolean;
}

export interface ExtentPiece {
  /** In order; the first may begin before what was asked for. */
  extents: Extent[];
  /** Up to here they are told: between them and up to here there are holes. */
  end: number;
}

/**
 * The extents of a range, or those of its beginning where there are many.
 * @returns undefined where the filesystem does not tell, for whatever reason
 */
export function extentsOf(fd: number, from: number, end: number): ExtentPiece | undefined {
  const {bytes, address} = map;
  bytes.fill(0, 0, HEADER_BYTES);
  putU64(bytes, 0, from);
  putU64(bytes, 8, end - from);
  bytes.writeUInt32LE(FIEMAP_FLAG_SYNC, 16);
  bytes.writeUInt32LE(EXTENTS_MAX, 24);
  if (ioctl(fd, FS_IOC_FIEMAP, address) < 0) return undefined;
  const count = bytes.readUInt32LE(20);
  const extents: Extent[] = [];
  let isLast = count < EXTENTS_MAX;
  for (let index = 0; index < count; index++) {
    const at = HEADER_BYTES + index * EXTENT_BYTES;
    const begin = u64(bytes, at);
    const flags = bytes.readUInt32LE(at + 40);
    isLast ||= (flags & LAST) !== 0;
    extents.push({
      from: begin,
      end: begin + u64(bytes, at + 16),
      place: u64(bytes, at + 8),
      isUnwritten: (flags & UNWRITTEN) !== 0,
      isUncertain: (flags & UNCERTAIN) !== 0 || bytes.readUInt32LE(at + 12) >= PLACE_HIGH_MAX,
    });
  }
  return {extents, end: isLast ? end : Math.min(end, extents.at(-1)?.end ?? end)};
}

/**
 * Makes a range of `fd` share the bytes that another file has there (reflink): both begin at a block, and a range that
 * ends within one ends with its file. False where this is not possible.
 */
export function shareRange(fd: number, fromFd: number, from: number, lengthBytes: number): boolean {
  putU64(range.bytes, 0, fromFd);
  putU64(range.bytes, 8, from);
  putU64(range.bytes, 16, lengthBytes);
  putU64(range.bytes, 24, from);
  if (ioctl(fd, FICLONERANGE, range.address) >= 0) return true;
  return UNSUPPORTED.includes(errno()) ? false : fail('FICLONERANGE');
}

function u64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}

function putU64(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value % 2 ** 32, at);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}
