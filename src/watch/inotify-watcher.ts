/**
 * Watches a tree with inotify: one volume's side of the reading thread, which it may share with others.
 *
 * Its memory grows with the directories, not with the files, and it notices lost events, which fs.watch and what is
 * built on it cannot. Invariant: after `close` nothing of the volume is watched or open.
 */
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import {revivedError, type PlainError} from '../base/jobs.ts';
import {showPath} from '../model/path.ts';
import {unpackEvents} from './event-batch.ts';
import {InotifyThread} from './inotify-thread.ts';
import {SHARED_BYTES, SHARED_STOPPED, SHARED_TAKEN, type ReaderMessage} from './reader-messages.ts';
import type {WatchEvent, Watcher, WatcherOptions} from './watcher.ts';

const ADVICE: Record<string, string> = {
  EMFILE: 'raise the sysctl fs.inotify.max_user_instances (or the limit of open files)',
  ENOSPC: 'raise the sysctl fs.inotify.max_user_watches',
};

export class InotifyWatcher implements Watcher {
  readonly #options: WatcherOptions;
  readonly #thread: InotifyThread;
  readonly #isThreadOwn: boolean;
  readonly #shared = new Int32Array(new SharedArrayBuffer(SHARED_BYTES));
  readonly #started = Promise.withResolvers<{watchedDirs: number}>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #drains = new Map<number, PromiseWithResolvers<void>>();
  #volume: number | undefined;
  #watchedDirs: number | undefined;
  #isOver = false;
  #lastDrain = 0;

  /** @param parts the thread that reads for it; without one it has its own */
  constructor(options: WatcherOptions, parts: {thread?: InotifyThread} = {}) {
    this.#options = options;
    this.#thread = parts.thread ?? new InotifyThread();
    this.#isThreadOwn = parts.thread === undefined;
    this.#started.promise.catch(() => undefined); // told by `start`
  }

  async start(): Promise<{watchedDirs: number}> {
    const {rootFd, rootPath, skipDirs} = this.#options;
    const root = {rootFd, rootPath, skipDirs: [...skipDirs]};
    this.#volume = this.#thread.watch(root, this.#shared.buffer, (message) => this.#take(message));
    return this.#started.promise;
  }

  async drain(): Promise<void> {
    if (this.#isStopped) throw closedError();
    if (this.#volume === undefined || this.#isOver) return; // its last event was given out
    const drained = Promise.withResolvers<void>();
    const drain = ++this.#lastDrain;
    this.#drains.set(drain, drained);
    this.#thread.send({type: 'drain', volume: this.#volume, drain});
    await drained.promise;
  }

  async close(): Promise<void> {
    Atomics.store(this.#shared, SHARED_STOPPED, 1);
    if (this.#volume === undefined) return;
    this.#thread.wake();
    await this.#ended.promise;
  }

  get #isStopped(): boolean {
    return Atomics.load(this.#shared, SHARED_STOPPED) !== 0;
  }

  #take(message: ReaderMessage): void {
    switch (message.type) {
      case 'ready':
        this.#watchedDirs = message.watchedDirs;
        return this.#started.resolve({watchedDirs: message.watchedDirs});
      case 'events':
        this.#deliver(unpackEvents(message.packed));
        return void Atomics.add(this.#shared, SHARED_TAKEN, 1);
      case 'drained':
        this.#drains.get(message.drain)?.resolve();
        return void this.#drains.delete(message.drain);
      case 'failed':
        return this.#fail(this.#startError(message.error));
      case 'ended':
        return this.#end();
    }
  }

  #fail(error: Error): void {
    if (this.#watchedDirs === undefined) return this.#started.reject(error);
    const reason = `watching ended: ${messageOf(error)}`;
    this.#deliver([{kind: 'degraded', reason, unwatchedDirs: this.#watchedDirs}]);
  }

  #end(): void {
    this.#isOver = true;
    this.#started.reject(closedError());
    for (const {resolve, reject} of this.#drains.values()) {
      if (this.#isStopped) reject(closedError());
      else resolve(); // after the last event
    }
    this.#drains.clear();
    this.#ended.resolve(this.#isThreadOwn ? this.#thread.close() : undefined);
  }

  #deliver(events: WatchEvent[]): void {
    if (!this.#isStopped) this.#options.onEvents(events);
  }

  #startError(plain: PlainError): Error {
    const error = revivedError(plain);
    if (!isTowlineError(error) || error.code !== 'SYSTEM') return error;
    const {syscall, errno} = (error as TowlineError<'SYSTEM'>).details;
    const advice = ADVICE[errno] ?? `${syscall} failed with ${errno}`;
    const path = showPath(this.#options.rootPath);
    return new TowlineError('SYSTEM', `${path} cannot be watched: ${advice}`, {syscall, errno, path}, {cause: error});
  }
}

function closedError(): TowlineError {
  return new TowlineError('CANCELLED', 'the watcher was closed', {signal: 'close'});
}
