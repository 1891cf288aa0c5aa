/**
 * One SQLite file of the state: opened with checks, written in transactions that begin by themselves, closed cleanly.
 *
 * Not a query builder: the stores write their SQL. Source: https://www.sqlite.org/wal.html, pragma.html.
 *
 * Invariant: after an error of the database nothing that was not committed remains, neither in the file nor (through
 * `onRollback`) in a store's memory.
 */
import {randomBytes} from 'node:crypto';
import {DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync} from 'node:sqlite';
import {bug, invariant, messageOf, TowlineError} from '../base/errors.ts';
import {prepareFile, prepareFolder} from './state-files.ts';

export type SqlValue = SQLInputValue;
/** A row as an array, in the order of the selected columns. */
export type SqlRow = readonly SQLOutputValue[];

/** Where a store lives: a folder, or memory for short runs and tests. */
export type Place = {folder: string} | ':memory:';

export interface DatabaseOptions {
  place: Place;
  /** File name inside the folder. */
  file: string;
  /** Version that this code writes, from 1. */
  schemaVersion: number;
  /** SQL that makes an empty file one of that version. */
  schema: string;
  /** For each older version that may be found: SQL that makes a file of it one of the next version, and keeps its rows. */
  upgrades?: Readonly<Record<number, string>>;
  cacheKiB: number;
  /** Size of the write-ahead log from which it is copied into the file, in pages of 8 KiB. */
  checkpointPages: number;
  /** Whether one process has the file to itself until it closes: faster, and a second owner is noticed. */
  isExclusive: boolean;
  /** Names this boot of the machine; '' where it is not known. */
  bootId: string;
  /** Whether a commit waits for the disk; without, a power cut may take the last ones back, as a whole. Default true. */
  isDurable?: boolean;
  /** Another process may have the file open for long: neither this opening nor its end is noted. */
  isGlance?: boolean;
}

/** What a store keeps in memory beside its file. */
export interface TransactionHooks {
  /** Something is to be written: from now on until the next commit. */
  onBegin?: () => void;
  /** Writes what is only in memory; called before a commit. */
  onCommit(): void;
  /** Forgets what is in memory and reads it again; called after any rollback. */
  onRollback(): void;
}

const ROWS_PER_COMMIT = 20_000; // bounds what a crash forgets, at 50 ms or so of work
const WAIT_MS_MAX = 2_000; // for another process with a shared file, which only ever writes a few rows
const LOG_BYTES_KEPT_MAX = 64 << 20; // a log that one large transaction blew up is cut again
const SQLITE_ERRNO: Record<number, string> = {8: 'EROFS', 10: 'EIO', 13: 'ENOSPC', 14: 'ENOENT', 23: 'EACCES'};
const META_SCHEMA = 'CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) WITHOUT ROWID, STRICT;';

/** A prepared statement that gives rows as arrays and errors as TowlineErrors, and writes in a transaction only. */
export class Statement {
  readonly #statement: StatementSync;
  readonly #begin: () => void;
  readonly #failed: (error: unknown) => Error;

  constructor(statement: StatementSync, parts: {begin: () => void; failed: (error: unknown) => Error}) {
    statement.setReturnArrays(true);
    this.#statement = statement;
    this.#begin = parts.begin;
    this.#failed = parts.failed;
  }

