/**
 * A tree as digests: what two agents exchange to find where they differ, and how those digests are made.
 *
 * A directory's entries hang in a trie by SHA-256(name), fan-out 256, a node is split when it holds more than 256
 * entries. A leaf node's digest is over the canonical bytes of its entries in key order, an inner node's over the
 * digests of its children; a directory's own entry holds the digest of its trie's root. So a change costs the depth.
 *
 * Invariant: what is unknown (unread content, an incomplete directory) never makes equal digests.
 */
import {createHash} from 'node:crypto';
import {attrsDigest} from './attrs.ts';
import {sha256, TREE_DIGEST_VERSION, type Digest} from './digest.ts';
import {ENTRY_TYPES, sameTime, type Entry, type EntryType, type FileTime, type Meta, type StatMeta} from './entry.ts';
import {bytesOf, type Name} from './path.ts';
import {metaInView, type View} from './view.ts';

const NS_PER_S = 1_000_000_000;

export const TRIE_FANOUT = 256;
export const TRIE_LEAF_COUNT_MAX = 256;
/** A name's key has this many bytes; a leaf at this depth is not split further. */
export const TRIE_DEPTH_MAX = 6;

/** The part of an entry that two sides compare. */
export interface TreeEntry {
  name: Name;
  type: EntryType;
  meta: StatMeta;
  /** Of the attributes in the view; undefined for none. */
  attrs: Digest | undefined;
  sizeBytes: number;
  /** Files: undefined while unread. */
  content: Digest | undefined;
  linkTarget: string;
  /** Device number of a device, else 0. */
  rdev: number;
  /** Directories: digest of their trie's root; undefined for other types. */
  subtree: Digest | undefined;
  /** Directories: entries below them (all levels, without themselves); 0 for other types. */
  count: number;
  isIncomplete: boolean;
}

export interface TrieChild {
  /** The next byte of the key. */
  index: number;
  digest: Digest;
  /** Entries below, through all levels of directories. */
  count: number;
}

/** An entry of one's own tree: its attributes are at hand. */
export type OwnTreeEntry = TreeEntry & {meta: Meta};

/** One node of a directory's trie. */
export type TreeNode<E extends TreeEntry = TreeEntry> =
  | {kind: 'absent'}
  | {kind: 'inner'; digest: Digest; count: number; children: TrieChild[]}
  | {kind: 'leaf'; digest: Digest; count: number; entries: E[]};

/** Which side makes a digest: each marks what it does not know in its own way, so that two unknowns differ. */
export type Side = 'source' | 'target';

/** An entry as a tree has it in a view; a directory without what is below. */
export function treeEntryOf(entry: Entry, view: View): OwnTreeEntry {
  const {name, type, sizeBytes, content, linkTarget, isIncomplete} = entry;
  const meta = metaInView(entry, type, view);
  const rdev = rdevOf(entry);
  const attrs = attrsDigest(meta.attrs);
  return {name, type, meta, attrs, sizeBytes, content, linkTarget, rdev, subtree: undefined, count: 0, isIncomplete};
}

/** A number that some filesystems give to what is no device says nothing. */
export function rdevOf({type, rdev}: Pick<Entry, 'type' | 'rdev'>): number {
  return type === 'block' || type === 'char' ? rdev : 0;
}

const KEYS_KEPT_MAX = 8_192; // about 1 MB; each name is asked for several times in a row
const keys = new Map<Name, number>();

/** First 6 bytes of SHA-256(name) as a number below 2^48: the name's place in its directory's trie. */
export function nameKey(name: Name): number {
  const known = keys.get(name);
  if (known !== undefined) return known;
  const key = sha256(bytesOf(name)).readUIntBE(0, 6);
  if (keys.size >= KEYS_KEPT_MAX) keys.clear();
  keys.set(name, key);
  return key;
}

/** The byte of a key at a depth of the trie, 0 first. */
export function keyByte(key: number, depth: number): number {
  return Math.floor(key / 2 ** (8 * (TRIE_DEPTH_MAX - 1 - depth))) % 256;
}

/** The keys below a prefix of the trie, as a half-open range. */
export function keyRange(prefix: Uint8Array): {from: number; to: number} {
  let from = 0;
  for (const byte of prefix) from = from * 256 + byte;
  const span = 2 ** (8 * (TRIE_DEPTH_MAX - prefix.length));
  return {from: from * span, to: (from + 1) * span};
}

