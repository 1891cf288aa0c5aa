/**
 * Directories of a volume by path: from the held root downwards, never through a symlink, never out of the volume.
 *
 * Checking a path first and using it afterwards is no defence against a process that swaps directories; here the kernel
 * checks while it walks (openat2, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), or each component is opened relative to the
 * one before. Invariant: what is returned was below the root when it was reached, without a symlink on the way.
 */
import {constants} from 'node:fs';
import {invariant} from '../base/errors.ts';
import {splitPath, type RelPath} from '../model/path.ts';
import {openDirAt} from './directories.ts';
import {closeFd} from './open-fd.ts';
import {errno, O_CLOEXEC, putText, scratch, syscall, SYS_OPENAT2} from './libc.ts';
import {EAGAIN, EINTR, ELOOP, ENOSYS, ENOTDIR, EPERM, EXDEV, LinuxError} from './linux-error.ts';
import {statFd} from './stat.ts';

/** `stay`: EXDEV for what lies on another mount than the root. */
export type Mounts = 'stay' | 'enter';

const OPEN_DIR = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK | O_CLOEXEC;
const RESOLVE_NO_XDEV = 0x01;
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;
const PATH_BYTES_ONE_CALL = 4095; // PATH_MAX without the NUL
const ATTEMPTS_MAX = 16; // EAGAIN comes when something is renamed during the walk

const how = scratch(24);
how.bytes.writeUInt32LE(OPEN_DIR, 0);

let hasOpenat2 = true;

/**
 * Opens the directory at `path` (`''`: the root itself) to list it and as a base of *at calls.
 * @returns a descriptor of the caller's own
 * @throws LinuxError ENOENT; ENOTDIR when a component is no directory, a symlink included; EXDEV (mounts `stay`); …
 */
export function openBeneath(rootFd: number, path: RelPath, mounts: Mounts = 'stay'): number {
  if (!hasOpenat2 || path.length > PATH_BYTES_ONE_CALL) return walk(rootFd, path, mounts);
  how.bytes.writeUInt32LE(
    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | (mounts === 'stay' ? RESOLVE_NO_XDEV : 0),
    16,
  );
  const address = putText(path === '' ? '.' : path);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const fd = syscall(SYS_OPENAT2, rootFd, address, how.address, 24);
    if (fd >= 0) return fd;
    const number = errno();
    if (number === EAGAIN || number === EINTR) continue;
    // A system call filter that does not know the number answers EPERM, which openat2 itself does not for a directory.
    if (number === ENOSYS || number === EPERM) {
      hasOpenat2 = false;
      break;
    }
    throw new LinuxError('openat2', number === ELOOP ? ENOTDIR : number);
  }
  return walk(rootFd, path, mounts);
}

/** The same, one component at a time: for older kernels and for paths longer than PATH_MAX. */
export function walk(rootFd: number, path: RelPath, mounts: Mounts): number {
  const rootMount = mounts === 'stay' ? statFd(rootFd).mountId : 0;
  let fd = openDirAt(rootFd, '.');
  for (const name of splitPath(path)) {
    const parentFd = fd;
    try {
      invariant(name !== '.', 'a path held "."');
      fd = openDirAt(parentFd, name);
    } finally {
      closeFd(parentFd);
    }
    if (mounts === 'stay' && statFd(fd).mountId !== rootMount) {
      closeFd(fd);
      throw new LinuxError('openat', EXDEV);
    }
  }
  return fd;
}

export interface DirCacheOptions {
  rootFd: number;
  /** Directories held open at once, at least 1. */
  countMax: number;
  mounts?: Mounts;
}

/**
 * The directories used last, held open for consecutive work in them. For one job: a directory that is moved meanwhile
 * is still the one that was opened, and an open one keeps its filesystem busy.
 */
export class DirCache implements Disposable {
  readonly #rootFd: number;
  readonly #countMax: number;
  readonly #mounts: Mounts;
  /** Least recently used first. */
  readonly #fds = new Map<RelPath, number>();
  #lastPath: RelPath | undefined;
  #lastFd = -1;

  constructor(options: DirCacheOptions) {
    invariant(options.countMax >= 1, 'a cache of no directory');
    this.#rootFd = options.rootFd;
    this.#countMax = options.countMax;
    this.#mounts = options.mounts ?? 'stay';
  }

  /**
   * @returns a descriptor that stays open until `countMax` other paths were asked for, or `drop`; not to be closed
   * @throws LinuxError as `openBeneath`
   */
  open(path: RelPath): number {
    if (path === this.#lastPath) return this.#lastFd;
    let fd = this.#fds.get(path);
    if (fd === undefined) {
      fd = openBeneath(this.#rootFd, path, this.#mounts);
      if (this.#fds.size >= this.#countMax) this.#dropOldest();
    } else {
      this.#fds.delete(path);
    }
    this.#fds.set(path, fd);
    this.#lastPath = path;
    this.#lastFd = fd;
    return fd;
  }

  /** Forgets `path` and all below it: they were renamed, removed or replaced. */
  drop(path: RelPath): void {
    const below = path === '' ? '' : `${path}/`;
    for (const [held, fd] of this.#fds) {
      if (held !== path && !held.startsWith(below)) continue;
      this.#fds.delete(held);
      closeFd(fd);
    }
    this.#lastPath = undefined;
  }

  dropAll(): void {
    this.drop('');
  }

  [Symbol.dispose](): void {
    this.dropAll();
  }

  #dropOldest(): void {
    for (const [path, fd] of this.#fds) {
      this.#fds.delete(path);
      closeFd(fd);
      return;
    }
  }
}
