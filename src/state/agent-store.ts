/**
 * What an agent remembers of its volumes and links beside the volumes' entries, in one file, `agent.db`: problems,
 * whether a guard halted it or the operator paused it, what was confirmed, which root is the right one, how far the
 * peer is. Rows are keyed by scope: `volume/NAME`, `send/NAME/PEER/AS`, `receive/NAME`, or '' for the only link there is.
 *
 * Shared between processes: a confirmation is given beside a running agent.
 *
 * Invariant: what decides over deletes (identity, halt, pause, confirmation, link) carries a checksum and is durable
 * when the call returns; problems wait for `flush`.
 */
import type {HaltKind} from '../base/errors.ts';
import {sha256, type Digest} from '../model/digest.ts';
import type {Problem} from '../model/problem.ts';
import type {RelPath} from '../model/path.ts';
import {CONFIGURED_ROLE, type VolumeRole} from '../model/role.ts';
import type {RootIdentity} from '../model/root.ts';
import type {ViewLimits} from '../model/view.ts';
import {
  AGENT_FROM_1,
  AGENT_SCHEMA,
  AGENT_SCHEMA_VERSION,
  prepareStatements,
  problemOf,
  type AgentStatements,
} from './agent-tables.ts';
import {bufferOf, Database, type Place, type Statement} from './database.ts';

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

export interface SourceNote {
  limits: ViewLimits;
  /** Name of the state's folder. */
  folder: string;
}

/** Where a page of problems ended. */
export type ProblemPlace = Pick<Problem, 'side' | 'path'>;

const CACHE_KIB = 2_048;
const CHECKPOINT_PAGES = 1_000;
const START: ProblemPlace = {side: '' as Problem['side'], path: ''};

/**
 * Opens `agent.db`, or makes it; one of an older version is brought up to date.
 * @param options `isGlance`: an agent may have it open, who looks does not change whether it was closed as it should
 * @throws STATE_NEWER, STATE_DAMAGED, REFUSED (others may write there), SYSTEM, LOCKED
 */
export function openAgentFile(options: {place: Place; bootId: string; isGlance?: boolean}): AgentFile {
  return new AgentFile(
    new Database({
      ...options,
      file: 'agent.db',
      schemaVersion: AGENT_SCHEMA_VERSION,
      schema: AGENT_SCHEMA,
      upgrades: {1: AGENT_FROM_1},
      cacheKiB: CACHE_KIB,
      checkpointPages: CHECKPOINT_PAGES,
      isExclusive: false,
    }),
  );
}

/** The open file. Its rows belong to scopes: the only link of a `sync` is '', an agent names its volumes and links. */
export class AgentFile {
  readonly #db: Database;
  readonly #statements: AgentStatements;
  readonly #scopes: Statement;
  readonly #notes = new Map<string, LinkNotes>();
  #onBegin: () => void = () => undefined;

