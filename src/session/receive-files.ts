/**
 * Receives large files beside the batches: stages them leaf by leaf until they are whole, and says which are.
 *
 * States and their edges are in STATES.md. Invariant: one transfer's messages are worked off one after the other, and a
 * file counts as staged only when all of its leaves have the digest that the source announced.
 */
import {OWN_MEMORY_BYTES} from '../base/memory.ts';
import type {Clock} from '../base/clock.ts';
import type {JobRunner} from '../base/jobs.ts';
import {DIGEST_BYTES, sameDigest} from '../model/digest.ts';
import {seenOf, type Seen} from '../model/entry.ts';
import type {Failed, Op, OpResult} from '../model/op.ts';
import {stageOfTransfer} from '../model/partial-file.ts';
import type {RelPath} from '../model/path.ts';
import type {ProblemCode} from '../model/problem.ts';
import {protocolFault} from '../wire/fault.ts';
import {TRANSFERS_OPEN_MAX} from '../wire/limits.ts';
import type {MessageOf} from '../wire/messages.ts';
import type {LinkSession} from './link-port.ts';
import {fileAt, type PartialFiles, type ReceiveJobs, type TargetTree} from './target-tree.ts';

export interface ReceiveParts {
  session: LinkSession;
  jobs: JobRunner<ReceiveJobs>;
  tree: TargetTree;
  clock: Clock;
  /** Why a file is not to be replaced now. */
  heldBack?: (path: RelPath) => Failed | undefined;
  /** Where parts are kept; without it none is. */
  partials?: PartialFiles | undefined;
  /** What no transfer survives. */
  onError(error: unknown): void;
}

export interface ReceiveOptions {
  link: number;
  isDurable: boolean;
  /** Files of this size or more are changed in place, in bytes; undefined: none is. */
  inPlaceAbove: number | undefined;
}

/** Files that are whole, by transfer. */
export type StagedFiles = Map<number, {stage: string; content: Uint8Array; redoOf: Seen | undefined}>;

interface Transfer {
  /** What the volume's worker knows it by. */
  token: number;
  path: RelPath;
  stage: string;
  /** Set where only what changes of a file is staged: that file as it was. */
  redoOf: Seen | undefined;
  /** It may stay where the transfer ends early: it is noted. */
  isNoted: boolean;
  work: Promise<void>;
  /** Nothing more is taken of it. */
  isOver: boolean;
  /** What was taken is of no use any more. */
  isLost: boolean;
  /** The disk may not hold what was written. */
  isSpoilt: boolean;
  /** Leaves that were rejected and are on their way again. */
  missing: Set<number>;
  /** The announced content, once the source said that it has sent everything. */
  end: Buffer | undefined;
}

let lastToken = 0; // links come and go, and an old one may still drop its files while the next receives under the same numbers

export class ReceiveFiles {
  readonly staged: StagedFiles = new Map();
  readonly #options: ReceiveOptions;
  readonly #parts: ReceiveParts;
  readonly #transfers = new Map<number, Transfer>();

