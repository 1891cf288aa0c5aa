/**
 * Files that were read while they changed: which version of them was sent, as the base of the next.
 *
 * Not the state: what it knows of a file is what it is, and this is what the target was given. Invariant: a version that
 * is not the one that the state has is never taken for the file's content there.
 */
import {sameTime, type Entry, type FileTime} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import type {HotRead} from '../model/reading.ts';
import type {Have} from '../reconcile/plan-path.ts';
import type {ReadFile} from './large-file.ts';

const COUNT_MAX = 1_000;
const EARLIER_S = 2; // more than the coarsest filesystem's times

export class HotVersions {
  readonly #versions = new Map<RelPath, Have>();

  of(path: RelPath): Have | undefined {
    return this.#versions.get(path);
  }

  /** It was sent; the target says whether it has it when something is built on it. */
  note(path: RelPath, version: Have): void {
    this.#versions.delete(path);
    this.#versions.set(path, version);
    for (const oldest of this.#versions.keys()) if (this.#versions.size > COUNT_MAX) this.#versions.delete(oldest);
  }

  forget(path: RelPath): void {
    this.#versions.delete(path);
  }
}

/**
 * What a file is sent as, once it was read.
 * @param entry as the state had it when reading began
 * @returns `sent`: with the metadata of what was read; `hot`: set when it is not the present version; `isExpected`:
 *   whether what was read is the content of `entry`
 */
export function versionSent(
  entry: Entry,
  {hot: read}: Pick<ReadFile, 'hot'>,
  {fromMs, toMs}: {fromMs: number; toMs: number},
): {sent: Entry; hot: HotRead | undefined; isExpected: boolean} {
  if (read === undefined) return {sent: entry, hot: undefined, isExpected: true};
  const {isExpected, ...version} = read.version;
  // Bytes of several versions must not have the size and the time of one of them.
  const mtime = read.isTorn && sameTime(version.mtime, read.mtime) ? earlier(version.mtime) : version.mtime;
  const sent = {...entry, ...version, mtime};
  const as = read.isTorn ? 'torn' : 'clone';
  const hot = read.isTorn || !read.isCurrent ? ({as, fromMs, toMs} as const) : undefined;
  return {sent, hot, isExpected: isExpected && !read.isTorn};
}

function earlier({s, ns}: FileTime): FileTime {
  return {s: s - EARLIER_S, ns};
}
