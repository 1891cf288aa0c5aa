/**
 * Files whose content was read shortly after it had changed, until they are read once more. In `volume.db`, so that
 * neither their number nor a restart matters; by inode, which a rename keeps.
 *
 * Not the judge of what is due. Invariant: what was noted is given out when it is due, again after a crash, for as long as
 * the content that was read is in the state; it is forgotten only by `done`.
 */
import type {Database, Statement} from './database.ts';

/** Inodes that are due together. */
export interface FreshGroup {
  inodes: readonly number[];
  /** They were read, or need not be. */
  done(): void;
}

const INODES_MAX = 4_096; // of a group: 32 KiB

export class FreshReads {
  readonly #db: Database;
  readonly #insert: Statement;
  readonly #first: Statement;
  readonly #earliest: Statement;
  readonly #all: Statement;
  readonly #delete: Statement;
  /** Not written yet; with the next commit at the latest. */
  #open: {dueMs: number; inodes: Set<number>} | undefined;

  constructor(db: Database) {
    this.#db = db;
    // Older versions neither make nor miss it.
    db.exec(
      'CREATE TABLE IF NOT EXISTS fresh_reads (id INTEGER PRIMARY KEY, due_ms INTEGER NOT NULL, inodes BLOB NOT NULL) STRICT',
    );
    this.#insert = db.prepare('INSERT INTO fresh_reads (due_ms, inodes) VALUES (?, ?)');
    this.#first = db.prepare(
      'SELECT id, inodes FROM fresh_reads WHERE due_ms <= ? OR due_ms > ? ORDER BY due_ms, id LIMIT 1',
    );
    this.#earliest = db.prepare('SELECT min(due_ms) FROM fresh_reads');
    this.#all = db.prepare('SELECT inodes FROM fresh_reads');
    this.#delete = db.prepare('DELETE FROM fresh_reads WHERE id = ?');
  }

  /** To be called after the content was put into the state: both are committed together. @param dueMs ms since the epoch */
  note(ino: number, dueMs: number): void {
    const open = this.#open;
    if (open !== undefined && (open.dueMs !== dueMs || open.inodes.size >= INODES_MAX)) this.save();
    this.#open ??= {dueMs, inodes: new Set()};
    this.#open.inodes.add(ino);
  }

  /** When the first are due; undefined when there are none. */
  nextDueMs(): number | undefined {
    const [earliest] = this.#earliest.get() as [number | null];
    if (this.#open === undefined) return earliest ?? undefined;
    return Math.min(earliest ?? Infinity, this.#open.dueMs);
  }

  /** Whether a file is to be read again. All groups are looked through. */
  has(ino: number): boolean {
    if (this.#open?.inodes.has(ino) === true) return true;
    return this.#all.all().some(([bytes]) => inodesOf(bytes as unknown as Uint8Array).includes(ino));
  }

  /** @param latestMs what is due later than this can only come from a clock that was set back: it is due too */
  due(nowMs: number, latestMs: number): FreshGroup | undefined {
    if (this.#open !== undefined && (this.#open.dueMs <= nowMs || this.#open.dueMs > latestMs)) this.save();
    const row = this.#first.get(nowMs, latestMs);
    if (row === undefined) return undefined;
    const [id, bytes] = row as unknown as [number, Uint8Array];
    return {
      inodes: [...inodesOf(bytes)],
      done: () => {
        this.#delete.run(id);
        this.#db.wrote(1);
      },
    };
  }

  /** Writes what is only in memory; before a commit. */
  save(): void {
    if (this.#open === undefined) return;
    const {dueMs, inodes} = this.#open;
    this.#open = undefined;
    this.#insert.run(dueMs, new Uint8Array(Float64Array.from(inodes).buffer));
  }
}

function inodesOf({buffer, byteOffset, byteLength}: Uint8Array): Float64Array {
  return new Float64Array(buffer.slice(byteOffset, byteOffset + byteLength));
}
