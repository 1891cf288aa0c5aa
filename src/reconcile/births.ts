/**
 * What came a while ago, so that a file that comes and goes, a database's journal for one, is not counted as a loss.
 *
 * Pure: the caller gives the time, which never goes back. What is said of a path holds for all below it until something
 * is said there later, so nothing below has to be looked for. Invariant: when in doubt something is old; what was moved
 * is as old as it was, and what it was moved over does not become young.
 */
import {parentOf, ROOT, type RelPath} from '../model/path.ts';

const COUNT_MAX = 10_000;

/** What was said of a path, and below: when it was born, or (undefined) that it is old. */
interface Said {
  bornMs: number | undefined;
  /** Later words have the higher one. */
  order: number;
}

export class Births {
  readonly #options: {countMax: number; keepMs: number};
  #said = new Map<RelPath, Said>();
  /** What was said before half of the count; dropped as a whole, because a map forgets its first key slowly. */
  #saidEarlier = new Map<RelPath, Said>();
  #sinceMs = 0;
  #lastMs = 0;
  #order = 0;

  /** @param options `countMax`: beyond it the older half counts as old; `keepMs`: for so long it is asked for */
  constructor(options: {countMax?: number; keepMs?: number} = {}) {
    this.#options = {countMax: COUNT_MAX, keepMs: Infinity, ...options};
  }

  /** Something new is at a path, with all that is below it. */
  born(path: RelPath, nowMs: number): void {
    this.#lastMs = nowMs;
    this.#say(path, nowMs);
  }

  /** @param how `isOver`: something else was at the new place, and went */
  renamed(from: RelPath, to: RelPath, {isDir, isOver}: {isDir: boolean; isOver: boolean}): void {
    const bornMs = this.#bornAtMs(from);
    const wasOldThere = isOver && this.#bornAtMs(to) === undefined;
    this.forget(from, isDir);
    if (bornMs !== undefined && !wasOldThere) return this.#say(to, bornMs);
    // Something old is in there now.
    this.#forgetAbove(to);
    if (isDir) this.#say(to, undefined);
  }

  exchanged(a: RelPath, b: RelPath): void {
    for (const path of [a, b]) {
      this.#forgetAbove(path);
      this.#say(path, undefined);
    }
  }

  /** Whether what is at a path, with all below it, came at or after a time. */
  isBornSince(path: RelPath, sinceMs: number): boolean {
    const bornMs = this.#bornAtMs(path);
    return bornMs !== undefined && bornMs >= sinceMs;
  }

  /** Nothing young is at a path any more, nor below it. */
  forget(path: RelPath, isDir: boolean): void {
    this.#said.delete(path);
    this.#saidEarlier.delete(path);
    if (isDir && this.#said.size + this.#saidEarlier.size > 0) this.#say(path, undefined);
  }

  #say(path: RelPath, bornMs: number | undefined): void {
    const {countMax, keepMs} = this.#options;
    if (this.#said.size >= countMax / 2 || this.#lastMs - this.#sinceMs >= keepMs) {
      this.#saidEarlier = this.#said;
      this.#said = new Map();
      this.#sinceMs = this.#lastMs;
    }
    this.#said.set(path, {bornMs, order: ++this.#order});
  }

  #forgetAbove(path: RelPath): void {
    for (let above = path; above !== ROOT; above = parentOf(above))
      for (const said of [this.#said, this.#saidEarlier]) if (said.get(above)?.bornMs !== undefined) said.delete(above);
  }

  /** What was said last of a path or of one above it. */
  #bornAtMs(path: RelPath): number | undefined {
    let last: Said | undefined;
    for (let above = path; above !== ROOT; above = parentOf(above)) {
      const said = this.#said.get(above) ?? this.#saidEarlier.get(above);
      if (said !== undefined && said.order > (last?.order ?? 0)) last = said;
    }
    return last?.bornMs;
  }
}
