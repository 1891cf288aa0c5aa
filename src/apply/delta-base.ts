/**
 * The file on the target that a large file's delta refers to: opened once, and read while leaves are made. Runs in a worker.
 *
 * Invariant: it is the version that the state knows, or nothing is opened; what is read of it is believed by no one, for
 * each leaf is compared with its digest.
 */
import {NO_BASE, type BaseReader} from '../delta/patch.ts';
import {openBeneath} from '../linux/beneath.ts';
import {openRegular, readInto} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {isUntouched, type Seen} from '../model/entry.ts';
import {nameOf, parentOf, type RelPath} from '../model/path.ts';

export interface OpenBase {
  /** -1 where there is none. */
  baseFd: number;
  base: BaseReader;
}

/** @returns undefined when it is not what the state knows: the delta does not fit it */
export function openBase(rootFd: number, base: {path: RelPath; expected: Seen} | undefined): OpenBase | undefined {
  if (base === undefined) return {baseFd: -1, base: NO_BASE};
  let dirFd = -1;
  try {
    dirFd = openBeneath(rootFd, parentOf(base.path));
    const {fd, stat} = openRegular(dirFd, nameOf(base.path));
    const read = (offset: number, size: number, into: Buffer, at: number): void => {
      if (readInto(fd, into, at, size, offset) !== size) into.fill(0, at, at + size); // shorter by now: its digest will not fit
    };
    if (isUntouched(base.expected, stat)) return {baseFd: fd, base: {sizeBytes: stat.sizeBytes, read}};
    closeFd(fd);
    return undefined;
  } catch (error) {
    if (isLinuxError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL')) return undefined;
    throw error;
  } finally {
    if (dirFd >= 0) closeFd(dirFd);
  }
}
