/**
 * The loop of the reading thread: sleeps until the kernel has events, turns them into `WatchEvent`s, sends them.
 *
 * One reading of the queue is one batch. Invariant: a batch is sent after the watches it called for were placed, and
 * while the receiver is too far behind nothing is sent but, in the end, that events were lost.
 */
import {waitReadable} from '../linux/eventfd.ts';
import * as inotify from '../linux/inotify.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {joinPath, type Name, type RelPath} from '../model/path.ts';
import {ArmedTree, RootGone} from './arm-tree.ts';
import {EventBatch, type PackedEvents} from './event-batch.ts';
import type {NameChange} from './watcher.ts';
import type {WatchNode} from './watch-tree.ts';

const QUEUE_BYTES = 64 * 1024; // some 2,000 events a reading
const GATHER_MS = 1; // after a batch: a busy writer costs a thousand messages a second at most, a lone change none of it
const UNSETTLED_MS = 10; // how soon to look again at what was in doubt
const MORE_ROOM_MS = 10_000; // how often to try directories that could not be watched
const MESSAGES_UNTAKEN_MAX = 64; // of at most 8,192 events
const {IN_ATTRIB, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_IGNORED, IN_ISDIR, IN_MOVED_FROM, IN_MOVED_TO} = inotify;
const {IN_MOVE_SELF, IN_Q_OVERFLOW, IN_UNMOUNT} = inotify;

/** What the reader needs to run. */
export interface ReaderOptions {
  /** Open until `onReady`. */
  rootFd: number;
  rootPath: string;
  skipDirs: readonly RelPath[];
  /** Readable as soon as the reader is to end. */
  wakerFd: number;
}

export interface ReaderParts {
  onReady(watchedDirs: number): void;
  send(packed: PackedEvents): void;
  /** Messages that were sent and not taken yet. */
  untaken(): number;
  isStopped(): boolean;
  nowMs(): number;
}

/**
 * Watches until it is stopped or the root is gone. Blocks its thread.
 * @throws LinuxError when the root cannot be watched
 */
export function readUntilStopped(options: ReaderOptions, parts: ReaderParts): void {
  const inotifyFd = inotify.openInotify();
  try {
    new Reader(inotifyFd, options, parts).run();
  } finally {
    closeFd(inotifyFd);
  }
}

class Reader {
  readonly #inotifyFd: number;
  readonly #wakerFd: number;
  readonly #parts: ReaderParts;
  readonly #batch: EventBatch;
  readonly #armed: ArmedTree;
  readonly #queue = new inotify.InotifyEvents(Buffer.allocUnsafeSlow(QUEUE_BYTES));
  #isLagging = false;
  #hasOverflowed = false;
  #unwatchedTold = 0;
  #triedRoomMs: number;

  constructor(inotifyFd: number, options: ReaderOptions, parts: ReaderParts) {
    this.#inotifyFd = inotifyFd;
    this.#wakerFd = options.wakerFd;
    this.#parts = parts;
    this.#batch = new EventBatch((packed) => this.#send(packed));
    this.#armed = new ArmedTree(
      options.rootFd,
      {
        openRoot: () => openDirPath(options.rootPath),
        skipDirs: options.skipDirs,
        isStopped: () => parts.isStopped(),
        nowMs: parts.nowMs(),
      },
      {inotifyFd, batch: this.#batch},
    );
    this.#triedRoomMs = parts.nowMs();
  }

