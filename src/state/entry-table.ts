/**
 * Writes to a volume's entries, and everything that follows from one: directories, stale digests, groups, counts.
 *
 * Not the questions (volume-queries.ts). Invariant: what is checked is checked before the first row is written.
 */
import {invariant} from '../base/errors.ts';
import type {Digest} from '../model/digest.ts';
import {sameInode, sameMeta, sameTime, type Entry} from '../model/entry.ts';
import {ROOT, type Name} from '../model/path.ts';
import {nameKey} from '../model/tree.ts';
import type {Counters} from './counters.ts';
import type {Database, SqlValue, Statement} from './database.ts';
import {ROOT_ID, type Directories} from './directories.ts';
import {
  contentKeyOf,
  entryOf,
  fillRow,
  isLinked,
  isUnread,
  sameInTree,
  SELECTED,
  SELECTED_COUNT,
  TYPE_DIR,
  TYPE_FILE,
  type StoredEntry,
} from './entry-row.ts';
import type {LinkGroups} from './link-groups.ts';
import type {Place, VolumeQueries} from './volume-queries.ts';

const NAMES_AT_ONCE = 256;
/** A place for the length of one call; no file can have that name. */
const ASIDE: Place = {parentId: ROOT_ID, name: '/'};

export interface EntryTableParts {
  queries: VolumeQueries;
  directories: Directories;
  groups: LinkGroups;
  counters: Counters;
}

export class EntryTable {
  readonly #db: Database;
  readonly #parts: EntryTableParts;
  readonly #row = Array.from<SqlValue>({length: SELECTED_COUNT}).fill(null);
  readonly #select: Statement;
  readonly #insert: Statement;
  readonly #replace: Statement;
  readonly #delete: Statement;
  readonly #setContent: Statement;
  readonly #setUnread: Statement;
  readonly #countBelow: Statement;
  readonly #linkedBelow: Statement;
  readonly #anyLinked: Statement;
  readonly #makeLinked: Statement;

