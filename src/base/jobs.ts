/**
 * Jobs: synchronous work handed to a worker thread, one at a time per worker, small ones before large ones.
 *
 * The worker's side is `serveJobs`, the caller's side `JobPool`. A job may emit parts while it runs; the number of
 * parts that were not yet taken is bounded, so that a fast worker cannot fill the memory of a slow caller.
 *
 * Invariant: an error of a job reaches its caller with its code; it never ends the worker.
 */
import {Worker, parentPort, workerData, type Transferable} from 'node:worker_threads';
import {isTowlineError, TowlineError, type ErrorCode, type TowlineErrorDetails} from './errors.ts';

/** What jobs there are: name → what goes in, what comes out, and what a part is (never where there are none). */
export type JobMap = Record<string, {in: unknown; out: unknown; part: unknown}>;

/** What a job's code can do beside its return value. */
export interface JobContext<P> {
  /** Hands over a part; waits while too many are on their way. `transfer` buffers are moved, not copied. */
  emit(part: P, transfer?: Transferable[]): void;
  /** Buffers of the result to be moved, not copied. */
  transfer(...buffers: Transferable[]): void;
  isCancelled(): boolean;
}

export type JobHandlers<J extends JobMap> = {
  [K in keyof J]: (input: J[K]['in'], context: JobContext<J[K]['part']>) => J[K]['out'];
};

export interface RunOptions<P> {
  /** Lane 0 is for short jobs; with two workers a long job never holds them back. */
  lane?: 0 | 1;
  onPart?: (part: P) => void | Promise<void>;
  transfer?: Transferable[];
}

/** What callers of jobs need: the pool, or a part of it by shape. */
export interface JobRunner<J extends JobMap> {
  run<K extends keyof J & string>(kind: K, input: J[K]['in'], options?: RunOptions<J[K]['part']>): Promise<J[K]['out']>;
}

const PARTS_ON_THE_WAY_MAX = 16; // of at most a few 100 KiB each
const WORKER_HEAP_MIB = 256; // a runaway job must not take the host's memory
const WORKER_YOUNG_MIB = 4; // short-lived objects only; keeps a worker near 15 MB

type Request = {id: number; kind: string; input: unknown};
type Reply =
  | {id: number; type: 'done'; output: unknown}
  | {id: number; type: 'part'; part: unknown}
  | {id: number; type: 'failed'; error: PlainError};

interface PlainError {
  message: string;
  code: string | undefined;
  details: object | undefined;
  stack: string | undefined;
}

/** Errors as plain data, for crossing threads. */
export function plainError(error: unknown): PlainError {
  if (isTowlineError(error)) {
    return {message: error.message, code: error.code, details: {...error.details}, stack: error.stack};
  }
  const known = error as {message?: string; stack?: string};
  return {message: known.message ?? String(error), code: undefined, details: undefined, stack: known.stack};
}

/** The error that `plainError` took apart. */
export function revivedError(plain: PlainError): Error {
  const error =
    plain.code === undefined
      ? new Error(plain.message)
      : new TowlineError(plain.code as ErrorCode, plain.message, plain.details as TowlineErrorDetails[ErrorCode]);
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}

/** Serves jobs in a worker thread until it is ended. */
export function serveJobs<J extends JobMap>(handlers: JobHandlers<J>): void {
  const port = parentPort;
  if (port === null) throw new Error('serveJobs runs in a worker thread only');
  const shared = new Int32Array((workerData as {shared: SharedArrayBuffer}).shared);
  port.on('message', ({id, kind, input}: Request) => {
    const moved: Transferable[] = [];
    const context: JobContext<unknown> = {
      emit: (part, transfer = []) => {
        while (Atomics.load(shared, 0) >= PARTS_ON_THE_WAY_MAX && Atomics.load(shared, 1) === 0) {
          Atomics.wait(shared, 0, Atomics.load(shared, 0), 100);
        }
        Atomics.add(shared, 0, 1);
        port.postMessage({id, type: 'part', part} satisfies Reply, transfer);
      },
      transfer: (...buffers) => moved.push(...buffers),
      isCancelled: () => Atomics.load(shared, 1) !== 0,
    };
    try {
      const output = (handlers[kind] as (input: unknown, context: JobContext<unknown>) => unknown)(input, context);
      port.postMessage({id, type: 'done', output} satisfies Reply, moved);
    } catch (error) {
      port.postMessage({id, type: 'failed', error: plainError(error)} satisfies Reply);
    }
  });
}

interface Task {
  request: Request;
  transfer: Transferable[];
  onPart: ((part: unknown) => void | Promise<void>) | undefined;
  resolve: (output: unknown) => void;
  reject: (error: Error) => void;
  /** Parts are taken one after the other; the result waits for the last one. */
  parts: Promise<void>;
}