  run(): void {
    this.#parts.onReady(this.#armed.tree.watchedCount);
    this.#tellUnwatched();
    this.#batch.flush();
    try {
      while (!this.#parts.isStopped()) {
        waitReadable([this.#inotifyFd, this.#wakerFd], this.#patienceMs());
        if (this.#parts.isStopped()) return;
        this.#takeBatch();
        waitReadable([this.#wakerFd], GATHER_MS);
      }
    } catch (error) {
      if (!(error instanceof RootGone)) throw error;
      this.#batch.rootGone(error.message);
      this.#isLagging = false; // the last word is said in any case
      this.#batch.flush();
    }
  }

  #patienceMs(): number {
    if (this.#isLagging || this.#armed.isUnsettled) return UNSETTLED_MS;
    return this.#armed.tree.unwatched.size > 0 ? MORE_ROOM_MS : -1;
  }

  #takeBatch(): void {
    const nowMs = this.#parts.nowMs();
    const armed = this.#armed;
    armed.begin(nowMs);
    try {
      this.#queue.reset(inotify.readInotify(this.#inotifyFd, this.#queue.bytes));
      while (this.#queue.next()) this.#take();
      if (armed.tree.unwatched.size > 0 && nowMs - this.#triedRoomMs >= MORE_ROOM_MS) {
        this.#triedRoomMs = nowMs;
        if (armed.hasRoom()) armed.relist();
      }
      if (this.#hasOverflowed) {
        armed.relist();
        this.#batch.overflow('the kernel dropped events (sysctl fs.inotify.max_queued_events)');
        this.#hasOverflowed = false;
      }
    } finally {
      armed.finish();
    }
    this.#tellUnwatched();
    this.#batch.flush();
    this.#catchUp();
  }

  #take(): void {
    const {mask, watch} = this.#queue;
    if ((mask & IN_Q_OVERFLOW) !== 0) {
      this.#hasOverflowed = true;
      return;
    }
    const node = this.#armed.tree.find(watch);
    if (node === undefined) return; // the rest of a watch that was ended
    if (node === this.#armed.tree.root) checkRoot(mask);
    if ((mask & IN_IGNORED) !== 0) this.#armed.ended(node);
    else if (changeOf(mask) !== undefined) this.#takeChange(node, mask);
  }

  #takeChange(node: WatchNode, mask: number): void {
    const armed = this.#armed;
    const change = changeOf(mask) as NameChange;
    const name = this.#queue.name();
    const isDir = (mask & IN_ISDIR) !== 0;
    if (name === '' && node !== armed.tree.root) return; // its parent says so with its name
    const path = armed.tree.pathOf(node);
    if (path !== undefined && armed.skippedIn(path)?.has(name) === true) return;
    armed.touch(node);
    if (path !== undefined) this.#batch.name(path, name, change, isDir, this.#queue.cookie);
    if (isDir && name !== '') this.#takeDir(node, name, change);
  }

  /** A name that is or was a directory's. */
  #takeDir(node: WatchNode, name: Name, change: NameChange): void {
    const armed = this.#armed;
    if (change === 'meta' && node.children?.has(name)) return; // else it may be readable now
    const hasLeft = change === 'removed' || change === 'moved-from';
    if (hasLeft) this.#batch.forgetSeen();
    armed.settle(node, name);
    if (change === 'moved-to') armed.movedTo(node, name);
    if (!hasLeft || !node.children?.has(name)) return;
    // Another one is there already, perhaps told before this: who forgets now what was there has to look again.
    const path = armed.tree.pathOf(node);
    if (path !== undefined) this.#batch.subtree(joinPath(path, name));
  }

  #tellUnwatched(): void {
    const count = this.#armed.tree.unwatched.size;
    if (count === this.#unwatchedTold) return;
    this.#unwatchedTold = count;
    this.#batch.degraded(count === 0 ? 'all directories are watched again' : this.#armed.unwatchedReason, count);
  }

  #send(packed: PackedEvents): void {
    this.#isLagging ||= this.#parts.untaken() >= MESSAGES_UNTAKEN_MAX;
    if (!this.#isLagging) this.#parts.send(packed);
  }

  /** What was not sent is lost; said as soon as half of what waits was taken. */
  #catchUp(): void {
    if (!this.#isLagging || this.#parts.untaken() > MESSAGES_UNTAKEN_MAX / 2) return;
    this.#isLagging = false;
    this.#unwatchedTold = 0;
    this.#batch.overflow('events came faster than they were taken');
    this.#tellUnwatched();
    this.#batch.flush();
  }
}

function checkRoot(mask: number): void {
  if ((mask & IN_MOVE_SELF) !== 0) throw new RootGone('it was renamed');
  if ((mask & IN_UNMOUNT) !== 0) throw new RootGone('its filesystem was unmounted');
  if ((mask & (IN_DELETE_SELF | IN_IGNORED)) !== 0) throw new RootGone('it was deleted');
}

function changeOf(mask: number): NameChange | undefined {
  if ((mask & (inotify.IN_MODIFY | inotify.IN_CLOSE_WRITE)) !== 0) return 'changed';
  if ((mask & IN_CREATE) !== 0) return 'created';
  if ((mask & IN_DELETE) !== 0) return 'removed';
  if ((mask & IN_ATTRIB) !== 0) return 'meta';
  if ((mask & IN_MOVED_FROM) !== 0) return 'moved-from';
  return (mask & IN_MOVED_TO) !== 0 ? 'moved-to' : undefined;
}
