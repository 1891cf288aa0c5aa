/**
 * One worker thread of a lane, on the caller's side: gives it one job at a time, and knows whose handlers it holds.
 *
 * Invariant: a thread that ends costs the job it ran and what scopes had open in it, nothing else.
 */
import {Worker} from 'node:worker_threads';
import {bug} from './errors.ts';
import type {JobLine, Task} from './job-line.ts';
import {revivedError, type Keeps, type Reply, type Request} from './jobs.ts';

const HEAP_MIB = 256; // a runaway job must not take the host's memory
const YOUNG_MIB = 4; // short-lived objects only; keeps a worker near 15 MB

export interface JobThreadEvents {
  /** It has no job any more. */
  onRest(): void;
  /** It ended, by itself or by an error that nobody caught. */
  onLost(): void;
}

export class JobThread {
  readonly #worker: Worker;
  readonly #events: JobThreadEvents;
  /** Lines whose handlers were made here; true while they hold something that later jobs need. */
  readonly #known = new Map<JobLine, Keeps>();
  readonly #closing = new Map<number, PromiseWithResolvers<void>>();
  #running: {id: number; line: JobLine} | undefined;
  #lastId = 0;
  #isLost = false;
  /** When the running job began, and when it was heard of last; of a monotonic clock. */
  #beganMs = 0;
  #heardMs = 0;

  constructor(options: {url: URL; name: string}, events: JobThreadEvents) {
    this.#events = events;
    this.#worker = new Worker(options.url, {
      name: options.name,
      resourceLimits: {maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: YOUNG_MIB},
    });
    this.#worker.on('message', (reply: Reply) => this.#take(reply));
    this.#worker.on('error', (error: Error) => this.#lost(error));
    this.#worker.on('exit', () => this.#lost(bug('a worker thread ended by itself')));
  }

  get isFree(): boolean {
    return this.#running === undefined && !this.#isLost;
  }

  /** Whether any scope has something open here. */
  get isHome(): boolean {
    return [...this.#known.values()].includes('open');
  }

  /** Whether the handlers of a closed scope are still to be dropped. */
  get isAwaited(): boolean {
    return this.#closing.size > 0;
  }

  isHomeOf(line: JobLine): boolean {
    return this.#known.get(line) === 'open';
  }

  /** Whether jobs of this line are cheaper here than elsewhere. */
  isCacheOf(line: JobLine): boolean {
    return this.#known.get(line) === 'cache';
  }

  /** Whether anything is kept here that is to be closed by who has it: ending the thread leaves descriptors open. */
  get isKeeping(): boolean {
    return [...this.#known.values()].some((keeps) => keeps !== 'nothing');
  }

  /** Whether one job has run for so long. */
  isBusyFor(ms: number): boolean {
    return this.#running !== undefined && performance.now() - this.#beganMs >= ms;
  }

  /** Whether one job has run for so long without giving out anything. */
  isSilentFor(ms: number): boolean {
    return this.#running !== undefined && performance.now() - this.#heardMs >= ms;
  }

  run(line: JobLine, {kind, input, transfer}: Task): void {
    const id = ++this.#lastId;
    const opening = this.#known.has(line) ? undefined : line.opening;
    this.#running = {id, line};
    this.#beganMs = this.#heardMs = performance.now();
    try {
      const request: Request = {type: 'job', id, scope: line.scope, kind, input, opening};
      this.#worker.postMessage(request, transfer);
      if (opening !== undefined) this.#known.set(line, 'nothing');
      this.#worker.ref(); // a running job keeps the process alive, a resting worker does not
    } catch (error) {
      this.#running = undefined; // what cannot cross threads never got there
      line.fail(error as Error);
    }
  }

  /** Has the handlers of a scope dropped. Resolves when what they held open is closed, or its thread is gone. */
  forget(line: JobLine): Promise<void> {
    if (!this.#known.delete(line) || this.#isLost) return Promise.resolve();
    const closing = Promise.withResolvers<void>();
    closing.promise.catch(() => undefined); // for those who don't wait
    const id = ++this.#lastId;
    this.#closing.set(id, closing);
    this.#worker.ref();
    this.#worker.postMessage({type: 'close', id, scope: line.scope} satisfies Request);
    return closing.promise;
  }

  /** Lets those go on who wait for what they held here: the thread is stuck in another's job, and closes it later. */
  giveUpWaiting(): void {
    for (const {resolve} of this.#closing.values()) resolve();
  }

  /** Ends it, without a job. */
  async end(): Promise<void> {
    this.#isLost = true;
    this.giveUpWaiting();
    await this.#worker.terminate();
  }

  #take(reply: Reply): void {
    const closing = this.#closing.get(reply.id);
    if (closing !== undefined) {
      this.#closing.delete(reply.id);
      if (reply.type === 'failed') closing.reject(revivedError(reply.error));
      else closing.resolve();
      if (this.#running === undefined) this.#events.onRest(); // not before: what it held would stay open
    }
    if (this.#running?.id === reply.id) this.#takeOfJob(reply, this.#running.line);
    // Not once it is being ended: whoever waits for that must not be left by a process that has nothing else to do.
    if (this.#running === undefined && this.#closing.size === 0 && !this.#isLost) this.#worker.unref();
  }

  #takeOfJob(reply: Reply, line: JobLine): void {
    this.#heardMs = performance.now();
    if (reply.type === 'part') return line.takePart(reply.part);
    this.#running = undefined;
    this.#known.set(line, reply.keeps);
    line.finish(reply);
    this.#events.onRest();
  }

  /** An error is followed by an exit: told once. */
  #lost(error: Error): void {
    if (this.#isLost) return;
    this.#isLost = true;
    const running = this.#running;
    this.#running = undefined;
    this.#known.clear();
    this.giveUpWaiting();
    running?.line.fail(error);
    this.#events.onLost();
  }
}
