/**
 * openat2(2): opening with a say in how the path is walked.
 *
 * Invariant: where the kernel or a filter of system calls does not know it, nobody waits for it twice.
 */
import {EAGAIN, EINTR, ENOSYS, EPERM} from './linux-error.ts';
import {close, errno, O_CLOEXEC, O_PATH, scratch, syscall, SYS_OPENAT2} from './libc.ts';

export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;

const ATTEMPTS_MAX = 16; // EAGAIN comes when something is renamed during a walk
const HOW_BYTES = 24; // struct open_how: flags, mode and resolve, 64 bits each

const DOT = scratch(2);
DOT.bytes.write('.');
const how = scratch(HOW_BYTES);
let state: 'unknown' | 'there' | 'missing' = 'unknown';

/** How a path is walked; `mode` is 0 unless `flags` make a file. */
export interface How {
  flags: number;
  mode: number;
  resolve: number;
}

/**
 * @param address of the path, by `putName` or `putText`
 * @returns the descriptor; the negative errno; undefined where there is no such call: openat(2) and a look must do
 */
export function openat2(dirFd: number, address: number, {flags, mode, resolve}: How): number | undefined {
  if (state === 'missing') return undefined;
  const result = attempt(dirFd, address, {flags, mode, resolve});
  if (state === 'there') return result;
  if (result === -ENOSYS) state = 'missing';
  // A filter that does not know the number answers EPERM, which an existing directory never does.
  else if (result === -EPERM) state = isFiltered(dirFd) ? 'missing' : 'there';
  else state = 'there';
  return state === 'there' ? result : undefined;
}

function attempt(dirFd: number, address: number, {flags, mode, resolve}: How): number {
  how.bytes.writeUInt32LE(flags, 0);
  how.bytes.writeUInt32LE(mode, 8);
  how.bytes.writeUInt32LE(resolve, 16);
  for (let count = 0; count < ATTEMPTS_MAX; count++) {
    const fd = syscall(SYS_OPENAT2, dirFd, address, how.address, HOW_BYTES);
    if (fd >= 0) return fd;
    const number = errno();
    if (number !== EAGAIN && number !== EINTR) return -number;
  }
  return -EAGAIN;
}

function isFiltered(dirFd: number): boolean {
  const fd = attempt(dirFd, DOT.address, {flags: O_PATH | O_CLOEXEC, mode: 0, resolve: 0});
  if (fd >= 0) close(fd);
  return fd === -EPERM;
}
