/**
 * statx(2): what an entry is, without following a symlink and without opening anything.
 *
 * Invariant: what is returned was read by one call, so its parts belong together.
 */
import {constants} from 'node:fs';
import {invariant} from '../base/errors.ts';
import type {EntryType, Stat} from '../model/entry.ts';
import type {Name} from '../model/path.ts';
import {
  addressOf,
  AT_EMPTY_PATH,
  AT_NO_AUTOMOUNT,
  AT_SYMLINK_NOFOLLOW,
  EMPTY_TEXT,
  errno,
  fail,
  putName,
  scratch,
  statx,
} from './libc.ts';
import {ENOENT} from './linux-error.ts';

/** Size of the structure that `statAtRaw` writes. */
export const RAW_STAT_BYTES = 256;
const MASK = 0x1fff; // STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID
const NO_FOLLOW = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
const ITSELF = AT_EMPTY_PATH | AT_NO_AUTOMOUNT;
const ATTRIBUTE_FLAGS = 0x70; // STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP

const {bytes: own, address: ownAddress} = scratch(RAW_STAT_BYTES);

const TYPE_OF: Record<number, EntryType> = {
  [constants.S_IFREG >> 12]: 'file',
  [constants.S_IFDIR >> 12]: 'dir',
  [constants.S_IFLNK >> 12]: 'symlink',
  [constants.S_IFIFO >> 12]: 'fifo',
  [constants.S_IFSOCK >> 12]: 'socket',
  [constants.S_IFBLK >> 12]: 'block',
  [constants.S_IFCHR >> 12]: 'char',
};

/** @throws LinuxError ENOENT, EACCES, … */
export function statAt(dirFd: number, name: Name): Stat {
  if (statx(dirFd, putName(name), NO_FOLLOW, MASK, ownAddress) < 0) fail('statx');
  return readStat(own, 0);
}

/** Like `statAt`, but undefined when there is no such entry. */
export function statAtIfAny(dirFd: number, name: Name): Stat | undefined {
  if (statx(dirFd, putName(name), NO_FOLLOW, MASK, ownAddress) >= 0) return readStat(own, 0);
  return errno() === ENOENT ? undefined : fail('statx');
}

/** Of what is open, O_PATH descriptors included. */
export function statFd(fd: number): Stat {
  if (statx(fd, EMPTY_TEXT, ITSELF, MASK, ownAddress) < 0) fail('statx');
  return readStat(own, 0);
}

// The scanner calls with the same two buffers thousands of times: their addresses are looked up once.
let lastNames: Buffer | undefined;
let lastNamesAddress = 0;
let lastInto: Buffer | undefined;
let lastIntoAddress = 0;

/**
 * Writes the raw structure, allocating nothing.
 * @param names holds a NUL-terminated name at `nameAt` (as `readDirRaw` delivers it); an empty name means `dirFd` itself
 * @returns 0, or the negative errno
 */
export function statAtRaw(dirFd: number, names: Buffer, into: Buffer, at: number, nameAt = 0): number {
  invariant(at >= 0 && at + RAW_STAT_BYTES <= into.length, 'no room for a stat');
  invariant(nameAt >= 0 && nameAt < names.length, 'no name there');
  if (names !== lastNames) {
    lastNamesAddress = addressOf(names);
    lastNames = names;
  }
  if (into !== lastInto) {
    lastIntoAddress = addressOf(into);
    lastInto = into;
  }
  const result = statx(dirFd, lastNamesAddress + nameAt, NO_FOLLOW | AT_EMPTY_PATH, MASK, lastIntoAddress + at);
  return result < 0 ? -errno() : 0;
}

/** Decodes a structure that `statAtRaw` wrote. */
export function readStat(from: Buffer, at: number): Stat {
  const typeAndMode = from.readUInt16LE(at + 28);
  const stat: Stat = {
    type: typeOfMode(typeAndMode),
    mode: typeAndMode & 0o7777,
    uid: from.readUInt32LE(at + 20),
    gid: from.readUInt32LE(at + 24),
    sizeBytes: readU64(from, at + 40),
    allocatedBytes: readU64(from, at + 48) * 512,
    mtime: readTime(from, at + 112),
    ctime: readTime(from, at + 96),
    btime: readTime(from, at + 80),
    ino: readU64(from, at + 32),
    nlink: from.readUInt32LE(at + 16),
    rdev: from.readUInt32LE(at + 128) * 2 ** 32 + from.readUInt32LE(at + 132),
    mountId: readU64(from, at + 144),
  };
  const flags = from.readUInt32LE(at + 8) & ATTRIBUTE_FLAGS;
  if (flags !== 0) stat.flags = flags;
  return stat;
}

function typeOfMode(typeAndMode: number): EntryType {
  const type = TYPE_OF[typeAndMode >> 12];
  invariant(type !== undefined, `statx gave the type ${typeAndMode >> 12}`);
  return type;
}

function readU64(from: Buffer, at: number): number {
  return from.readUInt32LE(at + 4) * 2 ** 32 + from.readUInt32LE(at);
}

function readTime(from: Buffer, at: number): {s: number; ns: number} {
  return {s: from.readInt32LE(at + 4) * 2 ** 32 + from.readUInt32LE(at), ns: from.readUInt32LE(at + 8)};
}
