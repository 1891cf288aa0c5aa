/**
 * Places watches on directories and keeps the tree true: what is watched, and where it hangs.
 *
 * Events are history, but a directory can only be opened as it is now. So no event is believed: each one that names a
 * directory makes `settle` look at what is there. What was there and is not any more becomes an orphan, which a later
 * look at its new place finds again by its watch. What nobody finds for a while has left the volume.
 *
 * Invariant: a directory is watched before it is listed, so that nothing appears unseen between the two; no symlink is
 * followed, no mount point is crossed, and outside of a batch of events nothing of the volume is held open.
 */
import {invariant} from '../base/errors.ts';
import {openBeneath} from '../linux/beneath.ts';
import {DIRENT_DIR, readDirEntries} from '../linux/directories.ts';
import * as inotify from '../linux/inotify.ts';
import {isLinuxError, type LinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statAtIfAny} from '../linux/stat.ts';
import {joinPath, type Name, type RelPath} from '../model/path.ts';
import type {EventBatch} from './event-batch.ts';
import {nodesOf, UNWATCHED, WatchTree, type WatchNode} from './watch-tree.ts';

const MASK =
  inotify.IN_CREATE |
  inotify.IN_MODIFY | // a writer that never closes is seen too; equal events in a row are one
  inotify.IN_CLOSE_WRITE |
  inotify.IN_ATTRIB |
  inotify.IN_MOVED_FROM |
  inotify.IN_MOVED_TO |
  inotify.IN_DELETE |
  inotify.IN_ONLYDIR |
  inotify.IN_EXCL_UNLINK;
const ROOT_MASK = MASK | inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF;

const ORPHAN_MS_MAX = 50; // the two halves of a rename come microseconds apart, unless the writer lost its processor
const RECENT_MS = 60_000; // who takes the events may be this late with a path that was renamed meanwhile
const RECENT_LISTINGS_MAX = 64; // beyond, one scan of the subtree is cheaper
const DOUBT_ATTEMPTS_MAX = 100;
const ENTRIES_PER_BREATH = 4_096; // of one directory: about a millisecond
const TYPE_UNKNOWN = 0;
const GONE = ['ENOENT', 'ENOTDIR', 'ELOOP'];

/** The root is not where and what it was. */
export class RootGone extends Error {}

export interface ArmOptions {
  /** Opens the root by its path; the caller of `openRoot` closes it. */
  openRoot(): number;
  skipDirs: readonly RelPath[];
  /** Whether to give up in the middle. */
  isStopped(): boolean;
  /** Called again and again during a long walk: others may get their turn. Does not touch this tree. */
  breathe(): void;
  /** Of a monotonic clock. */
  nowMs: number;
}

export class ArmedTree {
  readonly tree: WatchTree;
  readonly #options: ArmOptions;
  readonly #parts: {inotifyFd: number; batch: EventBatch};
  readonly #skipNames = new Map<RelPath, Set<Name>>();
  readonly #orphans = new Map<WatchNode, number>();
  /** Directories in which something could not be looked at, with the number of attempts. */
  readonly #doubts = new Map<WatchNode, number>();
  readonly #rechecks: [WatchNode, Name][] = [];
  #rootFd = -1;
  #held: {node: WatchNode; fd: number} | undefined;
  #isQuiet = true;
  #nowMs = 0;
  /** Why the last directory that is not watched is not. */
  unwatchedReason = '';

