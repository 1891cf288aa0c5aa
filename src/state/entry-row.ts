/**
 * An entry as a row of `volume.db` and back. Pure.
 *
 * Invariant: what goes in comes out, byte for byte; `content_key` follows from the content alone.
 */
import type {SQLOutputValue} from 'node:sqlite';
import {NO_ATTRS, type Attrs} from '../model/attrs.ts';
import {ENTRY_TYPES, sameMeta, type Entry, type EntryType, type Outline} from '../model/entry.ts';
import type {Digest} from '../model/digest.ts';
import type {Name} from '../model/path.ts';
import type {VersionVector} from '../model/version.ts';
import {bufferOf, type Database, type SqlRow, type SqlValue} from './database.ts';
import {checkRow, rowSum, SUMMED} from './row-sum.ts';
import {ENTRY_COLUMN_NAMES} from './volume-schema.ts';

/** An entry with its place. */
export interface StoredEntry extends Entry {
  /** Id of the directory it is in; 0 for the root. */
  parentId: number;
  /** Own id of a directory; 0 for other types. */
  dirId: number;
}

export const TYPE_FILE = ENTRY_TYPES.indexOf('file');
export const TYPE_DIR = ENTRY_TYPES.indexOf('dir');
/** What `entryOf` reads, in its order. */
export const SELECTED = ['parent', 'key', 'name', ...ENTRY_COLUMN_NAMES].join(', ');
export const SELECTED_COUNT = 3 + ENTRY_COLUMN_NAMES.length;
export const SUMMED_AT = SUMMED.map((column) => ['parent', 'key', 'name', ...ENTRY_COLUMN_NAMES].indexOf(column));
const KEY_BYTES = 6;
const VERSION_ELEMENT_BYTES = 16; // 8 of the agent, 8 of the counter

/** Writes the values of `SELECTED` columns into `row`, which is used again: a million arrays would cost a second. */
export function fillRow(
  row: SqlValue[],
  place: {parentId: number; key: number; dirId: number},
  entry: Entry,
): SqlValue[] {
  row[0] = place.parentId;
  row[1] = place.key;
  row[2] = entry.name;
  row[3] = ENTRY_TYPES.indexOf(entry.type);
  row[4] = place.dirId;
  row[5] = entry.mode;
  row[6] = entry.uid;
  row[7] = entry.gid;
  row[8] = entry.sizeBytes;
  row[9] = entry.allocatedBytes;
  row[10] = entry.mtime.s;
  row[11] = entry.mtime.ns;
  row[12] = entry.ctime.s;
  row[13] = entry.ctime.ns;
  row[14] = entry.btime.s;
  row[15] = entry.btime.ns;
  row[16] = entry.ino;
  row[17] = entry.nlink;
  row[18] = entry.rdev;
  row[19] = entry.mountId;
  row[20] = entry.content ?? null;
  row[21] = contentKeyOf(entry.content, entry.sizeBytes);
  row[22] = entry.linkTarget === '' ? null : entry.linkTarget;
  row[23] = entry.isIncomplete ? 1 : 0;
  row[24] = entry.seq;
  row[25] = versionBytes(entry.version);
  row[26] = entry.attrs.length === 0 ? null : entry.attrs;
  row[27] = entry.flags ?? 0;
  row[28] = rowSum(row, SUMMED_AT);
  return row;
}

/** The entry of a row of `SELECTED` columns of this database. @throws STATE_DAMAGED when it is not as it was written */
export function entryOf(row: SqlRow, db: Pick<Database, 'damaged'>): StoredEntry {
  checkRow(row, {at: SUMMED_AT, sumAt: SELECTED_COUNT - 1, db});
  const entry: StoredEntry = {
    parentId: row[0] as number,
    name: row[2] as Name,
    type: ENTRY_TYPES[row[3] as number] as EntryType,
    dirId: row[4] as number,
    mode: row[5] as number,
    uid: row[6] as number,
    gid: row[7] as number,
    sizeBytes: row[8] as number,
    allocatedBytes: row[9] as number,
    mtime: {s: row[10] as number, ns: row[11] as number},
    ctime: {s: row[12] as number, ns: row[13] as number},
    btime: {s: row[14] as number, ns: row[15] as number},
    ino: row[16] as number,
    nlink: row[17] as number,
    rdev: row[18] as number,
    mountId: row[19] as number,
    content: row[20] === null ? undefined : bufferOf(row[20]),
    linkTarget: (row[22] as string | null) ?? '',
    isIncomplete: row[23] === 1,
    seq: row[24] as number,
    version: versionOf(row[25]),
    attrs: attrsOf(row[26]),
  };
  if (row[27] !== 0) entry.flags = row[27] as number;
  return entry;
}

