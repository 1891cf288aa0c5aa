/**
 * Permissions, owners and times, never through a symlink. Nanoseconds are exact, before 1970 and after 2038 too.
 *
 * Invariant: access times are never set. Chown before chmod: chown clears the setuid and setgid bits.
 */
import type {FileTime} from '../model/entry.ts';
import type {Name} from '../model/path.ts';
import {closeFd, holdAt, ownFdsDir} from './open-fd.ts';
import {
  AT_SYMLINK_NOFOLLOW,
  checked,
  errno,
  fail,
  fchmod,
  fchmodat,
  fchown,
  fchownat,
  futimens,
  putName,
  scratch,
  syscall,
  SYS_FCHMODAT2,
  utimensat,
} from './libc.ts';
import {ENOSYS, EPERM} from './linux-error.ts';

const UTIME_OMIT = 0x3ffffffe;

const times = scratch(32);
times.bytes.writeUInt32LE(UTIME_OMIT, 8);

/** @param mode 0 to 0o7777; the umask has no say */
export function chmodFd(fd: number, mode: number): void {
  checked(fchmod(fd, mode), 'fchmod');
}

/** @throws LinuxError ENOTSUP for a symlink, which has no permissions of its own */
export function chmodAt(dirFd: number, name: Name, mode: number): void {
  if (syscall(SYS_FCHMODAT2, dirFd, putName(name), mode, AT_SYMLINK_NOFOLLOW) >= 0) return;
  // ENOSYS before Linux 6.6; some system call filters answer EPERM for a number they don't know.
  if (errno() !== ENOSYS && errno() !== EPERM) fail('fchmodat2');
  const held = holdAt(dirFd, name);
  try {
    checked(fchmodat(ownFdsDir(), putName(String(held)), mode, 0), 'fchmodat');
  } finally {
    closeFd(held);
  }
}

export function chownFd(fd: number, uid: number, gid: number): void {
  checked(fchown(fd, uid, gid), 'fchown');
}

/** Of the entry itself, also of a symlink. */
export function chownAt(dirFd: number, name: Name, uid: number, gid: number): void {
  checked(fchownat(dirFd, putName(name), uid, gid, AT_SYMLINK_NOFOLLOW), 'fchownat');
}

export function setTimeFd(fd: number, mtime: FileTime): void {
  checked(futimens(fd, putTime(mtime)), 'futimens');
}

/** Of the entry itself, also of a symlink. */
export function setTimeAt(dirFd: number, name: Name, mtime: FileTime): void {
  checked(utimensat(dirFd, putName(name), putTime(mtime), AT_SYMLINK_NOFOLLOW), 'utimensat');
}

function putTime(mtime: FileTime): number {
  times.bytes.writeUInt32LE(mtime.s >>> 0, 16);
  times.bytes.writeInt32LE(Math.floor(mtime.s / 2 ** 32), 20);
  times.bytes.writeUInt32LE(mtime.ns, 24);
  return times.address;
}
