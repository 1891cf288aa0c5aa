/**
 * The threads of one lane, shared by many scopes: whose job runs next, and where.
 *
 * Waiting scopes take turns. A scope that has something open in a thread (a transfer) goes there; any other goes to any
 * thread that is free. When a job lasts long and others wait, a further thread is started for them, and ended later.
 *
 * Invariant: no scope's job waits for ever for another scope's, unless jobs hang in as many scopes as there may be threads.
 */
import {JobThread} from './job-thread.ts';
import type {JobLine} from './job-line.ts';

const EXTRA_MAX = 2; // about 14 MB each, and a filesystem that hangs is rare
const SILENT_PATIENCES = 10; // then what others hold in a stuck thread is given up: their transfers begin anew

export interface LaneOptions {
  url: URL;
  name: string;
  threads: number;
  /** How long jobs of other scopes wait for one job, until they get a thread beside it. */
  patienceMs: number;
}

export class JobLane {
  readonly #options: LaneOptions;
  readonly #threads: JobThread[] = [];
  /** Lines with waiting jobs, the one whose turn is next first. */
  readonly #turns = new Set<JobLine>();
  #alarm: NodeJS.Timeout | undefined;
  #isEnded = false;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** A job was added to this line. */
  serve(line: JobLine): void {
    this.#turns.add(line);
    this.#next();
  }

  /** A line was closed: what it held open is closed too. */
  async forget(line: JobLine): Promise<void> {
    this.#turns.delete(line);
    const stuckMs = SILENT_PATIENCES * this.#options.patienceMs;
    const closed: Promise<void>[] = [];
    for (const thread of this.#threads) {
      const isKept = thread.isHomeOf(line) || thread.isCacheOf(line);
      const isWaitedFor = isKept && !thread.isSilentFor(stuckMs);
      const forgotten = thread.forget(line);
      if (isWaitedFor) closed.push(forgotten);
    }
    this.#setAlarm();
    await Promise.all(closed);
  }

  /** Ends all threads; every line is closed. */
  async end(): Promise<void> {
    this.#isEnded = true;
    clearTimeout(this.#alarm);
    await Promise.all(this.#threads.splice(0).map((thread) => thread.end()));
  }

  #next(): void {
    for (const line of this.#turns) {
      if (!line.hasWaiting) this.#turns.delete(line);
      if (line.isReady) this.#begin(line);
    }
    this.#setAlarm();
  }

  #begin(line: JobLine): void {
    let thread: JobThread | Error | undefined;
    try {
      thread = this.#threadFor(line);
    } catch (error) {
      thread = error as Error; // the system gives no more threads
    }
    const task = thread === undefined ? undefined : line.begin();
    if (thread === undefined || task === undefined) return;
    this.#turns.delete(line);
    if (line.hasWaiting) this.#turns.add(line); // behind all others
    if (thread instanceof Error) line.fail(thread);
    else thread.run(line, task);
  }

  #threadFor(line: JobLine): JobThread | undefined {
    const home = this.#threads.find((thread) => thread.isHomeOf(line));
    if (home !== undefined) return home.isFree ? home : undefined;
    const cache = this.#threads.find((thread) => thread.isCacheOf(line));
    if (cache?.isFree === true) return cache;
    if (cache?.isBusyFor(this.#options.patienceMs) === false) return undefined;
    void cache?.forget(line); // begun anew elsewhere, which is better than to wait for another's job
    const free = this.#threads.filter((thread) => thread.isFree);
    const unbound = free.find((thread) => !thread.isHome); // a home is left to those who must go there
    return unbound ?? (this.#threads.length < this.#countMax() ? this.#start() : free[0]);
  }

  /** One more for each whose job lasts long. */
  #countMax(): number {
    const {threads, patienceMs} = this.#options;
    const busy = this.#threads.filter((thread) => thread.isBusyFor(patienceMs));
    return threads + Math.min(busy.length, EXTRA_MAX);
  }

  #start(): JobThread {
    const thread: JobThread = new JobThread(this.#options, {
      onRest: () => this.#rested(),
      onLost: () => {
        const index = this.#threads.indexOf(thread);
        if (index >= 0) this.#threads.splice(index, 1);
        if (!this.#isEnded) this.#next();
      },
    });
    this.#threads.push(thread);
    return thread;
  }

  #rested(): void {
    this.#next();
    for (const thread of [...this.#threads]) {
      if (this.#threads.length <= this.#countMax()) return;
      if (!thread.isFree || thread.isKeeping || thread.isAwaited) continue;
      this.#threads.splice(this.#threads.indexOf(thread), 1);
      void thread.end();
    }
  }

  /** While anything waits, somebody looks now and then whether a job lasts too long. */
  #setAlarm(): void {
    const isWaiting = this.#turns.size > 0 || this.#threads.some((thread) => thread.isAwaited);
    if (!isWaiting || this.#alarm !== undefined || this.#isEnded) return;
    this.#alarm = setTimeout(() => {
      this.#alarm = undefined;
      this.#freeStuck();
      this.#next();
    }, this.#options.patienceMs / 2);
    this.#alarm.unref(); // the job that is waited for keeps the process alive
  }

  #freeStuck(): void {
    for (const thread of this.#threads) {
      if (!thread.isSilentFor(SILENT_PATIENCES * this.#options.patienceMs)) continue;
      thread.giveUpWaiting();
      for (const line of this.#turns) if (line.isReady && thread.isHomeOf(line)) void thread.forget(line);
    }
  }
}
