/**
 * Where deleted and overwritten versions go, so that they can be taken back. Runs in a worker.
 *
 * Layout: `<trash>/<hour>/<item>`, beside it `<hour>/index.ndjson` with one line an item: time, path, reason, type.
 * An item of a version that this link wrote itself is kept once per path and hour.
 *
 * Invariant: what comes here is moved on the same filesystem, never copied; it is out of the containers' sight.
 */
import {createHash} from 'node:crypto';
import {constants, writeSync} from 'node:fs';
import {constants as osConstants} from 'node:os';
import {listNames, mkdirAt, openDirAt, rmdirAt} from '../linux/directories.ts';
import {renameAt, unlinkAt} from '../linux/files.ts';
import {isLinuxError, LinuxError} from '../linux/linux-error.ts';
import {closeFd, openAt} from '../linux/open-fd.ts';
import {statAt, statAtIfAny, statFd} from '../linux/stat.ts';
import type {EntryType} from '../model/entry.ts';
import {bytesOf, showPath, type Name, type RelPath} from '../model/path.ts';

export type TrashReason = 'deleted' | 'overwritten' | 'foreign';

const INDEX_NAME = 'index.ndjson';
const HOUR_PATTERN = /^\d{4}-\d{2}-\d{2}T\d{2}$/;
const EBUSY = osConstants.errno.EBUSY;
const HOUR_MS = 3_600_000;

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
    const line = {
      at: new Date(this.#nowMs).toISOString(),
      place: `${hourOf(this.#nowMs)}/${place}`,
      path: showPath(item.path),
      ...pathBytes(item.path),
      type: item.type,
      reason: item.reason,
    };
    const fd = openAt(this.#hour(), INDEX_NAME, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND, 0o600);
    try {
      writeSync(fd, `${JSON.stringify(line)}\n`);
    } catch (error) {
      const {code} = error as NodeJS.ErrnoException;
      // On a full disk a delete goes on all the same, so that there is something to make room with.
      if (item.reason !== 'deleted' || (code !== 'ENOSPC' && code !== 'EDQUOT')) throw error;
    } finally {
      closeFd(fd);
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

function hourOf(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 13);
}

function pathBytes(path: RelPath): {pathBytes?: string} {
  const bytes = bytesOf(path);
  return bytes.toString('utf8') === showPath(path) ? {} : {pathBytes: bytes.toString('base64')};
}

/**
 * Removes the trash's oldest hours.
 * @param keepMs how long an item is kept; 0 removes the oldest hour whatever its age
 * @returns hours removed
 */
export function pruneTrash(trashFd: number, nowMs: number, keepMs: number): number {
  const hours = listNames(trashFd)
    .filter((name) => HOUR_PATTERN.test(name))
    .sort();
  const doomed =
    keepMs === 0 ? hours.slice(0, 1) : hours.filter((hour) => Date.parse(`${hour}:00:00Z`) + HOUR_MS + keepMs < nowMs);
  for (const hour of doomed) removeTree(trashFd, hour);
  return doomed.length;
}

/** Removes a name and all below it, by held descriptors, never through a symlink or into another mount. */
export function removeTree(dirFd: number, name: Name): void {
  const stat = statAt(dirFd, name);
  if (stat.type !== 'dir') return unlinkAt(dirFd, name);
  if (stat.mountId !== statFd(dirFd).mountId) throw new LinuxError('unlinkat', EBUSY);
  const fd = openDirAt(dirFd, name);
  try {
    for (const child of listNames(fd)) removeTree(fd, child);
  } finally {
    closeFd(fd);
  }
  rmdirAt(dirFd, name);
}
