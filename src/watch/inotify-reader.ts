/**
 * Reads one volume's inotify queue and turns what is in it into `WatchEvent`s. Does not wait: reading-loop.ts does.
 *
 * One reading of the queue is one batch. Invariant: a batch is sent after the watches it called for were placed, and
 * while the receiver is too far behind nothing is sent but, in the end, that events were lost.
 */
import * as inotify from '../linux/inotify.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {joinPath, type Name} from '../model/path.ts';
import {ArmedTree, RootGone} from './arm-tree.ts';
import {EventBatch, type PackedEvents} from './event-batch.ts';
import type {WatchedRoot} from './reader-messages.ts';
import type {NameChange} from './watcher.ts';
import type {WatchNode} from './watch-tree.ts';

const UNSETTLED_MS = 10; // how soon to look again at what was in doubt
const MORE_ROOM_MS = 10_000; // how often to try directories that could not be watched
const MESSAGES_UNTAKEN_MAX = 64; // of at most 8,192 events
const DRAIN_DOUBT_MS_MAX = 1_000; // what is in doubt for longer is told by a scan of it in the end
const {IN_ATTRIB, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_IGNORED, IN_ISDIR, IN_MOVED_FROM, IN_MOVED_TO} = inotify;
const {IN_MOVE_SELF, IN_Q_OVERFLOW, IN_UNMOUNT} = inotify;

export interface ReaderParts {
  send(packed: PackedEvents): void;
  onDrained(drain: number): void;
  /** Messages that were sent and not taken yet. */
  untaken(): number;
  isStopped(): boolean;
  /** Called again and again while many directories are looked at. */
  breathe(): void;
  nowMs(): number;
}

/** Somebody waits for what is in the queue. */
interface Drain {
  drain: number;
  queuedBytes: number;
  sinceMs: number;
}

export class InotifyReader {
  /** Readable when there are events. */
  readonly fd: number;
  readonly #parts: ReaderParts;
  readonly #batch: EventBatch;
  readonly #armed: ArmedTree;
  #drains: Drain[] = [];
  #isLagging = false;
  #hasOverflowed = false;
  #isOver = false;
  #unwatchedTold = 0;
  #triedRoomMs: number;
  #dueMs = Infinity;

  /**
   * Watches the whole tree before it returns.
   * @throws LinuxError when the root cannot be watched
   */
  constructor({rootFd, rootPath, skipDirs}: WatchedRoot, parts: ReaderParts) {
    this.#parts = parts;
    this.#batch = new EventBatch((packed) => this.#send(packed));
    this.#triedRoomMs = parts.nowMs();
    this.fd = inotify.openInotify();
    try {
      this.#armed = new ArmedTree(
        rootFd,
        {
          openRoot: () => openDirPath(rootPath),
          skipDirs,
          isStopped: () => parts.isStopped(),
          breathe: () => parts.breathe(),
          nowMs: this.#triedRoomMs,
        },
        {inotifyFd: this.fd, batch: this.#batch},
      );
    } catch (error) {
      closeFd(this.fd);
      throw error;
    }
  }

  get watchedDirs(): number {
    return this.#armed.tree.watchedCount;
  }

  /** Whether the root is gone: it has said so, and is to be closed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** When it is to be read although nothing may be in its queue. */
  get dueMs(): number {
    return this.#dueMs;
  }

  /** Says what was found while the tree was watched. */
  begin(): void {
    this.#tellUnwatched();
    this.#batch.flush();
    this.#dueMs = this.#nextMs();
  }

  /** Takes one batch from its queue, and sends it. @param queue memory for it, used by nobody else meanwhile */
  read(queue: inotify.InotifyEvents): void {
    try {
      this.#takeBatch(queue);
    } catch (error) {
      if (!(error instanceof RootGone)) throw error;
      this.#batch.rootGone(error.message);
      this.#isLagging = false; // the last word is said in any case
      this.#batch.flush();
      this.#isOver = true;
    }
  }

  /** Has `onDrained` called when everything was sent that is in the queue now. */
  drain(drain: number): void {
    const nowMs = this.#parts.nowMs();
    this.#drains.push({drain, queuedBytes: inotify.queuedBytes(this.fd), sinceMs: nowMs});
    this.#dueMs = nowMs;
  }

  close(): void {
    closeFd(this.fd);
  }

  #nextMs(): number {
    const nowMs = this.#parts.nowMs();
    if (this.#drains.some(({queuedBytes}) => queuedBytes > 0)) return nowMs;
    if (this.#isLagging || this.#armed.isUnsettled) return nowMs + UNSETTLED_MS;
    return this.#armed.tree.unwatched.size > 0 ? nowMs + MORE_ROOM_MS : Infinity;
  }

  #takeBatch(queue: inotify.InotifyEvents): void {
    const nowMs = this.#parts.nowMs();
    const armed = this.#armed;
    armed.begin(nowMs);
    try {
      const sizeBytes = inotify.readInotify(this.fd, queue.bytes);
      for (const drain of this.#drains) drain.queuedBytes = sizeBytes === 0 ? 0 : drain.queuedBytes - sizeBytes;
      queue.reset(sizeBytes);
      while (queue.next()) this.#take(queue);
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
    this.#answerDrains(nowMs);
    this.#dueMs = this.#nextMs();
  }

  #answerDrains(nowMs: number): void {
    if (this.#isLagging) return; // what is lost was not told yet
    const isInDoubt = this.#armed.isUnsettled;
    const isDone = ({queuedBytes, sinceMs}: Drain): boolean =>
      queuedBytes <= 0 && (!isInDoubt || nowMs - sinceMs >= DRAIN_DOUBT_MS_MAX);
    for (const each of this.#drains) if (isDone(each)) this.#parts.onDrained(each.drain);
    this.#drains = this.#drains.filter((each) => !isDone(each));
  }

  #take(queue: inotify.InotifyEvents): void {
    const {mask, watch} = queue;
    if ((mask & IN_Q_OVERFLOW) !== 0) {
      this.#hasOverflowed = true;
      return;
    }
    const node = this.#armed.tree.find(watch);
    if (node === undefined) return; // the rest of a watch that was ended
    if (node === this.#armed.tree.root) checkRoot(mask);
    if ((mask & IN_IGNORED) !== 0) this.#armed.ended(node);
    else if (changeOf(mask) !== undefined) this.#takeChange(node, queue);
  }

  #takeChange(node: WatchNode, queue: inotify.InotifyEvents): void {
    const armed = this.#armed;
    const {mask, cookie} = queue;
    const change = changeOf(mask) as NameChange;
    const name = queue.name();
    const isDir = (mask & IN_ISDIR) !== 0;
    if (name === '' && node !== armed.tree.root) return; // its parent says so with its name
    const path = armed.tree.pathOf(node);
    if (path !== undefined && armed.skippedIn(path)?.has(name) === true) return;
    armed.touch(node);
    if (path !== undefined) this.#batch.name(path, name, change, isDir, cookie);
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
