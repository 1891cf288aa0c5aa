/**
 * Takes what is oldest out of the trash, item by item.
 *
 * Not the judge of when (trash.ts for age and size, make-room.ts for a full disk). Invariant: the folder of the newest hour
 * stays, as an agent may be at work in it; what cannot be removed keeps nothing else from going.
 */
import {listNames} from '../linux/directories.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {statAtIfAny} from '../linux/stat.ts';
import {nameOf, type Name} from '../model/path.ts';
import {inDir, removeIfPossible, removeTree} from './remove-tree.ts';
import {isHour, isItem, readIndex} from './trash-index.ts';

export const SIZE_NAME = 'size'; // of an hour that is over: measured once

/** What left the trash before its time. */
export interface Freed {
  count: number;
  /** On disk. */
  sizeBytes: number;
}

/** The oldest first, until it is enough or nothing is left. */
export function removeOldest(trashFd: number, isEnough: (freed: Freed) => boolean): Freed {
  const freed = {count: 0, sizeBytes: 0};
  const hours = listNames(trashFd).filter(isHour).sort();
  for (const [index, hour] of hours.entries()) {
    if (isEnough(freed)) break;
    const isEmpty = removeOldestOf(trashFd, hour, freed, isEnough);
    // The newest hour's folder may be in use.
    if (isEmpty && index < hours.length - 1) freed.sizeBytes += removeIfPossible(trashFd, hour) ?? 0;
  }
  return freed;
}

/** @returns whether nothing is left of the hour */
function removeOldestOf(trashFd: number, hour: Name, freed: Freed, isEnough: (freed: Freed) => boolean): boolean {
  try {
    return inDir(trashFd, hour, (hourFd) => removeItems(hourFd, hour, freed, isEnough)) ?? false;
  } catch (error) {
    if (!isLinuxError(error)) throw error;
    return false; // somebody’s entry in the place of its index, for one
  }
}

function removeItems(hourFd: number, hour: Name, freed: Freed, isEnough: (freed: Freed) => boolean): boolean {
  removeTree(hourFd, SIZE_NAME); // it is smaller from now on
  let isEmpty = true;
  for (const name of itemsByAge(hourFd, hour)) {
    if (isEnough(freed)) return false;
    if (statAtIfAny(hourFd, name) === undefined) continue;
    const sizeBytes = removeIfPossible(hourFd, name);
    if (sizeBytes === undefined) isEmpty = false;
    else {
      freed.sizeBytes += sizeBytes;
      freed.count++;
    }
  }
  return isEmpty;
}

/** Removes the oldest items of an hour that is not over until so many bytes are free. */
export function trimHour(trashFd: number, hour: Name, excessBytes: number): void {
  removeOldestOf(trashFd, hour, {count: 0, sizeBytes: 0}, ({sizeBytes}) => sizeBytes >= excessBytes);
}

/** In the order of the index; then what has no line in it, which was put there while the disk was full. */
function* itemsByAge(hourFd: number, hour: Name): Generator<Name> {
  const seen = new Set<Name>();
  for (const {place} of readIndex(hourFd, hour)) {
    const name = nameOf(place);
    if (seen.has(name)) continue;
    seen.add(name);
    yield name;
  }
  for (const name of listNames(hourFd)) if (isItem(name) && !seen.has(name)) yield name;
}
