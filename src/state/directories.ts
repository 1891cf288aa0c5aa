/**
 * The directories of a volume by their ids: where each hangs, its path, and whether its digest still stands.
 *
 * Not the entries: a directory's own metadata is a row of `entries`. Invariants: a directory is only marked stale
 * together with all its ancestors, so that walking up may stop at the first one that is stale already; a path is given out
 * only where both rows of each of its directories say the same.
 */
import {joinPath, nameOf, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import {nameKey, TRIE_DEPTH_MAX} from '../model/tree.ts';
import {bufferOf, type Database, type Statement} from './database.ts';

export const ROOT_ID = 1;
const ROWS_CACHED_MAX = 8_192; // about 2 MB
const PATHS_CACHED_MAX = 4_096;
const DEPTH_MAX = 1 << 20; // deeper than any disk's: a circle

export interface Directory {
  readonly id: number;
  parentId: number;
  /** Trie key of its name in its parent. */
  key: number;
  name: Name;
  isStale: boolean;
  /** Whether trie nodes below its root may be stored. */
  isSplit: boolean;
  hasFingerprint: boolean;
}

export class Directories {
  readonly #db: Database;
  readonly #rows = new Map<number, Directory>();
  readonly #idByPath = new Map<RelPath, number>();
  readonly #pathById = new Map<number, RelPath>();
  readonly #select: Statement;
  readonly #insert: Statement;
  readonly #place: Statement;
  readonly #markStale: Statement;
  readonly #markSplit: Statement;
  readonly #dropNodes: Statement;
  readonly #fingerprint: Statement;
  readonly #setFingerprint: Statement;
  readonly #hasFingerprints: Statement;
  readonly #idOfEntry: Statement;
  readonly #removeBelow: Statement[];

  constructor(db: Database) {
    this.#db = db;
    this.#select = db.prepare(
      'SELECT parent, key, name, digest IS NULL, is_split, fingerprint IS NOT NULL FROM dirs WHERE id = ?',
    );
    this.#insert = db.prepare('INSERT INTO dirs (id, parent, key, name) VALUES (?, ?, ?, ?)');
    this.#place = db.prepare('UPDATE dirs SET parent = ?, key = ?, name = ? WHERE id = ?');
    this.#markStale = db.prepare('UPDATE dirs SET digest = NULL WHERE id = ?');
    this.#markSplit = db.prepare('UPDATE dirs SET is_split = 1 WHERE id = ?');
    this.#dropNodes = db.prepare('DELETE FROM nodes WHERE dir = ? AND node IN (?, ?, ?, ?, ?, ?)');
    this.#fingerprint = db.prepare('SELECT fingerprint FROM dirs WHERE id = ?');
    this.#setFingerprint = db.prepare('UPDATE dirs SET fingerprint = ? WHERE id = ?');
    this.#hasFingerprints = db.prepare('SELECT count(fingerprint) * 2 > count(*) FROM dirs');
    this.#idOfEntry = db.prepare('SELECT dir FROM entries WHERE parent = ? AND key = ? AND name = ?');
    const below = `WITH RECURSIVE below (id) AS
      (VALUES (?) UNION SELECT dirs.id FROM dirs JOIN below ON dirs.parent = below.id)`;
    this.#removeBelow = [
      `${below} DELETE FROM nodes WHERE dir IN below`,
      `${below} DELETE FROM entries WHERE parent IN below`,
      `${below} DELETE FROM dirs WHERE id IN below`,
    ].map((sql) => db.prepare(sql));
  }

  find(id: number): Directory | undefined {
    const cached = this.#rows.get(id);
    if (cached !== undefined) return cached;
    const row = this.#select.get(id);
    if (row === undefined) return undefined;
    return this.#keep({
      id,
      parentId: row[0] as number,
      key: row[1] as number,
      name: row[2] as Name,
      isStale: row[3] === 1,
      isSplit: row[4] === 1,
      hasFingerprint: row[5] === 1,
    });
  }

  /** @throws STATE_DAMAGED when there is no such directory */
  get(id: number): Directory {
    const directory = this.find(id);
    if (directory === undefined) throw this.#db.damaged(`directory ${id} is missing`);
    return directory;
  }

  /** Adds a directory whose entry is being written; its parent is marked by that. */
  add(place: {id: number; parentId: number; key: number; name: Name}): void {
    this.#insert.run(place.id, place.parentId, place.key, place.name);
    this.#keep({...place, isStale: true, isSplit: false, hasFingerprint: false});
  }

  /** Hangs a directory elsewhere. Its own digest stands; the caller marks both parents. */
  move(id: number, to: {parentId: number; key: number; name: Name}): void {
    this.#place.run(to.parentId, to.key, to.name, id);
    Object.assign(this.get(id), to);
    this.#forgetPaths();
  }

  /** Removes a directory's row and everything below it. @returns count of entries removed below it */
  remove(id: number): number {
    const [nodes, entries, dirs] = this.#removeBelow as [Statement, Statement, Statement];
    nodes.run(id);
    const count = entries.run(id);
    dirs.run(id);
    this.forget();
    return count;
  }

  /** Marks what holds the digest of an entry: the nodes above it, its directory, and so on up to the root. */
  markStale(parentId: number, key: number, keepsListing = false): void {
    let directory = this.get(parentId);
    if (!keepsListing) this.dropFingerprint(parentId);
    for (let below = key; ; below = directory.key, directory = this.get(directory.parentId)) {
      if (directory.isSplit) this.#dropNodes.run(directory.id, ...nodesAbove(below));
      if (directory.isStale) return;
      directory.isStale = true;
      this.#markStale.run(directory.id);
      if (directory.id === ROOT_ID) return;
    }
  }

  /** Notes that nodes below the root of a directory's trie are going to be stored. */
  markSplit(id: number): void {
    this.#markSplit.run(id);
    this.get(id).isSplit = true;
  }

  /** Notes a digest that was made, if the directory is at hand. */
  noteFresh(id: number, isSplit: boolean): void {
    const cached = this.#rows.get(id);
    if (cached !== undefined) Object.assign(cached, {isStale: false, isSplit});
  }

  fingerprint(id: number): Buffer | undefined {
    const directory = this.find(id);
    return directory?.hasFingerprint === true ? bufferOf(this.#fingerprint.get(id)?.[0]) : undefined;
  }

  hasFingerprints(): boolean {
    return this.#hasFingerprints.get()?.[0] === 1;
  }

  setFingerprint(id: number, fingerprint: Buffer | undefined): void {
    this.#setFingerprint.run(fingerprint ?? null, id);
    this.get(id).hasFingerprint = fingerprint !== undefined;
  }

  dropFingerprint(id: number): void {
    if (this.get(id).hasFingerprint) this.setFingerprint(id, undefined);
  }

  /** Id of the directory at a path, or undefined when there is none. */
  idOf(path: RelPath): number | undefined {
    const missing: RelPath[] = [];
    let id: number | undefined;
    for (let at = path; ; at = parentOf(at)) {
      id = at === ROOT ? ROOT_ID : this.#idByPath.get(at);
      if (id !== undefined) break;
      missing.push(at);
    }
    for (let at = missing.pop(); at !== undefined; at = missing.pop()) {
      const parentId: number = id;
      id = this.#childId(parentId, nameOf(at));
      if (id === 0) return undefined;
      const {parentId: hangsIn, name} = this.get(id);
      if (hangsIn !== parentId || name !== nameOf(at)) throw this.misplaced(id);
      keepOf(this.#idByPath, at, id, PATHS_CACHED_MAX);
    }
    return id;
  }

  /** Path of a directory. @throws STATE_DAMAGED when there is none */
  pathOf(id: number): RelPath {
    const names: Name[] = [];
    let path: RelPath | undefined;
    for (let at = id; path === undefined;) {
      path = at === ROOT_ID ? ROOT : this.#pathById.get(at);
      if (path !== undefined) break;
      const directory = this.get(at);
      // A name that is wrong here would have something else be deleted or renamed.
      if (this.#childId(directory.parentId, directory.name) !== at || names.length > DEPTH_MAX)
        throw this.misplaced(at);
      names.push(directory.name);
      at = directory.parentId;
    }
    if (names.length === 0) return path;
    path = joinPath(path, names.toReversed().join('/'));
    keepOf(this.#pathById, id, path, PATHS_CACHED_MAX);
    return path;
  }

  /** Whether a directory is `ancestorId` or lies below it. */
  isWithin(id: number, ancestorId: number): boolean {
    let depth = 0;
    for (let at = id; at !== ROOT_ID; at = this.get(at).parentId) {
      if (at === ancestorId) return true;
      if (++depth > DEPTH_MAX) throw this.misplaced(id);
    }
    return ancestorId === ROOT_ID;
  }

  /** Forgets all that is kept in memory. */
  forget(): void {
    this.#rows.clear();
    this.#forgetPaths();
  }

  /** Both rows of a directory do not fit together. */
  misplaced(id: number): Error {
    return this.#db.damaged(`directory ${id} hangs in two places`);
  }

  #childId(parentId: number, name: Name): number {
    return (this.#idOfEntry.get(parentId, nameKey(name), name)?.[0] as number | undefined) ?? 0;
  }

  #forgetPaths(): void {
    this.#idByPath.clear();
    this.#pathById.clear();
  }

  #keep(directory: Directory): Directory {
    keepOf(this.#rows, directory.id, directory, ROWS_CACHED_MAX);
    return directory;
  }
}

/** Keeps a value, and beyond a count lets go of the older half: one by one, a map finds its first key ever more slowly. */
function keepOf<K, V>(kept: Map<K, V>, key: K, value: V, countMax: number): void {
  kept.set(key, value);
  if (kept.size <= countMax) return;
  for (const oldest of kept.keys()) {
    if (kept.size <= countMax / 2) return;
    kept.delete(oldest);
  }
}

/** The numbers of the trie nodes below the root that a key lies under. */
function nodesAbove(key: number): number[] {
  return Array.from({length: TRIE_DEPTH_MAX}, (_, above) => {
    const depth = above + 1;
    return 256 ** depth + Math.floor(key / 256 ** (TRIE_DEPTH_MAX - depth));
  });
}
