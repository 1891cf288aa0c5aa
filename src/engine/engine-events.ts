/**
 * Follows an engine's events for as long as somebody wants them, across its restarts.
 *
 * Events are hints: some are told twice, and what happened while the engine was away is not told at all; then `onBack`
 * says that everything must be looked at again.
 */
import {backoffDelayMs} from '../base/backoff.ts';
import type {Clock} from '../base/clock.ts';
import {isTowlineError, messageOf} from '../base/errors.ts';
import type {EngineEvent} from './answers.ts';
import type {EngineClient} from './engine-client.ts';

const RETRY = {delayMsMin: 100, delayMsMax: 3_000}; // a try costs one failed connect
const STEADY_MS = 5_000; // a stream that ended sooner does not make the next try come soon

export interface EngineEventsParts {
  client: EngineClient;
  clock: Clock;
  onEvent: (event: EngineEvent) => void;
  /** It cannot be followed (any more). Once until `onBack`. */
  onGone: (reason: string) => void;
  /** It is followed (again) after `onGone`. */
  onBack: () => void;
  /** Asked after each loss: whether to try again by itself. */
  isWanted: () => boolean;
}

export class EngineEvents {
  readonly #parts: EngineEventsParts;
  #running: AbortController | undefined;
  #isGone = false;
  #isOpen = false;
  #sinceMs: number | undefined;

  constructor(parts: EngineEventsParts) {
    this.#parts = parts;
  }

  /** Whether what happens now is told: not while it is connected to again. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Begins to follow; does nothing while it does. */
  start(): void {
    if (this.#running !== undefined) return;
    const running = new AbortController();
    this.#running = running;
    void this.#run(running.signal);
  }

  close(): void {
    this.#running?.abort();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const {clock, isWanted} = this.#parts;
    for (let attempt = 0; ; attempt++) {
      const openMs = await this.#follow(signal);
      if (signal.aborted || !isWanted()) break;
      if (openMs >= STEADY_MS) attempt = 0;
      await clock.sleep(backoffDelayMs(attempt, RETRY, Math.random()), signal).catch(() => undefined);
      if (signal.aborted) break;
    }
    // In one step with having asked whether it is wanted: who wants it from now on starts it.
    this.#running = undefined;
  }

  /** @returns for how long events could come through, in ms */
  async #follow(signal: AbortSignal): Promise<number> {
    const {client, clock, onEvent} = this.#parts;
    let openedMs: number | undefined;
    let reason = 'the engine ended the stream of its events';
    try {
      await client.events({
        sinceMs: this.#sinceMs,
        signal,
        onOpen: () => {
          openedMs = clock.monotonicMs();
          this.#isOpen = true;
          this.#sinceMs ??= clock.nowMs();
          this.#setBack();
        },
        onEvent: (event) => {
          if (event.atMs > 0) this.#sinceMs = event.atMs;
          onEvent(event);
        },
      });
    } catch (error) {
      reason = messageOf(error);
      if (isAnswerFault(error)) this.#sinceMs = undefined; // asking for the same again would end the same
    }
    this.#isOpen = false;
    if (!signal.aborted) this.#setGone(reason);
    return openedMs === undefined ? 0 : clock.monotonicMs() - openedMs;
  }

  #setGone(reason: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#parts.onGone(reason);
  }

  #setBack(): void {
    if (!this.#isGone) return;
    this.#isGone = false;
    this.#parts.onBack();
  }
}

/** The engine was there, but what it told, or would not tell, cannot be used. */
function isAnswerFault(error: unknown): boolean {
  return (
    isTowlineError(error) && 'errno' in error.details && ['EPROTO', 'EIO', 'EMSGSIZE'].includes(error.details.errno)
  );
}
