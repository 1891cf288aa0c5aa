/**
 * Applies batches on the target, in order: create what is new, stage the rest, journal it, switch it, record it.
 *
 * Invariants: an answer says `done` only for what is durable; the journal's record is durable before the first switch;
 * the state never says more than what the disk holds.
 */
import type {Clock} from '../base/clock.ts';
import type {JobRunner} from '../base/jobs.ts';
import {NO_ATTRS} from '../model/attrs.ts';
import {sameDigest} from '../model/digest.ts';
import type {Entry} from '../model/entry.ts';
import {isCreation, opInView, type Failed, type Op, type OpResult} from '../model/op.ts';
import {unpackStat} from '../model/packed-stats.ts';
import type {RelPath} from '../model/path.ts';
import {isTypeInView, type View} from '../model/view.ts';
import type {MessageOf} from '../wire/messages.ts';
import type {ApplyJobs, BatchInput} from './apply-jobs.ts';
import {stretchEnd} from './batch-frame.ts';
import type {ApplyOptions} from './context.ts';
import {actionsOf, type DestroyedAction} from './destroyed.ts';
import {DONE, failure, isUnusualTime, timeFailure} from './failure.ts';
import {GiveBack} from './give-back.ts';
import {bytesOfOp} from './make-room.ts';
import {nameClashes} from './name-clashes.ts';
import {encodeJournal, type JournalPlaces, type Known} from './journal-record.ts';
import type {PartialFiles} from './partial-files.ts';
import {rollForward, type Journal, type RolledForward} from './roll-forward.ts';
import type {StagedFile} from './staged-transfers.ts';
import {TargetRows, type TargetStore} from './target-rows.ts';

export interface ApplierParts {
  jobs: JobRunner<ApplyJobs>;
  store: TargetStore;
  journal: Journal;
  clock: Clock;
  /** Parts of large files, which are kept until somebody needs their room; partial-files.ts by shape. */
  partials?: Pick<PartialFiles, 'prune' | 'clear'>;
  /** Told what a batch deleted and replaced, before it is answered. */
  onDestroyed?: (actions: DestroyedAction[]) => void;
}

export interface ApplierOptions extends ApplyOptions {
  /** The source's short ID, for version vectors. */
  agent: string;
  /** Names that differ in case alone are one here. */
  foldsCase?: boolean;
  /** Where it stages, for whoever rolls the journal forward. */
  places?: JournalPlaces;
  /** Name of the peer that sends the batches, likewise. */
  peer?: string | undefined;
}

/** What was found of a batch's operations before it is applied, by index. */
export interface Findings {
  /** They are not to be done. */
  refused?: ReadonlyMap<number, Failed> | undefined;
  /** What they take away was judged as one entry at most. */
  bare?: ReadonlySet<number> | undefined;
}

type FoundInput = BatchInput & {refused: Map<number, Failed>; bare: ReadonlySet<number>};

interface Turn {
  created: Promise<void>;
  recorded: Promise<void>;
}

export class Applier {
  readonly #options: ApplierOptions;
  readonly #parts: ApplierParts;
  readonly #giveBack: GiveBack;
  readonly #rows: TargetRows;
  #nextBatch: number;
  /** Of the last batch: when the next one's creations may begin, and when it may be recorded. */
  #turn: Turn = {created: Promise.resolve(), recorded: Promise.resolve()};

  constructor(options: ApplierOptions, parts: ApplierParts) {
    this.#options = options;
    this.#parts = parts;
    this.#giveBack = new GiveBack(parts);
    this.#rows = new TargetRows(options.agent, {...parts, giveBack: this.#giveBack});
    this.#nextBatch = Math.floor(parts.clock.nowMs()) * 1_000; // above every name that an earlier run may have left
  }

