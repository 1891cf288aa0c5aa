/**
 * Resolves symlinks in host paths, and does without where the filesystem does not answer.
 *
 * A path may lie on a share whose server is gone: such a call never returns and keeps a thread of the pool.
 * Invariant: at most one call is under way, so one thread is lost, not all.
 */
import {realpath} from 'node:fs/promises';
import type {Clock} from '../base/clock.ts';

const PATIENCE_MS = 2_000;

export class RealPaths {
  readonly #clock: Clock;
  /** What hangs, or the last of those that wait for their turn. */
  #turn: Promise<unknown> = Promise.resolve();
  #isHanging = false;

  constructor(parts: {clock: Clock}) {
    this.#clock = parts.clock;
  }

  /** @returns the path itself when it cannot be resolved, or not soon */
  async resolve(path: string): Promise<string> {
    const before = this.#turn;
    const result = before.then(() => (this.#isHanging ? path : this.#try(path)));
    this.#turn = result;
    return result;
  }

  async #try(path: string): Promise<string> {
    const call = realpath(path).catch(() => path);
    const patience = new AbortController();
    const late = this.#clock.sleep(PATIENCE_MS, patience.signal).then(
      () => {
        this.#isHanging = true;
        void call.then(() => (this.#isHanging = false));
        return path;
      },
      () => path,
    );
    const resolved = await Promise.race([call, late]);
    patience.abort();
    return resolved;
  }
}
