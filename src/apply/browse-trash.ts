/**
 * The trash for people: what is in it, taking an item out, emptying it. Beside a running agent, or without one.
 *
 * Works by held descriptors in the caller's own thread, without the jail of volume workers. Invariant: a trash that is
 * not a private folder of this user is not touched; nothing is overwritten by what is taken out.
 */
import {randomBytes} from 'node:crypto';
import {basename, dirname} from 'node:path';
import {TowlineError} from '../base/errors.ts';
import {listNames, openDirAt} from '../linux/directories.ts';
import {renameAt, unlinkAt} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {statAtIfAny, statFd} from '../linux/stat.ts';
import {fromText, isWithin, nameOf, ROOT, showPath, type Name, type RelPath} from '../model/path.ts';
import {RESERVED_NAME} from '../volume/places.ts';
import {copyTree} from './copy-tree.ts';
import {removeTree} from './remove-tree.ts';
import {SIZE_NAME} from './trash-age.ts';
import {hourEndMs, isHour, isItem, readIndex, splitPlace, type IndexedItem} from './trash-index.ts';

export interface TrashedItem extends IndexedItem {
  /** Of a file; a folder is not measured. */
  sizeBytes: number | undefined;
}

export interface TrashQuery {
  /** This path, and what is below it. */
  path?: RelPath | undefined;
  /** The last so many of those. */
  limit?: number | undefined;
}

/** An item by its place, or the newest of a path, up to a time. */
export type TrashChoice = {place: string} | {path: RelPath; atMs?: number | undefined};

export type RestoreRequest = TrashChoice & {
  /** An existing folder of the operator's, as text; the item gets its own name in it. */
  toFolder: string;
  /** Aborted: nothing stays of what was copied until then. */
  signal?: AbortSignal | undefined;
};

export interface Restored {
  item: TrashedItem;
  /** Host path of the copy, as a byte string. */
  path: string;
  /** Sockets, devices, and what changed while it was copied. */
  leftOutCount: number;
}

const SEEN_MAX = 100_000;
const STEPS_AT_ONCE = 64;

/**
 * Oldest first.
 * @param trashFolder as text; a missing one is empty
 * @throws REFUSED when it is not a private folder of this user, SYSTEM
 */
export async function* listTrash(trashFolder: string, query: TrashQuery = {}): AsyncGenerator<TrashedItem> {
  const trashFd = openTrash(trashFolder);
  if (trashFd === undefined) return;
  try {
    const hours = listNames(trashFd).filter(isHour).sort();
    const {limit, path = ROOT} = query;
    const isAsked = (item: TrashedItem): boolean => isWithin(item.path, path);
    if (limit === undefined) {
      for (const hour of hours) {
        await pause();
        for (const item of itemsOf(trashFd, hour)) if (isAsked(item)) yield item;
      }
      return;
    }
    let last: TrashedItem[] = [];
    for (const hour of hours.toReversed()) {
      if (last.length >= limit) break;
      await pause();
      const found: TrashedItem[] = [];
      for (const item of itemsOf(trashFd, hour)) {
        if (isAsked(item)) found.push(item);
        if (found.length >= 2 * limit) found.splice(0, found.length - limit);
      }
      last = [...found, ...last];
    }
    yield* last.slice(Math.max(0, last.length - limit));
  } catch (error) {
    throw systemError(error, trashFolder);
  } finally {
    closeFd(trashFd);
  }
}

/**
 * Copies an item out of the trash, where it stays.
 * @throws REFUSED when there is no such item, or something has its name in the folder already; ROOT_MISSING; SYSTEM
 */
export async function restoreTrash(trashFolder: string, request: RestoreRequest): Promise<Restored> {
  const item = await find(trashFolder, request);
  const trashFd = item && openTrash(trashFolder);
  if (item === undefined || trashFd === undefined) {
    const what = 'place' in request ? request.place : showPath(request.path);
    throw refused(`${what} is not in the trash ${trashFolder}; look with trash list`);
  }
  try {
    return await withFd(openToFolder(request.toFolder), (toFd) =>
      copyOut(item, {trashFd, toFd, toFolder: request.toFolder, signal: request.signal}),
    );
  } catch (error) {
    throw systemError(error, trashFolder);
  } finally {
    closeFd(trashFd);
  }
}

async function copyOut(
  item: TrashedItem,
  {trashFd, toFd, toFolder, signal}: {trashFd: number; toFd: number; toFolder: string; signal: AbortSignal | undefined},
): Promise<Restored> {
  const {hour, name} = splitPlace(item.place) as {hour: Name; name: Name};
  const toName = nameOf(item.path);
  const path = `${fromText(toFolder)}/${toName}`;
  const taken = (): TowlineError => refused(`${showPath(path)} is there already; nothing is overwritten`);
  if (statAtIfAny(toFd, toName) !== undefined) throw taken();
  // Under another name until it is whole.
  const staged = `.towline-restore-${randomBytes(8).toString('hex')}`;
  try {
    const leftOutCount = await withFd(openDirAt(trashFd, hour), async (fromFd) => {
      const steps = copyTree({fromFd, fromName: name, toFd, toName: staged});
      try {
        for (let count = 1; ; count++) {
          signal?.throwIfAborted();
          const step = steps.next();
          if (step.done === true) return step.value.leftOutCount;
          if (count % STEPS_AT_ONCE === 0) await pause();
        }
      } finally {
        steps.return({leftOutCount: 0}); // closes what it holds
      }
    });
    renameAt(toFd, staged, toFd, toName, 'no-replace');
    return {item, path, leftOutCount};
  } catch (error) {
    removeTree(toFd, staged);
    throw isLinuxError(error, 'EEXIST') ? taken() : error;
  }
}

