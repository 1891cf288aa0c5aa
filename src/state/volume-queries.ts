/**
 * Questions about a volume's entries that look past one directory: by inode, by content, what was read.
 *
 * Invariant: every answer is bounded by a count, and the next page starts after the last entry given.
 */
import {INDEXED_SIZE_BYTES} from './volume-schema.ts';
import type {Digest} from '../model/digest.ts';
import type {Outline} from '../model/entry.ts';
import {joinPath, type Name, type RelPath} from '../model/path.ts';
import {nameKey} from '../model/tree.ts';
import {contentKeyOf, entryOf, OUTLINE_COLUMNS, outlineOf, SELECTED, type StoredEntry} from './entry-row.ts';
import type {Database, SqlRow, Statement} from './database.ts';
import type {Directories} from './directories.ts';

/** Where a page ended: an entry by its place. */
export interface Place {
  parentId: number;
  name: Name;
}

export interface FoundEntry {
  parentId: number;
  path: RelPath;
  entry: StoredEntry;
}

const START: Place = {parentId: -1, name: ''};
const PAGE_ROWS = 512;

export class VolumeQueries {
  readonly #db: Database;
  readonly #directories: Directories;
  readonly #byInode: Statement;
  readonly #byContent: Statement;
  readonly #hasInode: Statement;
  readonly #hasContent: Statement;
  readonly #bySize: Statement;
  readonly #since: Statement;
  readonly #page: Statement;
  readonly #outlines: Statement;

  constructor(db: Database, directories: Directories) {
    this.#db = db;
    this.#directories = directories;
    const after = '(parent, key, name) > (?, ?, ?) ORDER BY parent, key, name LIMIT ?';
    const select = `SELECT ${SELECTED} FROM entries`;
    this.#byInode = db.prepare(`${select} WHERE ino = ? AND ino <> 0 AND ${after}`);
    this.#byContent = db.prepare(`${select} WHERE content_key = ? AND content = ? AND size = ? LIMIT ?`);
    this.#hasInode = db.prepare('SELECT 1 FROM entries WHERE ino = ? AND ino <> 0 LIMIT 1');
    this.#hasContent = db.prepare('SELECT 1 FROM entries WHERE content_key = ? LIMIT 1');
    this.#bySize = db.prepare(`SELECT count(*) FROM entries WHERE size = ? AND size >= ${INDEXED_SIZE_BYTES} LIMIT 2`);
    this.#since = db.prepare(`${select} WHERE content IS NOT NULL AND ctime_s >= ? AND ${after}`);
    this.#page = db.prepare(
      `${select} WHERE parent = ? AND (key, name) > (?, ?) ORDER BY key, name LIMIT ${PAGE_ROWS}`,
    );
    this.#outlines = db.prepare(
      `SELECT ${OUTLINE_COLUMNS} FROM entries WHERE parent = ? AND (key, name) > (?, ?) ORDER BY key, name LIMIT ${PAGE_ROWS}`,
    );
  }

  /** Entries of a directory in the order of their keys, read in pages: what is asked may change meanwhile. */
  *children(parentId: number): Generator<StoredEntry> {
    let key = -1;
    let name = '';
    for (;;) {
      const rows = this.#page.all(parentId, key, name);
      for (const row of rows) yield this.#entryOf(row);
      if (rows.length < PAGE_ROWS) return;
      [, key, name] = rows.at(-1) as unknown as [number, number, string];
    }
  }

  /** The entries of a directory as a listing shows them, by name: a fraction of the cost of whole ones. */
  outlines(parentId: number): Map<Name, Outline> {
    const outlines = new Map<Name, Outline>();
    let key = -1;
    let name = '';
    for (;;) {
      const rows = this.#outlines.all(parentId, key, name);
      for (const row of rows) outlines.set(row[1] as Name, outlineOf(row));
      if (rows.length < PAGE_ROWS) return outlines;
      [key, name] = rows.at(-1) as unknown as [number, string];
    }
  }

  byInode(ino: number, countMax: number, after: Place = START): FoundEntry[] {
    if (this.#hasInode.get(ino) === undefined) return []; // most often: a new file; a row is read faster than a list
    return this.#byInode.all(ino, ...cursorOf(after), countMax).map((row) => this.#foundOf(this.#entryOf(row)));
  }

  byContent(content: Digest, sizeBytes: number, countMax: number): FoundEntry[] {
    const key = contentKeyOf(content, sizeBytes);
    if (key === null) return [];
    if (this.#hasContent.get(key) === undefined) return []; // as above
    return this.#byContent.all(key, content, sizeBytes, countMax).map((row) => this.#foundOf(this.#entryOf(row)));
  }

  /** Count of files of exactly this size, for sizes that are worth knowing (INDEXED_SIZE_BYTES); 0 for smaller ones. */
  countOfSize(sizeBytes: number): number {
    return sizeBytes < INDEXED_SIZE_BYTES ? 0 : (this.#bySize.get(sizeBytes)?.[0] as number);
  }

  /** Files that were read, with a ctime from `ctimeS` on. */
  *readSince(ctimeS: number): Generator<StoredEntry> {
    for (let after = START; ;) {
      const entries = this.#since.all(ctimeS, ...cursorOf(after), PAGE_ROWS).map((row) => this.#entryOf(row));
      yield* entries;
      if (entries.length < PAGE_ROWS) return;
      after = entries.at(-1) as StoredEntry;
    }
  }

  /** All files that were read, with their paths; what goes meanwhile may be missing. */
  *readFiles(): Generator<FoundEntry> {
    for (const entry of this.readSince(Number.MIN_SAFE_INTEGER))
      if (entry.parentId === 0 || this.#directories.find(entry.parentId) !== undefined) yield this.#foundOf(entry);
  }

  #entryOf(row: SqlRow): StoredEntry {
    return entryOf(row, this.#db);
  }

  #foundOf(entry: StoredEntry): FoundEntry {
    const {parentId} = entry;
    return {parentId, path: parentId === 0 ? '' : joinPath(this.#directories.pathOf(parentId), entry.name), entry};
  }
}

function cursorOf(place: Place): [number, number, string] {
  return [place.parentId, place === START ? -1 : nameKey(place.name), place.name];
}