  get(...values: SqlValue[]): SqlRow | undefined {
    try {
      return this.#statement.get(...values) as unknown as SqlRow | undefined;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  all(...values: SqlValue[]): SqlRow[] {
    try {
      return this.#statement.all(...values) as unknown as SqlRow[];
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Rows one by one; the statement must not be used again before the end. */
  *each(...values: SqlValue[]): Generator<SqlRow> {
    try {
      for (const row of this.#statement.iterate(...values)) yield row as unknown as SqlRow;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** @returns count of changed rows */
  run(...values: SqlValue[]): number {
    return this.runWith(values);
  }

  /** As `run`, for many values: they are not copied once more. */
  runWith(values: readonly SqlValue[]): number {
    this.#begin();
    try {
      return this.#statement.run(...values).changes as number;
    } catch (error) {
      throw this.#failed(error);
    }
  }
}

export class Database {
  /** Path of the file, or ':memory:'. */
  readonly path: string;
  /** The last run did not close this file. */
  readonly openedUnclean: boolean;
  /** The boot in which the file was opened before; undefined: never. */
  readonly bootIdBefore: string | undefined;
  readonly #db: DatabaseSync;
  readonly #statementParts = {begin: () => this.begin(), failed: (error: unknown) => this.#failed(error)};
  #hooks: TransactionHooks | undefined;
  #isOpen = false;
  #batchDepth = 0;
  #rows = 0;
  #isClosed = false;
  #isSuspect = false;
  readonly #isGlance: boolean;

  /** @throws STATE_NEWER, STATE_DAMAGED, REFUSED (others may write there), SYSTEM, LOCKED */
  constructor(options: DatabaseOptions) {
    this.path = pathOf(options);
    this.#db = this.#guard(() => new DatabaseSync(this.path, {timeout: options.isExclusive ? 0 : WAIT_MS_MAX}));
    try {
      this.#guard(() => this.#prepare(options));
      const wasOpen = this.meta('open');
      this.openedUnclean = wasOpen === 1;
      this.bootIdBefore = this.meta('boot') as string | undefined;
      this.#isGlance = options.isGlance ?? false;
      if (this.#isGlance) return;
      if (this.openedUnclean) this.#guard(() => this.#check());
      this.setMeta('open', 1);
      this.setMeta('boot', options.bootId);
      this.flush(); // waits for the disk in any case: that the file was not closed must be known afterwards
      if (options.isDurable === false) this.exec('PRAGMA synchronous = NORMAL');
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** Whether anything is not committed yet. */
  get isDirty(): boolean {
    return this.#isOpen;
  }

  /** Whether the file was found damaged, or may be: who owns it sets it aside after closing it. */
  get isSuspect(): boolean {
    return this.#isSuspect;
  }

  /** Something happened that cannot be, and this file may be the reason. */
  suspect(): void {
    this.#isSuspect = true;
  }

  /** Whether a batch is running: nothing can be committed now. */
  get isInBatch(): boolean {
    return this.#batchDepth > 0;
  }

  useHooks(hooks: TransactionHooks): void {
    this.#hooks = hooks;
  }

  prepare(sql: string): Statement {
    return this.#guard(() => new Statement(this.#db.prepare(sql), this.#statementParts));
  }

  exec(sql: string): void {
    this.#guard(() => this.#db.exec(sql));
  }

  /** Opens a transaction unless one is open; statements that write do it themselves. */
  begin(): void {
    if (this.#isOpen) return;
    this.exec('BEGIN IMMEDIATE');
    this.#isOpen = true;
    this.#hooks?.onBegin?.();
  }

  /** Notes changed rows; commits when enough came together. To be called once what belongs together is written. */
  wrote(rows: number): void {
    this.#rows += rows;
    if (this.#rows >= ROWS_PER_COMMIT && this.#batchDepth === 0) this.flush();
  }

  /** Commits; durable at return. */
  flush(): void {
    invariant(this.#batchDepth === 0, 'state flushed inside a batch');
    if (!this.#isOpen) return;
    this.#hooks?.onCommit();
    this.exec('COMMIT');
    this.#isOpen = false;
    this.#rows = 0;
  }

  /** Runs `work` so that all it writes is kept or, when it throws, nothing of it. */
  batch<T>(work: () => T): T {
    this.begin();
    // What is in memory must be in the file before the savepoint, or a rollback would read what is too old.
    this.#hooks?.onCommit();
    this.exec('SAVEPOINT batch');
    this.#batchDepth++;
    try {
      const result = work();
      this.exec('RELEASE batch');
      this.#batchDepth--;
      this.wrote(0);
      return result;
    } catch (error) {
      this.#abandonBatch();
      throw error;
    }
  }

  meta(name: string): SQLOutputValue | undefined {
    return this.prepare('SELECT value FROM meta WHERE name = ?').get(name)?.[0];
  }

  setMeta(name: string, value: SqlValue): void {
    this.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)').run(name, value);
    this.wrote(1);
  }

  /** Random bytes that were made with the file. */
  randomMeta(name: string, sizeBytes: number): Buffer {
    const known = this.meta(name);
    if (known instanceof Uint8Array) return bufferOf(known);
    const made = randomBytes(sizeBytes);
    this.setMeta(name, made);
    return made;
  }

  /** An error that names this file as damaged. */
  damaged(what: string, cause?: unknown): TowlineError {
    this.#isSuspect = true;
    const message = `the state file ${this.path} is damaged: ${what}; it can be set aside and made anew`;
    return new TowlineError('STATE_DAMAGED', message, {path: this.path, what}, {cause});
  }

  /** Commits, marks the stop as clean (unless it was a glance) and closes. */
  close(): void {
    if (this.#isClosed) return;
    if (this.#isSuspect) return this.abandon();
    this.#isClosed = true;
    try {
      if (!this.#isGlance) this.setMeta('open', 0);
      this.flush();
    } finally {
      this.#db.close();
    }
  }

  /** Closes as a kill would: what was not committed is lost, and the next open is unclean. */
  abandon(): void {
    this.#isClosed = true;
    this.#db.close();
  }

  #prepare(options: DatabaseOptions): void {
    const found = this.#pragma('user_version') as number;
    if (found > options.schemaVersion) {
      const message = `the state file ${this.path} was written by a newer version of Towline (format ${found}, this one knows ${options.schemaVersion}); use that version`;
      throw new TowlineError('STATE_NEWER', message, {found, known: options.schemaVersion});
    }
    const isEmpty = this.#db.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined;
    if (found === 0 && !isEmpty) throw this.damaged('it is another program’s database');
    if (found !== 0 && isEmpty) throw this.damaged('its tables are missing');
    const pragmas = ['page_size = 8192', 'journal_mode = WAL', 'synchronous = FULL'];
    // A read need not lock and unlock the file then, which doubles lookups.
    if (options.isExclusive) pragmas.unshift('locking_mode = EXCLUSIVE');
    pragmas.push(`cache_size = -${options.cacheKiB}`, `wal_autocheckpoint = ${options.checkpointPages}`);
    pragmas.push(`journal_size_limit = ${LOG_BYTES_KEPT_MAX}`, 'trusted_schema = OFF');
    for (const pragma of pragmas) this.#db.exec(`PRAGMA ${pragma}`);
    if (!isEmpty) return this.#upgrade(options);
    this.#db.exec(`BEGIN; ${META_SCHEMA} ${options.schema} PRAGMA user_version = ${options.schemaVersion}; COMMIT`);
  }

  /** Brings a file of an older version up to date, all steps or none; a damaged one is found before, not copied. */
  #upgrade({schemaVersion, upgrades}: DatabaseOptions): void {
    if (this.#pragma('user_version') === schemaVersion) return;
    this.#check();
    this.#db.exec('BEGIN IMMEDIATE');
    // Read again: another process may have opened the file, and upgraded it, meanwhile.
    for (let version = this.#pragma('user_version') as number; version < schemaVersion; version++) {
      const sql = upgrades?.[version];
      invariant(sql !== undefined, `no way from state format ${version} to the next`);
      this.#db.exec(`${sql} PRAGMA user_version = ${version + 1}`);
    }
    this.#db.exec('COMMIT'); // an error before it closes the file, which takes everything back
  }

  #check(): void {
    const found = this.#pragma('quick_check(1)');
    if (found !== 'ok') throw this.damaged(String(found));
  }

  #pragma(name: string): SQLOutputValue | undefined {
    return Object.values(this.#db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  }

  #abandonBatch(): void {
    if (this.#batchDepth === 0) return; // an error of the database has rolled everything back
    this.#batchDepth--;
    this.exec('ROLLBACK TO batch; RELEASE batch');
    this.#hooks?.onRollback();
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Rolls back after an error of the database and says what it means. */
  #failed(error: unknown): Error {
    if ((error as {code?: string}).code !== 'ERR_SQLITE_ERROR') return error as Error;
    if (this.#isOpen) {
      this.#isOpen = false;
      this.#batchDepth = 0;
      this.#rows = 0;
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      try {
        this.#hooks?.onRollback();
      } catch {
        // The first error says more than that reading fails as well.
      }
    }
    return this.#meaningOf(error as Error & {errcode: number});
  }

  #meaningOf(error: Error & {errcode: number}): TowlineError {
    const code = error.errcode & 0xff;
    const options = {cause: error};
    if (code === 11 || code === 26) return this.damaged(error.message, error);
    if (code === 5 || code === 6) {
      const message = `the state file ${this.path} is used by another process`;
      return new TowlineError('LOCKED', message, {path: this.path, holder: 'unknown'}, options);
    }
    const errno = SQLITE_ERRNO[code];
    if (errno === undefined) {
      return bug(`in the state: ${messageOf(error)} (${this.path})`, error);
    }
    const message = `the state file ${this.path} cannot be written or read: ${messageOf(error)}`;
    return new TowlineError('SYSTEM', message, {syscall: 'sqlite', errno, path: this.path}, options);
  }
}

function pathOf(options: DatabaseOptions): string {
  if (options.place === ':memory:') return ':memory:';
  prepareFolder(options.place.folder);
  return prepareFile(options.place.folder, options.file);
}

/** A BLOB of a row as a Buffer over the same bytes. */
export function bufferOf(value: SQLOutputValue | undefined): Buffer {
  const bytes = value as Uint8Array;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
