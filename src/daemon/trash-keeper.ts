/**
 * Keeps a target's trash as its retention says, also while much goes there, and says what a full disk took from it. Parts
 * of large files that are too old go as well, also of a link that stays open.
 *
 * Decides when; what goes is decided where it lies (apply/trash.ts, apply/make-room.ts). Invariant: what left before its
 * time is in the log and in the status.
 */
import type {JobRunner} from '../base/jobs.ts';
import type {Clock} from '../base/clock.ts';
import type {VolumeConfig} from '../config/agent-config.ts';
import {formatBytes, formatCount} from '../config/units.ts';
import type {LogPort} from '../telemetry/log.ts';
import type {VolumeJobs} from './volume-jobs.ts';

/** What left the trash before its time; apply/trash-age.ts by shape. */
interface Freed {
  count: number;
  sizeBytes: number;
}

export interface TrashKeeperParts {
  jobs: JobRunner<VolumeJobs>;
  /** Of large files: those that nobody went on with for long go with the trash. */
  partials: {prune(): Promise<void>};
  /** Wall clock of batches that are not done: their hours stay. */
  waitingMs: () => readonly number[];
  clock: Clock;
  log: LogPort;
  onChange: () => void;
  onError: (error: unknown) => void;
}

const PRUNE_MS_MAX = 3_600_000;
const PRUNE_MS_MIN = 60_000;
const BUSY_MS_MIN = 2_000; // so soon after something was put there
const BUSY_MS_MAX = 15_000;
const COST_FACTOR = 20; // of the time that pruning takes: it measures what is there
const TOLD_MS = 86_400_000; // so long the status says it
const LOGGED_MS = 60_000;

export class TrashKeeper {
  readonly #config: Pick<VolumeConfig, 'name' | 'trash'>;
  readonly #parts: TrashKeeperParts;
  #soon = Promise.withResolvers<void>();
  #isBusy = false;
  #taken: (Freed & {sinceMs: number; lastMs: number; loggedMs: number}) | undefined;

  constructor(config: Pick<VolumeConfig, 'name' | 'trash'>, parts: TrashKeeperParts) {
    this.#config = config;
    this.#parts = parts;
  }

  /** What the operator should know; undefined when nothing left before its time within the last day. */
  get notice(): string | undefined {
    const taken = this.#taken;
    if (taken === undefined || this.#parts.clock.nowMs() - taken.lastMs > TOLD_MS) return undefined;
    const what = `${formatCount(taken.count)} item(s), ${formatBytes(taken.sizeBytes)}`;
    return `the disk was full: ${what} left the trash before their time, since ${new Date(taken.sinceMs).toISOString()}; free space, or set a smaller trash: size`;
  }

  /** Something was put there. */
  noteBusy(): void {
    this.#isBusy = true;
    this.#soon.resolve();
  }

  /** A full disk took something from it. */
  noteFreed({count, sizeBytes}: Freed): void {
    const {clock, log, onChange} = this.#parts;
    const nowMs = clock.nowMs();
    const before = this.#taken;
    const isNew = before === undefined || nowMs - before.lastMs > TOLD_MS;
    const taken = isNew ? {count: 0, sizeBytes: 0, sinceMs: nowMs, loggedMs: 0} : before;
    const isLogged = nowMs - taken.loggedMs >= LOGGED_MS;
    this.#taken = {
      count: taken.count + count,
      sizeBytes: taken.sizeBytes + sizeBytes,
      sinceMs: taken.sinceMs,
      lastMs: nowMs,
      loggedMs: isLogged ? nowMs : taken.loggedMs,
    };
    if (isLogged) log.warn(this.notice ?? '', {volume: this.#config.name});
    onChange();
  }

  /** The jobs, with what they took from the trash noted. */
  listening(jobs: JobRunner<VolumeJobs>): JobRunner<VolumeJobs> {
    return {
      run: async (kind, input, options) => {
        const out = await jobs.run(kind, input, options);
        const {freed} = (out ?? {}) as {freed?: Freed};
        if (freed !== undefined) this.noteFreed(freed);
        return out;
      },
    };
  }

  /** Until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const {clock} = this.#parts;
    const {keepMs, sizeBytes} = this.#config.trash;
    const everyMs = Math.min(PRUNE_MS_MAX, Math.max(PRUNE_MS_MIN, keepMs / 10));
    while (!signal.aborted) {
      const startMs = clock.monotonicMs();
      this.#isBusy = false;
      this.#soon = Promise.withResolvers();
      await this.#prune(signal);
      const costMs = COST_FACTOR * (clock.monotonicMs() - startMs);
      const restMs = Math.min(BUSY_MS_MAX, Math.max(BUSY_MS_MIN, costMs));
      await clock.sleep(Math.min(restMs, everyMs), signal).catch(() => undefined);
      // Only by its size can it be too large before the hour is over.
      if (this.#isBusy && sizeBytes > 0) continue;
      const waker = new AbortController();
      const timer = clock.sleep(everyMs, AbortSignal.any([signal, waker.signal])).catch(() => undefined);
      await Promise.race([timer, ...(sizeBytes > 0 ? [this.#soon.promise] : [])]);
      waker.abort();
    }
  }

  async #prune(signal: AbortSignal): Promise<void> {
    const {keepMs, sizeBytes} = this.#config.trash;
    const {jobs, partials, waitingMs, clock, onError} = this.#parts;
    try {
      await partials.prune();
      const limits = {keepMs, sizeBytesMax: sizeBytes, waitingMs: waitingMs()};
      await jobs.run('prune-trash', {nowMs: clock.nowMs(), ...limits}, {lane: 1});
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
  }
}