  constructor(db: Database) {
    this.#db = db;
    this.#statements = prepareStatements(db);
    this.#scopes = db.prepare('SELECT scope FROM sealed UNION SELECT scope FROM problems');
    const onRollback = (): void => {
      for (const notes of this.#notes.values()) notes.dropCounts();
    };
    db.useHooks({onBegin: () => this.#onBegin(), onCommit: () => undefined, onRollback});
  }

  /** The notes of one scope, always the same object; nothing is read before it is asked for. */
  notes(scope: string): LinkNotes {
    let notes = this.#notes.get(scope);
    if (notes === undefined) {
      notes = new LinkNotes(scope, {db: this.#db, statements: this.#statements});
      this.#notes.set(scope, notes);
    }
    return notes;
  }

  /** All scopes that something is noted of, sorted. */
  scopes(): string[] {
    return this.#scopes.all().map(([scope]) => scope as string);
  }

  get openedUnclean(): boolean {
    return this.#db.openedUnclean;
  }

  /** As of `VolumeStore`. */
  get isSuspect(): boolean {
    return this.#db.isSuspect;
  }

  /** Told whenever there is something to commit where there was nothing. */
  set onBegin(handler: () => void) {
    this.#onBegin = handler;
    if (this.#db.isDirty) handler();
  }

  /** Commits what all scopes wrote; durable at return. @throws SYSTEM when the disk is full or read-only */
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
}

/** What is noted of one link, or of one volume. */
export class LinkNotes {
  readonly scope: string;
  readonly #db: Database;
  readonly #statements: AgentStatements;

  /** Counted when it is asked for: each file that arrives asks. */
  #problemCount: number | undefined;

  constructor(scope: string, parts: {db: Database; statements: AgentStatements}) {
    this.scope = scope;
    this.#db = parts.db;
    this.#statements = parts.statements;
  }

  /** Notes a problem; one that is known at that path keeps the time it was first seen. */
  upsertProblem(problem: Problem): void {
    const {side, path, code, message, firstSeenMs, lastSeenMs, nextTryMs} = problem;
    this.#statements.upsert.run(this.scope, side, path, code, message, firstSeenMs, lastSeenMs, nextTryMs ?? null);
    this.#problemCount = undefined;
    this.#db.wrote(1);
  }

  /** @returns whether there was one */
  clearProblem(side: Problem['side'], path: RelPath): boolean {
    if (this.problemCount() === 0) return false;
    const count = this.#statements.clear.run(this.scope, side, path);
    if (count > 0) this.#problemCount = undefined;
    this.#db.wrote(count);
    return count > 0;
  }

  /** A page of problems by side and path; the next one starts `after` the last one. */
  problems(countMax: number, after: ProblemPlace = START): Problem[] {
    return this.#statements.page.all(this.scope, after.side, after.path, countMax).map(problemOf);
  }

  /** The problem of one path on one side. */
  problemOf(side: Problem['side'], path: RelPath): Problem | undefined {
    const row = this.#statements.one.get(this.scope, side, path);
    return row === undefined ? undefined : problemOf(row);
  }

  problemCount(): number {
    return (this.#problemCount ??= this.#statements.count.get(this.scope)?.[0] as number);
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

  /** Whether the operator has paused it, also over a restart. */
  isPaused(): boolean {
    return this.#read('paused') !== undefined;
  }

  setPaused(isPaused: boolean): void {
    this.#write('paused', isPaused ? {} : undefined);
  }

  /** Of a volume: who is its source, and since which promotion; the configuration's when nothing was decided. */
  role(): VolumeRole {
    return (this.#read('role') as VolumeRole | undefined) ?? CONFIGURED_ROLE;
  }

  setRole(role: VolumeRole): void {
    this.#write('role', role);
  }

  /** Since when an application is quiesced for this volume, also over a restart: it is to be resumed. */
  quiescedSinceMs(): number | undefined {
    return (this.#read('quiesced') as {sinceMs: number} | undefined)?.sinceMs;
  }

  /** Durable at return. @param sinceMs undefined: it was resumed */
  setQuiesced(sinceMs: number | undefined): void {
    this.#write('quiesced', sinceMs === undefined ? undefined : {sinceMs});
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

  /** Of a link that sends: what its target holds, and in which state of the source it is compared. A hint. */
  source(): SourceNote | undefined {
    return this.#read('source') as SourceNote | undefined;
  }

  setSource(note: SourceNote): void {
    if (JSON.stringify(this.source()) !== JSON.stringify(note)) this.#write('source', note, false);
  }

  get isDirty(): boolean {
    return this.#db.isDirty;
  }

  /** Commits; durable at return. @throws SYSTEM when the disk is full or read-only */
  flush(): void {
    this.#db.flush();
  }

  /** Drops all that is noted in this scope; durable at return. */
  forget(): void {
    const {clearAll, unsealAll} = this.#statements;
    this.#db.wrote(clearAll.run(this.scope) + unsealAll.run(this.scope));
    this.#problemCount = undefined;
    this.#db.flush();
  }

  /** After a rollback: the count is of rows that may be there again. */
  dropCounts(): void {
    this.#problemCount = undefined;
  }

  #write(name: string, value: object | undefined, isDurable = true): void {
    if (value === undefined) this.#statements.dropSealed.run(this.scope, name);
    else {
      const body = JSON.stringify(value);
      this.#statements.seal.run(this.scope, name, body, this.#sumOf(name, body));
    }
    this.#db.wrote(1);
    if (isDurable) this.#db.flush();
  }

  #read(name: string): unknown {
    const row = this.#statements.unseal.get(this.scope, name);
    if (row === undefined) return undefined;
    const body = row[0] as string;
    if (!this.#sumOf(name, body).equals(bufferOf(row[1])))
      throw this.#db.damaged(`the row "${name}" is not as it was written`);
    return JSON.parse(body);
  }

  #sumOf(name: string, body: string): Buffer {
    const whose = this.scope === '' ? '' : `${this.scope}\n`; // a row of another scope is not believed
    return sha256(Buffer.from(`${whose}${name}\n${body}`));
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
