/**
 * Signatures of files' delta blocks by content digest, one row per leaf, the least recently used dropped first.
 *
 * Not a truth: a lost signature costs reading the file again. Invariant: all rows together stay within the limit.
 */
import type {Digest} from '../model/digest.ts';
import {bufferOf, type Database, type Statement} from './database.ts';

export interface SignatureHeader {
  /** Size of a delta block. */
  blockBytes: number;
  /** Size of the file. */
  sizeBytes: number;
  /** Seed of the strong sums. */
  seed: Buffer;
}

export interface StoredSignature extends SignatureHeader {
  /** One piece per leaf, in order; read while they are taken. */
  rows: Iterable<Buffer>;
}

const ROW_OVERHEAD_BYTES = 48; // key and page share of a row

export class SignatureCache {
  readonly #db: Database;
  readonly #limitBytes: number;
  readonly #find: Statement;
  readonly #use: Statement;
  readonly #insert: Statement;
  readonly #row: Statement;
  readonly #insertRow: Statement;
  readonly #oldest: Statement;
  readonly #drop: Statement;
  readonly #dropRows: Statement;
  readonly #sum: Statement;
  #totalBytes = 0;
  #lastUse = 0;

  constructor(db: Database, options: {limitBytes: number}) {
    this.#db = db;
    this.#limitBytes = options.limitBytes;
    this.#find = db.prepare('SELECT block_bytes, size, seed, used FROM signatures WHERE content = ?');
    this.#use = db.prepare('UPDATE signatures SET used = ? WHERE content = ?');
    this.#insert = db.prepare('INSERT INTO signatures VALUES (?, ?, ?, ?, ?, ?)');
    this.#row = db.prepare('SELECT row FROM signature_rows WHERE content = ? AND leaf = ?');
    this.#insertRow = db.prepare('INSERT INTO signature_rows VALUES (?, ?, ?)');
    this.#oldest = db.prepare('SELECT content, bytes FROM signatures ORDER BY used LIMIT 1');
    this.#drop = db.prepare('DELETE FROM signatures WHERE content = ? RETURNING bytes');
    this.#dropRows = db.prepare('DELETE FROM signature_rows WHERE content = ?');
    this.#sum = db.prepare('SELECT coalesce(sum(bytes), 0), coalesce(max(used), 0) FROM signatures');
    this.reload();
  }

  /** Reads again what is kept in memory. */
  reload(): void {
    [this.#totalBytes, this.#lastUse] = this.#sum.get() as [number, number];
  }

  /** Stores a signature in place of an older one of that content; one larger than the limit is not kept. */
  put(content: Digest, header: SignatureHeader, rows: Iterable<Buffer>): void {
    this.#db.batch(() => {
      this.#remove(content);
      let bytes = ROW_OVERHEAD_BYTES;
      let leaf = 0;
      for (const row of rows) {
        bytes += row.length + ROW_OVERHEAD_BYTES;
        if (bytes > this.#limitBytes) break;
        this.#insertRow.run(content, leaf++, row);
      }
      this.#db.wrote(leaf + 1);
      if (bytes > this.#limitBytes) {
        this.#dropRows.run(content);
        return;
      }
      this.#insert.run(content, header.blockBytes, header.sizeBytes, header.seed, bytes, ++this.#lastUse);
      this.#totalBytes += bytes;
      while (this.#totalBytes > this.#limitBytes) this.#remove(bufferOf(this.#oldest.get()?.[0]));
    });
  }

  get(content: Digest): StoredSignature | undefined {
    const found = this.#find.get(content);
    if (found === undefined) return undefined;
    if (found[3] !== this.#lastUse) {
      this.#use.run(++this.#lastUse, content);
      this.#db.wrote(1);
    }
    const [blockBytes, sizeBytes] = found as [number, number];
    return {blockBytes, sizeBytes, seed: bufferOf(found[2]), rows: this.#rowsOf(content)};
  }

  *#rowsOf(content: Digest): Generator<Buffer> {
    for (let leaf = 0; ; leaf++) {
      const row = this.#row.get(content, leaf);
      if (row === undefined) return;
      yield bufferOf(row[0]);
    }
  }

  #remove(content: Digest): void {
    const row = this.#drop.get(content);
    if (row === undefined) return;
    this.#totalBytes -= row[0] as number;
    this.#dropRows.run(content);
  }
}
