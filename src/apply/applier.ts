/**
 * Applies batches on the target, in order: create what is new, stage the rest, journal it, switch it, record it.
 *
 * Invariants: an answer says `done` only for what is durable; the journal's record is durable before the first switch;
 * the state never says more than what the disk holds.
 */
import type {Clock} from '../base/clock.ts';
import type {JobRunner} from '../base/jobs.ts';
import {NO_ATTRS} from '../model/attrs.ts';
import {sameDigest, type Digest} from '../model/digest.ts';
import {isUntouched, type Entry, type Stat} from '../model/entry.ts';
import {isCreation, opInView, type Failed, type Op, type OpResult} from '../model/op.ts';
import {unpackStat} from '../model/packed-stats.ts';
import {nameOf, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import {bumped, type VersionVector} from '../model/version.ts';
import {isTypeInView, type View} from '../model/view.ts';
import type {MessageOf} from '../wire/messages.ts';
import type {ApplyJobs, BatchInput, SeenDir} from './apply-jobs.ts';
import type {ApplyOptions} from './context.ts';
import {actionsOf, recoveredActions, type DestroyedAction} from './destroyed.ts';
import {DONE, failure} from './failure.ts';
import type {Switched} from './switch.ts';
import {GiveBack, type RowsOfFile} from './give-back.ts';
import {decodeJournal, encodeJournal, type Known} from './journal-record.ts';

/** What the applier needs of the state. */
export interface TargetStore extends RowsOfFile {
  getRoot(): Entry | undefined;
  putRoot(entry: Entry): void;
  get(parentId: number, name: Name): Entry | undefined;
  remove(parentId: number, name: Name): number;
  move(fromParentId: number, fromName: Name, toParentId: number, toName: Name): void;
  dirIdOf(path: RelPath): number | undefined;
  nextSeq(): number;
  batch<T>(work: () => T): T;
}

export interface Journal {
  append(batch: {id: number; body: Buffer}): void;
  pending(): Iterable<{id: number; body: Uint8Array}>;
  drop(id: number): void;
}

export interface ApplierParts {
  jobs: JobRunner<ApplyJobs>;
  store: TargetStore;
  journal: Journal;
  clock: Clock;
  /** Told what a batch deleted and replaced, before it is answered. */
  onDestroyed?: (actions: DestroyedAction[]) => void;
}

/** A file staged outside batches. */
export interface StagedFile {
  stage: string;
  content: Uint8Array;
}

interface Turn {
  created: Promise<void>;
  recorded: Promise<void>;
}

/** What a worker saw of an entry. */
type SeenEntry = Pick<Switched, 'attrs'> & {stat: Stat; found?: Stat | undefined};

export class Applier {
  readonly #options: ApplyOptions & {agent: string};
  readonly #parts: ApplierParts;
  readonly #giveBack: GiveBack;
  #nextBatch: number;
  /** Entries with more than one name whose metadata this batch has set, by inode. */
  readonly #linked = new Map<number, Entry>();
  /** Of the last batch: when the next one's creations may begin, and when it may be recorded. */
  #turn: Turn = {created: Promise.resolve(), recorded: Promise.resolve()};

  /** @param options `agent` is the source's short ID, for version vectors */
  constructor(options: ApplyOptions & {agent: string}, parts: ApplierParts) {
    this.#options = options;
    this.#parts = parts;
    this.#giveBack = new GiveBack(parts);
    this.#nextBatch = Math.floor(parts.clock.nowMs()) * 1_000; // above every name that an earlier run may have left
  }

  /**
   * Batches may be given while others are being applied: they take effect in the order in which they were given.
   * @param frame the encoded batch, as it came
   * @param staged transfers that are whole, by number
   * @param refused operations that are not to be done, by index
   * @returns a result per operation, in order
   */
  async apply(
    frame: Uint8Array,
    message: MessageOf<'batch'>,
    staged: Map<number, StagedFile>,
    refused: ReadonlyMap<number, Failed> = new Map(),
  ): Promise<OpResult[]> {
    const {view} = this.#options;
    const ops = message.ops.map((op) => opInView(op, view));
    const left = new Map([...refused, ...outOfView(ops, view)]);
    const input = {frame, options: this.#applyOptions(), batch: this.#nextBatch++, atMs: this.#parts.clock.nowMs()};
    const {before, created, recorded} = this.#takeTurn();
    try {
      const isCreating = ops[0] !== undefined && isCreation(ops[0]) && left.size === 0;
      if (isCreating) await before.created;
      const made = isCreating ? await this.#parts.jobs.run('create-batch', input) : undefined;
      // The worker makes the next batch's files while this one's are recorded.
      if (made?.count === ops.length) created.resolve();
      await before.recorded;
      return await this.#finish({...input, refused: left}, ops, made, staged);
    } finally {
      created.resolve();
      recorded.resolve();
    }
  }

  /**
   * Gives back a little of the space that files take beyond the source's, in turn with the batches.
   * @returns whether more is to be given back
   */
  async giveBack(): Promise<boolean> {
    if (!this.#giveBack.isWaiting) return false;
    const {before, created, recorded} = this.#takeTurn();
    try {
      await before.recorded;
      await this.#giveBack.step();
      return this.#giveBack.isWaiting;
    } finally {
      created.resolve();
      recorded.resolve();
    }
  }

  #takeTurn(): {before: Turn; created: PromiseWithResolvers<void>; recorded: PromiseWithResolvers<void>} {
    const before = this.#turn;
    const [created, recorded] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    this.#turn = {created: created.promise, recorded: recorded.promise};
    return {before, created, recorded};
  }

  /** Records what was created, and does the rest through the journal. */
  async #finish(
    input: BatchInput & {refused: Map<number, Failed>},
    ops: readonly Op[],
    made: ApplyJobs['create-batch']['out'] | undefined,
    staged: Map<number, StagedFile>,
  ): Promise<OpResult[]> {
    const results: OpResult[] = [];
    if (made !== undefined) this.#recordCreated(ops, made, results);
    let from = made?.count ?? 0;
    while (from < ops.length) from = await this.#applyRest(input, ops, from, staged, results);
    for (const entry of this.#linked.values()) this.#parts.store.refreshNames(entry);
    this.#linked.clear();
    if (results.some((result) => result.status === 'failed' && result.code === 'no-space')) await this.#makeRoom();
    return results;
  }

  #recordCreated(ops: readonly Op[], made: ApplyJobs['create-batch']['out'], results: OpResult[]): void {
    for (let index = 0; index < made.count; index++) {
      const stat = unpackStat(made.stats, index);
      if (stat === undefined) continue;
      results[index] = DONE;
      this.#record(ops[index] as Op, {stat, attrs: made.attrs.get(index) ?? NO_ATTRS}, undefined);
    }
    for (const {index, result} of made.failed) results[index] = result;
    this.#recordDirs(made.dirs);
  }

  /** Rolls batches forward that were journalled but not recorded as done. @returns how many */
  async recover(): Promise<number> {
    let count = 0;
    for (const {id, body} of [...this.#parts.journal.pending()]) {
      const {records, batch, atMs} = decodeJournal(body);
      const {jobs, journal, onDestroyed} = this.#parts;
      // Where the directories are now is seen by the scan that follows.
      const {switched} = await jobs.run('switch-batch', {records, options: this.#applyOptions(), batch, atMs});
      if (onDestroyed !== undefined) {
        const {items: indexed} = await jobs.run('indexed-trash', {atMs});
        this.#tellDestroyed(recoveredActions({atMs, batch}, records, {switched, indexed}));
      }
      journal.drop(id);
      count++;
    }
    await this.#parts.jobs.run('sweep-staging', {nowMs: this.#parts.clock.nowMs()}, {lane: 1}); // the lane of the scan that follows: one worker less to start
    return count;
  }

  async #applyRest(
    input: BatchInput & {refused: Map<number, Failed>},
    ops: readonly Op[],
    from: number,
    staged: Map<number, StagedFile>,
    results: OpResult[],
  ): Promise<number> {
    const {jobs, journal} = this.#parts;
    const known = ops.map((op, index) => (index < from ? undefined : this.#knownAt(op.path)));
    const stale = ops.flatMap((op, index) => (index >= from && this.#movesOtherContent(op) ? [index] : []));
    const {records, failed, next} = await jobs.run('stage-batch', {...input, from, known, stale, staged});
    for (const {index, result} of failed) results[index] = result;
    for (const {index} of failed) this.#doubt((ops[index] as Op).path, results[index] as OpResult);
    if (records.length === 0) return next;
    const id = this.#nextBatch++;
    journal.append({id, body: encodeJournal({version: 1, batch: input.batch, atMs: input.atMs, records})});
    const {switched, dirs} = await jobs.run('switch-batch', {
      records,
      options: input.options,
      batch: input.batch,
      atMs: input.atMs,
    });
    for (const one of switched) {
      const {index, result, stat} = one;
      results[index] = result;
      const op = ops[index] as Op;
      // Without some attributes it is there all the same.
      if (result.status === 'done' || (op.kind === 'set-meta' && stat !== undefined)) this.#recordSwitched(op, one);
      else this.#doubt(op.path, result);
    }
    this.#recordDirs(dirs);
    this.#tellDestroyed(actionsOf(input, ops, switched));
    journal.drop(id);
    return next;
  }

  #tellDestroyed(actions: DestroyedAction[]): void {
    if (actions.length > 0) this.#parts.onDestroyed?.(actions);
  }

  #applyOptions(): ApplyOptions {
    const {isDurable, view, reserved} = this.#options;
    return {isDurable, view, reserved};
  }

  /** A full disk: the oldest hour of the trash goes; the operation that failed is sent again. */
  async #makeRoom(): Promise<void> {
    await this.#parts.jobs.run('prune-trash', {nowMs: this.#parts.clock.nowMs(), keepMs: 0}, {lane: 1});
  }

  #knownAt(path: RelPath): Known | undefined {
    const entry = this.#entryAt(path);
    if (entry === undefined || !this.#isOwn(entry)) return undefined;
    const {type, ino, sizeBytes, mtime, ctime} = entry;
    return {type, ino, sizeBytes, mtime, ctime};
  }

  /**
   * Whether a rename would put a version under a name that it never had on the source: what moves here is not what the
   * source moved, because its content is still on the way.
   */
  #movesOtherContent(op: Op): boolean {
    if (op.kind !== 'rename' || op.type !== 'file') return false;
    const content = this.#entryAt(op.path)?.content;
    if (this.#entryAt(op.to) === undefined && (content === undefined || op.content === undefined)) return false;
    return !sameDigest(content, op.content);
  }

  /** Whether this link wrote what is there: the scan of a target notes its own agent on what somebody else changed. */
  #isOwn({version}: Entry): boolean {
    return version.length > 0 && version.every(({agent}) => agent === this.#options.agent);
  }

  #entryAt(path: RelPath): Entry | undefined {
    const {store} = this.#parts;
    if (path === ROOT) return store.getRoot();
    const parentId = store.dirIdOf(parentOf(path));
    return parentId === undefined ? undefined : store.get(parentId, nameOf(path));
  }

  #recordSwitched(op: Op, {stat, attrs, found, ...other}: Switched): void {
    const {store} = this.#parts;
    if (op.kind === 'delete') {
      const parentId = store.dirIdOf(parentOf(op.path));
      if (parentId !== undefined) store.remove(parentId, nameOf(op.path));
      return;
    }
    if (op.kind === 'rename') this.#moveRow(op.path, op.to);
    if (op.kind === 'exchange') this.#exchangeRows(op.path, op.to);
    if (stat !== undefined) this.#record(op, {stat, attrs, found}, this.#entryAt(placeOf(op)));
    if (op.kind === 'set-meta' && stat !== undefined && op.allocatedBytes !== undefined)
      this.#giveBack.note(op.path, stat, op.allocatedBytes);
    if (op.kind !== 'exchange' || other.otherStat === undefined) return;
    const seen = {stat: other.otherStat, attrs: other.otherAttrs, found: other.otherFound};
    this.#record({...op, path: op.to, to: op.path}, seen, this.#entryAt(op.path));
  }

  #moveRow(from: RelPath, to: RelPath): void {
    const {store} = this.#parts;
    const fromId = store.dirIdOf(parentOf(from));
    const toId = store.dirIdOf(parentOf(to));
    if (fromId === undefined || toId === undefined || store.get(fromId, nameOf(from)) === undefined) return;
    store.move(fromId, nameOf(from), toId, nameOf(to));
  }

  #exchangeRows(a: RelPath, b: RelPath): void {
    const {store} = this.#parts;
    const aId = store.dirIdOf(parentOf(a));
    const bId = store.dirIdOf(parentOf(b));
    if (aId === undefined || bId === undefined) return;
    const between = '/'; // within one transaction; no file can have that name
    store.batch(() => {
      store.move(aId, nameOf(a), aId, between);
      store.move(bId, nameOf(b), aId, nameOf(a));
      store.move(aId, between, bId, nameOf(b));
    });
  }

  /** @param before what the state has there; undefined where it was created */
  #record(op: Op, seen: SeenEntry, before: Entry | undefined): void {
    const {store} = this.#parts;
    const {stat, attrs} = seen;
    const path = placeOf(op);
    const linkTarget =
      op.kind === 'put-symlink'
        ? op.target
        : stat.type === 'symlink'
          ? ((op.kind === 'link' ? this.#entryAt(op.to) : before)?.linkTarget ?? '')
          : '';
    // Somebody put a symlink there, or something in the place of ours, since the switch: the next scan sees what.
    if ((stat.type === 'symlink') !== (linkTarget !== '')) return;
    const entry: Entry = {
      ...stat,
      name: path === ROOT ? '' : nameOf(path),
      linkTarget,
      attrs,
      content: this.#contentAfter(op, seen, before),
      isIncomplete: false,
      seq: store.nextSeq(),
      version: bumped(this.#versionBefore(op, before), this.#options.agent),
    };
    if (path === ROOT) return store.putRoot(entry);
    const parentId = store.dirIdOf(parentOf(path));
    if (parentId !== undefined) store.put(parentId, entry);
    if (op.kind === 'set-meta' && stat.nlink > 1 && stat.type !== 'dir') this.#linked.set(stat.ino, entry);
    // Another name changed the inode's ctime and link count: the other names' rows follow.
    if (op.kind === 'link') this.#refreshNames(op.to, entry);
  }

  /** New content is this link's alone; other operations leave whose content it is. */
  #versionBefore(op: Op, before: Entry | undefined): VersionVector {
    if (op.kind === 'link') return this.#entryAt(op.to)?.version ?? [];
    const version = before?.version ?? [];
    const isNew = isCreation(op) || op.kind === 'put-file';
    return isNew ? version.filter(({agent}) => agent === this.#options.agent) : version;
  }

  #refreshNames(path: RelPath, {ino, ctime, nlink, attrs}: Entry): void {
    const entry = this.#entryAt(path);
    const parentId = this.#parts.store.dirIdOf(parentOf(path));
    if (entry === undefined || parentId === undefined || entry.ino !== ino) return;
    this.#parts.store.put(parentId, {...entry, ctime, nlink, attrs});
  }

  #contentAfter(op: Op, {stat, found}: SeenEntry, before: Entry | undefined): Digest | undefined {
    if (stat.type !== 'file') return undefined;
    if (op.kind === 'put-file') return Buffer.from(op.content);
    if (op.kind === 'link') return this.#entryAt(op.to)?.content;
    // The bytes are those that were known, as long as nobody else has touched it: only its name or metadata changed.
    const isKnown = before !== undefined && (found === undefined || isAsRecorded(before, found));
    return isKnown && before.ino === stat.ino && before.sizeBytes === stat.sizeBytes ? before.content : undefined;
  }

  #recordDirs(dirs: readonly SeenDir[]): void {
    const {store} = this.#parts;
    for (const {path, stat, attrs} of dirs) {
      const entry = this.#entryAt(path);
      if (entry === undefined || entry.type !== 'dir' || stat.type !== 'dir') continue;
      const after = {...entry, ...stat, attrs};
      if (path === ROOT) store.putRoot(after);
      else store.put(store.dirIdOf(parentOf(path)) as number, after);
    }
  }

  /** Something else was found than what is recorded: its content counts as unread, so that the digests differ. */
  #doubt(path: RelPath, result: OpResult): void {
    if (result.status === 'done' || result.code !== 'base-changed' || path === ROOT) return;
    const entry = this.#entryAt(path);
    const parentId = this.#parts.store.dirIdOf(parentOf(path));
    if (entry?.type !== 'file' || entry.content === undefined || parentId === undefined) return;
    this.#parts.store.put(parentId, {...entry, content: undefined});
  }
}

/** Whether a file is the one of a row. Another name that was made or went since has changed its ctime. */
function isAsRecorded(row: Entry, now: Stat): boolean {
  return isUntouched(row, row.nlink > 1 ? {...now, ctime: row.ctime} : now);
}

/** Where an operation's entry is once it is done. */
function placeOf(op: Op): RelPath {
  return op.kind === 'rename' || op.kind === 'exchange' ? op.to : op.path;
}

/** What this side does not accept, whatever was agreed on: a device, say. By index. */
function outOfView(ops: readonly Op[], view: View): [number, Failed][] {
  return ops.flatMap((op, index): [number, Failed][] => {
    if (op.kind !== 'put-special' || isTypeInView(op.type, view)) return [];
    return [[index, failure('refused', op.path, `a ${op.type} is not accepted here`)]];
  });
}
