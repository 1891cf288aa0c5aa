/**
 * The index of an hour of the trash: `index.ndjson`, one line an item, written before the item is moved there.
 *
 * Not the items. Invariant: a place that is read from it names an item of this very hour, whatever the file holds.
 */
import {constants, writeSync} from 'node:fs';
import {LineSplitter} from '../base/line-splitter.ts';
import {openRegular, openRegularToWrite, readInto} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {ENTRY_TYPES, type EntryType} from '../model/entry.ts';
import {pathFromJson, pathToJson} from '../model/path-json.ts';
import type {Name, RelPath} from '../model/path.ts';

export type TrashReason = 'deleted' | 'overwritten' | 'foreign';

/** An item as the index has it. */
export interface IndexedItem {
  /** Wall clock of the batch that put it there. */
  atMs: number;
  /** `HOUR/NAME`, relative to the trash. */
  place: string;
  path: RelPath;
  type: EntryType;
  reason: TrashReason;
}

export const INDEX_NAME = 'index.ndjson';
export const HOUR_MS = 3_600_000;
const HOUR_PATTERN = /^\d{4}-\d{2}-\d{2}T\d{2}$/;
const ITEM_PATTERN = /^[0-9a-f]{24}-(?:v|[df]\d{1,15})$/;
const REASONS: readonly TrashReason[] = ['deleted', 'overwritten', 'foreign'];
const READ_BYTES = 64 << 10;
const LINE_BYTES_MAX = 512 << 10; // a path of the longest, escaped and as base64

export function isHour(name: Name): boolean {
  return HOUR_PATTERN.test(name);
}

/** Whether a name in an hour's folder is an item's, not the index. */
export function isItem(name: Name): boolean {
  return ITEM_PATTERN.test(name);
}

/** The folder's name, UTC. */
export function hourOf(nowMs: number): Name {
  return new Date(nowMs).toISOString().slice(0, 13);
}

/** @param hour by `isHour` @returns when it was over, if that is known */
export function hourEndMs(hour: Name): number {
  return Date.parse(`${hour}:00:00Z`) + HOUR_MS;
}

/** The parts of a place, or undefined when it is none. */
export function splitPlace(place: string): {hour: Name; name: Name} | undefined {
  const [hour = '', name = '', ...rest] = place.split('/');
  return rest.length === 0 && isHour(hour) && isItem(name) ? {hour, name} : undefined;
}

export function appendToIndex(hourFd: number, item: IndexedItem): void {
  const {atMs, place, path, type, reason} = item;
  const line = {at: new Date(atMs).toISOString(), place, ...pathToJson('path', path), type, reason};
  const fd = openRegularToWrite(hourFd, INDEX_NAME, constants.O_WRONLY | constants.O_APPEND, 0o600);
  try {
    writeSync(fd, `${JSON.stringify(line)}\n`);
  } finally {
    closeFd(fd);
  }
}

/** Items of an hour, oldest first; some may be gone, some named twice. Lines that are none are skipped. */
export function* readIndex(hourFd: number, hour: Name): Generator<IndexedItem, void> {
  let fd: number;
  try {
    ({fd} = openRegular(hourFd, INDEX_NAME));
  } catch (error) {
    if (isLinuxError(error, 'ENOENT')) return;
    throw error;
  }
  try {
    const splitter = new LineSplitter(LINE_BYTES_MAX);
    const piece = Buffer.alloc(READ_BYTES);
    for (let size, position = 0; (size = readInto(fd, piece, 0, READ_BYTES, position)) > 0; position += size) {
      for (const line of splitter.lines(piece.subarray(0, size))) {
        const item = itemOf(line);
        if (item !== undefined && splitPlace(item.place)?.hour === hour) yield item;
      }
    }
  } finally {
    closeFd(fd);
  }
}

function itemOf(line: string): IndexedItem | undefined {
  let fields: Record<string, unknown> | null;
  try {
    fields = JSON.parse(line) as Record<string, unknown> | null;
  } catch {
    return undefined;
  }
  if (typeof fields !== 'object' || fields === null) return undefined;
  const {at, place, type, reason} = fields;
  const atMs = typeof at === 'string' ? Date.parse(at) : NaN;
  const path = pathFromJson('path', fields);
  if (Number.isNaN(atMs) || path === undefined || typeof place !== 'string') return undefined;
  if (!ENTRY_TYPES.includes(type as EntryType) || !REASONS.includes(reason as TrashReason)) return undefined;
  return {atMs, place, path, type: type as EntryType, reason: reason as TrashReason};
}
