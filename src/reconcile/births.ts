/**
 * What came a moment ago, so that a file that comes and goes, a database's journal for one, is not counted as a loss.
 *
 * Pure: the caller gives the time. Invariant: when in doubt something is old; what was moved is as old as it was.
 */
import {isWithin, parentOf, ROOT, type RelPath} from '../model/path.ts';

const COUNT_MAX = 10_000; // beyond it the older half counts as old

export class Births {
  #atMs = new Map<RelPath, number>();
  /** What came before half of the count; dropped as a whole, because a map forgets its first key slowly. */
  #earlierMs = new Map<RelPath, number>();

  /** Something new is at a path, with all that is below it. */
  born(path: RelPath, nowMs: number): void {
    if (this.#atMs.size >= COUNT_MAX / 2) {
      this.#earlierMs = this.#atMs;
      this.#atMs = new Map();
    }
    this.#atMs.set(path, nowMs);
  }

  renamed(from: RelPath, to: RelPath, isDir: boolean): void {
    const atMs = this.#bornAtMs(from);
    this.forget(from, isDir);
    if (atMs !== undefined) return this.born(to, atMs);
    // Something old is in there now.
    this.#forgetAbove(to);
  }

  exchanged(a: RelPath, b: RelPath): void {
    for (const path of [a, b]) {
      this.forget(path, true);
      this.#forgetAbove(path);
    }
  }

  /** Whether what is at a path, with all below it, came at or after a time. */
  isBornSince(path: RelPath, sinceMs: number): boolean {
    const atMs = this.#bornAtMs(path);
    return atMs !== undefined && atMs >= sinceMs;
  }

  /** Nothing is at a path any more. */
  forget(path: RelPath, isDir: boolean): void {
    for (const births of [this.#atMs, this.#earlierMs]) {
      births.delete(path);
      if (!isDir) continue;
      for (const below of [...births.keys()]) if (isWithin(below, path)) births.delete(below);
    }
  }

  #forgetAbove(path: RelPath): void {
    for (let above = path; above !== ROOT; above = parentOf(above)) {
      this.#atMs.delete(above);
      this.#earlierMs.delete(above);
    }
  }

  #bornAtMs(path: RelPath): number | undefined {
    for (let above = path; above !== ROOT; above = parentOf(above)) {
      const atMs = this.#atMs.get(above) ?? this.#earlierMs.get(above);
      if (atMs !== undefined) return atMs;
    }
    return undefined;
  }
}
