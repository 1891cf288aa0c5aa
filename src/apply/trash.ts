/**
 * Where deleted and overwritten versions go, so that they can be taken back. Runs in a worker.
 *
 * Layout: `<trash>/<hour>/<item>`, beside the items their index (trash-index.ts), and once the hour is over its size.
 * An item of a version that this link wrote itself is kept once per path and hour.
 *
 * Invariant: what comes here is moved on the same filesystem, never copied; it is out of the containers' sight.
 */
import {createHash} from 'node:crypto';
import {constants, writeSync} from 'node:fs';
import {listNames, mkdirAt, openDirAt} from '../linux/directories.ts';
import {openRegular, openRegularToWrite, readInto} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statAtIfAny} from '../linux/stat.ts';
import type {EntryType} from '../model/entry.ts';
import {bytesOf, nameOf, type Name, type RelPath} from '../model/path.ts';
import {renameAt} from './own-dirs.ts';
import {inDir, removeIfPossible, removeTree, treeBytes} from './remove-tree.ts';
import {SIZE_NAME, trimHour} from './trash-age.ts';
import {
  appendToIndex,
  hourEndMs,
  hourOf,
  isHour,
  readIndex,
  type IndexedItem,
  type TrashReason,
} from './trash-index.ts';

const ITEMS_MAX = 100_000; // more than a batch has operations

export class Trash {
  readonly #fd: number;
  readonly #nowMs: number;
  #hourFd = -1;

  /** @param fd the trash's folder; @param nowMs wall clock of the batch */
  constructor(fd: number, nowMs: number) {
    this.#fd = fd;
    this.#nowMs = nowMs;
  }

  /**
   * Moves what is at `name` in `fromFd` into the trash.
   * @param reason `overwritten`: a version of this link, dropped when the hour already has one of this path
   * @returns the place in the trash, or undefined when it was dropped
   */
  take(fromFd: number, name: Name, item: {path: RelPath; type: EntryType; reason: TrashReason}): string | undefined {
    const hourFd = this.#hour();
    const key = createHash('sha256').update(bytesOf(item.path)).digest('hex').slice(0, 24);
    let place = `${key}-v`;
    if (item.reason === 'overwritten') {
      if (statAtIfAny(hourFd, place) !== undefined) {
        removeTree(fromFd, name);
        return undefined;
      }
    } else {
      const kind = item.reason === 'deleted' ? 'd' : 'f';
      for (let count = 0; ; count++) {
        place = `${key}-${kind}${count}`;
        if (statAtIfAny(hourFd, place) === undefined) break;
      }
    }
    // The line first: without room for it nothing is moved, and what is in the trash can be found.
    this.#note(place, item);
    renameAt(fromFd, name, hourFd, place, 'no-replace');
    return `${hourOf(this.#nowMs)}/${place}`;
  }

