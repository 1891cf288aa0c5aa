/**
 * Files and names: reading, writing, linking, renaming. One component relative to a held directory.
 *
 * Not for paths of volumes (beneath.ts), nor for clones and holes (extents.ts). Invariant: only regular files are opened to be read, and no symlink is followed.
 */
import {constants} from 'node:fs';
import {invariant} from '../base/errors.ts';
import type {SpecialType, Stat} from '../model/entry.ts';
import type {Name} from '../model/path.ts';
import {
  addressOf,
  AT_EMPTY_PATH,
  AT_SYMLINK_FOLLOW,
  checked,
  EMPTY_TEXT,
  errno,
  fail,
  ftruncate,
  linkat,
  mknodat,
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
import {EACCES, EINVAL, ELOOP, ENOENT, EPERM, isLinuxError, LinuxError} from './linux-error.ts';
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
 * @param options.isWritten open it to read and write
 * @returns the descriptor, and what was open at that moment
 * @throws LinuxError ELOOP for a symlink, EINVAL for anything else that is no regular file
 */
export function openRegular(
  dirFd: number,
  name: Name,
  options?: {noatime?: boolean; isWritten?: boolean},
): {fd: number; stat: Stat} {
  const held = holdAt(dirFd, name);
  try {
    const stat = statFd(held);
    if (stat.type !== 'file') throw new LinuxError('openat', stat.type === 'symlink' ? ELOOP : EINVAL);
    const isWritten = options?.isWritten ?? false;
    const fd = isWritten ? reopen(held, constants.O_RDWR) : reopenToRead(held, options?.noatime ?? false);
    return {fd, stat};
  } finally {
    closeFd(held);
  }
}

/**
 * Opens a regular file to write, with the same care.
 * @param flags of open(2), without O_CREAT
 * @param mode makes the file when there is none, with these permissions before the umask
 * @throws LinuxError as `openRegular`
 */
export function openRegularToWrite(dirFd: number, name: Name, flags: number, mode?: number): number {
  for (;;) {
    let held: number;
    try {
      held = holdAt(dirFd, name);
    } catch (error) {
      if (mode === undefined || !isLinuxError(error, 'ENOENT')) throw error;
      const made = makeRegular(dirFd, name, flags, mode);
      if (made !== undefined) return made;
      continue; // somebody else was first
    }
    try {
      const {type} = statFd(held);
      if (type !== 'file') throw new LinuxError('openat', type === 'symlink' ? ELOOP : EINVAL);
      return reopen(held, flags);
    } finally {
      closeFd(held);
    }
  }
}

function makeRegular(dirFd: number, name: Name, flags: number, mode: number): number | undefined {
  try {
    return openAt(dirFd, name, flags | constants.O_CREAT | constants.O_EXCL, mode);
  } catch (error) {
    if (isLinuxError(error, 'EEXIST')) return undefined;
    throw error;
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

/** @param target any byte string of 1 to 4,095 bytes without NUL; XFS takes 1,023, btrfs about 3,900 */
export function symlinkAt(target: string, dirFd: number, name: Name): void {
  checked(symlinkat(putText(target), dirFd, putSecondName(name)), 'symlinkat');
}

const target = scratch(4096);

/** Target of a symlink as a byte string; EINVAL for any other type. */
export function readlinkAt(dirFd: number, name: Name): string {
  const length = readlinkat(dirFd, putName(name), target.address, target.bytes.length);
  return length < 0 ? fail('readlinkat') : target.bytes.toString('latin1', 0, length);
}

const S_IFSOCK = 0o140000;
const TYPE_BITS: Record<SpecialType, number> = {
  fifo: constants.S_IFIFO,
  socket: S_IFSOCK,
  block: constants.S_IFBLK,
  char: constants.S_IFCHR,
};

/**
 * A FIFO, socket or device. Devices need root (and more than a container's root); a socket is one that nobody listens on.
 * @param mode before the umask
 * @param rdev as `Stat` has it; 0 for what is no device
 */
export function makeSpecialAt(dirFd: number, name: Name, type: SpecialType, mode: number, rdev: number): void {
  const [major, minor] = [Math.floor(rdev / 2 ** 32), rdev % 2 ** 32];
  // glibc's makedev: 12 bits of major and 20 of minor are what Linux has; more is refused with EINVAL.
  const low = (minor & 0xff) + (major & 0xfff) * 2 ** 8;
  const device = low + Math.floor(minor / 2 ** 8) * 2 ** 20 + Math.floor(major / 2 ** 12) * 2 ** 44;
  checked(mknodat(dirFd, putName(name), TYPE_BITS[type] | mode, device), 'mknodat');
}
