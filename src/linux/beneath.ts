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
import {checked, O_CLOEXEC, openat, putName, putText} from './libc.ts';
import {ELOOP, ENOTDIR, LinuxError} from './linux-error.ts';
import {openat2, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV} from './openat2.ts';

/** `stay`: EXDEV for what lies on another mount than the root. */
export type Mounts = 'stay' | 'enter';

const OPEN_DIR = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK | O_CLOEXEC;
const PATH_BYTES_ONE_CALL = 4095; // PATH_MAX without the NUL
const NO_LINKS = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

/**
 * Opens the directory at `path` (`''`: the root itself) to list it and as a base of *at calls.
 * @returns a descriptor of the caller's own
 * @throws LinuxError ENOENT; ENOTDIR when a component is no directory, a symlink included; EXDEV (mounts `stay`); …
 */
export function openBeneath(rootFd: number, path: RelPath, mounts: Mounts = 'stay'): number {
  if (path.length > PATH_BYTES_ONE_CALL) return walk(rootFd, path, mounts);
  const resolve = mounts === 'stay' ? NO_LINKS | RESOLVE_NO_XDEV : NO_LINKS;
  const fd = openat2(rootFd, putText(path === '' ? '.' : path), {flags: OPEN_DIR, mode: 0, resolve});
  if (fd === undefined) return walk(rootFd, path, mounts);
  if (fd < 0) throw new LinuxError('openat2', fd === -ELOOP ? ENOTDIR : -fd);
  return fd;
}

/** The same, one component at a time: for older kernels and for paths longer than PATH_MAX. */
export function walk(rootFd: number, path: RelPath, mounts: Mounts): number {
  let fd = openDirAt(rootFd, '.');
  for (const name of splitPath(path)) {
    const parentFd = fd;
    try {
      invariant(name !== '.', 'a path held "."');
      fd =
        mounts === 'stay' ? openDirAt(parentFd, name) : checked(openat(parentFd, putName(name), OPEN_DIR, 0), 'openat');
    } finally {
      closeFd(parentFd);
    }
  }
  return fd;
}
