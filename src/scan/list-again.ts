/**
 * Which directories of a brief scan are to be listed after all, because their fingerprint is not the one that is known.
 *
 * Invariant: parents come before children, as they were walked; a count of directories bounds what is kept.
 */
import type {RelPath} from '../model/path.ts';
import type {ListedEntry, Listing} from './listing.ts';
import type {LookedAt, Pass} from './pass.ts';

const DIRS_MAX = 20_000;
const DIRS_AT_ONCE = 64;
const ENTRIES_AT_ONCE = 4_096;

/** Notes a directory; beyond a count no more, as everything is listed then. */
export function noteAgain({again}: Pass, {path, count}: Listing): void {
  if (!isTooMany(again)) again.set(path, count);
}

/** Whether so many differ that one walk is cheaper, and needs less memory. */
export function isTooMany(again: Pass['again']): boolean {
  return again.size > DIRS_MAX;
}

/** Whether a new name is a directory that came after the scan went by. */
export function isUnwalked(path: RelPath, listed: ListedEntry, {again, isDetailed}: Pass): boolean {
  return (
    !isDetailed && again.size > 0 && !again.has(path) && listed.state === 'present' && listed.stat().type === 'dir'
  );
}

/** The directories in portions that one job lists. */
export function* portionsOf(again: Pass['again']): Generator<LookedAt[]> {
  let dirs: LookedAt[] = [];
  let entries = 0;
  for (const [path, count] of again) {
    if (dirs.length >= DIRS_AT_ONCE || (dirs.length > 0 && entries + count > ENTRIES_AT_ONCE)) {
      yield dirs;
      [dirs, entries] = [[], 0];
    }
    dirs.push({path, names: undefined});
    entries += count;
  }
  if (dirs.length > 0) yield dirs;
}
