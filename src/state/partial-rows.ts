/**
 * Which files in the staging folder are parts of large ones, in `journal.db`: kept over connections and restarts, so that
 * a transfer goes on where it ended.
 *
 * Invariant: a row is a hint and nothing else. Who takes a part up compares it with what is there, and every leaf of it
 * with its digest.
 */
import {isTowlineError} from '../base/errors.ts';
import {isPartialStage, type PartialFile} from '../model/partial-file.ts';
import type {RelPath} from '../model/path.ts';
import type {Database, SqlRow, Statement} from './database.ts';

export const PARTIALS_SCHEMA = `CREATE TABLE partials (
  stage TEXT PRIMARY KEY, path TEXT NOT NULL, size REAL NOT NULL, ino REAL NOT NULL,
  btime_s REAL NOT NULL, btime_ns INTEGER NOT NULL, at_ms REAL NOT NULL
) WITHOUT ROWID, STRICT;`;

export class PartialRows {
  readonly #db: Database;
  readonly #put: Statement;
  readonly #drop: Statement;
  readonly #all: Statement;

  constructor(db: Database) {
    this.#db = db;
    this.#put = db.prepare('INSERT OR REPLACE INTO partials VALUES (?, ?, ?, ?, ?, ?, ?)');
    this.#drop = db.prepare('DELETE FROM partials WHERE stage = ?');
    this.#all = db.prepare(
      'SELECT stage, path, size, ino, btime_s, btime_ns, at_ms FROM partials ORDER BY at_ms, stage',
    );
  }

  /** The oldest first; rows that this program did not write are passed over. */
  all(): PartialFile[] {
    return this.#all
      .all()
      .map(fileOf)
      .filter(({stage}) => isPartialStage(stage));
  }

  /** Durable at return; not noted where the state's disk is full or read-only. */
  put({stage, path, sizeBytes, ino, btime, atMs}: PartialFile): void {
    try {
      this.#put.run(stage, path, sizeBytes, ino, btime.s, btime.ns, atMs);
      this.#db.flush();
    } catch (error) {
      if (!isTowlineError(error) || error.code !== 'SYSTEM') throw error; // without a row it is sent again, and no more
    }
  }

  /** After a crash it may be there once more. */
  drop(stage: string): void {
    try {
      this.#drop.run(stage);
    } catch (error) {
      if (!isTowlineError(error) || error.code !== 'SYSTEM') throw error; // a row without its file is passed over
    }
  }
}

function fileOf(row: SqlRow): PartialFile {
  const [stage, path, sizeBytes, ino, s, ns, atMs] = row;
  return {
    stage: stage as string,
    path: path as RelPath,
    sizeBytes: sizeBytes as number,
    ino: ino as number,
    btime: {s: s as number, ns: ns as number},
    atMs: atMs as number,
  };
}
