/**
 * Which ranges of a file may differ between two clones of it, by where their blocks lie: nothing of the file is read.
 *
 * Both clones are held open and never change, so their blocks are neither given to others nor written to: where both have
 * the same block at the same place, or both a hole, the bytes are the same. Invariant: whatever is not that counts as
 * changed, and so does what the filesystem does not tell for certain.
 */
import {extentsOf, type Extent, type ExtentPiece} from '../linux/extent-map.ts';
import {ByteRanges} from './byte-ranges.ts';

export interface SizedFile {
  fd: number;
  sizeBytes: number;
}

const EXTENTS_ALL_MAX = 1 << 20; // of both; beyond it reading the file is not much slower

/** @returns ranges of `after`; undefined where they are not known */
export function changedRanges(before: SizedFile, after: SizedFile): ByteRanges | undefined {
  const ranges = new ByteRanges();
  const sharedBytes = Math.min(before.sizeBytes, after.sizeBytes);
  let seen = 0;
  for (let at = 0; at < sharedBytes;) {
    const old = extentsOf(before.fd, at, sharedBytes);
    const now = extentsOf(after.fd, at, sharedBytes);
    // A filesystem that moves blocks meanwhile may have put one file's where the other's was a moment ago.
    const again = extentsOf(before.fd, at, sharedBytes);
    if (old === undefined || now === undefined || again === undefined || !isSame(old, again)) return undefined;
    seen += old.extents.length + now.extents.length;
    const end = Math.min(old.end, now.end);
    if (end <= at || seen > EXTENTS_ALL_MAX) return undefined;
    if (!compare(old.extents, now.extents, {from: at, end}, ranges)) return undefined;
    at = end;
  }
  return ranges.add(sharedBytes, after.sizeBytes) ? ranges : undefined;
}

function isSame(one: ExtentPiece, other: ExtentPiece): boolean {
  return (
    one.end === other.end &&
    one.extents.length === other.extents.length &&
    one.extents.every((extent, index) => {
      const {from, end, place} = other.extents[index] as Extent;
      return extent.from === from && extent.end === end && extent.place === place;
    })
  );
}

/** @returns false when there are too many */
function compare(
  old: readonly Extent[],
  now: readonly Extent[],
  range: {from: number; end: number},
  ranges: ByteRanges,
): boolean {
  let [i, j] = [0, 0];
  for (let at = range.from; at < range.end;) {
    while (i < old.length && old[i]!.end <= at) i++;
    while (j < now.length && now[j]!.end <= at) j++;
    const end = Math.min(range.end, boundary(old[i], at), boundary(now[j], at));
    if (!isEqual(covering(old[i], at), covering(now[j], at), at) && !ranges.add(at, end)) return false;
    at = end;
  }
  return true;
}

/** Where an extent, or the hole before it, ends. */
function boundary(extent: Extent | undefined, at: number): number {
  return extent === undefined ? Infinity : extent.from > at ? extent.from : extent.end;
}

function covering(extent: Extent | undefined, at: number): Extent | undefined {
  return extent !== undefined && extent.from <= at ? extent : undefined;
}

function isEqual(old: Extent | undefined, now: Extent | undefined, at: number): boolean {
  if (old === undefined || now === undefined) return old === now;
  if (old.isUncertain || now.isUncertain || old.isUnwritten !== now.isUnwritten) return false;
  return old.place - old.from + at === now.place - now.from + at;
}