  /** Watches the root, which is open as `rootFd`. @throws LinuxError */
  constructor(rootFd: number, options: ArmOptions, parts: {inotifyFd: number; batch: EventBatch}) {
    this.#options = options;
    this.#parts = parts;
    for (const path of options.skipDirs) {
      const slash = path.lastIndexOf('/');
      const dir = path.slice(0, Math.max(slash, 0));
      this.#skipNames.set(dir, (this.#skipNames.get(dir) ?? new Set()).add(path.slice(slash + 1)));
    }
    this.begin(options.nowMs);
    this.tree = new WatchTree(inotify.watchDir(parts.inotifyFd, rootFd, ROOT_MASK), this.#nowMs);
    this.#list(this.tree.root, rootFd, true);
    this.#isQuiet = false;
  }

  /** Names in this directory that are not mentioned. */
  skippedIn(dir: RelPath): ReadonlySet<Name> | undefined {
    return this.#skipNames.get(dir);
  }

  /** Something happened in this directory. */
  touch(node: WatchNode): void {
    node.eventMs = this.#nowMs;
  }

  /** A batch of events begins. @param nowMs of a monotonic clock */
  begin(nowMs: number): void {
    this.#nowMs = Math.floor(nowMs);
  }

  /** Looks at one name of a directory: is there a directory, is it watched, does it hang there? */
  settle(parent: WatchNode, name: Name): void {
    const parentFd = this.#open(parent);
    if (parentFd === undefined) this.#doubt(parent);
    else this.#settleAt(parent, parentFd, name, false);
  }

  /** A directory was renamed to this name: whoever came too late for its old path looks once more. */
  movedTo(parent: WatchNode, name: Name): void {
    const node = parent.children?.get(name);
    if (node === undefined) return;
    const since = this.#nowMs - RECENT_MS;
    const recent = [...nodesOf(node)].filter(({eventMs}) => eventMs >= since);
    const isMany = recent.length > RECENT_LISTINGS_MAX;
    for (const touched of isMany ? [node] : recent) {
      const path = this.tree.pathOf(touched);
      if (path === undefined) return;
      if (isMany) this.#parts.batch.subtree(path);
      else this.#parts.batch.listing(path);
    }
  }

  /** The kernel ended a watch: the directory is gone. */
  ended(node: WatchNode): void {
    this.tree.forget(node);
    this.#remove(node);
  }

  /** Looks at every directory anew, because events were lost or there is room for more watches. A scan follows. */
  relist(): void {
    const fd = this.#open(this.tree.root);
    invariant(fd !== undefined, 'the root has no place');
    this.#list(this.tree.root, fd, true);
    for (const node of nodesOf(this.tree.root)) this.touch(node);
  }

  /** Whether a directory that could not be watched can be by now. */
  hasRoom(): boolean {
    for (const node of this.tree.unwatched) {
      const path = this.tree.pathOf(node);
      if (path === undefined) continue;
      try {
        const fd = openBeneath(this.#openRoot(), path);
        try {
          inotify.watchDir(this.#parts.inotifyFd, fd, MASK);
          return true; // a watch without a node: `relist` finds it
        } finally {
          closeFd(fd);
        }
      } catch (error) {
        if (isLinuxError(error, ...GONE)) return true; // `relist` forgets it
        if (isLinuxError(error)) return false;
        throw error;
      }
    }
    return false;
  }

  /** The batch is over: what was in doubt is looked at again, what left the volume is let go, nothing stays open. */
  finish(): void {
    try {
      for (let recheck; (recheck = this.#rechecks.pop()) !== undefined;) this.settle(...recheck);
      this.#retryDoubts();
      for (const [node, sinceMs] of this.#orphans) {
        if (this.#nowMs - sinceMs >= ORPHAN_MS_MAX) this.#remove(node);
      }
    } finally {
      this.#closeAll();
    }
  }

  /** Whether `finish` has to come again soon, without any event. */
  get isUnsettled(): boolean {
    return this.#orphans.size > 0 || this.#doubts.size > 0;
  }

  #settleAt(parent: WatchNode, parentFd: number, name: Name, isDeep: boolean): void {
    const old = parent.children?.get(name);
    const fd = this.#openChild(parent, parentFd, name);
    if (fd === undefined) {
      if (old !== undefined) this.#orphan(old);
      return;
    }
    try {
      const watch = this.#watch(fd, MASK);
      const known = watch === UNWATCHED ? undefined : this.tree.find(watch);
      if (old !== undefined && (known === old || (watch === UNWATCHED && old.watch === UNWATCHED))) {
        if (isDeep) this.#list(old, fd, true);
      } else if (known === undefined) {
        if (old !== undefined) this.#orphan(old);
        this.#arm(parent, name, watch, fd);
      } else {
        this.#rehang(known, parent, name);
        if (isDeep) this.#list(known, fd, true);
      }
    } finally {
      closeFd(fd);
    }
  }

  /** A directory that was not known. First watched to its last leaf, then mentioned. */
  #arm(parent: WatchNode, name: Name, watch: number, fd: number): void {
    const node = this.tree.add(parent, name, watch, this.#nowMs);
    const wasQuiet = this.#isQuiet;
    this.#isQuiet = true;
    this.#list(node, fd, false);
    this.#isQuiet = wasQuiet;
    const path = wasQuiet ? undefined : this.tree.pathOf(node);
    if (path !== undefined) this.#parts.batch.subtree(path);
  }

  /** A known directory that is here now. */
  #rehang(node: WatchNode, parent: WatchNode, name: Name): void {
    // What lies below a directory cannot hold it: the parent has moved too, and its own event will say so.
    if (this.tree.isWithin(parent, node)) return this.#doubt(parent);
    const former = node.parent;
    if (former !== undefined) this.#rechecks.push([former, node.name]);
    const old = parent.children?.get(name);
    if (old !== undefined) this.#orphan(old);
    this.tree.detach(node);
    this.tree.hang(node, parent, name);
    this.#parts.batch.forgetSeen();
    const path = this.tree.pathOf(node);
    // Not by its own event, which comes later: until then nobody knows that it moved.
    if (former !== undefined && path !== undefined && !this.#isQuiet) this.#parts.batch.subtree(path);
    this.#orphans.delete(node);
  }

  /** Watches what is below. @param isDeep also below directories that are known already */
  #list(node: WatchNode, fd: number, isDeep: boolean): void {
    this.#options.breathe();
    if (this.#options.isStopped()) return;
    const names = this.#dirNames(node, fd);
    if (names === undefined) return;
    if (node.children !== undefined) {
      const present = new Set(names);
      for (const child of [...node.children.values()]) if (!present.has(child.name)) this.#orphan(child);
    }
    for (const name of names) this.#settleAt(node, fd, name, isDeep);
  }

  /** Names of the directories in an open one; undefined when it cannot be listed. */
  #dirNames(node: WatchNode, fd: number): Name[] | undefined {
    const skipped = this.#skippedIn(node);
    const names: Name[] = [];
    let count = 0;
    try {
      for (const entry of readDirEntries(fd)) {
        if (++count % ENTRIES_PER_BREATH === 0) this.#options.breathe();
        if (entry.type !== DIRENT_DIR && entry.type !== TYPE_UNKNOWN) continue;
        const name = entry.name();
        if (entry.type === TYPE_UNKNOWN && statAtIfAny(fd, name)?.type !== 'dir') continue;
        if (skipped === undefined || !skipped.has(name)) names.push(name);
      }
      return names;
    } catch (error) {
      if (!isLinuxError(error)) throw error;
      if (GONE.includes(error.code)) return undefined; // deleted while it was open: its parent's event follows
      const path = this.tree.pathOf(node);
      if (path !== undefined) this.#parts.batch.listing(path);
      this.#doubt(node);
      return undefined;
    }
  }

  #skippedIn(node: WatchNode): ReadonlySet<Name> | undefined {
    if (this.#skipNames.size === 0) return undefined;
    const path = this.tree.pathOf(node);
    return path === undefined ? undefined : this.#skipNames.get(path);
  }

  #watch(fd: number, mask: number): number {
    try {
      return inotify.watchDir(this.#parts.inotifyFd, fd, mask);
    } catch (error) {
      if (!isLinuxError(error)) throw error;
      this.unwatchedReason = reasonOf(error);
      return UNWATCHED;
    }
  }

  #openChild(parent: WatchNode, parentFd: number, name: Name): number | undefined {
    try {
      return openBeneath(parentFd, name);
    } catch (error) {
      if (!isLinuxError(error)) throw error;
      if (GONE.includes(error.code) || error.code === 'EXDEV') return undefined;
      // Nobody may read it, or there is no descriptor left: the scan finds out and says so.
      const path = this.tree.pathOf(parent);
      if (path !== undefined) this.#parts.batch.listing(joinPath(path, name));
      if (error.code !== 'EACCES') this.#doubt(parent);
      return undefined;
    }
  }

  /** The directory of a node, if it is still where the tree says; held until another is asked for. */
  #open(node: WatchNode): number | undefined {
    if (this.#held?.node === node) return this.#held.fd;
    const path = this.tree.pathOf(node);
    if (path === undefined) return undefined;
    let fd: number;
    try {
      fd = path === '' ? this.#openRoot() : openBeneath(this.#openRoot(), path);
    } catch (error) {
      if (isLinuxError(error)) return undefined;
      throw error;
    }
    if (path === '') return fd;
    const watch = this.#watch(fd, MASK);
    if (watch !== node.watch) {
      if (watch !== UNWATCHED && this.tree.find(watch) === undefined) inotify.unwatch(this.#parts.inotifyFd, watch);
      closeFd(fd);
      return undefined;
    }
    this.#closeHeld();
    this.#held = {node, fd};
    return fd;
  }

  #openRoot(): number {
    if (this.#rootFd >= 0) return this.#rootFd;
    let fd: number;
    try {
      fd = this.#options.openRoot();
    } catch (error) {
      if (isLinuxError(error)) throw new RootGone(`the root cannot be opened any more (${error.code})`);
      throw error;
    }
    this.#rootFd = fd;
    // The old watch on another directory would be a new one: nothing else tells as surely, inode numbers come again.
    if (this.#watch(fd, ROOT_MASK) !== this.tree.root.watch) throw new RootGone('another directory is in its place');
    return fd;
  }

  #doubt(node: WatchNode): void {
    if (!this.#doubts.has(node)) this.#doubts.set(node, 0);
  }

  #retryDoubts(): void {
    for (const [node, attempts] of [...this.#doubts]) {
      this.#doubts.delete(node);
      if (this.tree.find(node.watch) !== node) continue; // gone meanwhile
      const fd = this.#open(node);
      if (fd !== undefined) {
        this.#list(node, fd, false);
      } else if (attempts < DOUBT_ATTEMPTS_MAX) {
        this.#doubts.set(node, attempts + 1);
      } else {
        const path = this.tree.pathOf(node);
        if (path !== undefined) this.#parts.batch.subtree(path);
      }
    }
  }

  #orphan(node: WatchNode): void {
    if (node.watch === UNWATCHED) return this.#remove(node); // nothing would find it again
    this.tree.detach(node);
    this.#parts.batch.forgetSeen();
    this.#orphans.set(node, this.#nowMs);
  }

  #remove(node: WatchNode): void {
    this.#orphans.delete(node);
    for (const watch of this.tree.remove(node)) inotify.unwatch(this.#parts.inotifyFd, watch);
    this.#parts.batch.forgetSeen();
  }

  #closeHeld(): void {
    if (this.#held !== undefined) closeFd(this.#held.fd);
    this.#held = undefined;
  }

  #closeAll(): void {
    this.#closeHeld();
    if (this.#rootFd >= 0) closeFd(this.#rootFd);
    this.#rootFd = -1;
  }
}

function reasonOf(error: LinuxError): string {
  return error.code === 'ENOSPC'
    ? 'the limit of watches is reached (sysctl fs.inotify.max_user_watches)'
    : `${error.code} from ${error.syscall}`;
}
