/**
 * Moving bytes between files inside the kernel, reserving space, and finding holes.
 *
 * Invariant: what a filesystem cannot do is answered (`false`) or done another way; only real failures throw.
 */
import {readInto, writeFrom} from './files.ts';
import {copyFileRange, errno, fail, fallocate, ioctl, lseek, scratch} from './libc.ts';
import type {Stat} from '../model/entry.ts';
import {EINTR, EINVAL, ENOSYS, ENOTSUP, ENOTTY, ENXIO, EPERM, ETXTBSY, EXDEV} from './linux-error.ts';

const FICLONE = 0x40049409;
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_NOCOW_FL = 0x0080_0000;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const FALLOC_KEEP_SIZE = 1;
const FALLOC_PUNCH_HOLE = 2;
const UNSUPPORTED = [EINVAL, ENOSYS, ENOTSUP, ENOTTY, EPERM, ETXTBSY, EXDEV];

const range = scratch(32);
const COPY_BYTES = 256 * 1024;
let copyBuffer: Buffer | undefined;

/** Makes `fd` share all bytes of `fromFd` (reflink). False when this filesystem cannot. */
export function clone(fd: number, fromFd: number): boolean {
  return ioctl(fd, FICLONE, fromFd) >= 0 || cannot('FICLONE');
}

/**
 * Makes an empty file one whose data is written in place (chattr +C): on btrfs only such a file can share the bytes of
 * another. False when this filesystem has none.
 */
export function setNoCow(fd: number): boolean {
  range.bytes.fill(0, 0, 8);
  if (ioctl(fd, FS_IOC_GETFLAGS, range.address) < 0) return cannot('FS_IOC_GETFLAGS');
  range.bytes.writeUInt32LE((range.bytes.readUInt32LE(0) | FS_NOCOW_FL) >>> 0, 0);
  return ioctl(fd, FS_IOC_SETFLAGS, range.address) >= 0 || cannot('FS_IOC_SETFLAGS');
}

/**
 * Copies bytes in the kernel (shared where the filesystem can), by read and write where that is refused.
 * @returns bytes copied; fewer than `lengthBytes` only where the source ends
 */
export function copyRange(
  fromFd: number,
  fromOffset: number,
  toFd: number,
  toOffset: number,
  lengthBytes: number,
): number {
  let done = 0;
  while (done < lengthBytes) {
    putU64(0, fromOffset + done);
    putU64(8, toOffset + done);
    const count = copyFileRange(fromFd, range.address, toFd, range.address + 8, lengthBytes - done, 0);
    if (count < 0 && errno() !== EINTR) cannot('copy_file_range');
    // Refused, or zero: the end of the source, or a filesystem that is wrong about it. Reading tells.
    if (count === 0 || (count < 0 && errno() !== EINTR)) {
      return done + copyByHand(fromFd, fromOffset + done, toFd, toOffset + done, lengthBytes - done);
    }
    done += Math.max(count, 0);
  }
  return done;
}

function copyByHand(fromFd: number, fromOffset: number, toFd: number, toOffset: number, lengthBytes: number): number {
  const buffer = (copyBuffer ??= Buffer.allocUnsafeSlow(COPY_BYTES));
  let done = 0;
  while (done < lengthBytes) {
    const count = readInto(fromFd, buffer, 0, Math.min(COPY_BYTES, lengthBytes - done), fromOffset + done);
    if (count === 0) break;
    writeFrom(toFd, buffer, 0, count, toOffset + done);
    done += count;
  }
  return done;
}

/** Where the next hole begins at or after `offset`; the end of a file counts as one. -1 at or beyond the end. */
export function nextHole(fd: number, offset: number): number {
  return seek(fd, offset, SEEK_HOLE);
}

/** Where the next data begins at or after `offset`; -1 when only a hole follows. */
export function nextData(fd: number, offset: number): number {
  return seek(fd, offset, SEEK_DATA);
}

function seek(fd: number, offset: number, whence: number): number {
  const found = lseek(fd, offset, whence);
  if (found >= 0) return found;
  return errno() === ENXIO ? -1 : fail('lseek');
}

/**
 * Whether an open file has holes. Of one that has all of its size allocated nothing more is asked: space that is
 * preallocated is no hole, and one behind the end or for the filesystem's own notes may hide a small one.
 */
export function hasHole(fd: number, {sizeBytes, allocatedBytes}: Pick<Stat, 'sizeBytes' | 'allocatedBytes'>): boolean {
  if (allocatedBytes >= sizeBytes) return false;
  const found = lseek(fd, 0, SEEK_HOLE);
  if (found >= 0) return found < sizeBytes;
  return errno() === ENXIO ? false : cannot('lseek'); // cut to nothing meanwhile, or on a filesystem that does not tell
}

/** Reserves space without changing the size. False when this filesystem cannot. ENOSPC throws. */
export function reserve(fd: number, offset: number, lengthBytes: number): boolean {
  return fallocate(fd, FALLOC_KEEP_SIZE, offset, lengthBytes) >= 0 || cannot('fallocate');
}

/** Makes a range a hole that reads as zeros. False when this filesystem cannot. */
export function punchHole(fd: number, offset: number, lengthBytes: number): boolean {
  return fallocate(fd, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, offset, lengthBytes) >= 0 || cannot('fallocate');
}

function cannot(name: string): false {
  return UNSUPPORTED.includes(errno()) ? false : fail(name);
}

function putU64(at: number, value: number): void {
  range.bytes.writeUInt32LE(value % 2 ** 32, at);
  range.bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}
