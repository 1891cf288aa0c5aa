/**
 * Files that were read from a clone not long ago: the next clone of each waits, as every one makes its filesystem write the
 * file's next pages elsewhere.
 *
 * Invariant: while something waits, it is asked for again when it is due.
 */
import {later, type Clock} from '../base/clock.ts';
import type {RelPath} from '../model/path.ts';

export class ClonePauses {
  readonly #pauseMs: number;
  readonly #clock: Clock;
  /** When each may be cloned again, the first that may in front. */
  readonly #dueMs = new Map<RelPath, number>();
  #isWaking = false;

  constructor({pauseMs}: {pauseMs: number}, {clock}: {clock: Clock}) {
    this.#pauseMs = pauseMs;
    this.#clock = clock;
  }

  /** It was read from a clone, until now. */
  taken(path: RelPath): void {
    this.#dropOver();
    this.#dueMs.delete(path);
    this.#dueMs.set(path, this.#clock.monotonicMs() + this.#pauseMs);
  }

  isDue(path: RelPath): boolean {
    return (this.#dueMs.get(path) ?? 0) <= this.#clock.monotonicMs();
  }

  /** Calls back, once, when the next of them is due: also where one has become due since it was asked for. */
  wake(onDue: () => void): void {
    const [nextMs] = this.#dueMs.values();
    if (nextMs === undefined || this.#isWaking) return;
    this.#isWaking = true;
    later(this.#clock, Math.max(1, nextMs - this.#clock.monotonicMs()), () => {
      this.#isWaking = false;
      this.#dropOver();
      onDue();
    });
  }

  #dropOver(): void {
    for (const path of this.#dueMs.keys()) if (this.isDue(path)) this.#dueMs.delete(path);
  }
}
