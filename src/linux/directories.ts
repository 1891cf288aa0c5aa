/**
 * Directories: listing them in bulk, making, removing and opening them, one component at a time.
 *
 * Invariant: names are bytes as the kernel gave them; nothing is decoded, `.` and `..` are never delivered.
 */
import {constants} from 'node:fs';
import type {EntryType} from '../model/entry.ts';
import type {Name} from '../model/path.ts';
import {
  addressOf,
  AT_REMOVEDIR,
  checked,
  fail,
  lseek,
  mkdirat,
  putName,
  syscall,
  SYS_GETDENTS64,
  unlinkat,
} from './libc.ts';
import {openAt} from './open-fd.ts';

const LISTING_BYTES = 64 * 1024; // some 2,000 names of usual length a call
const SPARE_LISTINGS_MAX = 4;
const spareListings: Dirents[] = [];

let lastInto: Buffer | undefined;
let lastAddress = 0;

/**
 * The next entries of a directory as the kernel writes them (getdents64); `Dirents` reads them.
 * @param into at least 4 KiB
 * @returns bytes written; 0 at the end
 */
export function readDirRaw(fd: number, into: Buffer): number {
  if (into !== lastInto) {
    lastAddress = addressOf(into);
    lastInto = into;
  }
  const sizeBytes = syscall(SYS_GETDENTS64, fd, lastAddress, into.length, 0);
  return sizeBytes < 0 ? fail('getdents64') : sizeBytes;
}

/** Starts a listing anew. */
export function rewindDir(fd: number): void {
  checked(lseek(fd, 0, 0), 'lseek');
}

/** Types of entries as a listing tells them; undefined: the filesystem does not tell, ask `statAt`. */
export const DIRENT_TYPE: readonly (EntryType | undefined)[] = [
  undefined,
  'fifo',
  'char',
  undefined,
  'dir',
  undefined,
  'block',
  undefined,
  'file',
  undefined,
  'symlink',
  undefined,
  'socket',
];
export const DIRENT_DIR = 4;

/**
 * Steps through what `readDirRaw` wrote, allocating nothing:
 * `dirents.reset(sizeBytes); while (dirents.next()) … dirents.nameAt …`. Skips `.` and `..`.
 */
export class Dirents {
  readonly bytes: Buffer;
  #at = 0;
  #end = 0;
  /** Offset in `bytes` of the name, which ends with a NUL. */
  nameAt = 0;
  /** Bytes of the name without the NUL. */
  nameLength = 0;
  /** Index into DIRENT_TYPE. */
  type = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** @param sizeBytes what `readDirRaw` returned */
  reset(sizeBytes: number): void {
    this.#at = 0;
    this.#end = sizeBytes;
  }

  /** Moves to the next entry; false at the end. */
  next(): boolean {
    const {bytes} = this;
    while (this.#at < this.#end) {
      const at = this.#at;
      this.#at += bytes[at + 16]! | (bytes[at + 17]! << 8);
      const nameAt = at + 19;
      if (
        bytes[nameAt] === 0x2e &&
        (bytes[nameAt + 1] === 0 || (bytes[nameAt + 1] === 0x2e && bytes[nameAt + 2] === 0))
      ) {
        continue;
      }
      let end = nameAt;
      while (bytes[end] !== 0) end++;
      this.type = bytes[at + 18]!;
      this.nameAt = nameAt;
      this.nameLength = end - nameAt;
      return true;
    }
    return false;
  }

  /** The name as a byte string. */
  name(): Name {
    return this.bytes.toString('latin1', this.nameAt, this.nameAt + this.nameLength);
  }
}

/** All names of an open directory, from its start, in the filesystem's order. */
export function listNames(fd: number): Name[] {
  const names: Name[] = [];
  for (const entry of readDirEntries(fd)) names.push(entry.name());
  return names;
}

/**
 * The entries of an open directory, from its start: always the same `Dirents`, moved on at each step. Nothing of it may
 * be kept beyond the step. Listings may be nested, and may be left early.
 */
export function* readDirEntries(fd: number): Generator<Dirents, void> {
  const dirents = spareListings.pop() ?? new Dirents(Buffer.allocUnsafeSlow(LISTING_BYTES));
  try {
    rewindDir(fd);
    for (let sizeBytes; (sizeBytes = readDirRaw(fd, dirents.bytes)) > 0;) {
      dirents.reset(sizeBytes);
      while (dirents.next()) yield dirents;
    }
  } finally {
    if (spareListings.length < SPARE_LISTINGS_MAX) spareListings.push(dirents);
  }
}

/** @param mode before the umask */
export function mkdirAt(dirFd: number, name: Name, mode: number): void {
  checked(mkdirat(dirFd, putName(name), mode), 'mkdirat');
}

/** @throws LinuxError ENOTEMPTY, ENOTDIR (also for a symlink), ENOENT */
export function rmdirAt(dirFd: number, name: Name): void {
  checked(unlinkat(dirFd, putName(name), AT_REMOVEDIR), 'unlinkat');
}

/** @throws LinuxError ENOTDIR for anything else, a symlink to a directory included */
export function openDirAt(dirFd: number, name: Name): number {
  return openAt(dirFd, name, constants.O_RDONLY | constants.O_DIRECTORY);
}
