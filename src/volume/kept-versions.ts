/**
 * Versions of large files that were read whole once, each as a clone that is kept open beside the digests of its leaves: of
 * the next version only what its blocks tell to have changed is read.
 *
 * A clone costs the space of what its file has changed since. Invariants: at most one version is kept of a file, at most
 * KEPT_MAX in all, and none while less than the reserve of its filesystem is free; the digests are of the clone's own bytes,
 * so that neither names nor times can lead to another's; a clone that somebody reads stays open until he is done.
 */
import {BTRFS_TYPE, filesystemOf, XFS_TYPE} from '../linux/filesystem.ts';
import {closeFd} from '../linux/open-fd.ts';
import {leafCountOf, type Digest} from '../model/digest.ts';
import type {RelPath} from '../model/path.ts';
import type {ByteRanges} from './byte-ranges.ts';
import {changedRanges, type SizedFile} from './changed-ranges.ts';
import {hasReserve, RESERVE_SHARE} from './file-clones.ts';

/** Smaller files are read in less time than a clone takes, which writes out what is dirty. */
export const KEPT_BYTES_MIN = 4 << 20;
const KEPT_MAX = 64;
const LEAVES_ALL_MAX = 1 << 20; // 256 GiB: 32 MiB of digests
/** Of one file: 128 GiB. Its digests are in memory from the start. */
export const LEAVES_MAX = 1 << 19;
const EARLIER_MAX = 4; // other targets may be behind, and what was sent last may not have arrived
const EARLIER_RANGES_MAX = 16_384;

/** Where a version differs from an earlier one, whose clone is gone. */
interface Earlier {
  content: Digest;
  sizeBytes: number;
  ranges: ByteRanges;
}

export interface KeptVersion extends SizedFile {
  /** Of the file. */
  ino: number;
  path: RelPath;
  content: Digest;
  leafDigests: Buffer;
  earlier: readonly Earlier[];
  /** Who reads its clone. */
  userCount: number;
  isDropped: boolean;
}

/** What a newer clone has in other blocks than the version that is kept. */
export interface ChangesSince {
  /** To be let go of with `release`. */
  version: KeptVersion;
  ranges: ByteRanges;
}

/** Whether the blocks of a file on this filesystem tell what has changed in it. */
export function tellsChanges(fd: number): boolean {
  const {type} = filesystemOf(fd);
  return type === XFS_TYPE || type === BTRFS_TYPE;
}

export class KeptVersions {
  /** By inode, the one that changed the longest ago first. */
  readonly #versions = new Map<number, KeptVersion>();

  get count(): number {
    return this.#versions.size;
  }

  has(ino: number): boolean {
    return this.#versions.has(ino);
  }

  /** @returns undefined where nothing is kept, or where it cannot be told */
  changesOf(file: SizedFile & {ino: number}): ChangesSince | undefined {
    const version = this.#versions.get(file.ino);
    const ranges = version && changedRanges(version, file);
    if (version === undefined || ranges === undefined) return undefined;
    version.userCount++;
    return {version, ranges};
  }

  /** Somebody who read its clone is done. */
  release(version: KeptVersion): void {
    version.userCount--;
    if (version.isDropped && version.userCount === 0) closeFd(version.fd);
  }

  /**
   * Keeps a version in place of the one before, and its clone open, which is in use by the caller too.
   * @returns undefined where it is not to be kept: the clone stays the caller's
   */
  keep(
    file: Pick<KeptVersion, 'ino' | 'path' | 'fd' | 'sizeBytes' | 'content' | 'leafDigests'>,
    reserveShare: number,
  ): KeptVersion | undefined {
    if (!hasReserve(file.fd, Math.max(reserveShare, RESERVE_SHARE))) return undefined;
    const before = this.#versions.get(file.ino);
    const earlier = before === undefined ? [] : earlierOf(before, file);
    const version: KeptVersion = {...file, earlier, userCount: 1, isDropped: false};
    if (before !== undefined) this.#drop(before);
    this.#versions.set(file.ino, version);
    this.#dropOldest();
    return version;
  }

  /**
   * Drops those whose space is needed, and those of files that are no more.
   * @param isThere whether a file is still at its path
   */
  tend(reserveShare: number, isThere: (version: KeptVersion) => boolean): void {
    for (const version of this.#versions.values())
      if (!hasReserve(version.fd, Math.max(reserveShare, RESERVE_SHARE)) || !isThere(version)) this.#drop(version);
  }

  close(): void {
    for (const version of this.#versions.values()) this.#drop(version);
  }

  #dropOldest(): void {
    let leafCount = 0;
    for (const {sizeBytes} of this.#versions.values()) leafCount += leafCountOf(sizeBytes);
    for (const oldest of this.#versions.values()) {
      if (this.#versions.size <= KEPT_MAX && leafCount <= LEAVES_ALL_MAX) return;
      leafCount -= leafCountOf(oldest.sizeBytes);
      this.#drop(oldest);
    }
  }

  #drop(version: KeptVersion): void {
    version.isDropped = true;
    this.#versions.delete(version.ino);
    if (version.userCount === 0) closeFd(version.fd);
  }
}

function earlierOf(before: KeptVersion, file: SizedFile & {content: Digest}): Earlier[] {
  if (before.content.equals(file.content) && before.sizeBytes === file.sizeBytes) return [...before.earlier];
  const ranges = changedRanges(before, file);
  if (ranges === undefined) return [];
  const earlier = before.earlier.map((each) => ({...each, ranges: each.ranges.and(ranges)}));
  const {content, sizeBytes} = before;
  let leftCount = EARLIER_RANGES_MAX;
  return [{content, sizeBytes, ranges}, ...earlier]
    .filter((each): each is Earlier => each.ranges !== undefined && (leftCount -= each.ranges.count) >= 0)
    .slice(0, EARLIER_MAX);
}
