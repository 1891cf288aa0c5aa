/**
 * The jobs of one scope on one lane: in the order they came, one at a time, whichever thread runs them.
 *
 * Does not choose the thread (job-lane.ts). Invariant: what cancels a job, and what bounds the parts of it that are on
 * their way, is this line's own, so no other scope is ever touched by it.
 */
import type {Transferable} from 'node:worker_threads';
import {TowlineError} from './errors.ts';
import {IS_CANCELLED, PARTS_ON_THE_WAY, revivedError, type JobFlags, type Opening, type Reply} from './jobs.ts';

export interface Task {
  kind: string;
  input: unknown;
  transfer: Transferable[];
  onPart: ((part: unknown) => void | Promise<void>) | undefined;
  resolve: (output: unknown) => void;
  reject: (error: Error) => void;
  /** Parts are taken one after the other; the result waits for the last one. */
  parts: Promise<void>;
}

export class JobLine {
  readonly scope: number;
  readonly opening: Opening;
  readonly #flags: JobFlags = new Int32Array(new SharedArrayBuffer(8));
  readonly #waiting: Task[] = [];
  #current: Task | undefined;
  #untaken = 0;
  #isClosed = false;
  /** Resolves when a line that is being closed has no job any more. */
  readonly #resting = Promise.withResolvers<void>();

  /** @param data what the scope's handlers are made of */
  constructor(scope: number, data: object) {
    this.scope = scope;
    this.opening = {data, flags: this.#flags};
  }

  /** Whether a job waits and none of this line runs. */
  get isReady(): boolean {
    return this.#current === undefined && this.#waiting.length > 0;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** @returns whether it was taken; not by a closed line, whose callers are told CANCELLED */
  add(task: Task): boolean {
    if (this.#isClosed) task.reject(closedError());
    else this.#waiting.push(task);
    return !this.#isClosed;
  }

  /** The next job, which counts as running until `finish` or `fail`. */
  begin(): Task | undefined {
    this.#current = this.#waiting.shift();
    return this.#current;
  }

  takePart(part: unknown): void {
    const task = this.#current;
    if (task === undefined) return;
    this.#untaken++;
    task.parts = task.parts
      .then(() => task.onPart?.(part))
      .finally(() => {
        this.#untaken--;
        Atomics.sub(this.#flags, PARTS_ON_THE_WAY, 1);
        Atomics.notify(this.#flags, PARTS_ON_THE_WAY);
      });
    // Cancels this job, but none that runs after it; the error is reported with the result.
    task.parts.catch(() => {
      if (this.#current === task) this.#cancel();
    });
  }

  finish(reply: Exclude<Reply, {type: 'part'}>): void {
    const task = this.#current;
    if (!this.#isClosed) Atomics.store(this.#flags, IS_CANCELLED, 0);
    void task?.parts.then(
      () => (reply.type === 'done' ? task.resolve(reply.output) : task.reject(revivedError(reply.error))),
      (error: unknown) => task.reject(error as Error),
    );
    this.#rest();
  }

  /** The job's thread is gone, and with it the parts that had not come. */
  fail(error: Error): void {
    Atomics.store(this.#flags, PARTS_ON_THE_WAY, this.#untaken);
    if (!this.#isClosed) Atomics.store(this.#flags, IS_CANCELLED, 0);
    this.#current?.reject(error);
    this.#rest();
  }

  /** Refuses what waits and what comes, cancels what runs. Resolves when nothing runs any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const task of this.#waiting.splice(0)) task.reject(closedError());
    if (this.#current === undefined) return;
    // A job sees the cancellation and ends by itself: a thread in a system call cannot be ended from outside.
    this.#cancel();
    await this.#resting.promise;
  }

  #cancel(): void {
    Atomics.store(this.#flags, IS_CANCELLED, 1);
    Atomics.notify(this.#flags, PARTS_ON_THE_WAY);
  }

  #rest(): void {
    this.#current = undefined;
    if (this.#isClosed) this.#resting.resolve();
  }
}

function closedError(): TowlineError {
  return new TowlineError('CANCELLED', 'stopped before it was done', {signal: 'close'});
}
