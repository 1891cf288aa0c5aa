/**
 * Measures and removes directories with all below them, in the staging folder and the trash.
 *
 * Invariant: works by held descriptors, never through a symlink or into another mount.
 */
import {constants as osConstants} from 'node:os';
import {listNames, openDirAt, rmdirAt} from '../linux/directories.ts';
import {unlinkAt} from '../linux/files.ts';
import {isLinuxError, LinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statAtIfAny, statFd} from '../linux/stat.ts';
import type {Stat} from '../model/entry.ts';
import type {Name} from '../model/path.ts';
import {chmodAt, isClosedToUs} from './own-dirs.ts';

const REMOVALS_MAX = 4;
const EBUSY = osConstants.errno.EBUSY;

/**
 * Bytes on disk below a directory, to the first that are more than `bytesMax`. No link and no mount is followed.
 * @param of `kept`: a file with several names counts by its share; `freed`: only what its removal is sure to free
 */
export function treeBytes(dirFd: number, bytesMax: number, of: 'kept' | 'freed'): number {
  const {mountId} = statFd(dirFd);
  let sizeBytes = 0;
  for (const name of listNames(dirFd)) {
    const stat = statAtIfAny(dirFd, name);
    if (stat === undefined || stat.mountId !== mountId) continue;
    if (of === 'freed') sizeBytes += freedBytes(stat);
    else sizeBytes += stat.type === 'dir' ? stat.allocatedBytes : stat.allocatedBytes / stat.nlink;
    if (stat.type === 'dir') sizeBytes += inDir(dirFd, name, (fd) => treeBytes(fd, bytesMax - sizeBytes, of)) ?? 0;
    if (sizeBytes > bytesMax) break;
  }
  return Math.ceil(sizeBytes);
}

/** What goes when this name does. */
function freedBytes({type, nlink, allocatedBytes}: Stat): number {
  return nlink > 1 && type !== 'dir' ? 0 : allocatedBytes;
}

/** Works in a directory, unless it is gone, closed to us, or another thing or a mount point, by now. */
export function inDir<T>(dirFd: number, name: Name, work: (fd: number) => T): T | undefined {
  let fd: number;
  try {
    fd = openDirAt(dirFd, name);
  } catch (error) {
    if (isLinuxError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV', 'EACCES')) return undefined;
    throw error;
  }
  try {
    return work(fd);
  } finally {
    closeFd(fd);
  }
}

/**
 * Removes a name and all below it, by held descriptors, never through a symlink or into another mount. What another
 * process removes meanwhile is gone as well; where something cannot be removed, the rest is before that is thrown.
 * @returns bytes on disk that this frees, as far as nothing else has them open or another name of them
 */
export function removeTree(dirFd: number, name: Name): number {
  for (let attempt = 1; ; attempt++) {
    try {
      return removeOnce(dirFd, name);
    } catch (error) {
      // Another thing by now, or something was put into it: whoever has it open may go on working in there.
      if (!isLinuxError(error, 'ENOTDIR', 'EISDIR', 'ENOTEMPTY') || attempt === REMOVALS_MAX) throw error;
    }
  }
}

/** As `removeTree`. @returns undefined where something in it cannot be removed: immutable, mounted on, written to */
export function removeIfPossible(dirFd: number, name: Name): number | undefined {
  try {
    return removeTree(dirFd, name);
  } catch (error) {
    if (!isLinuxError(error)) throw error;
    return undefined;
  }
}

/** Removes what was staged; what lies there instead is not ours to drop, and what cannot be removed is swept at the next start. */
export function removeStaged(stagingFd: number, name: Name, ino: number): void {
  try {
    if (statAtIfAny(stagingFd, name)?.ino === ino) removeTree(stagingFd, name);
  } catch (error) {
    if (!isLinuxError(error)) throw error;
  }
}

function removeOnce(dirFd: number, name: Name): number {
  const stat = statAtIfAny(dirFd, name);
  if (stat === undefined) return 0;
  if (stat.type === 'dir' && stat.mountId !== statFd(dirFd).mountId) throw new LinuxError('unlinkat', EBUSY);
  let sizeBytes = freedBytes(stat);
  try {
    if (stat.type !== 'dir') unlinkAt(dirFd, name);
    else {
      if (isClosedToUs(stat)) chmodAt(dirFd, name, 0o700);
      inDir(dirFd, name, (fd) => {
        let fault: unknown;
        for (const child of listNames(fd)) {
          try {
            sizeBytes += removeTree(fd, child);
          } catch (error) {
            fault ??= error; // its neighbours go all the same
          }
        }
        if (fault !== undefined) throw fault;
      });
      rmdirAt(dirFd, name);
    }
  } catch (error) {
    if (!isLinuxError(error, 'ENOENT')) throw error;
  }
  return sizeBytes;
}
