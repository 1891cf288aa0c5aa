/**
 * The numbers of a volume that are kept in memory and written with each commit.
 *
 * Invariant: a directory id or sequence number is never given out twice, also not after a crash.
 */
import type {Database, Statement} from './database.ts';
import {rowSum} from './row-sum.ts';

// After an unclean stop that many sequence numbers are passed over: a crash may have given them out uncommitted.
const SEQ_GAP = 1 << 20;

export class Counters {
  /** Entries of the volume, without the root. */
  entries = 0;
  /** Files whose content is not known. */
  unread = 0;
  #nextDirId = 0;
  #seq = 0;
  #seqCommitted = 0;
  readonly #db: Database;
  readonly #load: Statement;
  readonly #save: Statement;

  constructor(db: Database) {
    this.#db = db;
    this.#load = db.prepare('SELECT entries, unread, next_dir, seq, id FROM counters');
    this.#save = db.prepare('UPDATE counters SET entries = ?, unread = ?, next_dir = ?, seq = ?, id = ?');
    this.load();
    if (db.openedUnclean) {
      db.begin();
      this.#seq += SEQ_GAP;
    }
  }

  get seq(): number {
    return this.#seq;
  }

  get nextDirId(): number {
    return this.#nextDirId;
  }

  takeDirId(): number {
    return this.#nextDirId++;
  }

  takeSeq(): number {
    // Committed long before the gap is used up.
    if (this.#seq - this.#seqCommitted >= SEQ_GAP / 2 && !this.#db.isInBatch) this.#db.flush();
    this.#db.begin();
    return ++this.#seq;
  }

  load(): void {
    const row = this.#load.get() as [number, number, number, number, number] | undefined;
    // The guard of deletes counts by them. The id is their checksum; 1: an older version has written them.
    if (row === undefined || (row[4] !== 1 && row[4] !== sumOf(row))) throw this.#db.damaged('the counters are wrong');
    [this.entries, this.unread] = row;
    this.#nextDirId = Math.max(this.#nextDirId, row[2]);
    this.#seq = Math.max(this.#seq, row[3]);
    this.#seqCommitted = this.#seq;
  }

  save(): void {
    const row = [this.entries, this.unread, this.#nextDirId, this.#seq];
    this.#save.run(...row, sumOf(row));
    this.#seqCommitted = this.#seq;
  }
}

function sumOf(row: readonly number[]): number {
  return rowSum(row, [0, 1, 2, 3]) + 2; // another than 1
}
