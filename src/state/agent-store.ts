/**
 * What the agent remembers of a link beside the volume's entries, in `agent.db`: its problems, whether a guard halted
 * it, what the operator confirmed, which root is the right one, how far the peer is.
 *
 * Shared between processes: a confirmation is given beside a running agent.
 *
 * Invariant: what decides over deletes (identity, halt, confirmation, link) carries a checksum and is durable when the
 * call returns; problems wait for `flush`.
 */
import type {HaltKind} from '../base/errors.ts';
import {sha256, type Digest} from '../model/digest.ts';
import {PROBLEM_CODES, type Problem, type ProblemCode} from '../model/problem.ts';
import type {RelPath} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import {bufferOf, Database, type Place, type SqlRow, type Statement} from './database.ts';

/** A guard that stopped the link. */
export interface Halt {
  kind: HaltKind;
  /** What the guard counted, and its limit; 0 where it counts nothing. */
  count: number;
  limit: number;
  /** One sentence for the operator. */
  message: string;
  sinceMs: number;
}

/** How far a link is. */
export interface LinkBase {
  epoch: number;
  /** Everything up to this sequence number is durable on the peer. */
  ackedSeq: number;
  /** The peer's state that this is said of; undefined before first contact. */
  peerStateId: Buffer | undefined;
  lastInSync: {atMs: number; digest: Digest} | undefined;
}

/** Where a page of problems ended. */
export type ProblemPlace = Pick<Problem, 'side' | 'path'>;

const SCHEMA_VERSION = 1;
const SCHEMA = `
CREATE TABLE problems (
  side TEXT NOT NULL, path TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,
  first_seen REAL NOT NULL, last_seen REAL NOT NULL, next_try REAL,
  PRIMARY KEY (side, path)
) WITHOUT ROWID, STRICT;
CREATE INDEX problems_due ON problems (next_try) WHERE next_try IS NOT NULL;
CREATE TABLE sealed (name TEXT PRIMARY KEY, body TEXT NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID, STRICT;
`;
const COLUMNS = 'side, path, code, message, first_seen, last_seen, next_try';
const CACHE_KIB = 2_048;
const CHECKPOINT_PAGES = 1_000;
const START: ProblemPlace = {side: '' as Problem['side'], path: ''};

/**
 * Opens `agent.db`, or makes it.
 * @throws STATE_NEWER, STATE_DAMAGED, REFUSED (others may write there), SYSTEM, LOCKED
 */
export function openAgentStore(options: {place: Place; bootId: string}): AgentStore {
  return new AgentStore(
    new Database({
      ...options,
      file: 'agent.db',
      schemaVersion: SCHEMA_VERSION,
      schema: SCHEMA,
      cacheKiB: CACHE_KIB,
      checkpointPages: CHECKPOINT_PAGES,
      isExclusive: false,
    }),
  );
}

export class AgentStore {
  readonly #db: Database;
  readonly #upsert: Statement;
  readonly #clear: Statement;
  readonly #page: Statement;
  readonly #one: Statement;
  readonly #due: Statement;
  readonly #count: Statement;
  readonly #seal: Statement;
  readonly #unseal: Statement;
  readonly #dropSealed: Statement;

  /** Counted when it is asked for: each file that arrives asks. */
  #problemCount: number | undefined;

