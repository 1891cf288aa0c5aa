/**
 * Point-in-time copies of files that change while they are read: clones (reflinks) without a name, on filesystems that
 * share blocks.
 *
 * A copy is no file of the volume: it never has a name, its directory keeps its times, and it is gone when it is closed.
 * Invariants: none is made or kept while less than a reserve of the filesystem is free, as each page that is written
 * meanwhile takes new space; a filesystem or a file that cannot be cloned is answered with undefined, never with an error.
 * The idea is that of ioctl_ficlone(2): the kernel takes all of the file at one moment.
 */
import {clone, setNoCow} from '../linux/extents.ts';
import {filesystemOf} from '../linux/filesystem.ts';
import {openTmp} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {writeBack} from '../linux/sync.ts';
import {isUntouched, type Stat} from '../model/entry.ts';

export interface FileClone {
  /** To be read, and closed through `close`. */
  fd: number;
  /** What is in it: the file's metadata just before it was taken, with the size that it has. */
  stat: Stat;
  /** Whether the file was the same right after: then `stat` is the version whose bytes these are, and no older one. */
  isExact: boolean;
}

const OPEN_MAX = 8; // two a link; each may come to hold as much space as its file
/** At least: the application's next page needs room too. */
export const RESERVE_SHARE = 0.05;
const ATTEMPTS_MAX = 3; // the second finds little left to be written out, so that it takes no time
const REFUSALS_MAX = 3; // one file may be of a kind that is not cloned; after so many, and none that was, it is the filesystem

export class FileClones {
  readonly #open = new Set<number>();
  #refusals = 0;
  #hasCloned = false;

  /** Whether nothing was ever cloned, and not for want of space. */
  get isRefused(): boolean {
    return !this.#hasCloned && this.#refusals > 0;
  }

  get count(): number {
    return this.#open.size;
  }

  /**
   * @param dirFd the file's directory, held
   * @param fd the file, open to read
   * @returns undefined where this is not possible, or not now
   */
  take(dirFd: number, fd: number): FileClone | undefined {
    if (this.#refusals >= REFUSALS_MAX || this.#open.size >= OPEN_MAX || !hasReserve(fd)) return undefined;
    for (let attempt = 1; ; attempt++) {
      const cloned = this.#cloneOf(dirFd, fd);
      if (cloned === undefined) {
        if (!this.#hasCloned) this.#refusals++;
        return undefined;
      }
      this.#hasCloned = true;
      if (!cloned.isExact && attempt < ATTEMPTS_MAX) {
        closeFd(cloned.fd);
        continue;
      }
      const {sizeBytes, allocatedBytes} = statFd(cloned.fd);
      this.#open.add(cloned.fd);
      return {...cloned, stat: {...cloned.stat, sizeBytes, allocatedBytes}};
    }
  }

  /** A full disk, a quota, a directory that is not ours, a filesystem that is read-only or has no such files: not here. */
  #cloneOf(dirFd: number, fd: number): FileClone | undefined {
    let made = -1;
    try {
      made = openTmp(dirFd, 0o600);
      // Cloning writes out what is dirty while nobody can write to the file: the less is left by then, the better.
      if (this.#hasCloned) writeBack(fd);
      const stat = statFd(fd);
      if (clone(made, fd) || (setNoCow(made) && clone(made, fd))) {
        const cloned = {fd: made, stat, isExact: isUntouched(stat, statFd(fd))};
        made = -1;
        return cloned;
      }
    } catch (error) {
      if (!isLinuxError(error)) throw error;
    } finally {
      if (made >= 0) closeFd(made);
    }
    return undefined;
  }

  /** Whether this one may be kept: there is room for what is written meanwhile. */
  mayKeep(fd: number): boolean {
    return !this.#open.has(fd) || hasReserve(fd);
  }

  /** It is another's to close from now on. */
  release(fd: number): void {
    this.#open.delete(fd);
  }

  close(fd: number): void {
    this.#open.delete(fd);
    closeFd(fd);
  }
}

/** Whether more of the filesystem of an open file is free than a share of it. */
export function hasReserve(fd: number, share = RESERVE_SHARE): boolean {
  const {freeBytes, totalBytes} = filesystemOf(fd);
  return freeBytes > totalBytes * share;
}
