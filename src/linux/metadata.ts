/**
 * Permissions, owners and times, never through a symlink. Nanoseconds are exact, before 1970 and after 2038 too.
 *
 * A call by name would change the root of what is mounted there: what has a name is held first, and changed as it is held.
 * Invariant: access times are never set. Chown before chmod: chown clears the setuid and setgid bits.
 */
import type {FileTime} from '../model/entry.ts';
import {ownFdsDir} from './open-fd.ts';
import {
  AT_EMPTY_PATH,
  checked,
  EMPTY_TEXT,
  fchmod,
  fchmodat,
  fchown,
  fchownat,
  futimens,
  putName,
  scratch,
  utimensat,
} from './libc.ts';

const UTIME_OMIT = 0x3ffffffe;

const times = scratch(32);
times.bytes.writeUInt32LE(UTIME_OMIT, 8);

/** @param mode 0 to 0o7777; the umask has no say */
export function chmodFd(fd: number, mode: number): void {
  checked(fchmod(fd, mode), 'fchmod');
}

export function chownFd(fd: number, uid: number, gid: number): void {
  checked(fchown(fd, uid, gid), 'fchown');
}

/** Of what is held as O_PATH. */
export function chmodHeld(held: number, mode: number): void {
  checked(fchmodat(ownFdsDir(), putName(String(held)), mode, 0), 'fchmodat');
}

/** Of what is held as O_PATH, also of a symlink itself. */
export function chownHeld(held: number, uid: number, gid: number): void {
  checked(fchownat(held, EMPTY_TEXT, uid, gid, AT_EMPTY_PATH), 'fchownat');
}

/** Of what is held as O_PATH, also of a symlink itself. */
export function setTimeHeld(held: number, mtime: FileTime): void {
  checked(utimensat(ownFdsDir(), putName(String(held)), putTime(mtime), 0), 'utimensat');
}

export function setTimeFd(fd: number, mtime: FileTime): void {
  checked(futimens(fd, putTime(mtime)), 'futimens');
}

function putTime(mtime: FileTime): number {
  times.bytes.writeUInt32LE(mtime.s >>> 0, 16);
  times.bytes.writeInt32LE(Math.floor(mtime.s / 2 ** 32), 20);
  times.bytes.writeUInt32LE(mtime.ns, 24);
  return times.address;
}
