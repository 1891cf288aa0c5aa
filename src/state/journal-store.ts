/**
 * The journal of batches in `journal.db`: what is in it is rolled forward after a crash. One fsync a batch.
 *
 * Not a queue: the caller knows what it appended. Invariant: a row is whole and as it was written, or it is an error.
 */
import {isTowlineError} from '../base/errors.ts';
import {sha256} from '../model/digest.ts';
import {bufferOf, Database, type Place, type Statement} from './database.ts';
import {PartialRows, PARTIALS_SCHEMA} from './partial-rows.ts';

export interface JournalBatch {
  id: number;
  body: Buffer;
}

export const JOURNAL_SCHEMA_VERSION = 2;
export const JOURNAL_SCHEMA = `CREATE TABLE batches (id INTEGER PRIMARY KEY, body BLOB NOT NULL, sum BLOB NOT NULL) STRICT; ${PARTIALS_SCHEMA}`;
/** Version 1 knew nothing of files that are staged in part. */
const UPGRADES = {1: PARTIALS_SCHEMA};
const SETTLE_MS = 500; // nothing follows: the last one leaves the file by itself
const CACHE_KIB = 2_048;
const CHECKPOINT_PAGES = 2_048; // 16 MB: copying the log costs two fsyncs more, so it is done seldom

/**
 * Opens `journal.db`, or makes it.
 * @throws STATE_NEWER, STATE_DAMAGED, REFUSED (others may write there), SYSTEM, LOCKED
 */
export function openJournalStore(options: {place: Place; bootId: string}): JournalStore {
  const db = new Database({
    ...options,
    file: 'journal.db',
    schemaVersion: JOURNAL_SCHEMA_VERSION,
    schema: JOURNAL_SCHEMA,
    upgrades: UPGRADES,
    cacheKiB: CACHE_KIB,
    checkpointPages: CHECKPOINT_PAGES,
    isExclusive: true,
  });
  try {
    const journal = new JournalStore(db);
    journal.pending(); // what cannot be rolled forward is known before anything is
    return journal;
  } catch (error) {
    db.abandon();
    throw error;
  }
}

export class JournalStore {
  /** Files that are staged in part. */
  readonly partials: PartialRows;
  readonly #db: Database;
  readonly #insert: Statement;
  readonly #all: Statement;
  readonly #delete: Statement;
  /** Dropped, but not yet in the file: they ride with the next commit. */
  readonly #dropped = new Set<number>();
  #settling: NodeJS.Timeout | undefined;

  constructor(db: Database) {
    this.#db = db;
    this.partials = new PartialRows(db);
    this.#insert = db.prepare('INSERT INTO batches VALUES (?, ?, ?)');
    this.#all = db.prepare('SELECT id, body, sum FROM batches ORDER BY id');
    this.#delete = db.prepare('DELETE FROM batches WHERE id = ?');
  }

  /** As of `VolumeStore`. */
  get isSuspect(): boolean {
    return this.#db.isSuspect;
  }

  /**
   * Stores a batch under an id that is not in the journal; durable at return.
   * @throws SYSTEM when the disk is full or read-only: the batch is not in the journal
   */
  append(batch: JournalBatch): void {
    clearTimeout(this.#settling);
    for (const id of this.#dropped) this.#delete.run(id);
    this.#insert.run(batch.id, batch.body, sumOf(batch));
    this.#db.flush();
    this.#dropped.clear();
  }

  /** What was appended and not dropped, in the order of ids. @throws STATE_DAMAGED on a bad checksum */
  pending(): JournalBatch[] {
    const batches: JournalBatch[] = [];
    for (const row of this.#all.all()) {
      const batch = {id: row[0] as number, body: bufferOf(row[1])};
      if (this.#dropped.has(batch.id)) continue;
      if (!sumOf(batch).equals(bufferOf(row[2]))) throw this.#db.damaged(`batch ${batch.id} is not as it was written`);
      batches.push(batch);
    }
    return batches;
  }

  /**
   * Takes a batch out. It leaves the file with the next one that is appended, or half a second later: after a crash
   * until then it is there once more.
   */
  drop(id: number): void {
    this.#dropped.add(id);
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#settle(), SETTLE_MS).unref();
  }

  /** Takes the dropped ones out of the file; durable at return. */
  #settle(): void {
    try {
      for (const id of this.#dropped) this.#delete.run(id);
      this.#db.flush();
      this.#dropped.clear();
    } catch (error) {
      if (!isTowlineError(error)) throw error; // a full disk, say: whoever appends is told, and done twice is done
    }
  }

  /** Takes the dropped ones out of the file, marks the stop as clean, closes. */
  close(): void {
    clearTimeout(this.#settling);
    try {
      for (const id of this.#dropped) this.#delete.run(id);
    } finally {
      this.#dropped.clear();
      this.#db.close();
    }
  }

  /** Closes as a kill would. */
  abandon(): void {
    clearTimeout(this.#settling);
    this.#dropped.clear();
    this.#db.abandon();
  }
}

function sumOf(batch: JournalBatch): Buffer {
  const id = Buffer.alloc(8);
  id.writeBigInt64BE(BigInt(batch.id));
  return sha256(Buffer.concat([id, batch.body]));
}
