/**
 * How many entries lie at a path in the course of a batch: what the state holds, less what the batch took away, plus
 * what it moved there.
 *
 * Counts only, and not what is made anew. What the state says cannot be done is taken as not done: a directory that was
 * to be exchanged with nothing is still where it was when a file comes in its place. Pure: nothing is done to the state.
 */
import {isWithin, parentOf, ROOT, type RelPath} from '../model/path.ts';

export class BatchTree {
  readonly #countBefore: (path: RelPath) => number;
  /** By path: by how much the batch changed what lies there and below it. */
  readonly #changes = new Map<RelPath, number>();
  /** What the batch put where nothing may have been. */
  readonly #made = new Set<RelPath>();
  /** Of directories, in their order. */
  readonly #renames: {from: RelPath; to: RelPath}[] = [];

  /** @param countBefore entries at and below a path before the batch, 0 where nothing is */
  constructor(countBefore: (path: RelPath) => number) {
    this.#countBefore = countBefore;
  }

  countAt(path: RelPath): number {
    return Math.max(0, this.#countBefore(this.#pathBefore(path)) + (this.#changes.get(path) ?? 0));
  }

  make(path: RelPath): void {
    this.#made.add(path);
  }

  remove(path: RelPath): void {
    this.#made.delete(path);
    this.#set(path, 0);
  }

  /** What is at `to` has to be removed before. */
  rename(from: RelPath, to: RelPath, isDir: boolean): void {
    if (!this.#has(from) || !this.#has(parentOf(to))) return;
    const count = this.countAt(from);
    this.remove(from);
    this.make(to);
    if (isDir) this.#renames.push({from, to});
    this.#set(to, count);
  }

  exchange(one: RelPath, other: RelPath): void {
    if (!this.#has(one) || !this.#has(other)) return;
    const [countOfOne, countOfOther] = [this.countAt(one), this.countAt(other)];
    this.#set(one, countOfOther);
    this.#set(other, countOfOne);
  }

  #has(path: RelPath): boolean {
    return path === ROOT || this.#made.has(path) || this.countAt(path) > 0;
  }

  #set(path: RelPath, count: number): void {
    const change = count - this.countAt(path);
    if (change === 0) return;
    for (let at = path; ; at = parentOf(at)) {
      this.#changes.set(at, (this.#changes.get(at) ?? 0) + change);
      if (at === ROOT) return;
    }
  }

  #pathBefore(path: RelPath): RelPath {
    for (const {from, to} of this.#renames.toReversed()) {
      if (path !== to && isWithin(path, to)) path = from + path.slice(to.length);
    }
    return path;
  }
}
