/**
 * Files and names: reading, writing, linking, renaming, cloning. One component relative to a held directory.
 *
 * Not for paths of volumes (beneath.ts). Invariant: only regular files are opened to be read, and no symlink is followed.
 */
import {constants} from 'node:fs';
import {invariant} from '../base/errors.ts';
import type {Stat} from '../model/entry.ts';
import type {Name} from '../model/path.ts';
import {
  addressOf,
  AT_EMPTY_PATH,
  AT_SYMLINK_FOLLOW,
  checked,
  copyFileRange,
  EMPTY_TEXT,
  errno,
  fail,
  fallocate,
  ftruncate,
  ioctl,
  linkat,
  lseek,
  mkfifoat,
  O_TMPFILE_BIT,
  pread,
  putName,
  putSecondName,
  putText,
  pwrite,
  readlinkat,
  renameat2,
  scratch,
  symlinkat,
  uninterrupted,
  unlinkat,
} from './libc.ts';
import {
  EACCES,
  EINTR,
  EINVAL,
  ELOOP,
  ENOENT,
  ENOSYS,
  ENOTSUP,
  ENOTTY,
  ENXIO,
  EPERM,
  ETXTBSY,
  EXDEV,
  isLinuxError,
  LinuxError,
} from './linux-error.ts';
import {closeFd, holdAt, openAt, ownFdsDir, reopen} from './open-fd.ts';
import {statFd} from './stat.ts';

/** A new file without a name in `dirFd`'s filesystem, to read and write; `linkFdAt` names it. */
export function openTmp(dirFd: number, mode: number): number {
  return openAt(dirFd, '.', O_TMPFILE_BIT | constants.O_DIRECTORY | constants.O_RDWR, mode);
}

/**
 * Opens a regular file to read. It is held first, looked at, and what is held is then opened: whatever a container puts
 * in its place meanwhile, no device, FIFO or symlink is ever opened.
 * @param options.noatime leave the access time alone where the owner allows it
 * @returns the descriptor, and what was open at that moment
 * @throws LinuxError ELOOP for a symlink, EINVAL for anything else that is no regular file
 */
export function openRegular(dirFd: number, name: Name, options?: {noatime?: boolean}): {fd: number; stat: Stat} {
  const held = holdAt(dirFd, name);
  try {
    const stat = statFd(held);
    if (stat.type !== 'file') throw new LinuxError('openat', stat.type === 'symlink' ? ELOOP : EINVAL);
    return {fd: reopenToRead(held, options?.noatime ?? false), stat};
  } finally {
    closeFd(held);
  }
}

function reopenToRead(held: number, isNoatime: boolean): number {
  if (!isNoatime) return reopen(held, constants.O_RDONLY);
  try {
    return reopen(held, constants.O_RDONLY | constants.O_NOATIME);
  } catch (error) {
    if (isLinuxError(error, 'EPERM')) return reopen(held, constants.O_RDONLY); // another's file, and we are not root
    throw error;
  }
}

/**
 * Reads until `length` bytes are there or the file ends.
 * @param position offset in the file
 * @returns bytes read; fewer than `length` only at the end
 */
export function readInto(fd: number, buffer: Buffer, offset: number, length: number, position: number): number {
  invariant(offset >= 0 && length >= 0 && offset + length <= buffer.length, 'read beyond the buffer');
  const address = addressOf(buffer) + offset;
  let done = 0;
  while (done < length) {
    const count = uninterrupted('pread', () => pread(fd, address + done, length - done, position + done));
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** Writes all of `length` bytes at `position` of the file. */
export function writeFrom(fd: number, buffer: Buffer, offset: number, length: number, position: number): void {
  invariant(offset >= 0 && length >= 0 && offset + length <= buffer.length, 'write beyond the buffer');
  const address = addressOf(buffer) + offset;
  let done = 0;
  while (done < length) {
    done += uninterrupted('pwrite', () => pwrite(fd, address + done, length - done, position + done));
  }
}

/** Grows (with a hole) or cuts an open file. */
export function truncate(fd: number, sizeBytes: number): void {
  uninterrupted('ftruncate', () => ftruncate(fd, sizeBytes));
}

/** Gives an open file, also one of `openTmp`, a (further) name. EEXIST when it is taken. */
export function linkFdAt(fd: number, dirFd: number, name: Name): void {
  if (linkat(fd, EMPTY_TEXT, dirFd, putSecondName(name), AT_EMPTY_PATH) >= 0) return;
  const first = errno();
  // Without CAP_DAC_READ_SEARCH the empty path is refused with ENOENT; the way through /proc is open to all.
  if (first !== ENOENT && first !== EPERM && first !== EACCES) throw new LinuxError('linkat', first);
  checked(linkat(ownFdsDir(), putName(String(fd)), dirFd, putSecondName(name), AT_SYMLINK_FOLLOW), 'linkat');
}

/** A further name for an entry; a symlink is linked itself. EEXIST when `toName` is taken. */
export function linkAt(fromDirFd: number, fromName: Name, toDirFd: number, toName: Name): void {
  checked(linkat(fromDirFd, putName(fromName), toDirFd, putSecondName(toName), 0), 'linkat');
}

/** Removes a name that is no directory's. */
export function unlinkAt(dirFd: number, name: Name): void {
  checked(unlinkat(dirFd, putName(name), 0), 'unlinkat');
}

const RENAME_FLAGS = {replace: 0, 'no-replace': 1, exchange: 2};
export type RenameMode = keyof typeof RENAME_FLAGS;

/**
 * renameat2(2). `no-replace` fails with EEXIST when `toName` is taken; `exchange` swaps two entries of any types.
 * @throws LinuxError EXDEV, EISDIR, ENOTDIR, ENOTEMPTY, EINVAL (the filesystem cannot do this mode), …
 */
export function renameAt(fromDirFd: number, fromName: Name, toDirFd: number, toName: Name, mode: RenameMode): void {
  const flags = RENAME_FLAGS[mode];
  checked(renameat2(fromDirFd, putName(fromName), toDirFd, putSecondName(toName), flags), 'renameat2');
}

/** @param target any byte string of 1 to 4,095 bytes without NUL */
export function symlinkAt(target: string, dirFd: number, name: Name): void {
  checked(symlinkat(putText(target), dirFd, putSecondName(name)), 'symlinkat');
}

const target = scratch(4096);

/** Target of a symlink as a byte string; EINVAL for any other type. */
export function readlinkAt(dirFd: number, name: Name): string {
  const length = readlinkat(dirFd, putName(name), target.address, target.bytes.length);
  return length < 0 ? fail('readlinkat') : target.bytes.toString('latin1', 0, length);
}

/** @param mode before the umask */
export function makeFifoAt(dirFd: number, name: Name, mode: number): void {
  checked(mkfifoat(dirFd, putName(name), mode), 'mkfifoat');
}

const FICLONE = 0x40049409;
const FICLONERANGE = 0x4020940d;
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

/** The same for a range; offsets and length in whole blocks of the filesystem, or `lengthBytes` 0 for "to the end". */
export function cloneRange(
  fd: number,
  offset: number,
  fromFd: number,
  fromOffset: number,
  lengthBytes: number,
): boolean {
  putU64(0, fromFd);
  putU64(8, fromOffset);
  putU64(16, lengthBytes);
  putU64(24, offset);
  return ioctl(fd, FICLONERANGE, range.address) >= 0 || cannot('FICLONERANGE');
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