/**
 * The bytes of one entry that its node's digest covers, in a view.
 * Layout: u16 name length, name, u8 type, u16 mode, u32 uid, u32 gid, i64 mtime s, u32 mtime ns, u8 attributes (0 none,
 * 1 followed by the 32 bytes of their digest), then by type: file u64 size + 32 content, symlink its target, dir 32
 * subtree, device u32 major + u32 minor. Type and attributes are those in the view already.
 */
export function entryDigestBytes(entry: TreeEntry, view: View, side: Side): Buffer {
  const name = bytesOf(entry.name);
  const tail = tailBytes(entry, side);
  const attrsBytes = entry.attrs === undefined ? 1 : 33;
  const bytes = Buffer.allocUnsafe(2 + name.length + 23 + attrsBytes + tail.length);
  let at = bytes.writeUInt16BE(name.length, 0);
  at += name.copy(bytes, at);
  at = bytes.writeUInt8(ENTRY_TYPES.indexOf(entry.type), at);
  // A symlink has no permissions of its own on Linux.
  at = bytes.writeUInt16BE(entry.type === 'symlink' || !view.modes ? 0o777 : entry.meta.mode, at);
  at = bytes.writeUInt32BE(view.owners ? entry.meta.uid : 0, at);
  at = bytes.writeUInt32BE(view.owners ? entry.meta.gid : 0, at);
  // The last second of a 64-bit clock is rounded up to 2^63 on its way here.
  const mtime = inPrecision(entry.meta.mtime, view.timePrecisionNs);
  at = bytes.writeInt32BE(Math.min(Math.floor(mtime.s / 2 ** 32), 2 ** 31 - 1), at);
  at = bytes.writeUInt32BE(mtime.s >>> 0, at);
  at = bytes.writeUInt32BE(mtime.ns, at);
  at = bytes.writeUInt8(attrsBytes === 1 ? 0 : 1, at);
  if (entry.attrs !== undefined) at += entry.attrs.copy(bytes, at);
  tail.copy(bytes, at);
  return bytes;
}

/** A time cut to a view's precision: a divisor of a second, or whole seconds. */
export function inPrecision({s, ns}: FileTime, precisionNs: number): FileTime {
  if (precisionNs <= NS_PER_S) return {s, ns: ns - (ns % precisionNs)};
  const step = precisionNs / NS_PER_S;
  return {s: Math.floor(s / step) * step, ns: 0};
}

export function sameInPrecision(a: FileTime, b: FileTime, precisionNs: number): boolean {
  return sameTime(inPrecision(a, precisionNs), inPrecision(b, precisionNs));
}

function tailBytes(entry: TreeEntry, side: Side): Buffer {
  const unknown = Buffer.alloc(32, side === 'source' ? 0x00 : 0xff);
  switch (entry.type) {
    case 'file': {
      const tail = Buffer.alloc(40);
      // Sparse files reach 2^63: no size that a container can make may end a digest.
      tail.writeUInt32BE(Math.floor(entry.sizeBytes / 2 ** 32), 0);
      tail.writeUInt32BE(entry.sizeBytes % 2 ** 32, 4);
      (entry.content ?? unknown).copy(tail, 8);
      return tail;
    }
    case 'symlink':
      return bytesOf(entry.linkTarget);
    case 'dir':
      return entry.isIncomplete || entry.subtree === undefined ? unknown : entry.subtree;
    default: {
      const tail = Buffer.alloc(8);
      tail.writeUInt32BE(Math.floor(entry.rdev / 2 ** 32), 0);
      tail.writeUInt32BE(entry.rdev % 2 ** 32, 4);
      return tail;
    }
  }
}

/** Digest of a leaf node from its entries' bytes in key order (then name order). Empty: the digest of no entry. */
export function leafNodeDigest(entryBytes: Iterable<Buffer>): Digest {
  const sum = createHash('sha256').update(Buffer.from([TREE_DIGEST_VERSION, 0]));
  for (const bytes of entryBytes) sum.update(bytes);
  return sum.digest();
}

/** Digest of an inner node from its children in index order. */
export function innerNodeDigest(children: readonly TrieChild[]): Digest {
  const sum = createHash('sha256').update(Buffer.from([TREE_DIGEST_VERSION, 1]));
  for (const child of children) sum.update(Buffer.from([child.index])).update(child.digest);
  return sum.digest();
}

export const EMPTY_TREE: Digest = leafNodeDigest([]);