  constructor(options: ReceiveOptions, parts: ReceiveParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** @throws PROTOCOL for too many transfers, or a number that is taken */
  start(message: MessageOf<'file-start'>): void {
    const {transfer, base} = message;
    if (this.#transfers.size >= TRANSFERS_OPEN_MAX)
      throw protocolFault('a transfer', 'open transfers', this.#transfers.size + 1, TRANSFERS_OPEN_MAX);
    if (this.#transfers.has(transfer)) throw protocolFault('a transfer', 'number', transfer, 'one that is not open');
    const token = ++lastToken;
    const stage = stageOfTransfer(this.#parts.clock.nowMs(), token);
    const known = base === undefined ? undefined : fileAt(this.#parts.tree, base.path);
    const isThere = known !== undefined && sameDigest(known.entry.content, base?.content);
    const from = isThere ? {path: known.path, expected: seenOf(known.entry)} : undefined;
    const fresh = {
      redoOf: undefined,
      isNoted: false,
      isOver: false,
      isLost: false,
      isSpoilt: false,
      missing: new Set<number>(),
      end: undefined,
    };
    // What an earlier transfer of the path leaves, this one goes on with.
    const before = [...this.#transfers.values()].filter((each) => each.isOver && each.path === message.path);
    const work = Promise.all(before.map((each) => each.work)).then(() => undefined);
    const state: Transfer = {token, path: message.path, stage, work, ...fresh};
    this.#transfers.set(transfer, state);
    void this.#then(state, async () => {
      const held = this.#parts.heldBack?.(message.path);
      if (held !== undefined) return this.#refuse(transfer, state, held);
      if (base === undefined || isThere) return this.#open(message, state, from);
      await this.#refuse(transfer, state, failed('base-changed', 'the base of the delta is not there'));
    });
  }

  /** @returns when the leaves are written: then their credit goes back */
  writeLeaves(message: MessageOf<'file-leaves'>, frame: Buffer): Promise<void> | undefined {
    const {transfer} = message;
    const state = this.#transfers.get(transfer);
    if (state === undefined || state.isOver) return undefined;
    const leafIndexes = message.leaves.map((_, index) => message.leafIndexFirst + index);
    return this.#then(state, async () => {
      if (state.isLost) return;
      const moved = frame.length >= OWN_MEMORY_BYTES ? [frame.buffer as ArrayBuffer] : [];
      const written = await this.#parts.jobs.run(
        'write-leaves',
        {token: state.token, frame},
        {lane: 1, transfer: moved},
      );
      for (const leafIndex of leafIndexes) state.missing.delete(leafIndex);
      if (!(await this.#takeWritten(transfer, state, written))) return;
      if (state.end !== undefined && state.missing.size === 0) await this.#finish(transfer, state, state.end);
    });
  }

  /** @returns whether more is taken of the transfer */
  async #takeWritten(
    transfer: number,
    state: Transfer,
    {rejected, isBaseChanged, result}: ReceiveJobs['write-leaves']['out'],
  ): Promise<boolean> {
    state.isSpoilt ||= result.status === 'failed' && !mayGoOn(result);
    if (state.isOver) return false; // it was only written so that it need not come again
    if (result.status === 'failed') await this.#refuse(transfer, state, result);
    if (result.status === 'failed') return false;
    for (const leafIndex of rejected) {
      state.missing.add(leafIndex);
      const {link} = this.#options;
      this.#parts.session.send({kind: 'leaf-rejected', link, transfer, leafIndex, isBaseChanged});
    }
    return true;
  }

  /** Leaves that are as the base has them. @returns when they are in their place: then their credit goes back */
  passSame({transfer, leafIndexFirst, digests}: MessageOf<'file-same'>): Promise<void> | undefined {
    const state = this.#transfers.get(transfer);
    if (state === undefined || state.isOver) return undefined;
    return this.#then(state, async () => {
      if (state.isLost) return;
      const countAll = digests.length / DIGEST_BYTES;
      for (let count = 0; count < countAll;) {
        const left = Buffer.from(digests.subarray(count * DIGEST_BYTES)); // a view would take all of its frame along
        const input = {token: state.token, leafIndexFirst: leafIndexFirst + count, digests: left};
        const passed = await this.#parts.jobs.run('pass-same', input, {lane: 1});
        count += passed.passedCount;
        if (!(await this.#takeWritten(transfer, state, passed))) return;
      }
    });
  }

  /** Leaves that are zeros. @returns when they are counted in: then their credit goes back */
  passHoles({transfer, leafIndexFirst, leafCount}: MessageOf<'file-holes'>): Promise<void> | undefined {
    const state = this.#transfers.get(transfer);
    if (state === undefined || state.isOver) return undefined;
    return this.#then(state, async () => {
      if (state.isLost) return;
      const input = {token: state.token, leafIndexFirst, leafCount};
      const result = await this.#parts.jobs.run('pass-holes', input, {lane: 1});
      state.isSpoilt ||= result.status === 'failed' && !mayGoOn(result);
      if (result.status === 'failed' && !state.isOver) await this.#refuse(transfer, state, result);
    });
  }

  /** What is at these places of the file from an earlier transfer. @returns when it is answered */
  async answerHeld({link, request, transfer, leafIndexFirst, leafCount}: MessageOf<'ask-leaves'>): Promise<void> {
    const state = this.#transfers.get(transfer);
    let digests: Uint8Array[] = [];
    if (state !== undefined)
      await this.#then(state, async () => {
        if (state.isOver) return;
        const input = {token: state.token, leafIndexFirst, leafCount};
        ({digests} = await this.#parts.jobs.run('held-leaves', input, {lane: 1}));
      });
    this.#parts.session.send({kind: 'leaves-held', link, request, digests: digests.map((each) => Buffer.from(each))});
  }

