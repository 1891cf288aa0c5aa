/**
 * Whether anybody has a file open to write to it. Source: fcntl(2), "Leases"
 */
import {isUntouched, type Seen} from '../model/entry.ts';
import type {Name} from '../model/path.ts';
import {openRegular} from './files.ts';
import {errno, fcntl} from './libc.ts';
import {EAGAIN, isLinuxError} from './linux-error.ts';
import {closeFd} from './open-fd.ts';
import {statFd} from './stat.ts';

// Source: bits/fcntl-linux.h, asm-generic/fcntl.h
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_RDLCK = 0;
const F_UNLCK = 2;
const SIGURG = 23; // ignored by default: who opens the file to write in that very moment sends it to us

/**
 * Whether a file is as it was seen, and nobody has it open to write.
 * @returns false too where it cannot be opened to be asked: this process may not read it, say
 */
export function isLeftAlone(dirFd: number, name: Name, seen: Seen): boolean {
  let fd: number;
  try {
    ({fd} = openRegular(dirFd, name));
  } catch (error) {
    if (isLinuxError(error)) return false;
    throw error;
  }
  try {
    // In this order: who is no writer any more has left its time behind.
    return !hasWriter(fd) && isUntouched(seen, statFd(fd));
  } finally {
    closeFd(fd);
  }
}

/**
 * The kernel grants a lease to read only where nobody has the file open, or mapped, to be written. It is given back at
 * once: to be asked of files that nobody can open by a name any more.
 * @param fd open for reading alone
 * @returns false too where it cannot be told: the filesystem knows no leases, or the file is another user's
 */
function hasWriter(fd: number): boolean {
  fcntl(fd, F_SETSIG, SIGURG);
  if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0) return errno() === EAGAIN;
  fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}
