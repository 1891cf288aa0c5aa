/**
 * Room for the copy: how much of a filesystem it may use, and what of the trash goes for it, the oldest first.
 *
 * Not retention (trash.ts), which needs no full disk. Invariants: a share of the filesystem is left free whatever comes;
 * nothing leaves the trash where all of it would not be enough.
 */
import {systemClock} from '../base/clock.ts';
import {filesystemOf} from '../linux/filesystem.ts';
import {statFd} from '../linux/stat.ts';
import type {Failed, Op} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import type {OpenPlaces} from './context.ts';
import {failure} from './failure.ts';
import {treeBytes} from './remove-tree.ts';
import {removeOldest, type Freed} from './trash-age.ts';

export interface Room {
  /** Bytes that the copy may still use. */
  spareBytes: number;
  /** Bytes that are left alone. */
  reserveBytes: number;
  /** Undefined when nothing had to go. */
  freed: Freed | undefined;
}

export const ENTRY_BYTES = 4_096; // a block: an inode, a name, the end of a file
const ITEMS_AT_ONCE = 256; // where bytes are not what is short: inodes, or a quota

const SHORT_MS_MAX = 60_000;
const COST_FACTOR = 10; // measuring takes a tenth of the time at most
/** How little a trash would free when it was measured, and how long that is believed. */
const shortTrash = new Map<string, {sizeBytes: number; untilMs: number}>();

/** @param reserve share of the filesystem that is left free, 0 to 1 */
export function roomOn(fd: number, reserve: number): Room & {totalBytes: number} {
  const {freeBytes, totalBytes} = filesystemOf(fd);
  // A filesystem that does not know its size (ramfs, some network ones) says so when it is full.
  if (totalBytes === 0) return {spareBytes: Infinity, reserveBytes: 0, freed: undefined, totalBytes: Infinity};
  const reserveBytes = Math.ceil(totalBytes * reserve);
  return {spareBytes: Math.max(0, freeBytes - reserveBytes), reserveBytes, freed: undefined, totalBytes};
}

/**
 * Lets the oldest of the trash go, item by item, until so many bytes are spare.
 * @param neededBytes on disk
 */
export function makeRoom({stagingFd, trashFd, reserve}: OpenPlaces, neededBytes: number): Room {
  const before = roomOn(stagingFd, reserve);
  const missingBytes = neededBytes - before.spareBytes;
  if (missingBytes <= 0 || neededBytes > before.totalBytes - before.reserveBytes) return before;
  if (!wouldFree(trashFd, missingBytes)) return before;
  // What is removed is counted: some filesystems say only later that it is free.
  const freed = removeOldest(trashFd, ({sizeBytes}) => sizeBytes >= missingBytes);
  return {...roomOn(stagingFd, reserve), freed: freed.count > 0 ? freed : undefined};
}

/** Whether the trash has so much to give. On a full disk this is asked for each batch and each frame of leaves. */
export function wouldFree(trashFd: number, neededBytes: number): boolean {
  const {mountId, ino} = statFd(trashFd);
  const trash = `${mountId}:${ino}`;
  const startMs = systemClock.monotonicMs();
  const known = shortTrash.get(trash);
  if (known !== undefined && startMs < known.untilMs && known.sizeBytes < neededBytes) return false;
  const sizeBytes = treeBytes(trashFd, neededBytes, 'freed');
  if (sizeBytes >= neededBytes) return true;
  const endMs = systemClock.monotonicMs();
  shortTrash.set(trash, {sizeBytes, untilMs: endMs + Math.min(SHORT_MS_MAX, COST_FACTOR * (endMs - startMs))});
  return false;
}

/** For a disk that is full although bytes seem to be left. */
export function removeSome(trashFd: number, neededBytes: number): Freed {
  return removeOldest(trashFd, ({count, sizeBytes}) => count >= ITEMS_AT_ONCE || sizeBytes >= neededBytes);
}

export function noSpace(path: RelPath, neededBytes: number, {spareBytes, reserveBytes}: Room): Failed {
  const kept = reserveBytes > 0 ? ` beside the ${reserveBytes} that are held in reserve (limits: reserve)` : '';
  return failure('no-space', path, `${neededBytes} bytes are needed and ${spareBytes} are free${kept}`);
}

/** Room for what operations bring with them. `isShort`: there is not enough of it, and what brings nothing is to go on. */
export function roomForOps(ops: readonly Op[], places: OpenPlaces): {isShort: boolean; room: Room} {
  const neededBytes = ops.reduce((sum, op) => sum + bytesOfOp(op), 0);
  const room = makeRoom(places, neededBytes);
  return {isShort: neededBytes > room.spareBytes, room};
}

/** Bytes on disk that an operation needs, about; 0 for one that only moves, changes or removes. */
export function bytesOfOp(op: Op): number {
  switch (op.kind) {
    case 'put-file':
      return op.source.from === 'staged' ? 0 : ENTRY_BYTES + (op.allocatedBytes ?? op.sizeBytes);
    case 'make-dir':
    case 'put-symlink':
    case 'put-special':
      return ENTRY_BYTES;
    default:
      return 0;
  }
}
