/**
 * Joins a watcher with the live link: what it reports becomes names to look at. Chooses the back end.
 */
import {isTowlineError, type ErrorCode} from '../base/errors.ts';
import {closeFd} from '../linux/open-fd.ts';
import {filesystemOf} from '../linux/filesystem.ts';
import type {RootIdentity} from '../model/root.ts';
import {ROOT} from '../model/path.ts';
import type {LiveVolume} from '../session/live-volume.ts';
import {RESERVED_NAME} from '../volume/places.ts';
import {openRoot} from '../volume/root-identity.ts';
import {JailedChokidar} from '../watch/jailed-chokidar.ts';
import type {InotifyThread} from '../watch/inotify-thread.ts';
import {InotifyWatcher} from '../watch/inotify-watcher.ts';
import type {Watcher, WatcherOptions, WatchEvent} from '../watch/watcher.ts';

export interface RunningWatch {
  /** As a watcher's; resolves at once where the volume is polled. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export interface WatchParts {
  live: LiveVolume;
  onNotice: (level: 'info' | 'warn', message: string) => void;
  /** Shared with other volumes. */
  thread?: InotifyThread;
}

/**
 * Then the tree is polled. SYSTEM: no watch is left, and the message names the limit; REFUSED: more than this back end
 * takes; CANCELLED: it gave up while it started, and has said so.
 */
const POLLED: readonly ErrorCode[] = ['SYSTEM', 'REFUSED', 'CANCELLED'];

/** Filesystems whose changes may be made by another host, which inotify cannot see: statfs f_type. */
const REMOTE_TYPES: ReadonlySet<number> = new Set([0x6969, 0xff534d42, 0xfe534d42, 0x65735546, 0x01021997, 0x00c36400]);

/** Resolves when the whole tree is watched. */
export async function startWatch(
  options: {root: RootIdentity; backEnd: 'auto' | 'inotify' | 'chokidar'; chokidarEntries?: number},
  parts: WatchParts,
): Promise<RunningWatch> {
  const {fd} = openRoot(options.root.path, options.root);
  try {
    const watched: WatcherOptions = {
      rootFd: fd,
      rootPath: options.root.path,
      skipDirs: [RESERVED_NAME],
      onEvents: (events) => {
        for (const event of events) takeEvent(event, parts);
      },
    };
    const watcher = newWatcher({...options, filesystemType: filesystemOf(fd).type}, watched, parts);
    await watcher.start();
    return watcher;
  } catch (error) {
    if (!isTowlineError(error) || !POLLED.includes(error.code)) throw error;
    if (error.code !== 'CANCELLED') parts.onNotice('warn', `${error.message}; the volume is scanned every 10 s`);
    parts.live.setPolling(true);
    return {drain: () => Promise.resolve(), close: () => Promise.resolve()};
  } finally {
    closeFd(fd);
  }
}

function newWatcher(
  {
    backEnd,
    filesystemType,
    chokidarEntries,
  }: {backEnd: 'auto' | 'inotify' | 'chokidar'; filesystemType: number; chokidarEntries?: number},
  options: WatcherOptions,
  {thread}: WatchParts,
): Watcher {
  const isRemote = REMOTE_TYPES.has(filesystemType);
  if (backEnd === 'chokidar' || (backEnd === 'auto' && isRemote))
    return new JailedChokidar(options, {
      usePolling: isRemote,
      ...(chokidarEntries === undefined ? {} : {entriesMax: chokidarEntries}),
    });
  return new InotifyWatcher(options, thread === undefined ? {} : {thread});
}

/** What a watcher has told becomes names to look at. */
export function takeEvent(event: WatchEvent, {live, onNotice}: WatchParts): void {
  switch (event.kind) {
    case 'name':
      return live.note(event.dir, event.name === '' ? undefined : event.name);
    case 'subtree':
      return live.noteTree(event.dir);
    case 'listing':
      return live.note(event.dir, undefined);
    case 'overflow':
      onNotice('warn', `the watcher lost events (${event.reason}); the volume is scanned`);
      return live.noteTree(ROOT, `the watcher lost events (${event.reason})`);
    case 'root-gone':
      onNotice('warn', `the root is gone: ${event.reason}`);
      return live.noteTree(ROOT, event.reason); // the scan meets what is there now, and halts
    case 'degraded':
      if (event.unwatchedDirs > 0)
        onNotice(
          'warn',
          `${event.unwatchedDirs} directories are not watched (${event.reason}); the volume is scanned every 10 s`,
        );
      else onNotice('info', 'all directories are watched again');
      return live.setPolling(event.unwatchedDirs > 0);
  }
}
