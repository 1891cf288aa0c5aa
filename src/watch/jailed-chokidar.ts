/**
 * chokidar in a process of its own, whose root is the volume's: chokidar works by paths, and so whoever writes to the
 * volume could have it look at anything by swapping a directory for a symlink. In there a path leads nowhere else.
 *
 * That process has mounts of its own, so the volume can be unmounted; that it was is found out here, by its address.
 * Invariants: nothing is told of another directory than the root that was there at the start; nothing here waits for the
 * filesystem, which may be one over a network that does not answer.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {fstatSync} from 'node:fs';
import {lstat} from 'node:fs/promises';
import {TowlineError} from '../base/errors.ts';
import {revivedError, type PlainError} from '../base/jobs.ts';
import {LineSplitter} from '../base/line-splitter.ts';
import {workerUrl} from '../base/worker-url.ts';
import {fileURLToPath} from 'node:url';
import {bytesOf, fromText, showPath, type RelPath} from '../model/path.ts';
import type {ChokidarOptions} from './chokidar-watcher.ts';
import type {Watcher, WatcherOptions, WatchEvent} from './watcher.ts';

/** To that process; a command a line. */
export type ToChokidar =
  | {kind: 'watch'; rootPath: string; skipDirs: readonly RelPath[]; options: ChokidarOptions}
  | {kind: 'drain'; id: number};

/** From it. */
export type FromChokidar =
  | {kind: 'started'; watchedDirs: number}
  | {kind: 'failed'; error: PlainError}
  | {kind: 'events'; events: WatchEvent[]}
  | {kind: 'drained'; id: number};

const READY_MS_MAX = 120_000; // 50,000 entries over a slow network; in a tree that never rests chokidar never gets ready
const LOOK_MS = 1_000;
const LINE_BYTES_MAX = 2 << 20; // events come in parts of about half of that

export class JailedChokidar implements Watcher {
  readonly #options: WatcherOptions;
  readonly #own: ChokidarOptions;
  /** Host path as text. */
  readonly #root: string;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #identity = '';
  #look: NodeJS.Timeout | undefined;
  #isLooking = false;
  #started = Promise.withResolvers<{watchedDirs: number}>();
  readonly #drains = new Map<number, PromiseWithResolvers<void>>();
  #lastDrain = 0;
  #isClosed = false;
  /** It has ended by itself, and said so. */
  #isOver = false;

  constructor(options: WatcherOptions, own: ChokidarOptions) {
    this.#options = options;
    this.#own = own;
    this.#root = bytesOf(options.rootPath).toString('utf8');
    this.#started.promise.catch(() => undefined); // told by `start`
  }

  async start(): Promise<{watchedDirs: number}> {
    if (this.#isClosed) throw cancelled('the watcher was closed before it was ready');
    const {rootFd, rootPath, skipDirs} = this.#options;
    if (fromText(this.#root) !== rootPath) {
      const reason = `${showPath(rootPath)} is not UTF-8: chokidar cannot watch it; use watch: inotify`;
      throw new TowlineError('REFUSED', reason, {reason});
    }
    const stat = fstatSync(rootFd, {bigint: true});
    this.#identity = `${stat.dev} ${stat.ino}`;
    this.#begin();
    this.#send({kind: 'watch', rootPath, skipDirs, options: this.#own});
    const late = setTimeout(() => {
      const reason = `chokidar has not got ready with ${showPath(rootPath)} within ${READY_MS_MAX / 1_000} s`;
      this.#started.reject(new TowlineError('REFUSED', reason, {reason}));
    }, READY_MS_MAX);
    try {
      const started = await this.#started.promise;
      this.#look = setInterval(() => void this.#lookAtRoot(), LOOK_MS);
      this.#look.unref();
      return started;
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  async drain(): Promise<void> {
    if (this.#isOver) return; // its last event was given out
    if (this.#isClosed) throw cancelled('the watcher is closed');
    const id = ++this.#lastDrain;
    const drained = Promise.withResolvers<void>();
    this.#drains.set(id, drained);
    this.#send({kind: 'drain', id});
    await drained.promise;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#look);
    this.#child?.kill('SIGKILL'); // it changes nothing, and holds nothing that must be put in order
    this.#started.reject(cancelled('the watcher was closed before it was ready'));
    for (const {resolve, reject} of this.#drains.values()) {
      if (this.#isOver) resolve();
      else reject(cancelled('the watcher is closed'));
    }
    this.#drains.clear();
    await this.#ended;
  }

  #begin(): void {
    const entry = fileURLToPath(workerUrl(new URL('./chokidar.child.ts', import.meta.url)));
    const child = spawn(process.execPath, [...process.execArgv, entry], {
      cwd: '/',
      stdio: ['pipe', 'pipe', 'ignore', this.#options.rootFd],
    });
    this.#child = child;
    const lines = new LineSplitter(LINE_BYTES_MAX);
    child.stdout?.on('data', (piece: Buffer) => {
      for (const line of lines.lines(piece)) this.#takeLine(line);
    });
    child.stdin?.on('error', () => {}); // it has ended: told below
    const {promise, resolve} = Promise.withResolvers<void>();
    this.#ended = promise;
    child.once('error', (error) => {
      this.#lost(error.message);
      resolve();
    });
    child.once('close', () => {
      this.#lost('its process has ended');
      resolve();
    });
  }

  #send(command: ToChokidar): void {
    this.#child?.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  #takeLine(line: string): void {
    let message: FromChokidar;
    try {
      message = JSON.parse(line) as FromChokidar;
    } catch {
      return this.#lost('more was told at once than is taken');
    }
    this.#take(message);
  }

  #take(message: FromChokidar): void {
    if (this.#isClosed) return;
    switch (message.kind) {
      case 'started':
        return this.#started.resolve({watchedDirs: message.watchedDirs});
      case 'failed':
        return this.#started.reject(revivedError(message.error));
      case 'events':
        return this.#options.onEvents(message.events);
      case 'drained':
        this.#drains.get(message.id)?.resolve();
        this.#drains.delete(message.id);
        return undefined;
    }
  }

  /** The process is gone, which nobody asked for: the tree is polled from now on. */
  #lost(why: string): void {
    if (this.#isClosed) return;
    const reason = `chokidar: ${why}`;
    this.#started.reject(new TowlineError('REFUSED', reason, {reason}));
    const wasReady = this.#look !== undefined;
    if (!wasReady) return void this.close(); // told by `start`
    this.#end([
      {kind: 'overflow', reason},
      {kind: 'degraded', reason, unwatchedDirs: 1},
    ]);
  }

  async #lookAtRoot(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const identity = await identityAt(`${this.#root}/.`); // a root that is a link is followed
    this.#isLooking = false;
    if (identity !== this.#identity && !this.#isClosed)
      this.#end([{kind: 'root-gone', reason: 'it was renamed, deleted, replaced or unmounted'}]);
  }

  #end(last: WatchEvent[]): void {
    this.#isOver = true;
    void this.close();
    this.#options.onEvents(last);
  }
}

async function identityAt(path: string): Promise<string | undefined> {
  try {
    const {dev, ino} = await lstat(path, {bigint: true});
    return `${dev} ${ino}`;
  } catch {
    return undefined;
  }
}

function cancelled(message: string): TowlineError {
  return new TowlineError('CANCELLED', message, {signal: 'close'});
}
