/**
 * What this kernel lets this process do, found out by trying it, for a diagnosis. Nothing else should ask: who needs a
 * call makes it and handles its failure.
 *
 * Invariant: nothing is changed by asking.
 */
import {constants} from 'node:fs';
import {adjtimex, chroot, errno, ioctl, O_CLOEXEC, O_PATH, putText, scratch, syscall, SYS_OPENAT2} from './libc.ts';
import {closeFd, openDirPath} from './open-fd.ts';
import {errnoName} from './linux-error.ts';

const FS_IOC_GETFLAGS = 0x80086601;
const FS_CASEFOLD_FL = 0x40000000;
const STA_UNSYNC = 0x40;
const TIMEX_BYTES = 208;
const TIMEX_ESTERROR_AT = 32;
const TIMEX_STATUS_AT = 40;

const out = scratch(256);

/** Why openat2(2) cannot be had (ENOSYS: Linux before 5.6, EPERM: a filter of system calls); undefined when it can. */
export function openat2Fault(): string | undefined {
  out.bytes.fill(0, 0, 24);
  out.bytes.writeUInt32LE(O_PATH | O_CLOEXEC | constants.O_DIRECTORY, 0);
  const rootFd = openDirPath('/');
  try {
    const fd = syscall(SYS_OPENAT2, rootFd, putText('.'), out.address, 24);
    if (fd < 0) return errnoName(errno());
    closeFd(fd);
    return undefined;
  } finally {
    closeFd(rootFd);
  }
}

/** Why this process may not chroot(2); undefined when it may. Its root stays what it is. */
export function chrootFault(): string | undefined {
  return chroot(putText('/')) < 0 ? errnoName(errno()) : undefined;
}

/** Whether names in an open directory that differ in case alone are one (ext4 and f2fs with casefold). */
export function isCaseInsensitive(dirFd: number): boolean {
  out.bytes.writeUInt32LE(0, 0);
  return ioctl(dirFd, FS_IOC_GETFLAGS, out.address) >= 0 && (out.bytes.readUInt32LE(0) & FS_CASEFOLD_FL) !== 0;
}

/**
 * Whether something keeps the kernel's clock right, and how far off that something thinks it is. Source: adjtimex(2)
 * @returns undefined where it may not be asked
 */
export function clockStatus(): {isSynchronised: boolean; errorUs: number} | undefined {
  out.bytes.fill(0, 0, TIMEX_BYTES); // no mode is set: it only reads
  if (adjtimex(out.address) < 0) return undefined;
  return {
    isSynchronised: (out.bytes.readInt32LE(TIMEX_STATUS_AT) & STA_UNSYNC) === 0,
    errorUs: Number(out.bytes.readBigInt64LE(TIMEX_ESTERROR_AT)),
  };
}
