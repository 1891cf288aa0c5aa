/**
 * Watches a tree with inotify: the main thread's side of the reading thread.
 *
 * Its memory grows with the directories, not with the files, and it notices lost events, which fs.watch and what is
 * built on it cannot. Invariant: after `close` the thread is gone and every descriptor with it.
 */
import {Worker} from 'node:worker_threads';
import {messageOf, TowlineError} from '../base/errors.ts';
import {revivedError, type plainError} from '../base/jobs.ts';
import {workerUrl} from '../base/worker-url.ts';
import {openWaker, wake} from '../linux/eventfd.ts';
import {closeFd} from '../linux/open-fd.ts';
import {showPath} from '../model/path.ts';
import {unpackEvents} from './event-batch.ts';
import {SHARED_BYTES, SHARED_STOPPED, SHARED_TAKEN, type ReaderData, type ReaderMessage} from './reader-messages.ts';
import type {WatchEvent, Watcher, WatcherOptions} from './watcher.ts';

const HEAP_MIB = 256; // 10,000 directories take less than 5 MB; a runaway must not take the host's memory
const YOUNG_MIB = 4;

const ADVICE: Record<string, string> = {
  EMFILE: 'raise the sysctl fs.inotify.max_user_instances (or the limit of open files)',
  ENOSPC: 'raise the sysctl fs.inotify.max_user_watches',
};

export class InotifyWatcher implements Watcher {
  readonly #options: WatcherOptions;
  readonly #shared = new Int32Array(new SharedArrayBuffer(SHARED_BYTES));
  #worker: Worker | undefined;
  #ended: Promise<void> = Promise.resolve();
  #wakerFd = -1;
  #watchedDirs = 0;

  constructor(options: WatcherOptions) {
    this.#options = options;
  }

  start(): Promise<{watchedDirs: number}> {
    const {promise, resolve, reject} = Promise.withResolvers<{watchedDirs: number}>();
    const worker = this.#startThread();
    let isReady = false;
    const fail = (error: Error): void => {
      if (!isReady) return reject(error);
      this.#deliver([
        {kind: 'degraded', reason: `watching ended: ${messageOf(error)}`, unwatchedDirs: this.#watchedDirs},
      ]);
    };
    worker.on('message', (message: ReaderMessage) => {
      if (message.type === 'ready') {
        isReady = true;
        this.#watchedDirs = message.watchedDirs;
        resolve({watchedDirs: message.watchedDirs});
      } else if (message.type === 'events') {
        this.#deliver(unpackEvents(message.packed));
        Atomics.add(this.#shared, SHARED_TAKEN, 1);
      } else fail(this.#startError(message.error));
    });
    worker.on('error', fail);
    this.#ended = new Promise((done) => {
      worker.on('exit', () => {
        reject(new TowlineError('CANCELLED', 'the watcher was closed before it was ready', {signal: 'close'}));
        done();
      });
    });
    return promise;
  }

  async close(): Promise<void> {
    if (this.#worker === undefined) return;
    Atomics.store(this.#shared, SHARED_STOPPED, 1);
    if (this.#wakerFd >= 0) wake(this.#wakerFd);
    await this.#ended;
    if (this.#wakerFd >= 0) closeFd(this.#wakerFd);
    this.#wakerFd = -1;
  }

  #startThread(): Worker {
    const {rootFd, rootPath, skipDirs} = this.#options;
    this.#wakerFd = openWaker();
    const data: ReaderData = {
      rootFd,
      rootPath,
      skipDirs: [...skipDirs],
      wakerFd: this.#wakerFd,
      shared: this.#shared.buffer,
    };
    this.#worker = new Worker(workerUrl(new URL('./inotify.worker.ts', import.meta.url)), {
      workerData: data,
      name: 'watch',
      resourceLimits: {maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: YOUNG_MIB},
    });
    return this.#worker;
  }

  #deliver(events: WatchEvent[]): void {
    if (Atomics.load(this.#shared, SHARED_STOPPED) === 0) this.#options.onEvents(events);
  }

  #startError(plain: ReturnType<typeof plainError>): Error {
    const error = revivedError(plain);
    const failed = /^(\w+): (E\w+) /.exec(plain.message); // the text of a LinuxError
    if (failed === null) return error;
    const [, syscall = '', errno = ''] = failed;
    const advice = ADVICE[errno] ?? `${syscall} failed with ${errno}`;
    const path = showPath(this.#options.rootPath);
    return new TowlineError('SYSTEM', `${path} cannot be watched: ${advice}`, {syscall, errno, path}, {cause: error});
  }
}