/** Two lanes of one worker each, started when first needed. */
export class JobPool<J extends JobMap> implements JobRunner<J> {
  readonly #lanes: [Lane, Lane];
  #nextId = 1;

  /** @param options `url` of the worker's entry, `data` for it, `name` for people */
  constructor(options: {url: URL; data: object; name: string}) {
    this.#lanes = [new Lane(options), new Lane(options)];
  }

  run<K extends keyof J & string>(
    kind: K,
    input: J[K]['in'],
    options: RunOptions<J[K]['part']> = {},
  ): Promise<J[K]['out']> {
    return new Promise((resolve, reject) => {
      this.#lanes[options.lane ?? 0].add({
        request: {id: this.#nextId++, kind, input},
        transfer: options.transfer ?? [],
        onPart: options.onPart,
        resolve,
        reject,
        parts: Promise.resolve(),
      });
    });
  }

  /** Cancels what runs and ends the workers. */
  async close(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.close()));
  }
}

class Lane {
  readonly #options: {url: URL; data: object; name: string};
  readonly #waiting: Task[] = [];
  readonly #shared = new Int32Array(new SharedArrayBuffer(8)); // [parts on the way, cancelled]
  #worker: Worker | undefined;
  #current: Task | undefined;
  /** Resolves when a lane that is being closed has no job any more. */
  readonly #resting = Promise.withResolvers<void>();
  #isClosed = false;

  constructor(options: {url: URL; data: object; name: string}) {
    this.#options = options;
  }

  add(task: Task): void {
    if (this.#isClosed) return task.reject(closedError());
    this.#waiting.push(task);
    this.#next();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    Atomics.store(this.#shared, 1, 1);
    Atomics.notify(this.#shared, 0);
    for (const task of this.#waiting.splice(0)) task.reject(closedError());
    const worker = this.#worker;
    if (worker === undefined) return;
    // A job sees the cancellation and ends by itself: a thread in a system call cannot be ended from outside.
    if (this.#current !== undefined) await this.#resting.promise;
    await worker.terminate();
  }

  #next(): void {
    if (this.#current !== undefined) return;
    const task = this.#waiting.shift();
    if (task === undefined) return;
    this.#current = task;
    this.#worker ??= this.#start();
    this.#worker.ref(); // a running job keeps the process alive, a resting worker does not
    this.#worker.postMessage(task.request, task.transfer);
  }

  #start(): Worker {
    const worker = new Worker(this.#options.url, {
      workerData: {...this.#options.data, shared: this.#shared.buffer},
      name: this.#options.name,
      resourceLimits: {maxOldGenerationSizeMb: WORKER_HEAP_MIB, maxYoungGenerationSizeMb: WORKER_YOUNG_MIB},
    });
    worker.on('message', (reply: Reply) => this.#take(reply));
    worker.on('error', (error: Error) => this.#lost(worker, error));
    worker.on('exit', () =>
      this.#lost(worker, new TowlineError('BUG', 'a worker thread ended by itself', {what: 'worker exit'})),
    );
    return worker;
  }

  #take(reply: Reply): void {
    const task = this.#current;
    if (task === undefined || task.request.id !== reply.id) return;
    if (reply.type === 'part') {
      task.parts = task.parts
        .then(() => task.onPart?.(reply.part))
        .finally(() => {
          Atomics.sub(this.#shared, 0, 1);
          Atomics.notify(this.#shared, 0);
        });
      // Cancels this job, but none that runs after it; the error is reported with the result below.
      task.parts.catch(() => {
        if (this.#current === task) Atomics.store(this.#shared, 1, 1);
      });
      return;
    }
    if (!this.#isClosed) Atomics.store(this.#shared, 1, 0);
    if (this.#waiting.length === 0) this.#worker?.unref();
    void task.parts.then(
      () => (reply.type === 'done' ? task.resolve(reply.output) : task.reject(revivedError(reply.error))),
      (error: unknown) => task.reject(error as Error),
    );
    this.#rest();
  }

  /** No job runs: the next one does, or the lane is closed. */
  #rest(): void {
    this.#current = undefined;
    if (this.#isClosed) this.#resting.resolve();
    else this.#next();
  }

  /** A thread ended: its job is over, the next one gets a new thread. An error is followed by an exit: told once. */
  #lost(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    Atomics.store(this.#shared, 0, 0);
    this.#current?.reject(error);
    this.#rest();
  }
}

function closedError(): TowlineError {
  return new TowlineError('CANCELLED', 'stopped before it was done', {signal: 'close'});
}
