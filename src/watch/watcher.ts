/**
 * What a watcher says and what it takes: the one interface of both back ends.
 *
 * A watch is a hint, the scan is the truth: an event says where to look, never what is there. Invariant: whatever
 * changes below the root after `start` has resolved is covered by an event that comes after the change (see `WatchEvent`).
 */
import type {Name, RelPath} from '../model/path.ts';

export type NameChange = 'created' | 'changed' | 'meta' | 'removed' | 'moved-from' | 'moved-to';

/**
 * - `name`: look at this name again, and at the directory's own metadata. With the name `''` the root itself is meant.
 *   `moved-from` and `moved-to` of one rename share a cookie (0 for none): what lies below a directory moved along
 *   unchanged. A directory that appears otherwise (`created`, or `moved-to` from elsewhere) is followed by a `subtree`.
 * - `subtree`: the directory appeared; it is watched with all below it, and is now to be scanned.
 * - `listing`: this directory's names are in doubt, without what is below its directories.
 * - `overflow`: events were lost; the whole volume is to be compared by stat. Everything is watched again already.
 * - `root-gone`: renamed away, deleted, replaced or unmounted. The last event.
 * - `degraded`: so many directories are not watched now and must be polled; 0 when all are watched again.
 */
export type WatchEvent =
  | {kind: 'name'; dir: RelPath; name: Name; change: NameChange; isDir: boolean; cookie: number}
  | {kind: 'subtree'; dir: RelPath}
  | {kind: 'listing'; dir: RelPath}
  | {kind: 'overflow'; reason: string}
  | {kind: 'root-gone'; reason: string}
  | {kind: 'degraded'; reason: string; unwatchedDirs: number};

export interface WatcherOptions {
  /** The open root; needed until `start` has resolved, afterwards no watcher holds anything of the volume. */
  rootFd: number;
  /** Host path of the root, absolute, as a byte string. */
  rootPath: string;
  /** Reserved directories such as `.towline`: not watched, never mentioned. */
  skipDirs: readonly RelPath[];
  /** Called on the main thread with at most `EVENTS_PER_MESSAGE_MAX` events, in the order in which they happened. */
  onEvents(events: WatchEvent[]): void;
}

export const EVENTS_PER_MESSAGE_MAX = 8_192; // about 1 MB on its way between two threads

export interface Watcher {
  /**
   * Resolves when the whole tree is watched: what changes from then on is told.
   * @throws TowlineError SYSTEM when nothing can be watched (its message names the limit to raise); REFUSED for a tree
   *   that this back end does not take
   */
  start(): Promise<{watchedDirs: number}>;
  /**
   * Resolves when every event of what was changed before the call has been given to `onEvents`; to be called once `start`
   * has resolved. inotify keeps that for changes made by system calls on this host. chokidar only gives out at once what
   * it has noticed itself by then, and under polling it notices late.
   * @throws TowlineError CANCELLED when the watcher is closed
   */
  drain(): Promise<void>;
  /** Resolves when nothing runs and nothing is open any more; `onEvents` is not called after the call. */
  close(): Promise<void>;
}
