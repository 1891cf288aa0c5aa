/**
 * src/linux/libc.ts with a counter: how many system calls of a program name something below a volume's root. For programs
 * that tests run from the sources with count.ts, in the folder that TOWLINE_TEST_COUNTS names.
 *
 * Counted are calls relative to the root of a jail or to a directory that was opened below it, on the way or by name:
 * whatever another process can redirect. Not counted are calls on descriptors alone, on Towline's own folders outside of
 * the root, and of threads without a jail. Invariant: what is told is never more than what was done.
 */
import {openSync} from 'node:fs';
import {join} from 'node:path';
import {threadId} from 'node:worker_threads';
import * as real from '../../src/linux/libc.ts';

export * from '../../src/linux/libc.ts';

const EVERY = 64; // a thread may be ended without notice: what it did since is not counted
const FDS_MAX = 65_536;

const counts = real.scratch(8);
const countsFd = openSync(join(process.env['TOWLINE_TEST_COUNTS'] ?? '.', `${process.pid}-${threadId}`), 'w');
let count = 0;

/** Whether a descriptor of this thread leads to something below the root it is jailed in. */
const isOfVolume = new Uint8Array(FDS_MAX);

function counted(dirFd: number): void {
  if (isOfVolume[dirFd] !== 1) return;
  count++;
  if (count % EVERY !== 0) return;
  counts.bytes.writeDoubleLE(count);
  real.pwrite(countsFd, counts.address, 8, 0);
}

function opened(dirFd: number, fd: number): number {
  counted(dirFd);
  if (fd >= 0 && fd < FDS_MAX) isOfVolume[fd] = isOfVolume[dirFd] ?? 0;
  return fd;
}

type Call = typeof real.openat;
const byFirst =
  (call: Call): Call =>
  (...args) => {
    counted(args[0] ?? -1);
    return call(...args);
  };
const byBoth =
  (call: Call, second: number): Call =>
  (...args) => {
    const [first, other] = [args[0] ?? -1, args[second] ?? -1];
    counted(isOfVolume[first] === 1 ? first : other);
    return call(...args);
  };

export const openat: Call = (...args) => opened(args[0] ?? -1, real.openat(...args));
export const statx: Call = (...args) => {
  if (args[1] !== real.EMPTY_TEXT) counted(args[0] ?? -1);
  return real.statx(...args);
};
export const mkdirat = byFirst(real.mkdirat);
export const mknodat = byFirst(real.mknodat);
export const unlinkat = byFirst(real.unlinkat);
export const readlinkat = byFirst(real.readlinkat);
export const fchmodat = byFirst(real.fchmodat);
export const fchownat = byFirst(real.fchownat);
export const utimensat = byFirst(real.utimensat);
export const renameat2 = byBoth(real.renameat2, 2);
export const linkat = byBoth(real.linkat, 2);
export const symlinkat: Call = (...args) => {
  counted(args[1] ?? -1);
  return real.symlinkat(...args);
};
export const syscall: Call = (...args) => {
  const dirFd = args[1] ?? -1;
  if (args[0] === real.SYS_OPENAT2) return opened(dirFd, real.syscall(...args));
  return real.syscall(...args);
};

let workingFd = -1;

export const fchdir: Call = (...args) => {
  workingFd = args[0] ?? -1;
  return real.fchdir(...args);
};

/** A jail is entered through the descriptor of its root. */
export const chroot: Call = (...args) => {
  if (workingFd >= 0 && workingFd < FDS_MAX) isOfVolume[workingFd] = 1;
  return real.chroot(...args);
};

export const close: Call = (...args) => {
  const fd = args[0] ?? -1;
  if (fd >= 0 && fd < FDS_MAX) isOfVolume[fd] = 0;
  return real.close(...args);
};
