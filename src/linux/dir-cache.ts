/**
 * The directories used last, held open for consecutive work in them.
 *
 * For one job: a directory that is moved meanwhile is still the one that was opened, and an open one keeps its filesystem
 * busy. Invariant: each was opened by `openBeneath`, and is closed when it is pushed out, dropped or disposed of.
 */
import {invariant} from '../base/errors.ts';
import type {RelPath} from '../model/path.ts';
import {openBeneath, type Mounts} from './beneath.ts';
import {closeFd} from './open-fd.ts';

export interface DirCacheOptions {
  rootFd: number;
  /** Directories held open at once, at least 1. */
  countMax: number;
  mounts?: Mounts;
}

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