/** What a listing shows of an entry, and its place in the order of its directory. */
export const OUTLINE_COLUMNS =
  'key, name, type, mode, uid, gid, size, mtime_s, mtime_ns, ctime_s, ctime_ns, ino, nlink, incomplete';

/** The outline of a row of those columns. */
export function outlineOf(row: SqlRow): Outline {
  return {
    type: ENTRY_TYPES[row[2] as number] as EntryType,
    mode: row[3] as number,
    uid: row[4] as number,
    gid: row[5] as number,
    sizeBytes: row[6] as number,
    mtime: {s: row[7] as number, ns: row[8] as number},
    ctime: {s: row[9] as number, ns: row[10] as number},
    ino: row[11] as number,
    nlink: row[12] as number,
    isIncomplete: row[13] === 1,
  };
}

/** @param value of the column `attrs` */
export function attrsOf(value: SQLOutputValue | undefined): Attrs {
  return value === null || value === undefined ? NO_ATTRS : bufferOf(value);
}

/** Under which number a file is found by its content; null for what is not looked for. */
export function contentKeyOf(content: Digest | undefined, sizeBytes: number): number | null {
  return content === undefined || sizeBytes === 0 ? null : content.readUIntBE(0, KEY_BYTES);
}

/** Whether both count the same in every tree digest. */
export function sameInTree(a: Entry, b: Entry): boolean {
  return (
    a.type === b.type &&
    sameMeta(a, b) &&
    a.sizeBytes === b.sizeBytes &&
    (a.content === undefined ? b.content === undefined : b.content !== undefined && a.content.equals(b.content)) &&
    a.linkTarget === b.linkTarget &&
    a.isIncomplete === b.isIncomplete &&
    a.rdev === b.rdev
  );
}

/** A file whose bytes were not read. */
export function isUnread(entry: Entry): boolean {
  return entry.type === 'file' && entry.content === undefined;
}

/** May be one of several names of its inode. */
export function isLinked(entry: Entry): boolean {
  return entry.nlink > 1 && entry.type !== 'dir';
}

let lastEncoded: {version: VersionVector; bytes: Buffer} | undefined;

/** As for decoding: a scan or a batch writes one version again and again. */
function versionBytes(version: VersionVector): Buffer | null {
  if (version.length === 0) return null;
  if (lastEncoded === undefined || !sameVersion(lastEncoded.version, version))
    lastEncoded = {version, bytes: encodedVersion(version)};
  return lastEncoded.bytes;
}

function sameVersion(a: VersionVector, b: VersionVector): boolean {
  return (
    a.length === b.length &&
    a.every(({agent, counter}, index) => agent === b[index]?.agent && counter === b[index].counter)
  );
}

function encodedVersion(version: VersionVector): Buffer {
  const bytes = Buffer.alloc(version.length * VERSION_ELEMENT_BYTES);
  version.forEach(({agent, counter}, index) => {
    bytes.write(agent, index * VERSION_ELEMENT_BYTES, 8, 'hex');
    bytes.writeUIntBE(counter, index * VERSION_ELEMENT_BYTES + 10, 6);
  });
  return bytes;
}

let lastBytes: Buffer = Buffer.alloc(0);
let lastVersion: VersionVector = [];

/** Most entries have the version of the one before: it is decoded once. */
function versionOf(value: SQLOutputValue | undefined): VersionVector {
  if (value === null || value === undefined) return [];
  const bytes = bufferOf(value);
  if (bytes.equals(lastBytes)) return lastVersion;
  lastBytes = bytes;
  lastVersion = decodedVersion(bytes);
  return lastVersion;
}

function decodedVersion(bytes: Buffer): VersionVector {
  return Array.from({length: bytes.length / VERSION_ELEMENT_BYTES}, (_, index) => ({
    agent: bytes.toString('hex', index * VERSION_ELEMENT_BYTES, index * VERSION_ELEMENT_BYTES + 8),
    counter: bytes.readUIntBE(index * VERSION_ELEMENT_BYTES + 10, 6),
  }));
}
