/**
 * Signals of a run: the first asks it to finish what is half done, the second Ctrl-C ends the process at once.
 */
import type {Clock} from '../base/clock.ts';
import {isTowlineError, TowlineError} from '../base/errors.ts';
import type {CliParts, ProcessSignals} from './parts.ts';
import type {Screen} from './screen.ts';

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** Terminals and npm may both pass on one Ctrl-C: two within this time are one. */
const SAME_KEY_MS = 50;
export const EXIT_INTERRUPTED = 130;

export class Interruption {
  readonly #parts: {signals: ProcessSignals; clock: Clock; endNow(code: number): void};
  readonly #controller = new AbortController();
  readonly #listeners: {name: NodeJS.Signals; listener: () => void}[];
  #firstMs = 0;

  /**
   * @param parts `endNow` is called for the second Ctrl-C, `readerGone` counts as a first signal
   * @param names what ends it; a daemon has another use for SIGHUP
   */
  constructor(
    parts: {signals: ProcessSignals; clock: Clock; readerGone: AbortSignal; endNow(code: number): void},
    names = SIGNALS,
  ) {
    this.#parts = parts;
    this.#listeners = names.map((name) => ({name, listener: () => this.#onSignal(name)}));
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

/**
 * Runs something until it ends or a signal ends it.
 * @param endCode the exit code when a signal did
 */
export async function untilInterrupted(
  parts: CliParts & {screen: Screen},
  run: (signal: AbortSignal) => Promise<number>,
  {endCode = EXIT_INTERRUPTED, names = SIGNALS}: {endCode?: number; names?: readonly NodeJS.Signals[]} = {},
): Promise<number> {
  const endNow = (code: number): void => {
    parts.screen.clear();
    parts.exitNow(code);
  };
  const interruption = new Interruption({...parts, endNow}, names);
  try {
    return await run(interruption.signal);
  } catch (error) {
    if (!isTowlineError(error) || error.code !== 'CANCELLED' || !interruption.signal.aborted) throw error;
    return endCode;
  } finally {
    parts.screen.clear();
    interruption.close();
  }
}

/** The promise's value, or the signal's reason when that comes first. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const {promise: aborted, reject} = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort);
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', onAbort));
}
