/**
 * Watches a tree with chokidar: by polling where a filesystem tells inotify nothing (network, FUSE), and where asked for.
 * By paths, which whoever writes to the tree can lead anywhere: so in a process that has the root as its own
 * (jailed-chokidar.ts).
 *
 * It keeps every entry in memory, so it takes small trees only. Its paths are text: in a name that is not UTF-8 it
 * sees nothing right, and the directory's listing is told instead. Lost events, a mode that changes alone under polling,
 * and bind mounts of the same filesystem it does not notice: the hourly rescan does.
 *
 * Invariant: nothing is told of another directory than the root that was there at the start.
 */
import {fstatSync, lstatSync, type BigIntStats} from 'node:fs';
import {opendir} from 'node:fs/promises';
import {setTimeout as sleep} from 'node:timers/promises';
import {watch, type EmitArgsWithName, type FSWatcher} from 'chokidar';
import {messageOf, TowlineError} from '../base/errors.ts';
import {bytesOf, fromText, nameOf, parentOf, ROOT, showPath, type RelPath} from '../model/path.ts';
import {
  EVENTS_PER_MESSAGE_MAX,
  type NameChange,
  type WatchEvent,
  type Watcher,
  type WatcherOptions,
} from './watcher.ts';

export interface ChokidarOptions {
  /** Stat every entry every `pollMs` instead of asking the kernel. */
  usePolling: boolean;
  pollMs?: number;
  /** Above it `start` is refused: the scanner polls such a tree at less cost. */
  entriesMax?: number;
  /** The root as people know it, where its path is another in this process: a byte string. */
  shownRoot?: string;
}

const ENTRIES_MAX = 50_000; // some 4 KB each, measured at 100,000
const POLL_MS = 1_000;
const GATHER_MS = 1;
const SETTLE_MS = 500;
const CLOSE_MS_MAX = 500;
const UNREADABLE = '\ufffd'; // what Node makes of bytes that are not UTF-8
const CHANGE = {add: 'created', addDir: 'created', change: 'changed', unlink: 'removed', unlinkDir: 'removed'} as const;

export class ChokidarWatcher implements Watcher {
  readonly #options: WatcherOptions;
  readonly #own: Required<ChokidarOptions>;
  /** Its path as text; '' for `/`. */
  readonly #root: string;
  readonly #skip: ReadonlySet<RelPath>;
  #watcher: FSWatcher | undefined;
  #identity = '';
  #device = 0n;
  #entries = 0;
  #dirs = 0;
  #unwatchedDirs = 0;
  #isClosed = false;
  #pending = new Map<string, WatchEvent>();
  #timer: NodeJS.Timeout | undefined;
  readonly #later = new Map<RelPath, WatchEvent>();
  #laterTimer: NodeJS.Timeout | undefined;

  constructor(options: WatcherOptions, own: ChokidarOptions) {
    this.#options = options;
    this.#own = {entriesMax: ENTRIES_MAX, pollMs: POLL_MS, shownRoot: options.rootPath, ...own};
    this.#root = bytesOf(options.rootPath).toString('utf8').replace(/\/+$/, '');
    this.#skip = new Set(options.skipDirs);
  }

