/**
 * Directories that a batch must put back as they were: creating and removing names in a directory changes its mtime, but
 * the source's is what counts; and one that its mode closes to us is open for that long. Applied last, because everything
 * else changes it again.
 */
import type {DirCache} from '../linux/dir-cache.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {chmodFd, setTimeFd} from '../linux/metadata.ts';
import {statFd} from '../linux/stat.ts';
import {syncFd} from '../linux/sync.ts';
import type {FileTime} from '../model/entry.ts';
import {isWithin, type RelPath} from '../model/path.ts';
import {isClosedToUs, MAY_CHANGE} from './own-dirs.ts';

interface Touched {
  mtime: FileTime;
  /** That it shall have in the end, where it was opened for us. */
  mode?: number;
  /** Whether it can be changed as it is now. */
  isOpen: boolean;
}

export class TouchedDirs {
  readonly #times = new Map<RelPath, Touched>();

  /** To be called before the directory is changed: remembers its time, and opens it where its mode closes it to us. */
  touch(path: RelPath, fd: number): void {
    const known = this.#times.get(path);
    if (known?.isOpen === true) return;
    const stat = statFd(fd);
    const touched: Touched = {mtime: known?.mtime ?? stat.mtime, isOpen: true};
    if (isClosedToUs(stat)) {
      chmodFd(fd, stat.mode | MAY_CHANGE);
      touched.mode = stat.mode;
    }
    this.#times.set(path, touched);
  }

  /** The time that the directory shall have in the end; its mode is what it shall have. */
  set(path: RelPath, mtime: FileTime): void {
    this.#times.set(path, {mtime, isOpen: false});
  }

  /** A directory was renamed: its remembered time goes with it, that of what it replaced goes. */
  move(from: RelPath, to: RelPath): void {
    const moved = [...this.#times].filter(([path]) => isWithin(path, from));
    for (const [path] of moved) this.#times.delete(path);
    this.drop(to);
    for (const [path, touched] of moved) this.#times.set(to + path.slice(from.length), touched);
  }

  /** Two entries changed places: remembered times of directories go with them. */
  exchange(a: RelPath, b: RelPath): void {
    for (const [path, touched] of [...this.#times]) {
      const from = isWithin(path, a) ? a : isWithin(path, b) ? b : undefined;
      if (from === undefined) continue;
      if (this.#times.get(path) === touched) this.#times.delete(path);
      this.#times.set((from === a ? b : a) + path.slice(from.length), touched);
    }
  }

  /** A directory was removed. */
  drop(path: RelPath): void {
    for (const touched of [...this.#times.keys()]) if (isWithin(touched, path)) this.#times.delete(touched);
  }

  get paths(): Iterable<RelPath> {
    return this.#times.keys();
  }

  get count(): number {
    return this.#times.size;
  }

  /** Puts modes and times back, and makes each directory durable where asked. */
  restore(dirs: DirCache, isDurable: boolean): void {
    for (const [path, {mtime, mode}] of this.#times) {
      let fd: number;
      try {
        fd = dirs.open(path);
      } catch (error) {
        // Swapped or removed by somebody else meanwhile, or closed to us by its new mode: the next scan sees what is there.
        if (!isLinuxError(error)) throw error;
        continue;
      }
      try {
        if (mode !== undefined) chmodFd(fd, mode);
        setTimeFd(fd, mtime);
      } catch (error) {
        // Immutable, or another's: what was to be done in it has failed too; a time that differs is found by its digest.
        if (!isLinuxError(error, 'EPERM', 'EACCES')) throw error;
      }
      if (isDurable) syncFd(fd);
    }
  }
}