async function find(trashFolder: string, choice: TrashChoice): Promise<TrashedItem | undefined> {
  let found: TrashedItem | undefined;
  const path = 'path' in choice ? choice.path : ROOT;
  for await (const item of listTrash(trashFolder, {path})) {
    if ('place' in choice ? item.place === choice.place : isChosen(item, choice, found)) found = item;
  }
  return found;
}

function isChosen(
  item: TrashedItem,
  {path, atMs}: {path: RelPath; atMs?: number | undefined},
  found: TrashedItem | undefined,
): boolean {
  return item.path === path && item.atMs <= (atMs ?? Infinity) && item.atMs >= (found?.atMs ?? 0);
}

/**
 * Removes items for good.
 * @param request `beforeMs`: those that were put there before; all when it is missing
 * @returns items, and bytes on disk that they took
 */
export async function emptyTrash(
  trashFolder: string,
  {beforeMs = Infinity}: {beforeMs?: number | undefined} = {},
): Promise<{count: number; sizeBytes: number}> {
  const removed = {count: 0, sizeBytes: 0};
  const trashFd = openTrash(trashFolder);
  if (trashFd === undefined) return removed;
  try {
    for (const hour of listNames(trashFd).filter(isHour).sort()) {
      await withFd(openDirAt(trashFd, hour), async (hourFd) => {
        const isWhole = hourEndMs(hour) <= beforeMs;
        const names = isWhole ? listNames(hourFd).filter(isItem) : namesBefore(hourFd, hour, beforeMs);
        for (const name of names) {
          removed.sizeBytes += removeTree(hourFd, name);
          removed.count++;
          await pause();
        }
        if (names.length > 0 && statAtIfAny(hourFd, SIZE_NAME) !== undefined) unlinkAt(hourFd, SIZE_NAME);
      });
      // The agent may be at work in the hour that is not over.
      if (hourEndMs(hour) <= Math.min(beforeMs, Date.now())) removed.sizeBytes += removeTree(trashFd, hour);
    }
    return removed;
  } catch (error) {
    throw systemError(error, trashFolder);
  } finally {
    closeFd(trashFd);
  }
}

function namesBefore(hourFd: number, hour: Name, beforeMs: number): Name[] {
  const names = new Set<Name>();
  for (const {atMs, place} of readIndex(hourFd, hour))
    if (atMs < beforeMs && statAtIfAny(hourFd, nameOf(place)) !== undefined) names.add(nameOf(place));
  return [...names];
}

/** Items of an hour that are still there. */
function* itemsOf(trashFd: number, hour: Name): Generator<TrashedItem, void> {
  let hourFd: number;
  try {
    hourFd = openDirAt(trashFd, hour);
  } catch (error) {
    if (isLinuxError(error, 'ENOENT')) return; // its time has come meanwhile
    throw error;
  }
  const seen = new Set<string>();
  try {
    for (const item of readIndex(hourFd, hour)) {
      const stat = statAtIfAny(hourFd, nameOf(item.place));
      if (stat === undefined || seen.has(item.place)) continue;
      if (seen.size < SEEN_MAX) seen.add(item.place);
      yield {...item, sizeBytes: stat.type === 'file' ? stat.sizeBytes : undefined};
    }
  } finally {
    closeFd(hourFd);
  }
}

/**
 * Holds the trash. Its path is the operator's, but in the root of a volume the last two components are not: whoever
 * writes to the volume may have put a link there.
 * @returns undefined when there is none
 */
function openTrash(trashFolder: string): number | undefined {
  const above = dirname(trashFolder);
  const isInRoot = basename(above) === RESERVED_NAME;
  const names = isInRoot ? [RESERVED_NAME, basename(trashFolder)] : [basename(trashFolder)];
  let fd: number | undefined;
  try {
    fd = openDirPath(fromText(isInRoot ? dirname(above) : above));
    for (const name of names) {
      const next = openDirAt(fd, fromText(name));
      closeFd(fd);
      fd = next;
      const {uid, mode} = statFd(fd);
      if (uid !== process.geteuid?.() || (mode & 0o077) !== 0) throw foreign(trashFolder);
    }
    return fd;
  } catch (error) {
    if (fd !== undefined) closeFd(fd);
    if (isLinuxError(error, 'ENOENT')) return undefined;
    throw isLinuxError(error, 'ENOTDIR', 'ELOOP') ? foreign(trashFolder) : systemError(error, trashFolder);
  }
}

function openToFolder(folder: string): number {
  try {
    return openDirPath(fromText(folder));
  } catch (error) {
    if (!isLinuxError(error, 'ENOENT', 'ENOTDIR')) throw error;
    throw new TowlineError('ROOT_MISSING', `${folder} is not a folder; name an existing one`, {path: folder});
  }
}

async function withFd<T>(fd: number, work: (fd: number) => Promise<T>): Promise<T> {
  try {
    return await work(fd);
  } finally {
    closeFd(fd);
  }
}

/** Lets everything else of this process have its turn. */
function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function foreign(trashFolder: string): TowlineError {
  return refused(`${trashFolder} is not a private folder of this user; it is not touched`);
}

function refused(reason: string): TowlineError {
  return new TowlineError('REFUSED', reason, {reason});
}

function systemError(error: unknown, path: string): unknown {
  if (!isLinuxError(error)) return error;
  const {syscall, code, message} = error;
  return new TowlineError('SYSTEM', `the trash ${path}: ${message}`, {syscall, errno: code, path}, {cause: error});
}
