/**
 * Starts and ends the thread of the target's end, seen from the thread that drives the run.
 */
import {Worker} from 'node:worker_threads';
import {bug} from '../base/errors.ts';
import {revivedError} from '../base/jobs.ts';
import {workerUrl} from '../base/worker-url.ts';
import type {Identity} from '../transport/identity.ts';
import type {Places} from '../volume/places.ts';
import type {TargetEndOptions} from './target-end.ts';
import type {FromTargetEnd, ToTargetEnd} from './target-end.worker.ts';

const HEAP_MIB = 512;
const YOUNG_MIB = 8; // many short-lived frames; more only raises the peak

export class TargetThread {
  /** Where staging and trash are; rejects when the target cannot be opened. */
  readonly opened: Promise<Places>;
  readonly #worker: Worker;
  readonly #opened = Promise.withResolvers<Places>();
  readonly #listening = Promise.withResolvers<number>();
  readonly #closed = Promise.withResolvers<void>();
  readonly #onNotice: (message: string) => void;

  constructor(options: TargetEndOptions, parts: {onNotice: (message: string) => void}) {
    this.#onNotice = parts.onNotice;
    this.opened = this.#opened.promise;
    this.opened.catch(() => undefined);
    this.#listening.promise.catch(() => undefined);
    this.#worker = new Worker(workerUrl(new URL('./target-end.worker.ts', import.meta.url)), {
      workerData: options,
      name: 'towline target end',
      resourceLimits: {maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: YOUNG_MIB},
    });
    this.#worker.on('message', (message: FromTargetEnd) => this.#take(message));
    this.#worker.on('error', (error: Error) => this.#fail(error));
    this.#worker.on('exit', () => {
      this.#fail(bug('the thread of the target ended by itself'));
      this.#closed.resolve();
    });
  }

  /** @returns the port that the target listens on */
  async listen(identity: Identity, sourceId: string): Promise<number> {
    await this.opened;
    this.#tell({kind: 'listen', identity, sourceId});
    return this.#listening.promise;
  }

  async close(): Promise<void> {
    this.#tell({kind: 'close'});
    await this.#closed.promise;
  }

  #tell(message: ToTargetEnd): void {
    this.#worker.postMessage(message);
  }

  #take(message: FromTargetEnd): void {
    switch (message.kind) {
      case 'opened':
        return this.#opened.resolve(message.places);
      case 'listening':
        return this.#listening.resolve(message.port);
      case 'notice':
        return this.#onNotice(message.message);
      case 'failed':
        return this.#fail(revivedError(message.error));
      case 'closed':
        return this.#closed.resolve();
    }
  }

  #fail(error: Error): void {
    this.#opened.reject(error);
    this.#listening.reject(error);
  }
}