  close(): void {
    if (this.#hourFd >= 0) closeFd(this.#hourFd);
    this.#hourFd = -1;
  }

  #note(place: string, item: {path: RelPath; type: EntryType; reason: TrashReason}): void {
    try {
      appendToIndex(this.#hour(), {...item, place: `${hourOf(this.#nowMs)}/${place}`, atMs: this.#nowMs});
    } catch (error) {
      const {code} = error as NodeJS.ErrnoException;
      // On a full disk a delete goes on all the same, so that there is something to make room with.
      if (item.reason !== 'deleted' || (code !== 'ENOSPC' && code !== 'EDQUOT')) throw error;
    }
  }

  #hour(): number {
    if (this.#hourFd >= 0) return this.#hourFd;
    const hour = hourOf(this.#nowMs);
    try {
      mkdirAt(this.#fd, hour, 0o700);
    } catch (error) {
      if (!isLinuxError(error, 'EEXIST')) throw error;
    }
    this.#hourFd = openDirAt(this.#fd, hour);
    return this.#hourFd;
  }
}

/** What a batch of this time has put there: items that are still there. */
export function itemsOf(trashFd: number, atMs: number): IndexedItem[] {
  const hour = hourOf(atMs);
  const items = inDir(trashFd, hour, (fd) => {
    const found = new Map<string, IndexedItem>(); // after a crash a line may be there twice
    for (const item of readIndex(fd, hour)) {
      if (item.atMs !== atMs || found.size >= ITEMS_MAX) continue;
      if (statAtIfAny(fd, nameOf(item.place)) !== undefined) found.set(item.place, item);
    }
    return [...found.values()];
  });
  return items ?? [];
}

export interface PruneOptions {
  nowMs: number;
  /** How long an hour is kept once it is over. */
  keepMs: number;
  /** The oldest goes until the rest is not larger: whole hours, of the present one its oldest items. 0 for no limit. */
  sizeBytesMax?: number;
  /** Wall clock of batches that are not done: of their hours the index is read, and more may be put there. */
  waitingMs?: readonly number[];
}

/** Removes the trash's oldest hours, as age and size say. @returns hours removed */
export function pruneTrash(trashFd: number, {nowMs, keepMs, sizeBytesMax = 0, waitingMs = []}: PruneOptions): number {
  const hours = listNames(trashFd).filter(isHour).sort();
  const doomed = hours.filter((hour) => hourEndMs(hour) + keepMs < nowMs);
  const kept = hours.slice(doomed.length);
  if (sizeBytesMax > 0) doomed.push(...beyondSize(trashFd, kept, {nowMs, sizeBytesMax}));
  const inUse = new Set(waitingMs.map(hourOf));
  return doomed.filter((hour) => !inUse.has(hour) && removeIfPossible(trashFd, hour) !== undefined).length;
}

/** Hours without which the newer ones have room. An hour is measured once, and none that goes anyhow. */
function beyondSize(
  trashFd: number,
  hours: readonly Name[],
  {nowMs, sizeBytesMax}: {nowMs: number; sizeBytesMax: number},
): Name[] {
  let leftBytes = sizeBytesMax;
  for (let index = hours.length - 1; index >= 0; index--) {
    const hour = hours[index] as Name;
    const isOver = hourEndMs(hour) <= nowMs;
    leftBytes -= hourBytes(trashFd, hour, {nowMs, bytesMax: isOver ? leftBytes : Infinity});
    if (leftBytes >= 0) continue;
    if (!isOver) trimHour(trashFd, hour, -leftBytes);
    return hours.slice(0, isOver ? index + 1 : index);
  }
  return [];
}

function hourBytes(trashFd: number, hour: Name, {nowMs, bytesMax}: {nowMs: number; bytesMax: number}): number {
  const measured = inDir(trashFd, hour, (fd) => {
    const known = readSize(fd);
    if (known !== undefined) return known;
    const sizeBytes = treeBytes(fd, bytesMax, 'kept');
    if (hourEndMs(hour) <= nowMs && sizeBytes <= bytesMax) noteSize(fd, sizeBytes);
    return sizeBytes;
  });
  return measured ?? 0;
}

function readSize(hourFd: number): number | undefined {
  let fd = -1;
  try {
    ({fd} = openRegular(hourFd, SIZE_NAME));
    const bytes = Buffer.alloc(20);
    const sizeBytes = Number(bytes.toString('latin1', 0, readInto(fd, bytes, 0, bytes.length, 0)) || NaN);
    return Number.isSafeInteger(sizeBytes) && sizeBytes >= 0 ? sizeBytes : undefined;
  } catch (error) {
    if (!isLinuxError(error)) throw error;
    return undefined; // none yet, or somebody’s
  } finally {
    if (fd >= 0) closeFd(fd);
  }
}

function noteSize(hourFd: number, sizeBytes: number): void {
  let fd = -1;
  try {
    fd = openRegularToWrite(hourFd, SIZE_NAME, constants.O_WRONLY | constants.O_TRUNC, 0o600);
    writeSync(fd, String(sizeBytes));
  } catch {
    // On a full disk it is measured once more.
  } finally {
    if (fd >= 0) closeFd(fd);
  }
}
