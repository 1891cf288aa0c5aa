/**
 * The functions of libc that Node lacks, and the memory their arguments pass through. The rest of this folder is their user.
 *
 * Pointers are passed as numbers: addresses of buffers that this module keeps forever, or pins for the length of the
 * (synchronous) call. Variadic functions are declared with the arguments we pass, which is the same call
 * on x86-64 and arm64. System call numbers only where an old glibc has no wrapper.
 *
 * Invariant: a name that reaches libc through `putName` is one component.
 */
import koffi from 'koffi';
import {invariant} from '../base/errors.ts';
import {EINTR, ENAMETOOLONG, LinuxError} from './linux-error.ts';

const lib = koffi.load(null);

type Call = (...args: number[]) => number;
const call = (name: string, result: string, args: string[]): Call => lib.func(name, result, args);

const fd = 'int';
const text = 'uintptr_t';
const pointer = 'uintptr_t';
const flags = 'int';
const mode = 'uint';
const offset = 'int64_t';
const size = 'size_t';

export const openat = call('openat', 'int', [fd, text, flags, mode]);
export const close = call('close', 'int', [fd]);
export const pread = call('pread', 'long', [fd, pointer, size, offset]);
export const pwrite = call('pwrite', 'long', [fd, pointer, size, offset]);
export const statx = call('statx', 'int', [fd, text, flags, 'uint', pointer]);
export const mkdirat = call('mkdirat', 'int', [fd, text, mode]);
export const mknodat = call('mknodat', 'int', [fd, text, mode, 'uint64_t']);
export const unlinkat = call('unlinkat', 'int', [fd, text, flags]);
export const renameat2 = call('renameat2', 'int', [fd, text, fd, text, 'uint']);
export const linkat = call('linkat', 'int', [fd, text, fd, text, flags]);
export const symlinkat = call('symlinkat', 'int', [text, fd, text]);
export const readlinkat = call('readlinkat', 'long', [fd, text, pointer, size]);
export const fchmod = call('fchmod', 'int', [fd, mode]);
export const fchmodat = call('fchmodat', 'int', [fd, text, mode, flags]);
export const fchown = call('fchown', 'int', [fd, 'uint', 'uint']);
export const fchownat = call('fchownat', 'int', [fd, text, 'uint', 'uint', flags]);
export const futimens = call('futimens', 'int', [fd, pointer]);
export const utimensat = call('utimensat', 'int', [fd, text, pointer, flags]);
export const fsync = call('fsync', 'int', [fd]);
export const fdatasync = call('fdatasync', 'int', [fd]);
export const syncfs = call('syncfs', 'int', [fd]);
export const syncFileRange = call('sync_file_range', 'int', [fd, offset, offset, 'uint']);
export const posixFadvise = call('posix_fadvise', 'int', [fd, offset, offset, 'int']);
export const copyFileRange = call('copy_file_range', 'long', [fd, pointer, fd, pointer, size, 'uint']);
export const ioctl = call('ioctl', 'int', [fd, 'ulong', 'uintptr_t']);
export const lseek = call('lseek', offset, [fd, offset, 'int']);
export const ftruncate = call('ftruncate', 'int', [fd, offset]);
export const fallocate = call('fallocate', 'int', [fd, flags, offset, offset]);
export const fgetxattr = call('fgetxattr', 'long', [fd, text, pointer, size]);
export const fsetxattr = call('fsetxattr', 'int', [fd, text, pointer, size, flags]);
export const flistxattr = call('flistxattr', 'long', [fd, pointer, size]);
export const fremovexattr = call('fremovexattr', 'int', [fd, text]);
export const getxattr = call('getxattr', 'long', [text, text, pointer, size]);
export const setxattr = call('setxattr', 'int', [text, text, pointer, size, flags]);
export const listxattr = call('listxattr', 'long', [text, pointer, size]);
export const removexattr = call('removexattr', 'int', [text, text]);
export const llistxattr = call('llistxattr', 'long', [text, pointer, size]);
export const fstatfs = call('fstatfs', 'int', [fd, pointer]);
export const flock = call('flock', 'int', [fd, 'int']);
export const fcntl = call('fcntl', 'int', [fd, 'int', 'long']);
export const mount = call('mount', 'int', [text, text, text, 'ulong', pointer]);
export const unshare = call('unshare', 'int', [flags]);
export const fchdir = call('fchdir', 'int', [fd]);
export const chroot = call('chroot', 'int', [text]);
export const umask = call('umask', 'uint', [mode]);
export const socket = call('socket', 'int', ['int', 'int', 'int']);
export const setsockopt = call('setsockopt', 'int', [fd, 'int', 'int', pointer, 'uint']);
export const sendto = call('sendto', 'long', [fd, pointer, size, flags, pointer, 'uint']);
export const adjtimex = call('adjtimex', 'int', [pointer]);
/** syscall(2): the number, then up to four arguments. */
export const syscall = call('syscall', 'long', ['long', 'int64_t', 'int64_t', 'int64_t', 'int64_t']);

