/**
 * One path as observed on a filesystem, and what of it must be equal on both sides.
 *
 * Not a change and not an operation: an entry says what was seen, when it was seen.
 */
import type {Attrs} from './attrs.ts';
import type {Digest} from './digest.ts';
import type {Name} from './path.ts';
import type {VersionVector} from './version.ts';

export const ENTRY_TYPES = ['file', 'dir', 'symlink', 'fifo', 'socket', 'block', 'char'] as const;
export type EntryType = (typeof ENTRY_TYPES)[number];

/** Made with a number instead of bytes; nothing opens them here. */
export type SpecialType = Extract<EntryType, 'fifo' | 'socket' | 'block' | 'char'>;

export function isSpecial(type: EntryType): type is SpecialType {
  return type !== 'file' && type !== 'dir' && type !== 'symlink';
}

/** A point in time of a filesystem: whole seconds since the epoch (may be negative) and 0..999,999,999 ns. */
export interface FileTime {
  s: number;
  ns: number;
}

/** What statx(2) says. `ino` above 2^53 loses its low bits: it is a hint that birth time, size and mtime confirm. */
export interface Stat {
  type: EntryType;
  /** Permission bits, 0..0o7777. */
  mode: number;
  uid: number;
  gid: number;
  sizeBytes: number;
  /** Bytes allocated; less than `sizeBytes` means holes or inline data. */
  allocatedBytes: number;
  mtime: FileTime;
  ctime: FileTime;
  /** Birth time; 0/0 where the filesystem has none. */
  btime: FileTime;
  ino: number;
  nlink: number;
  /** Device number of a block or character device: major * 2^32 + minor; else 0. */
  rdev: number;
  /** Mount the entry is on (statx STATX_MNT_ID); 0 on kernels without it. */
  mountId: number;
  /** Flags of chattr(1) that it has, as bits of statx: immutable, append-only, not dumped. Absent for none. */
  flags?: number;
}

/** The metadata that statx(2) tells. */
export type StatMeta = Pick<Stat, 'mode' | 'uid' | 'gid' | 'mtime'>;

/** What travels and must be equal: permissions, owner, modification time, extended attributes. */
export interface Meta extends StatMeta {
  attrs: Attrs;
}

/** What tells whether a file was touched since it was seen. */
export type Seen = Pick<Stat, 'type' | 'ino' | 'sizeBytes' | 'mtime' | 'ctime'>;

/** What a listing shows of an entry: equal to what is known means that nothing happened to it. */
export interface Outline extends Seen, StatMeta {
  nlink: number;
  isIncomplete: boolean;
}

/** One entry of a volume's state. */
export interface Entry extends Stat {
  name: Name;
  /** Those that may travel, of all classes. */
  attrs: Attrs;
  /** Content digest of a file; undefined while its bytes were not read since they last changed. */
  content: Digest | undefined;
  /** Target of a symlink as a byte string; '' for every other type. */
  linkTarget: string;
  /** A directory that could not be read whole: it equals nothing and nothing below it is deleted. */
  isIncomplete: boolean;
  /** Local sequence number of the last change that was noticed here. */
  seq: number;
  version: VersionVector;
}

export function sameTime(a: FileTime, b: FileTime): boolean {
  return a.s === b.s && a.ns === b.ns;
}

export function sameStatMeta(a: StatMeta, b: StatMeta): boolean {
  return a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && sameTime(a.mtime, b.mtime);
}

export function sameMeta(a: Meta, b: Meta): boolean {
  return sameStatMeta(a, b) && a.attrs.equals(b.attrs);
}

export function metaOf({mode, uid, gid, mtime, attrs}: Meta): Meta {
  return {mode, uid, gid, mtime, attrs};
}

/** Whether an entry may be unread since `before`: equal means its bytes can be trusted to be those that were read. */
export function isUntouched(before: Seen, now: Seen): boolean {
  return (
    before.type === now.type &&
    before.ino === now.ino &&
    before.sizeBytes === now.sizeBytes &&
    sameTime(before.mtime, now.mtime) &&
    sameTime(before.ctime, now.ctime)
  );
}

/** Whether a file's content is the one that was last read from it, as far as its size and time tell. */
export function isAsRead(entry: Entry, now: Stat): boolean {
  return entry.content !== undefined && entry.sizeBytes === now.sizeBytes && sameTime(entry.mtime, now.mtime);
}

/** Whether a listing shows nothing new of an entry; a change of its attributes moves its ctime. */
export function isSameListed(known: Outline, now: Stat): boolean {
  return isUntouched(known, now) && sameStatMeta(known, now) && known.nlink === now.nlink;
}

/** Whether both are one inode: number and birth time, so that a reused number is not taken for a rename. */
export function sameInode(a: Stat, b: Stat): boolean {
  return a.ino === b.ino && a.type === b.type && sameTime(a.btime, b.btime);
}

/** That of an entry alone, for crossing threads. */
export function seenOf({type, sizeBytes, mtime, ctime, ino}: Seen): Seen {
  return {type, sizeBytes, mtime, ctime, ino};
}
