/**
 * Files that changed each time they were read: for how long, and how much quieter they must be before the next try. Pure:
 * the caller gives the time.
 *
 * Invariant: what arrives is forgotten; of more paths than are kept the oldest are forgotten, and begin anew.
 */
import type {RelPath} from '../model/path.ts';

export interface RestlessOptions {
  /** A file that was tried for so long without success is told. */
  maxWaitMs: number;
  countMax: number;
}

export interface Restless {
  sinceMs: number;
  /** Whether it is to be told: it has been tried for longer than `maxWaitMs`. */
  isOverdue: boolean;
  /** How many times the usual waits it is left alone; 1 at first. */
  patience: number;
}

const DOUBLINGS_MAX = 5;

export class RestlessPaths {
  readonly #options: RestlessOptions;
  readonly #paths = new Map<RelPath, {sinceMs: number; attempts: number}>();

  constructor(options: RestlessOptions) {
    this.#options = options;
  }

  /** It changed again while it was read or sent. */
  failed(path: RelPath, nowMs: number): Restless {
    const known = this.#paths.get(path) ?? {sinceMs: nowMs, attempts: 0};
    known.attempts++;
    this.#paths.set(path, known);
    if (this.#paths.size > this.#options.countMax) this.#dropOldest();
    const {sinceMs, attempts} = known;
    const patience = 2 ** Math.min(DOUBLINGS_MAX, Math.max(0, attempts - 2));
    return {sinceMs, isOverdue: nowMs - sinceMs >= this.#options.maxWaitMs, patience};
  }

  /** @returns whether it was one of them */
  arrived(path: RelPath): boolean {
    return this.#paths.delete(path);
  }

  #dropOldest(): void {
    for (const path of this.#paths.keys()) {
      this.#paths.delete(path);
      return;
    }
  }
}
