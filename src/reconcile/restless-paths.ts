/**
 * Files that changed each time they were read: for how long, how they are read next, and how much quieter they must be
 * before that. Pure: the caller gives the time.
 *
 * Invariant: what arrives in its present version is forgotten; of more paths than are kept those that were tried the
 * longest ago are forgotten, and begin anew.
 */
import type {RelPath} from '../model/path.ts';
import type {Reading} from '../model/reading.ts';
import type {Patience} from './dirty-set.ts';

export interface RestlessOptions {
  /** A file that was tried for so long without success is told. */
  maxWaitMs: number;
  /** What is done then, where there is no point-in-time copy: `torn` reads it as it is. */
  hot: 'wait' | 'torn';
  countMax: number;
}

export interface Restless {
  sinceMs: number;
  /** Whether it is to be told: it has been tried for longer than `maxWaitMs`. */
  isOverdue: boolean;
  patience: Patience;
  /** Another one, which is forgotten for this one. */
  forgotten: RelPath | undefined;
}

interface Known {
  sinceMs: number;
  attempts: number;
  /** Set once it has arrived in a version that was not the present one: until when it is left alone. */
  advancedUntilMs: number | undefined;
}

const DOUBLINGS_MAX = 5;
const PATIENCE_ADVANCED = 2; // enough to count as one that does not rest
const ADVANCED_MS_MIN = 60_000; // by then it has been looked at again (dirty-set.ts), if its wait is no longer

export class RestlessPaths {
  readonly #options: RestlessOptions;
  readonly #paths = new Map<RelPath, Known>();

  constructor(options: RestlessOptions) {
    this.#options = options;
  }

  /** It changed again while it was read or sent. */
  failed(path: RelPath, nowMs: number): Restless {
    const known = this.#paths.get(path) ?? {sinceMs: nowMs, attempts: 0, advancedUntilMs: undefined};
    known.attempts++;
    const times = 2 ** Math.min(DOUBLINGS_MAX, Math.max(0, known.attempts - 2));
    return this.#keep(path, known, nowMs, {times, waitMs: 0});
  }

  /**
   * It arrived in a version that it had meanwhile, or torn; it goes on changing.
   * @param tookMs so long it was on its way: it is left alone for twice that time at least
   */
  advanced(path: RelPath, nowMs: number, tookMs: number): Restless {
    const known = this.#paths.get(path) ?? {sinceMs: nowMs, attempts: 1, advancedUntilMs: undefined};
    known.attempts = 1;
    const waitMs = 2 * tookMs;
    known.advancedUntilMs = nowMs + Math.max(ADVANCED_MS_MIN, waitMs);
    const times = Math.max(PATIENCE_ADVANCED, Math.ceil(waitMs / Math.max(1, this.#options.maxWaitMs)));
    return this.#keep(path, known, nowMs, {times, waitMs});
  }

  /** What was on its way is lost: none has arrived not long ago. */
  lost(): void {
    for (const known of this.#paths.values()) known.advancedUntilMs = undefined;
  }

  /** How it is to be read. */
  readingOf(path: RelPath, nowMs: number): Reading {
    const known = this.#paths.get(path);
    if (known === undefined) return 'at-rest';
    return this.#options.hot === 'torn' && this.#isOverdue(known, nowMs) ? 'torn' : 'clone';
  }

  /** Whether it arrived not long ago, and nothing has failed since. */
  hasAdvanced(path: RelPath, nowMs: number): boolean {
    const known = this.#paths.get(path);
    return known?.advancedUntilMs !== undefined && known.attempts === 1 && nowMs < known.advancedUntilMs;
  }

  #isOverdue({sinceMs}: Known, nowMs: number): boolean {
    return nowMs - sinceMs >= this.#options.maxWaitMs;
  }

  /** It arrived as it is, or is no more. @returns whether it was one of them */
  arrived(path: RelPath): boolean {
    return this.#paths.delete(path);
  }

  /** Both sides are equal. @returns those that have arrived with that, or are no more */
  allArrived(): RelPath[] {
    const paths = [...this.#paths.keys()];
    this.#paths.clear();
    return paths;
  }

  #keep(path: RelPath, known: Known, nowMs: number, patience: Patience): Restless {
    this.#paths.delete(path);
    this.#paths.set(path, known);
    const [oldest] = this.#paths.size > this.#options.countMax ? this.#paths.keys() : [];
    if (oldest !== undefined) this.#paths.delete(oldest);
    return {sinceMs: known.sinceMs, isOverdue: this.#isOverdue(known, nowMs), patience, forgotten: oldest};
  }
}