  /**
   * Batches may be given while others are being applied: they take effect in the order in which they were given.
   * @param frame the encoded batch, as it came
   * @param staged transfers that are whole, by number
   * @returns a result per operation, in order
   */
  async apply(
    frame: Uint8Array,
    message: MessageOf<'batch'>,
    staged: Map<number, StagedFile>,
    {refused = new Map(), bare = new Set()}: Findings = {},
  ): Promise<OpResult[]> {
    const {view} = this.#options;
    const ops = message.ops.map((op) => opInView(op, view));
    const left = new Map([...refused, ...outOfView(ops, view)]);
    if (this.#options.foldsCase === true) {
      await this.#allRecorded(); // names are judged by what is there
      for (const [index, clash] of nameClashes(ops, this.#parts.store)) left.set(index, clash);
    }
    const input = {frame, options: this.#applyOptions(), batch: this.#nextBatch++, atMs: this.#parts.clock.nowMs()};
    const {before, created, recorded} = this.#takeTurn();
    try {
      const isCreating = ops[0] !== undefined && isCreation(ops[0]) && left.size === 0;
      if (isCreating) await before.created;
      const made = isCreating ? await this.#parts.jobs.run('create-batch', input) : undefined;
      // The worker makes the next batch's files while this one's are recorded.
      if (made?.count === ops.length) created.resolve();
      await before.recorded;
      return await this.#finish({...input, refused: left, bare}, ops, made, staged);
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

  async #allRecorded(): Promise<void> {
    let turn: unknown;
    while (turn !== this.#turn) {
      turn = this.#turn;
      await this.#turn.recorded; // who waited too may have gone first
    }
  }

  /** Records what was created, and does the rest through the journal. */
  async #finish(
    input: FoundInput,
    ops: readonly Op[],
    made: ApplyJobs['create-batch']['out'] | undefined,
    staged: Map<number, StagedFile>,
  ): Promise<OpResult[]> {
    const results: OpResult[] = [];
    if (made !== undefined) this.#recordCreated(ops, made, results);
    let from = made?.count ?? 0;
    while (from < ops.length) from = await this.#applyRest(input, ops, from, staged, results);
    this.#rows.refreshLinked();
    if (results.some((result) => result.status === 'failed' && result.code === 'no-space')) await this.#makeRoom(ops);
    for (const [index, op] of ops.entries())
      if (results[index]?.status === 'done') results[index] = this.#clampedTime(op) ?? DONE;
    return results;
  }

  /** Filesystems set the nearest time that they have, and say nothing. */
  #clampedTime(op: Op): Failed | undefined {
    if (!('meta' in op) || !isUnusualTime(op.meta.mtime)) return undefined;
    const kept = this.#rows.entryAt(op.path);
    return kept && timeFailure({wanted: op.meta, kept}, this.#options.view, op.path);
  }

  #recordCreated(ops: readonly Op[], made: ApplyJobs['create-batch']['out'], results: OpResult[]): void {
    for (let index = 0; index < made.count; index++) {
      const stat = unpackStat(made.stats, index);
      if (stat === undefined) continue;
      results[index] = DONE;
      const isTouched = made.touched.includes(index);
      this.#rows.record(ops[index] as Op, {stat, attrs: made.attrs.get(index) ?? NO_ATTRS, isTouched}, undefined);
    }
    for (const {index, result} of made.failed) results[index] = result;
    this.#rows.recordDirs(made.dirs);
  }

  /** Completes what was journalled and not recorded as done, with what was agreed then. @throws SYSTEM */
  async recover(): Promise<RolledForward> {
    const onSwitched = this.#rows.recordPatched.bind(this.#rows);
    const done = await rollForward({...this.#parts, onSwitched}, this.#applyOptions());
    await this.#parts.partials?.prune();
    return done;
  }

  async #applyRest(
    {bare, ...input}: FoundInput,
    ops: readonly Op[],
    from: number,
    staged: Map<number, StagedFile>,
    results: OpResult[],
  ): Promise<number> {
    const {jobs, journal} = this.#parts;
    const to = stretchEnd(ops, from, input.refused);
    const stretch = ops.slice(from, to);
    const known = stretch.map(({path}) => this.#knownAt(path));
    const stale = stretch.flatMap((op, index) => (this.#movesOtherContent(op) ? [from + index] : []));
    const {records, failed, next} = await jobs.run('stage-batch', {...input, from, to, known, stale, staged});
    for (const {index, result} of failed) results[index] = result;
    for (const {index} of failed) this.#rows.doubt((ops[index] as Op).path, results[index] as OpResult);
    if (records.length === 0) return next;
    const id = this.#nextBatch++;
    const {batch, atMs, options} = input;
    const {places, peer} = this.#options;
    journal.append({id, body: encodeJournal({version: 1, batch, atMs, records, options, places, peer})});
    const {switched, dirs} = await jobs.run('switch-batch', {records, options, batch, atMs, bare});
    for (const one of switched) {
      const {index, result, stat} = one;
      results[index] = result;
      const op = ops[index] as Op;
      // Without some of its metadata it is there all the same.
      if (result.status === 'done' || stat !== undefined) this.#rows.recordSwitched(op, one);
      else this.#rows.doubt(op.path, result);
    }
    this.#rows.recordDirs(dirs);
    this.#tellDestroyed(actionsOf(input, ops, switched));
    // What was changed in place keeps its inode: a state without this row would take the change for somebody else's.
    if (records.some(({kind}) => kind === 'patch')) this.#parts.store.flush();
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

  /** A full disk: parts of large files go, else the oldest of the trash; the operations that failed are sent again. */
  async #makeRoom(ops: readonly Op[]): Promise<void> {
    if (((await this.#parts.partials?.clear()) ?? 0) > 0) return;
    const neededBytes = ops.reduce((sum, op) => sum + bytesOfOp(op), 0);
    await this.#parts.jobs.run('make-room', {neededBytes}, {lane: 1});
  }

  #knownAt(path: RelPath): Known | undefined {
    const entry = this.#rows.entryAt(path);
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
    const content = this.#rows.entryAt(op.path)?.content;
    if (this.#rows.entryAt(op.to) === undefined && (content === undefined || op.content === undefined)) return false;
    return !sameDigest(content, op.content);
  }

  /** Whether this link wrote what is there: the scan of a target notes its own agent on what somebody else changed. */
  #isOwn({version}: Entry): boolean {
    return version.length > 0 && version.every(({agent}) => agent === this.#options.agent);
  }
}

/** What this side does not accept, whatever was agreed on: a device, say. By index. */
function outOfView(ops: readonly Op[], view: View): [number, Failed][] {
  return ops.flatMap((op, index): [number, Failed][] => {
    if (op.kind !== 'put-special' || isTypeInView(op.type, view)) return [];
    return [[index, failure('refused', op.path, `a ${op.type} is not accepted here`)]];
  });
}