  async start(): Promise<{watchedDirs: number}> {
    if (fromText(this.#root) !== this.#options.rootPath.replace(/\/+$/, '')) {
      throw refused(`${showPath(this.#own.shownRoot)} is not UTF-8: chokidar cannot watch it; use watch: inotify`);
    }
    const stat = fstatSync(this.#options.rootFd, {bigint: true});
    this.#identity = `${stat.dev} ${stat.ino}`;
    this.#device = stat.dev;
    if (!this.#isRootThere()) {
      const path = showPath(this.#own.shownRoot);
      throw new TowlineError('SYSTEM', `${path} cannot be watched: another directory is there now`, {
        syscall: 'stat',
        errno: 'ENOENT',
        path,
      });
    }
    await this.#count();
    if (!this.#isClosed) await this.#arm();
    if (this.#isClosed)
      throw new TowlineError('CANCELLED', 'the watcher was closed before it was ready', {signal: 'close'});
    return {watchedDirs: this.#dirs};
  }

  async drain(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve)); // what the kernel has told libuv is taken before
    if (this.#isClosed) throw new TowlineError('CANCELLED', 'the watcher is closed', {signal: 'close'});
    clearTimeout(this.#timer);
    this.#flush();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#laterTimer);
    // Its handles are closed by the call itself; some of its promises never settle after directories came and went.
    const patience = new AbortController();
    const outOfPatience = sleep(CLOSE_MS_MAX, undefined, {signal: patience.signal}).catch(() => {});
    await Promise.race([this.#watcher?.close(), outOfPatience]);
    patience.abort();
  }

  /** Entries of the tree, up to one more than are allowed. */
  async #count(): Promise<void> {
    const waiting = [this.#root];
    for (let dir; (dir = waiting.pop()) !== undefined;) {
      this.#dirs++;
      try {
        for await (const entry of await opendir(dir || '/', {bufferSize: 1024})) {
          if (this.#isClosed) return;
          const path = `${dir}/${entry.name}`;
          if (this.#isSkipped(path)) continue;
          this.#entries++;
          if (entry.isDirectory()) waiting.push(path);
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === undefined) throw error; // else: the scan tells what cannot be read
      }
      if (this.#entries > this.#own.entriesMax) throw refused(this.#tooMany());
    }
  }

  #tooMany(): string {
    const path = showPath(this.#own.shownRoot);
    return `${path} holds more than ${this.#own.entriesMax} entries (limits.chokidar-entries): too many for chokidar`;
  }

  #arm(): Promise<void> {
    const {promise, resolve, reject} = Promise.withResolvers<void>();
    const watcher = watch(this.#root || '/', {
      ignoreInitial: true,
      followSymlinks: false,
      alwaysStat: false,
      atomic: false,
      awaitWriteFinish: false,
      backend: this.#own.usePolling ? 'polling' : 'native',
      pollingInterval: this.#own.pollMs,
      pollingBinaryInterval: this.#own.pollMs,
      ignored: (path) => this.#isSkipped(path) || this.#isForeign(path),
    });
    this.#watcher = watcher;
    watcher.on('all', (...args) => this.#take(args));
    watcher.on('raw', (event, path, details) => this.#takeRaw(event, path, details));
    watcher.on('error', (error) => this.#takeError(error));
    watcher.once('ready', resolve);
    const close = watcher.close.bind(watcher);
    watcher.close = () => {
      reject(new TowlineError('CANCELLED', 'the watcher was closed before it was ready', {signal: 'close'}));
      return close();
    };
    return promise;
  }

  #take([event, path]: EmitArgsWithName): void {
    if (!(event in CHANGE)) return;
    const isDir = event === 'addDir' || event === 'unlinkDir';
    const at = this.#relative(path);
    if (at === undefined) return;
    if (at === ROOT) return this.#soon('root', {kind: 'listing', dir: ROOT}); // `#flush` sees whether it is gone
    const step = event === 'change' ? 0 : event.startsWith('add') ? 1 : -1;
    this.#entries += step;
    if (isDir) this.#dirs += step;
    this.#tell(at, CHANGE[event as keyof typeof CHANGE], isDir);
    if (event === 'addDir') this.#appeared(at);
    if (this.#entries > this.#own.entriesMax) this.#giveUp();
  }

  /** What the kernel or a poll said, before chokidar thought about it: it leaves out what looks equal to it. */
  #takeRaw(event: string, path: string | null, details: unknown): void {
    const {watchedPath, previous} = details as {watchedPath?: string; previous?: {ino?: number}};
    const full =
      watchedPath === undefined || path === null
        ? (path ?? watchedPath)
        : `${watchedPath === '/' ? '' : watchedPath}/${path}`;
    const at = full === undefined ? undefined : this.#relative(full);
    if (full === undefined || at === undefined) return;
    if (at === ROOT || path === null) return this.#soon(`listing ${at}`, {kind: 'listing', dir: at});
    const stat = statIfAny(full);
    const isDir = stat?.isDirectory() ?? false;
    this.#tell(at, stat === undefined ? 'removed' : event === 'rename' ? 'created' : 'changed', isDir);
    if (!isDir) return;
    const isNew = event === 'rename' || (previous !== undefined && BigInt(previous.ino ?? 0) !== stat?.ino);
    if (isNew) this.#appeared(at);
    else this.#soon(`listing ${at}`, {kind: 'listing', dir: at});
  }

  #appeared(dir: RelPath): void {
    const event: WatchEvent = {kind: 'subtree', dir};
    this.#soon(`subtree ${dir}`, event);
    // chokidar watches it some time after it says so, and does not always tell what came in between.
    this.#later.set(dir, event);
    this.#laterTimer ??= setTimeout(() => {
      this.#laterTimer = undefined;
      for (const [path, again] of this.#later) this.#soon(`subtree ${path}`, again);
      this.#later.clear();
    }, SETTLE_MS);
  }

  #takeError(error: unknown): void {
    const {code, path} = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EMFILE') {
      this.#unwatchedDirs++;
      const reason = `${messageOf(error)} (sysctl fs.inotify.max_user_watches, max_user_instances)`;
      return this.#soon('degraded', {kind: 'degraded', reason, unwatchedDirs: this.#unwatchedDirs});
    }
    const at = path === undefined ? undefined : this.#relative(path);
    if (at === undefined) this.#soon('overflow', {kind: 'overflow', reason: `chokidar: ${messageOf(error)}`});
    else this.#soon(`listing ${parentOf(at)}`, {kind: 'listing', dir: parentOf(at)});
  }

  #tell(path: RelPath, change: NameChange, isDir: boolean): void {
    const dir = parentOf(path);
    this.#soon(`${change} ${path}`, {kind: 'name', dir, name: nameOf(path), change, isDir, cookie: 0});
  }

  /** @returns undefined for what is not told; a name that is no UTF-8 makes its directory be listed */
  #relative(path: string): RelPath | undefined {
    if (path === (this.#root || '/')) return ROOT;
    if (!path.startsWith(`${this.#root}/`) || this.#isSkipped(path)) return undefined;
    const rest = path.slice(this.#root.length + 1);
    if (!rest.includes(UNREADABLE)) return fromText(rest);
    const names = rest.split('/');
    const readable = names.slice(
      0,
      names.findIndex((name) => name.includes(UNREADABLE)),
    );
    const dir = fromText(readable.join('/'));
    // The directory that cannot be named may hold more: everything below the last name that can be is looked at.
    const isLast = readable.length === names.length - 1;
    this.#soon(`listing ${dir}`, isLast ? {kind: 'listing', dir} : {kind: 'subtree', dir});
    return undefined;
  }

  #isSkipped(path: string): boolean {
    if (this.#skip.size === 0 || path.length <= this.#root.length) return false;
    for (let at = fromText(path.slice(this.#root.length + 1)); at !== ROOT; at = parentOf(at)) {
      if (this.#skip.has(at)) return true;
    }
    return false;
  }

  /** What is mounted inside the volume is not its own. */
  #isForeign(path: string): boolean {
    if (path.length <= this.#root.length) return false;
    const stat = statIfAny(path);
    return stat !== undefined && stat.isDirectory() && stat.dev !== this.#device;
  }

  #isRootThere(): boolean {
    const stat = statIfAny(`${this.#root}/.`); // a root that is a link is followed
    return stat !== undefined && `${stat.dev} ${stat.ino}` === this.#identity;
  }

  #soon(key: string, event: WatchEvent): void {
    if (this.#isClosed) return;
    this.#pending.delete(key); // the last of equal events counts: what it stands for has happened by then
    this.#pending.set(key, event);
    this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  #flush(): void {
    this.#timer = undefined;
    const events = [...this.#pending.values()];
    this.#pending = new Map();
    if (!this.#isRootThere()) {
      void this.close();
      return this.#options.onEvents([{kind: 'root-gone', reason: 'it was renamed, deleted, replaced or unmounted'}]);
    }
    for (let first = 0; first < events.length && !this.#isClosed; first += EVENTS_PER_MESSAGE_MAX) {
      this.#options.onEvents(events.slice(first, first + EVENTS_PER_MESSAGE_MAX));
    }
  }

  /** The tree has grown beyond what may be kept in memory. */
  #giveUp(): void {
    const unwatchedDirs = this.#dirs;
    void this.close();
    this.#options.onEvents([
      {kind: 'overflow', reason: 'the watcher gave up'},
      {kind: 'degraded', reason: this.#tooMany(), unwatchedDirs},
    ]);
  }
}

function statIfAny(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, {bigint: true});
  } catch {
    return undefined; // gone, or nobody's to read: the scan tells which
  }
}

function refused(reason: string): TowlineError {
  return new TowlineError('REFUSED', reason, {reason});
}
