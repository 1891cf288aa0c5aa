/**
 * What came a moment ago, so that a file that comes and goes, a database's journal for one, is not counted as a loss.
 *
 * Pure: the caller gives the time. Invariant: when in doubt something is old; what was moved is as old as it was.
 */
import {isWithin, parentOf, ROOT, type RelPath} from '../model/path.ts';

const COUNT_MAX = 10_000; // beyond it the oldest count as old

export class Births {
  /** Oldest first. */
  readonly #atMs = new Map<RelPath, number>();

  /** Something new is at a path, with all that is below it. */
  born(path: RelPath, nowMs: number): void {
    this.#atMs.delete(path);
    this.#atMs.set(path, nowMs);
    if (this.#atMs.size > COUNT_MAX) this.#atMs.delete(this.#atMs.keys().next().value as RelPath);
  }

  renamed(from: RelPath, to: RelPath, isDir: boolean): void {
    const atMs = this.#bornAtMs(from);
    this.forget(from, isDir);
    if (atMs !== undefined) return this.born(to, atMs);
    // Something old is in there now.
    for (let above = to; above !== ROOT; above = parentOf(above)) this.#atMs.delete(above);
  }

  exchanged(a: RelPath, b: RelPath): void {
    for (const path of [a, b]) {
      this.forget(path, true);
      for (let above = path; above !== ROOT; above = parentOf(above)) this.#atMs.delete(above);
    }
  }

  /** Whether what is at a path, with all below it, came at or after a time. */
  isBornSince(path: RelPath, sinceMs: number): boolean {
    const atMs = this.#bornAtMs(path);
    return atMs !== undefined && atMs >= sinceMs;
  }

  /** Nothing is at a path any more. */
  forget(path: RelPath, isDir: boolean): void {
    this.#atMs.delete(path);
    if (!isDir || this.#atMs.size === 0) return;
    for (const below of [...this.#atMs.keys()]) if (isWithin(below, path)) this.#atMs.delete(below);
  }

  #bornAtMs(path: RelPath): number | undefined {
    for (let above = path; above !== ROOT; above = parentOf(above)) {
      const atMs = this.#atMs.get(above);
      if (atMs !== undefined) return atMs;
    }
    return undefined;
  }
}
