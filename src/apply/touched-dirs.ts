/**
 * Directories whose times a batch must put back: creating and removing names in a directory changes its mtime, but the
 * source's is what counts. Applied last, because everything else changes it again.
 */
import type {DirCache} from '../linux/beneath.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {setTimeFd} from '../linux/metadata.ts';
import {statFd} from '../linux/stat.ts';
import {syncFd} from '../linux/sync.ts';
import type {FileTime} from '../model/entry.ts';
import {isWithin, type RelPath} from '../model/path.ts';

export class TouchedDirs {
  readonly #times = new Map<RelPath, FileTime>();

  /** Remembers the directory's time before it is first changed. */
  touch(path: RelPath, fd: number): void {
    if (!this.#times.has(path)) this.#times.set(path, statFd(fd).mtime);
  }

  /** The time that the directory shall have in the end. */
  set(path: RelPath, mtime: FileTime): void {
    this.#times.set(path, mtime);
  }

  /** A directory was renamed: its remembered time goes with it, that of what it replaced goes. */
  move(from: RelPath, to: RelPath): void {
    const moved = [...this.#times].filter(([path]) => isWithin(path, from));
    for (const [path] of moved) this.#times.delete(path);
    this.drop(to);
    for (const [path, mtime] of moved) this.#times.set(to + path.slice(from.length), mtime);
  }

  /** Two entries changed places: remembered times of directories go with them. */
  exchange(a: RelPath, b: RelPath): void {
    for (const [path, mtime] of [...this.#times]) {
      const from = isWithin(path, a) ? a : isWithin(path, b) ? b : undefined;
      if (from === undefined) continue;
      if (this.#times.get(path) === mtime) this.#times.delete(path);
      this.#times.set((from === a ? b : a) + path.slice(from.length), mtime);
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

  /** Puts the times back, and makes each directory durable where asked. */
  restore(dirs: DirCache, isDurable: boolean): void {
    for (const [path, mtime] of this.#times) {
      let fd: number;
      try {
        fd = dirs.open(path);
      } catch (error) {
        // Swapped or removed by somebody else meanwhile, or closed to us by its new mode: the next scan sees what is there.
        if (!isLinuxError(error)) throw error;
        continue;
      }
      setTimeFd(fd, mtime);
      if (isDurable) syncFd(fd);
    }
  }
}
