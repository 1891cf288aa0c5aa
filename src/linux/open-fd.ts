/**
 * Opening, holding, reopening and closing descriptors. Every descriptor of this folder begins and ends here.
 *
 * Descriptors opened here are closed here, and Node's by Node: its workers keep a list of their own.
 * Invariant: O_CLOEXEC always; a volume's entry is one component below a held directory and on its mount, no symlink is
 * followed, and nothing waits (FIFO) or becomes a controlling terminal.
 */
import {constants, openSync} from 'node:fs';
import type {Name} from '../model/path.ts';
import {AT_FDCWD, checked, close, errno, fail, fcntl, O_CLOEXEC, O_PATH, openat, putName, putText} from './libc.ts';
import {EINTR, EXDEV, LinuxError} from './linux-error.ts';
import {openat2, RESOLVE_NO_XDEV} from './openat2.ts';
import {statFd} from './stat.ts';

const F_SETFD = 2;
const ALWAYS = constants.O_NOFOLLOW | O_CLOEXEC | constants.O_NONBLOCK | constants.O_NOCTTY;

// The way to reopen what is held as O_PATH, opened before any jail. Through Node, which closes it with its worker.
const ownFds = openSync('/proc/self/fd', constants.O_RDONLY | constants.O_DIRECTORY);

/** The directory of this process's descriptors, for calls that take a directory and the name `String(fd)`. */
export function ownFdsDir(): number {
  return ownFds;
}

/**
 * What another filesystem is mounted on is not opened: a container can put a mount point of the host's anywhere in its
 * volume by renaming the directory under it, between a look and this call too.
 * @param flags of open(2); O_NOFOLLOW, O_CLOEXEC, O_NONBLOCK and O_NOCTTY are added
 * @param mode of a new file, before the umask
 * @throws LinuxError ELOOP for a symlink, ENXIO for a FIFO opened to write, EXDEV for a mount point, …
 */
export function openAt(dirFd: number, name: Name, flags: number, mode = 0): number {
  return openOnMount(dirFd, name, flags | ALWAYS, mode);
}

/** Holds any entry without opening it: no device or FIFO notices, a symlink is held itself. EXDEV for a mount point. */
export function holdAt(dirFd: number, name: Name): number {
  return openOnMount(dirFd, name, O_PATH | constants.O_NOFOLLOW | O_CLOEXEC, 0);
}

function openOnMount(dirFd: number, name: Name, flags: number, mode: number): number {
  const fd = openat2(dirFd, putName(name), {flags, mode, resolve: RESOLVE_NO_XDEV});
  if (fd !== undefined) {
    if (fd < 0) throw new LinuxError('openat2', -fd);
    return fd;
  }
  const opened = checked(openat(dirFd, putName(name), flags, mode), 'openat');
  if (statFd(opened).mountId === statFd(dirFd).mountId) return opened;
  closeFd(opened);
  throw new LinuxError('openat', EXDEV);
}

/** Opens for real what is held, whatever its name is by now. Works inside a jail. */
export function reopen(fd: number, flags: number): number {
  const following = (flags | ALWAYS) & ~constants.O_NOFOLLOW;
  return checked(openat(ownFds, putName(String(fd)), following, 0), 'openat');
}

/**
 * The directory at an operator's own address; symlinks are followed.
 * @param path absolute, as a byte string
 */
export function openDirPath(path: string): number {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC;
  return checked(openat(AT_FDCWD, putText(path), flags, 0), 'openat');
}

/** Leaves a descriptor that this process was started with to the program that takes its place (execve). */
export function keepOnExec(fd: number): void {
  checked(fcntl(fd, F_SETFD, 0), 'fcntl');
}

/** Never repeated: after EINTR the number is free, and may be another's already. */
export function closeFd(fd: number): void {
  if (close(fd) < 0 && errno() !== EINTR) fail('close');
}
