/**
 * Holds the application of one volume still for a while, by its hooks, and always lets it go on.
 *
 * Not the copy that is made meanwhile (flush-links.ts). Invariant: that the quiesce hook is about to run is durable
 * before it runs, and is forgotten only once the resume hook has run; what a kill left is resumed at the next start.
 */
import {messageOf, TowlineError} from '../base/errors.ts';
import type {Clock} from '../base/clock.ts';
import type {HookConfig, HookName} from '../config/agent-config.ts';
import type {HookRun} from '../control/agent-api.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import type {LogPort} from '../telemetry/log.ts';
import {runHook} from './run-hook.ts';

export interface QuiesceParts {
  notes: Pick<LinkNotes, 'quiescedSinceMs' | 'setQuiesced'>;
  clock: Clock;
  log: LogPort;
  /** Host path of the volume's root, as far as it is known. */
  path(): string | undefined;
  /** Another notice is to be shown. */
  onChange(): void;
}

export class Quiesce {
  readonly #volume: string;
  readonly #hooks: Record<HookName, HookConfig | undefined>;
  readonly #parts: QuiesceParts;
  readonly #stop = new AbortController();
  #running: Promise<unknown> | undefined;
  /** How the hooks that failed last did, until they do not. */
  readonly #failures = new Map<HookName, string>();

  constructor(options: {volume: string; hooks: Record<HookName, HookConfig | undefined>}, parts: QuiesceParts) {
    this.#volume = options.volume;
    this.#hooks = options.hooks;
    this.#parts = parts;
  }

  /** What an operator should know. */
  get notices(): string[] {
    const since = this.#heldSince();
    const held = since === undefined ? [] : [`its application is quiesced since ${since}`];
    return [...held, ...this.#failures.values()];
  }

  /** A note that cannot be read counts: who goes on twice is not harmed, who is held for ever is. */
  #heldSince(): string | undefined {
    try {
      const sinceMs = this.#parts.notes.quiescedSinceMs();
      return sinceMs === undefined ? undefined : new Date(sinceMs).toISOString();
    } catch (error) {
      return `a time that cannot be read: ${messageOf(error)}`;
    }
  }

  /**
   * Runs the quiesce hook, the work, and the resume hook whatever came of them.
   * @param hooks takes how they went
   * @param signal aborted: the work's signal is, too
   * @returns undefined when the quiesce hook failed and the work was not begun
   * @throws LOCKED while it is at it, SYSTEM when that cannot be noted, the signal's reason, and what the work throws
   */
  async during<T>(
    hooks: HookRun[],
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T | undefined> {
    if (this.#running !== undefined)
      throw new TowlineError('LOCKED', `volume ${this.#volume} is being quiesced already; wait until that is over`, {
        path: this.#volume,
        holder: 'another flush --quiesce',
      });
    const all = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
    const held = this.#hold(hooks, all, work);
    this.#running = held.catch(() => undefined);
    try {
      return await held;
    } finally {
      this.#running = undefined;
    }
  }

  async #hold<T>(
    hooks: HookRun[],
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T | undefined> {
    const {notes, clock} = this.#parts;
    signal.throwIfAborted();
    notes.setQuiesced(clock.nowMs());
    try {
      const quiesced = await this.#run('quiesce');
      if (quiesced !== undefined) hooks.push(quiesced);
      if (quiesced?.failure !== undefined && this.#hooks.quiesce?.onFailure === 'stop') return undefined;
      signal.throwIfAborted();
      return await work(signal);
    } finally {
      const resumed = await this.#resume();
      if (resumed !== undefined) hooks.push(resumed);
    }
  }

  /** After a start: what an earlier process has quiesced goes on. */
  recover(): Promise<void> {
    if (this.#heldSince() === undefined) return Promise.resolve();
    this.#parts.log.warn('an agent was ended while it had the application quiesced: it is resumed', {
      volume: this.#volume,
    });
    const resumed = this.#resume().then(
      () => undefined,
      (error: unknown) => this.#parts.log.error(messageOf(error), {volume: this.#volume}),
    );
    this.#running = resumed;
    return resumed.finally(() => (this.#running = undefined));
  }

  /** Ends what is going on, with the resume hook. */
  async stop(): Promise<void> {
    // Whoever asked was not interrupted: the copy did not come to its end.
    const message = `volume ${this.#volume} was closed before its copy was whole; flush it again when it is open`;
    this.#stop.abort(new TowlineError('PEER_LOST', message, {peer: '', idleMs: 0}));
    await this.#running;
  }

  /** Once it has run it is not noted any more, unless it failed and was not to. */
  async #resume(): Promise<HookRun | undefined> {
    const resumed = await this.#run('resume');
    const isHeld = resumed?.failure !== undefined && this.#hooks.resume?.onFailure === 'stop';
    if (!isHeld) this.#parts.notes.setQuiesced(undefined);
    this.#parts.onChange();
    return resumed;
  }

  async #run(hook: HookName): Promise<HookRun | undefined> {
    const config = this.#hooks[hook];
    if (config === undefined) return undefined;
    const {clock, log} = this.#parts;
    const run = await runHook(hook, config, {context: {volume: this.#volume, path: this.#parts.path()}, clock});
    const fields = {volume: this.#volume, hook, elapsedMs: Math.round(run.elapsedMs), output: run.output};
    if (run.failure === undefined) {
      this.#failures.delete(hook);
      log.info('a hook has run', fields);
    } else {
      this.#failures.set(hook, run.failure);
      log.error(run.failure, fields);
    }
    this.#parts.onChange();
    return run;
  }
}