export const SYS_GETDENTS64 = process.arch === 'arm64' ? 61 : 217; // glibc has a wrapper only since 2.30
export const SYS_OPENAT2 = 437; // the same number everywhere; no wrapper in any glibc of our time

export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_NO_AUTOMOUNT = 0x800;
export const AT_EMPTY_PATH = 0x1000;
export const AT_FDCWD = -100;
export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;
export const O_TMPFILE_BIT = 0o20000000; // together with O_DIRECTORY, whose value depends on the processor

/** Errno of the call just made on this thread. */
export const errno = (): number => koffi.errno();

/** Throws the error of the call just made. */
export function fail(name: string): never {
  throw new LinuxError(name, koffi.errno());
}

/** Passes on a result that is not negative, else throws. */
export function checked(result: number, name: string): number {
  if (result < 0) fail(name);
  return result;
}

/** Repeats a call that a signal interrupts. */
export function uninterrupted(name: string, attempt: () => number): number {
  for (;;) {
    const result = attempt();
    if (result >= 0) return result;
    if (koffi.errno() !== EINTR) fail(name);
  }
}

const kept: Buffer[] = [];
const pin: {bytes: Uint8Array | undefined} = {bytes: undefined};

/** Memory with a fixed address, kept as long as the module. */
export interface Scratch {
  bytes: Buffer;
  address: number;
}

export function scratch(sizeBytes: number): Scratch {
  const bytes = Buffer.from(new ArrayBuffer(sizeBytes));
  kept.push(bytes); // an address alone keeps nothing alive
  return {bytes, address: addressOf(bytes)};
}

/**
 * Where a buffer's first byte lies; good until the next call of this function, unless the buffer is transferred.
 * An address keeps nothing alive and compiled code forgets a variable after its last use, so the buffer is pinned here.
 */
export function addressOf(bytes: Uint8Array): number {
  pin.bytes = bytes;
  return Number(koffi.address(bytes));
}

const SLOT_BYTES = 4096; // PATH_MAX, the NUL included
const slotA = scratch(SLOT_BYTES);
const slotB = scratch(SLOT_BYTES);
export const EMPTY_TEXT = scratch(1).address;

/** Writes one component, NUL-terminated, and returns its address; good until the next call. `.` is allowed, `..` is not. */
export function putName(name: string): number {
  return put(slotA, name, 0x2f);
}

/** The same in a second place, for calls with two names. */
export function putSecondName(name: string): number {
  return put(slotB, name, 0x2f);
}

/** Writes any NUL-terminated byte string (a path, a link's target, an attribute's name). */
export function putText(bytes: string): number {
  return put(slotA, bytes, 0);
}

/** The same, while another argument is a name or text. */
export function putSecondText(bytes: string): number {
  return put(slotB, bytes, 0);
}

function put(slot: Scratch, name: string, forbidden: number): number {
  const {bytes, address} = slot;
  const length = name.length;
  if (length >= SLOT_BYTES) throw new LinuxError('open', ENAMETOOLONG);
  for (let index = 0; index < length; index++) {
    const byte = name.charCodeAt(index);
    if (byte === 0 || byte === forbidden || byte > 255) refuse(name);
    bytes[index] = byte;
  }
  if (forbidden !== 0 && (length === 0 || (length === 2 && name === '..'))) refuse(name);
  bytes[length] = 0;
  return address;
}

function refuse(name: string): never {
  invariant(false, `${JSON.stringify(name)} was passed as a name`);
}
