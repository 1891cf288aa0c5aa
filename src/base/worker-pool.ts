/**
 * Worker threads that many volumes share: a few on two lanes, each running one synchronous job at a time.
 *
 * Lane 0 has one thread, for short jobs; lane 1 the others, for long ones. A volume uses them through a scope of its own,
 * whose jobs on one lane run in the order they came, one at a time. Invariant: what happens to one scope (it is closed,
 * its job fails, hangs or ends the thread) costs no other scope more than time, and what it had open in that thread.
 */
import {endAll, endTogether} from './end-all.ts';
import {JobLane} from './job-lane.ts';
import {JobLine} from './job-line.ts';
import type {JobMap, JobRunner, RunOptions} from './jobs.ts';

export interface WorkerPoolOptions {
  /** Of the worker's entry, which calls `serveJobs`. */
  url: URL;
  /** For people who look at threads. */
  name: string;
  /** Threads at most, 2 or more; another 2 a lane while jobs last longer than `patienceMs`. They start when needed. */
  workers?: number;
  patienceMs?: number;
}

/** A volume's way to the threads. */
export interface ScopedRunner<J extends JobMap> extends JobRunner<J> {
  /**
   * Refuses jobs that wait and that come (CANCELLED), cancels the running ones, has everything closed that the scope's
   * handlers keep open. Resolves when that is done; a job in a system call that hangs is waited for.
   */
  close(): Promise<void>;
}

const WORKERS = 2;
const PATIENCE_MS = 30_000; // longer than any disk that still answers

/** @template D what the worker's handlers for a scope are made of; can be cloned */
export class WorkerPool<J extends JobMap, D extends object> {
  readonly #lanes: readonly [JobLane, JobLane];
  readonly #scopes = new Set<Scope<J>>();
  #lastScope = 0;

  constructor({url, name, workers = WORKERS, patienceMs = PATIENCE_MS}: WorkerPoolOptions) {
    const options = {url, name, patienceMs};
    this.#lanes = [new JobLane({...options, threads: 1}), new JobLane({...options, threads: Math.max(1, workers - 1)})];
  }

  scope(data: D): ScopedRunner<J> {
    const scope: Scope<J> = new Scope(++this.#lastScope, data, {
      lanes: this.#lanes,
      onClosed: () => void this.#scopes.delete(scope),
    });
    this.#scopes.add(scope);
    return scope;
  }

  /** Closes all scopes and ends the threads. No scope is opened afterwards. */
  async close(): Promise<void> {
    const scopes = [...this.#scopes];
    await endAll([
      () => endTogether(scopes.map((scope) => scope.close())),
      () => Promise.all(this.#lanes.map((lane) => lane.end())),
    ]);
  }
}

/** The threads of one volume alone: closing it ends them. */
export class JobPool<J extends JobMap> implements ScopedRunner<J> {
  readonly #pool: WorkerPool<J, object>;
  readonly #scope: ScopedRunner<J>;

  /** @param options `url` of the worker's entry, `data` for its handlers, `name` for people */
  constructor({data, ...options}: {url: URL; data: object; name: string}) {
    this.#pool = new WorkerPool(options);
    this.#scope = this.#pool.scope(data);
  }

  run<K extends keyof J & string>(
    kind: K,
    input: J[K]['in'],
    options?: RunOptions<J[K]['part']>,
  ): Promise<J[K]['out']> {
    return this.#scope.run(kind, input, options);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

class Scope<J extends JobMap> implements ScopedRunner<J> {
  readonly #lanes: readonly [JobLane, JobLane];
  readonly #lines: readonly [JobLine, JobLine];
  readonly #onClosed: () => void;
  #closed: Promise<void> | undefined;

  constructor(number: number, data: object, parts: {lanes: readonly [JobLane, JobLane]; onClosed: () => void}) {
    this.#lanes = parts.lanes;
    this.#lines = [new JobLine(number, data), new JobLine(number, data)];
    this.#onClosed = parts.onClosed;
  }

  run<K extends keyof J & string>(
    kind: K,
    input: J[K]['in'],
    options: RunOptions<J[K]['part']> = {},
  ): Promise<J[K]['out']> {
    return new Promise((resolve, reject) => {
      const {lane = 0, onPart, transfer = []} = options;
      const line = this.#lines[lane];
      const isTaken = line.add({kind, input, transfer, onPart, resolve, reject, parts: Promise.resolve()});
      if (isTaken) this.#lanes[lane].serve(line);
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#lines.map((line) => line.close()));
    try {
      await Promise.all(this.#lanes.map((lane, index) => lane.forget(this.#lines[index] as JobLine)));
    } finally {
      this.#onClosed();
    }
  }
}