  /** The source has sent everything. */
  end(transfer: number, content: Buffer): Promise<void> | undefined {
    const state = this.#transfers.get(transfer);
    if (state === undefined || state.isOver) return undefined;
    return this.#then(state, async () => {
      if (state.isOver) return;
      if (state.missing.size > 0)
        state.end = content; // rejected leaves are on their way again
      else await this.#finish(transfer, state, content);
    });
  }

  /** The source gave up: what was staged goes, or is kept for the next time. Until then the transfer counts as open. */
  drop(transfer: number): Promise<void> | undefined {
    const state = this.#transfers.get(transfer);
    if (state === undefined || state.isOver) return undefined;
    state.isOver = true;
    state.isLost = !state.isNoted;
    return this.#then(state, async () => {
      await this.#discard(state, true);
      this.#transfers.delete(transfer);
    });
  }

  /** The files that a batch needs, which are nobody else's from now on. */
  take(ops: readonly Op[]): StagedFiles {
    const taken: StagedFiles = new Map();
    for (const op of ops) {
      if (op.kind !== 'put-file' || op.source.from !== 'staged') continue;
      const file = this.staged.get(op.source.transfer);
      if (file !== undefined) taken.set(op.source.transfer, file);
      this.staged.delete(op.source.transfer);
    }
    return taken;
  }

  /** A batch was applied: what it took is in place or was not of use, and no part of what it brought is needed any more. */
  applied(ops: readonly Op[], results: readonly OpResult[], taken: StagedFiles): void {
    const {partials} = this.#parts;
    for (const [index, op] of ops.entries()) {
      if (op.kind !== 'put-file' || op.source.from !== 'staged') continue;
      const {stage, redoOf} = taken.get(op.source.transfer) ?? {};
      if (stage === undefined) continue;
      if (results[index]?.status === 'done') partials?.gone(stage);
      else if (redoOf === undefined) this.#aside(partials?.leave(stage));
      else this.#aside(this.#dropRedo(stage));
    }
    this.#aside(partials?.outdated(ops, results));
  }

  /** A batch could not be completed: what it has journalled may need these files, so none of them is removed. */
  notApplied(taken: StagedFiles): void {
    for (const {stage} of taken.values()) this.#parts.partials?.keep(stage);
  }

  /** No later transfer goes on with it. */
  async #dropRedo(stage: string): Promise<void> {
    await this.#parts.jobs.run('drop-staged', {token: 0, stage, mayStay: false}, {lane: 1});
  }

  /** Both sides are equal: nothing waits to be sent again. */
  allArrived(): void {
    this.#aside(this.#parts.partials?.clear());
  }

  /** Removing parts keeps no answer waiting. */
  #aside(work: Promise<unknown> | undefined): void {
    work?.catch((error: unknown) => this.#parts.onError(error));
  }

  /** Ends what is being received; parts that are worth it are kept. */
  async close(): Promise<void> {
    for (const transfer of this.#transfers.keys()) void this.drop(transfer);
    await Promise.all([...this.#transfers.values()].map(({work}) => work.catch(() => undefined)));
    for (const {stage, redoOf} of this.staged.values())
      if (redoOf === undefined) this.#parts.partials?.keep(stage);
      else await this.#dropRedo(stage).catch((error: unknown) => this.#parts.onError(error));
    this.staged.clear();
    await this.#parts.partials?.settled();
  }

  async #open(
    {transfer, path, sizeBytes, allocatedBytes}: MessageOf<'file-start'>,
    state: Transfer,
    base: ReceiveJobs['open-staged']['in']['base'],
  ): Promise<void> {
    const {isDurable, inPlaceAbove} = this.#options;
    const {token, stage} = state;
    const {jobs, partials} = this.#parts;
    const isWorth = partials?.isWorth(sizeBytes) === true;
    const partial = isWorth ? partials.take(path) : undefined;
    const spare = partials?.idle() ?? [];
    const input = {token, stage, path, sizeBytes, base, isDurable, allocatedBytes, partial, spare, inPlaceAbove};
    const opening = jobs.run('open-staged', input, {lane: 1});
    opening.catch(() => this.#aside(partial && partials?.leave(partial.stage))); // whoever comes next may go on with it
    const {result, file, removed, redoOf} = await opening;
    state.redoOf = redoOf;
    for (const gone of removed) partials?.gone(gone);
    if (partial !== undefined && partial.stage !== file?.stage) {
      if (result.status === 'done')
        partials?.gone(partial.stage); // another file is there
      else await partials?.leave(partial.stage);
    }
    if (file !== undefined) {
      state.stage = file.stage;
      state.isNoted = isWorth;
      if (isWorth) partials.note({...file, path, sizeBytes});
    }
    if (result.status === 'done') return;
    if (result.code === 'base-changed' && base !== undefined) this.#doubt(base.path);
    await this.#refuse(transfer, state, result);
  }

  /** The file is not what the state says: its content counts as unread. */
  #doubt(path: RelPath): void {
    const file = fileAt(this.#parts.tree, path);
    if (file !== undefined) this.#parts.tree.setContent(file.parentId, file.entry.name, undefined);
  }

  async #finish(transfer: number, state: Transfer, content: Buffer): Promise<void> {
    const result = await this.#parts.jobs.run('finish-staged', {token: state.token, content}, {lane: 1});
    const {stage, redoOf} = state;
    if (result.status === 'done') this.staged.set(transfer, {stage, content, redoOf});
    else await this.#discard(state, mayGoOn(result));
    state.isOver = true;
    this.#transfers.delete(transfer);
    this.#tell(transfer, result);
  }

  /** The transfer cannot go on: what was staged goes, and the source is told. Its place is free once that has left. */
  async #refuse(transfer: number, state: Transfer, result: OpResult): Promise<void> {
    if (state.isOver) return;
    state.isOver = true;
    state.isLost = true;
    await this.#discard(state, mayGoOn(result)); // before the answer: a source that goes on at once must not find all places taken
    this.#tell(transfer, result);
    await this.#parts.session.drained();
    this.#transfers.delete(transfer);
  }

  async #discard({token, stage, isNoted, isSpoilt}: Transfer, mayGoOn: boolean): Promise<void> {
    const {jobs, partials} = this.#parts;
    const mayStay = mayGoOn && isNoted && !isSpoilt;
    const dropping = jobs.run('drop-staged', {token, stage, mayStay}, {lane: 1});
    dropping.catch(() => this.#aside(partials?.leave(stage))); // whoever comes next may go on with it
    const {isKept} = await dropping;
    if (isKept) await partials?.leave(stage);
    else if (isNoted) partials?.gone(stage);
  }

  #tell(transfer: number, result: OpResult): void {
    this.#parts.session.send({kind: 'file-staged', link: this.#options.link, transfer, result});
  }

  #then(state: Transfer, work: () => Promise<void> | void): Promise<void> {
    state.work = state.work.catch(() => undefined).then(work); // after a failure the dropping still comes
    state.work.catch((error: unknown) => this.#parts.onError(error));
    return state.work.catch(() => undefined);
  }
}

/** Whether what is staged is of use after this: not where the disk is full, or may not hold what was written. */
function mayGoOn(result: OpResult): boolean {
  return result.status === 'failed' && (result.code === 'base-changed' || result.code === 'corrupt');
}

function failed(code: ProblemCode, message: string): OpResult {
  return {status: 'failed', code, message};
}
