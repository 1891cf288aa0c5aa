/**
 * Signals of a run: the first asks it to finish what is half done, the second Ctrl-C ends the process at once.
 */
import type {Clock} from '../base/clock.ts';
import {TowlineError} from '../base/errors.ts';
import type {ProcessSignals} from './parts.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** Terminals and npm may both pass on one Ctrl-C: two within this time are one. */
const SAME_KEY_MS = 50;
export const EXIT_INTERRUPTED = 130;

export class Interruption {
  readonly #parts: {signals: ProcessSignals; clock: Clock; endNow(code: number): void};
  readonly #controller = new AbortController();
  readonly #listeners = SIGNALS.map((name) => ({name, listener: () => this.#onSignal(name)}));
  #firstMs = 0;

  /** @param parts `endNow` is called for the second Ctrl-C, `readerGone` counts as a first signal */
  constructor(parts: {signals: ProcessSignals; clock: Clock; readerGone: AbortSignal; endNow(code: number): void}) {
    this.#parts = parts;
    for (const {name, listener} of this.#listeners) parts.signals.on(name, listener);
    if (parts.readerGone.aborted) this.#abort('SIGPIPE');
    else parts.readerGone.addEventListener('abort', () => this.#abort('SIGPIPE'), {once: true});
  }

  /** Aborted by the first signal, with a TowlineError CANCELLED that names it. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Gives the signals back. */
  close(): void {
    for (const {name, listener} of this.#listeners) this.#parts.signals.off(name, listener);
  }

  #onSignal(name: string): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (!this.signal.aborted) {
      this.#firstMs = nowMs;
      this.#abort(name);
    } else if (name === 'SIGINT' && nowMs - this.#firstMs > SAME_KEY_MS) {
      this.#parts.endNow(EXIT_INTERRUPTED);
    }
  }

  #abort(name: string): void {
    this.#controller.abort(new TowlineError('CANCELLED', `ended by ${name}`, {signal: name}));
  }
}