  constructor(db: Database, parts: EntryTableParts) {
    this.#db = db;
    this.#parts = parts;
    const place = 'parent = ? AND key = ? AND name = ?';
    const inode = 'ino = ? AND btime_s = ? AND btime_ns = ? AND type <> 1';
    const columns = SELECTED;
    const values = columns.replaceAll(/\w+/g, '?');
    this.#select = db.prepare(`SELECT ${columns} FROM entries WHERE ${place}`);
    this.#insert = db.prepare(`INSERT OR IGNORE INTO entries (${columns}) VALUES (${values})`);
    this.#replace = db.prepare(`INSERT OR REPLACE INTO entries (${columns}) VALUES (${values})`);
    this.#delete = db.prepare(`DELETE FROM entries WHERE ${place}`);
    this.#setContent = db.prepare(`UPDATE entries SET content = ?, content_key = ? WHERE ${place}`);
    this.#setUnread = db.prepare(`UPDATE entries SET content = ?, content_key = ? WHERE ${place}
      AND type = ${TYPE_FILE} AND content IS NULL AND ino = ? AND ctime_s = ? AND ctime_ns = ?`);
    const below = `WITH RECURSIVE below (id) AS
        (VALUES (?) UNION SELECT dirs.id FROM dirs JOIN below ON dirs.parent = below.id)`;
    this.#linkedBelow = db.prepare(`${below}
      SELECT DISTINCT ino FROM entries WHERE parent IN below AND nlink > 1 AND type <> ${TYPE_DIR}`);
    this.#countBelow = db.prepare(`${below}
      SELECT coalesce(sum(type = ${TYPE_FILE} AND content IS NULL), 0),
        coalesce(max(nlink > 1 AND type <> ${TYPE_DIR}), 0)
      FROM entries WHERE parent IN below`);
    this.#anyLinked = db.prepare(`SELECT 1 FROM entries INDEXED BY entries_linked WHERE ${inode} AND nlink > 1`);
    this.#makeLinked = db.prepare(`UPDATE entries SET nlink = ? WHERE ${inode} AND ino <> 0`);
  }

  get(parentId: number, name: Name): StoredEntry | undefined {
    return this.#get(parentId, nameKey(name), name);
  }

  put(parentId: number, entry: Entry): number {
    const {directories, counters} = this.#parts;
    directories.get(parentId);
    const key = nameKey(entry.name);
    if (isLinked(entry)) this.#joinLinks(entry);
    const dirId = entry.type === 'dir' ? counters.nextDirId : 0;
    if (this.#insert.runWith(fillRow(this.#row, {parentId, key, dirId}, entry)) === 0)
      return this.#overwrite(parentId, key, entry);
    if (dirId !== 0) directories.add({id: counters.takeDirId(), parentId, key, name: entry.name});
    this.#arrived(parentId, key, entry);
    this.#db.wrote(1);
    return dirId;
  }

  /** @returns count of entries */
  forgetContents(entries: Iterable<StoredEntry>): number {
    let count = 0;
    for (const {parentId, name} of entries) {
      this.setContent({parentId, name}, undefined);
      count++;
    }
    return count;
  }

  putRoot(entry: Entry): void {
    this.#replace.runWith(
      fillRow(this.#row, {parentId: 0, key: nameKey(ROOT), dirId: ROOT_ID}, {...entry, name: ROOT}),
    );
    this.#db.wrote(1);
  }

  remove(parentId: number, name: Name): number {
    invariant(parentId !== 0, 'the root is not removed');
    const count = this.#removeWhole(parentId, name);
    this.#db.wrote(count);
    return count;
  }

  move(from: Place, to: Place, changes: Partial<Entry>): boolean {
    const {directories, groups} = this.#parts;
    const before = this.get(from.parentId, from.name);
    if (before === undefined) return false;
    const entry: Entry = {...before, ...changes, name: to.name};
    invariant(entry.type === before.type, 'a rename keeps the type');
    directories.get(to.parentId);
    if (from.parentId === to.parentId && from.name === to.name) {
      this.put(to.parentId, entry);
      return true;
    }
    const {dirId} = before;
    invariant(dirId === 0 || !directories.isWithin(to.parentId, dirId), 'a directory does not move below itself');
    const above = this.get(to.parentId, to.name)?.dirId ?? 0;
    if (above !== 0 && directories.isWithin(from.parentId, above)) {
      // Over a directory that it is in: out of it first, or it would go with that.
      return this.#db.batch(() => {
        this.move(from, ASIDE, {});
        return this.move(ASIDE, to, changes);
      });
    }
    const removed = this.#removeWhole(to.parentId, to.name);
    const key = nameKey(to.name);
    this.#delete.run(from.parentId, nameKey(from.name), from.name);
    this.#left(before, nameKey(from.name));
    if (isLinked(entry)) this.#joinLinks(entry);
    this.#insert.runWith(fillRow(this.#row, {parentId: to.parentId, key, dirId}, entry));
    if (dirId !== 0) {
      directories.move(dirId, {parentId: to.parentId, key, name: to.name});
      groups.markStale();
    }
    this.#arrived(to.parentId, key, entry);
    this.#db.wrote(removed + 2);
    return true;
  }

  /** As `setContent`, for a file that was just read: nothing happens when it is another, or changed, by now. */
  setContentOf(entry: Entry & {parentId: number}, content: Digest): void {
    const {directories, counters} = this.#parts;
    const {parentId, name, ino, ctime} = entry;
    const key = nameKey(name);
    const contentKey = contentKeyOf(content, entry.sizeBytes);
    if (this.#setUnread.run(content, contentKey, parentId, key, name, ino, ctime.s, ctime.ns) === 0) {
      const now = this.#get(parentId, key, name);
      if (now?.ino === ino && sameTime(now.ctime, ctime)) this.setContent(entry, content);
      return;
    }
    counters.unread--;
    directories.markStale(parentId, key, true); // a listing does not show contents
    this.#db.wrote(1);
  }

  setContent(place: Place, content: Digest | undefined): void {
    const {directories, counters} = this.#parts;
    const key = nameKey(place.name);
    const before = this.#get(place.parentId, key, place.name);
    if (before === undefined || before.type !== 'file') return;
    if (before.content === content || (content !== undefined && before.content?.equals(content) === true)) return;
    const contentKey = contentKeyOf(content, before.sizeBytes);
    this.#setContent.run(content ?? null, contentKey, place.parentId, key, place.name);
    counters.unread += Number(content === undefined) - Number(isUnread(before));
    directories.markStale(place.parentId, key, true); // a listing does not show contents
    this.#db.wrote(1);
  }

  #get(parentId: number, key: number, name: Name): StoredEntry | undefined {
    const row = this.#select.get(parentId, key, name);
    return row === undefined ? undefined : entryOf(row, this.#db);
  }

  /** The rest of `put` when there is an entry of that name. */
  #overwrite(parentId: number, key: number, entry: Entry): number {
    const {directories, counters, groups} = this.#parts;
    const before = this.#get(parentId, key, entry.name);
    invariant(before !== undefined, 'an entry is there or is not');
    let {dirId} = before;
    let removed = 0;
    if (before.type !== entry.type) {
      removed = this.#removeBelow(dirId);
      dirId = entry.type === 'dir' ? counters.takeDirId() : 0;
      if (dirId !== 0) directories.add({id: dirId, parentId, key, name: entry.name});
    }
    this.#replace.runWith(fillRow(this.#row, {parentId, key, dirId}, entry));
    counters.unread += Number(isUnread(entry)) - Number(isUnread(before));
    const areSameLinks = isLinked(before) && isLinked(entry) && sameInode(before, entry);
    if (!areSameLinks && (isLinked(before) || isLinked(entry))) groups.markStale();
    if (sameInTree(before, entry)) directories.dropFingerprint(parentId);
    else directories.markStale(parentId, key);
    this.#db.wrote(removed + 1);
    return dirId;
  }

  /** A row was added. */
  #arrived(parentId: number, key: number, entry: Entry): void {
    const {directories, counters, groups} = this.#parts;
    counters.entries++;
    if (isUnread(entry)) counters.unread++;
    if (isLinked(entry)) groups.markStale();
    directories.markStale(parentId, key);
  }

  /** A row was removed. */
  #left(entry: StoredEntry, key: number): void {
    const {directories, counters, groups} = this.#parts;
    counters.entries--;
    if (isUnread(entry)) counters.unread--;
    if (isLinked(entry)) groups.markStale();
    directories.markStale(entry.parentId, key);
  }

  /** What is known of an entry by one of its names is known of its other names too. */
  refreshNames(entry: Entry): void {
    for (let after: Place | undefined; ;) {
      const found = this.#parts.queries.byInode(entry.ino, NAMES_AT_ONCE, after);
      for (const {parentId, entry: row} of found) {
        const isSame = sameMeta(row, entry) && sameTime(row.ctime, entry.ctime) && row.nlink === entry.nlink;
        if (!isSame && sameInode(row, entry)) this.put(parentId, {...entry, name: row.name});
      }
      if (found.length < NAMES_AT_ONCE) return;
      after = {parentId: found.at(-1)!.parentId, name: found.at(-1)!.entry.name};
    }
  }

  /** Removes an entry with all below it, without an end of a transaction in between. @returns their count */
  #removeWhole(parentId: number, name: Name): number {
    const key = nameKey(name);
    const before = this.#get(parentId, key, name);
    if (before === undefined) return 0;
    this.#delete.run(parentId, key, name);
    this.#left(before, key);
    return 1 + this.#removeBelow(before.dirId);
  }

  linkedBelow(dirId: number): number[] {
    return this.#linkedBelow.all(dirId).map(([ino]) => ino as number);
  }

  /** Removes what is below a directory, and its row; nothing for 0. @returns count of removed entries */
  #removeBelow(dirId: number): number {
    if (dirId === 0) return 0;
    const {directories, counters, groups} = this.#parts;
    const [unread, hasLinked] = this.#countBelow.get(dirId) as [number, number];
    const count = directories.remove(dirId);
    counters.entries -= count;
    counters.unread -= unread;
    if (hasLinked === 1) groups.markStale();
    return count;
  }

  /** The first entry that shows more than one name of an inode tells it to the ones that were seen before. */
  #joinLinks(entry: Entry): void {
    const inode = [entry.ino, entry.btime.s, entry.btime.ns];
    if (this.#anyLinked.get(...inode) === undefined) this.#makeLinked.run(entry.nlink, ...inode);
  }
}
