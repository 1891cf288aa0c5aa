/**
 * The reading thread seen from the main thread: many volumes' watchers share one. Started with the first.
 *
 * Knows nothing of events. Invariant: every volume that was given to it hears `ended` once, also when the thread dies,
 * and after `close` the thread is gone and every descriptor with it.
 */
import {Worker} from 'node:worker_threads';
import {TowlineError} from '../base/errors.ts';
import {plainError} from '../base/jobs.ts';
import {workerUrl} from '../base/worker-url.ts';
import {openWaker, wake} from '../linux/eventfd.ts';
import {closeFd} from '../linux/open-fd.ts';
import type {ReaderCommand, ReaderMessage, ReadingThreadData, WatchedRoot} from './reader-messages.ts';

const HEAP_MIB = 256; // 10,000 directories take less than 5 MB; a runaway must not take the host's memory
const YOUNG_MIB = 4;

interface RunningThread {
  worker: Worker;
  wakerFd: number;
  ended: Promise<void>;
}

export class InotifyThread {
  readonly #receivers = new Map<number, (message: ReaderMessage) => void>();
  #running: RunningThread | undefined;
  #lastVolume = 0;
  #isClosed = false;

  /**
   * Has a volume watched.
   * @param root open until `receive` heard of `ready` or `ended`
   * @param shared words of reader-messages.ts
   * @returns its number, for commands
   */
  watch(root: WatchedRoot, shared: SharedArrayBuffer, receive: (message: ReaderMessage) => void): number {
    if (this.#isClosed) throw new TowlineError('CANCELLED', 'the watching thread is closed', {signal: 'close'});
    const volume = ++this.#lastVolume;
    this.#running ??= this.#start();
    this.#receivers.set(volume, receive);
    this.send({type: 'watch', volume, root, shared});
    return volume;
  }

  /** A command for the thread, if it runs. */
  send(command: ReaderCommand): void {
    this.#running?.worker.postMessage(command);
    this.wake();
  }

  /** Has the thread look at the shared words. */
  wake(): void {
    if (this.#running !== undefined) wake(this.#running.wakerFd);
  }

  /** Ends the thread; the volumes that it watches hear `ended`. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.send({type: 'stop'});
    await this.#running?.ended;
  }

  #start(): RunningThread {
    const taken = new Int32Array(new SharedArrayBuffer(4));
    const wakerFd = openWaker();
    const worker = newWorker({wakerFd, taken: taken.buffer});
    worker.on('message', (message: ReaderMessage) => {
      this.#tell(message);
      if (message.type === 'events') Atomics.add(taken, 0, 1);
    });
    let failure: Error | undefined;
    worker.on('error', (error: Error) => (failure = error));
    const ended = new Promise<void>((done) => {
      worker.on('exit', () => {
        this.#running = undefined; // the next volume gets a new one
        closeFd(wakerFd);
        this.#tellEnd(failure);
        done();
      });
    });
    return {worker, wakerFd, ended};
  }

  #tell(message: ReaderMessage): void {
    const receive = this.#receivers.get(message.volume);
    if (message.type === 'ended') this.#receivers.delete(message.volume);
    receive?.(message);
  }

  #tellEnd(failure: Error | undefined): void {
    for (const volume of [...this.#receivers.keys()]) {
      if (failure !== undefined) this.#tell({type: 'failed', volume, error: plainError(failure)});
      this.#tell({type: 'ended', volume});
    }
  }
}

/** @throws what Worker throws when the system gives no more threads; the waker is closed then */
function newWorker(data: ReadingThreadData): Worker {
  try {
    return new Worker(workerUrl(new URL('./inotify.worker.ts', import.meta.url)), {
      workerData: data,
      name: 'watch',
      resourceLimits: {maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: YOUNG_MIB},
    });
  } catch (error) {
    closeFd(data.wakerFd);
    throw error;
  }
}