  constructor(db: Database) {
    this.#db = db;
    this.#upsert = db.prepare(`INSERT INTO problems (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (side, path) DO UPDATE SET code = excluded.code, message = excluded.message,
        last_seen = excluded.last_seen, next_try = excluded.next_try`);
    this.#clear = db.prepare('DELETE FROM problems WHERE side = ? AND path = ?');
    this.#page = db.prepare(`SELECT ${COLUMNS} FROM problems WHERE (side, path) > (?, ?) ORDER BY side, path LIMIT ?`);
    this.#one = db.prepare(`SELECT ${COLUMNS} FROM problems WHERE side = ? AND path = ?`);
    this.#due = db.prepare(`SELECT ${COLUMNS} FROM problems WHERE next_try <= ? ORDER BY next_try LIMIT ?`);
    this.#count = db.prepare('SELECT count(*) FROM problems');
    this.#seal = db.prepare('INSERT OR REPLACE INTO sealed VALUES (?, ?, ?)');
    this.#unseal = db.prepare('SELECT body, sum FROM sealed WHERE name = ?');
    this.#dropSealed = db.prepare('DELETE FROM sealed WHERE name = ?');
  }

  get openedUnclean(): boolean {
    return this.#db.openedUnclean;
  }

  /** Notes a problem; one that is known at that path keeps the time it was first seen. */
  upsertProblem(problem: Problem): void {
    const {side, path, code, message, firstSeenMs, lastSeenMs, nextTryMs} = problem;
    this.#upsert.run(side, path, code, message, firstSeenMs, lastSeenMs, nextTryMs ?? null);
    this.#problemCount = undefined;
    this.#db.wrote(1);
  }

  /** @returns whether there was one */
  clearProblem(side: Problem['side'], path: RelPath): boolean {
    if (this.problemCount() === 0) return false;
    const count = this.#clear.run(side, path);
    if (count > 0) this.#problemCount = undefined;
    this.#db.wrote(count);
    return count > 0;
  }

  /** A page of problems by side and path; the next one starts `after` the last one. */
  problems(countMax: number, after: ProblemPlace = START): Problem[] {
    return this.#page.all(after.side, after.path, countMax).map(problemOf);
  }

  /** The problem of one path on one side. */
  problemOf(side: Problem['side'], path: RelPath): Problem | undefined {
    const row = this.#one.get(side, path);
    return row === undefined ? undefined : problemOf(row);
  }

  problemCount(): number {
    return (this.#problemCount ??= this.#count.get()?.[0] as number);
  }

  /** Problems whose next try has come, the longest waiting first. */
  dueProblems(nowMs: number, countMax = 1_000): Problem[] {
    return this.#due.all(nowMs, countMax).map(problemOf);
  }

  /** The root that was accepted as this volume's. @throws STATE_DAMAGED, as all of the following */
  rootIdentity(): RootIdentity | undefined {
    return this.#read('root') as RootIdentity | undefined;
  }

  setRootIdentity(identity: RootIdentity): void {
    this.#write('root', identity);
  }

  /** The operator takes what is there now for the root. */
  forgetRoot(): void {
    this.#write('root', undefined);
  }

  /** Halts the link until `clearHalt`, also over a restart. */
  halt(halt: Halt): void {
    this.#write('halt', halt);
  }

  haltOf(): Halt | undefined {
    return this.#read('halt') as Halt | undefined;
  }

  clearHalt(): void {
    this.#write('halt', undefined);
  }

  /** Notes how many deletes the operator confirmed. */
  confirm(count: number): void {
    this.#write('confirmation', {count});
  }

  /** The confirmed count, once; 0 when nothing was confirmed. */
  takeConfirmation(): number {
    const confirmation = this.#read('confirmation') as {count: number} | undefined;
    if (confirmation === undefined) return 0;
    this.#write('confirmation', undefined);
    return confirmation.count;
  }

  /** How far the link is; at the beginning when nothing was noted. */
  linkBase(): LinkBase {
    const stored = this.#read('link') as StoredLinkBase | undefined;
    return {
      epoch: stored?.epoch ?? 0,
      ackedSeq: stored?.ackedSeq ?? 0,
      peerStateId: hexBytes(stored?.peerStateId),
      lastInSync:
        stored?.lastInSync === undefined
          ? undefined
          : {atMs: stored.lastInSync.atMs, digest: Buffer.from(stored.lastInSync.digest, 'hex')},
    };
  }

  /** Changes some of it. An older `ackedSeq` after a crash only makes more to compare, so that one waits for `flush`. */
  setLinkBase(changes: Partial<LinkBase>): void {
    const base = {...this.linkBase(), ...changes};
    const stored: StoredLinkBase = {
      epoch: base.epoch,
      ackedSeq: base.ackedSeq,
      peerStateId: base.peerStateId?.toString('hex'),
      lastInSync: base.lastInSync && {atMs: base.lastInSync.atMs, digest: base.lastInSync.digest.toString('hex')},
    };
    const isLight = changes.epoch === undefined && !('peerStateId' in changes);
    this.#write('link', stored, !isLight);
  }

  get isDirty(): boolean {
    return this.#db.isDirty;
  }

  /** Commits; durable at return. @throws SYSTEM when the disk is full or read-only */
  flush(): void {
    this.#db.flush();
  }

  close(): void {
    this.#db.close();
  }

  /** Closes as a kill would. */
  abandon(): void {
    this.#db.abandon();
  }

  #write(name: string, value: object | undefined, isDurable = true): void {
    if (value === undefined) this.#dropSealed.run(name);
    else {
      const body = JSON.stringify(value);
      this.#seal.run(name, body, sumOf(name, body));
    }
    this.#db.wrote(1);
    if (isDurable) this.#db.flush();
  }

  #read(name: string): unknown {
    const row = this.#unseal.get(name);
    if (row === undefined) return undefined;
    const body = row[0] as string;
    if (!sumOf(name, body).equals(bufferOf(row[1])))
      throw this.#db.damaged(`the row "${name}" is not as it was written`);
    return JSON.parse(body);
  }
}

interface StoredLinkBase {
  epoch: number;
  ackedSeq: number;
  peerStateId: string | undefined;
  lastInSync: {atMs: number; digest: string} | undefined;
}

function hexBytes(hex: string | undefined): Buffer | undefined {
  return hex === undefined ? undefined : Buffer.from(hex, 'hex');
}

function sumOf(name: string, body: string): Buffer {
  return sha256(Buffer.from(`${name}\n${body}`));
}

function problemOf(row: SqlRow): Problem {
  const [side, path, code, message, firstSeenMs, lastSeenMs, nextTryMs] = row;
  return {
    side: side as Problem['side'],
    path: path as RelPath,
    code: PROBLEM_CODES.includes(code as ProblemCode) ? (code as ProblemCode) : 'internal',
    message: message as string,
    firstSeenMs: firstSeenMs as number,
    lastSeenMs: lastSeenMs as number,
    nextTryMs: (nextTryMs as number | null) ?? undefined,
  };
}
