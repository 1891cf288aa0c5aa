/**
 * The target's end of a mirror link: answers what the source asks about its tree, stages, applies, proves.
 *
 * Invariants: batches are applied one after the other in the order they came; deletes are judged here too, by this
 * side's own limits; the answer to a cut is given when everything before it is durable.
 */
import type {Clock} from '../base/clock.ts';
import {isTowlineError, messageOf, TowlineError, type HaltKind} from '../base/errors.ts';
import type {JobRunner} from '../base/jobs.ts';
import {signatureParts} from '../delta/signature-parts.ts';
import type {Signature} from '../delta/signature.ts';
import {DIGEST_BYTES, sameDigest, type Digest} from '../model/digest.ts';
import {statOf, type Entry, type Stat} from '../model/entry.ts';
import type {Op, OpResult} from '../model/op.ts';
import {nameOf, parentOf, type Name, type RelPath} from '../model/path.ts';
import type {TreeNode} from '../model/tree.ts';
import {viewDigest, type View} from '../model/view.ts';
import {judgeDeletes, NO_DELETE_LIMITS, noteDeletes, type Burst, type DeleteLimits} from '../reconcile/delete-guard.ts';
import {encode} from '../wire/codec.ts';
import type {Message, MessageOf} from '../wire/messages.ts';
import {splitGroups, splitNodes} from '../wire/split.ts';
import {READ_STATUS} from './large-file.ts';
import type {Session} from './session.ts';

interface FilesRead {
  status: Uint8Array;
  digests: Uint8Array;
}

type FileToRead = {path: RelPath; expected: Stat};

export type TargetJobs = {
  'hash-files': {in: {files: FileToRead[]}; out: FilesRead; part: never};
  'sign-file': {
    in: {file: FileToRead; content: Uint8Array; blockBytes: number; seed: Uint8Array};
    out: Signature | undefined;
    part: never;
  };
  'open-staged': {
    in: {
      transfer: number;
      stage: string;
      path: RelPath;
      sizeBytes: number;
      base: {path: RelPath; expected: Stat} | undefined;
      isDurable: boolean;
    };
    out: OpResult;
    part: never;
  };
  'write-leaves': {
    in: {frame: Uint8Array};
    out: {rejected: number[]; isBaseChanged: boolean; result: OpResult};
    part: never;
  };
  'finish-staged': {in: {transfer: number; content: Uint8Array}; out: OpResult; part: never};
  'drop-staged': {in: {transfer: number}; out: undefined; part: never};
};

/** What the link needs of the target's state. */
export interface TargetTree {
  stateId: Buffer;
  dirIdOf(path: RelPath): number | undefined;
  get(parentId: number, name: Name): (Entry & {dirId: number}) | undefined;
  setContent(parentId: number, name: Name, content: Digest | undefined): void;
  node(dirId: number, prefix: Buffer): TreeNode;
  countBelow(dirId: number): number;
  entryCount(): number;
  rootDigest(): Digest;
  groupsDigest(): Digest;
  groups(after: number, countMax: number): {groups: RelPath[][]; next: number};
  flush(): void;
}

/** Applies batches; apply/applier.ts by shape. */
export interface BatchApplier {
  apply(
    frame: Uint8Array,
    message: MessageOf<'batch'>,
    staged: Map<number, {stage: string; content: Uint8Array}>,
  ): Promise<OpResult[]>;
}

export interface TargetLinkParts {
  session: Session;
  jobs: JobRunner<TargetJobs>;
  tree: TargetTree;
  clock: Clock;
  /** Makes the volume ready in the effective view: recovers, scans. Called once, before anything is answered. */
  open(request: MessageOf<'open-link'>, view: View): Promise<BatchApplier>;
  onProblem(error: unknown): void;
}

export interface TargetLinkOptions {
  volume: string;
  timePrecisionNs: number;
  deleteLimits: DeleteLimits;
}

interface Transfer {
  stage: string;
  work: Promise<void>;
  isOver: boolean;
  missing: Set<number>;
  end: Buffer | undefined;
}

const GROUPS_AT_ONCE = 256;
const TRANSFERS_MAX = 64;
const OWN_MEMORY_BYTES = 64 * 1024; // smaller Buffers may share their memory with others (Buffer.poolSize)
const SIGNATURE_BLOCKS_AT_ONCE = 32_768; // 384 KiB a message

export class TargetLink {
  readonly #options: TargetLinkOptions;
  readonly #parts: TargetLinkParts;
  readonly #transfers = new Map<number, Transfer>();
  readonly #staged = new Map<number, {stage: string; content: Uint8Array}>();
  #applier: BatchApplier | undefined;
  #link = 0;
  #isDurable = true;
  #confirmed = 0;
  #batches: Promise<void> = Promise.resolve();
  #burst: Burst | undefined;
  #isHalted = false;

  constructor(options: TargetLinkOptions, parts: TargetLinkParts) {
    this.#options = options;
    this.#parts = parts;
    parts.session.onMessage = (message, frame) => this.#guarded(message, frame);
  }

  async #guarded(message: Message, frame: Buffer): Promise<void> {
    try {
      await this.#take(message, frame);
    } catch (error) {
      if (!this.#parts.session.isOpen) return;
      const known = isTowlineError(error)
        ? error
        : new TowlineError('BUG', messageOf(error), {what: messageOf(error)}, {cause: error});
      this.#refuse(known);
    }
  }

  #refuse(error: TowlineError): void {
    this.#isHalted = true;
    const {count, limit} =
      error.code === 'HALTED' ? (error.details as {count: number; limit: number}) : {count: 0, limit: 0};
    const kind = error.code === 'HALTED' ? `HALTED:${(error.details as {kind: HaltKind}).kind}` : error.code;
    this.#parts.session.send({
      kind: 'link-refused',
      link: this.#link,
      code: kind,
      message: error.message,
      count,
      limit,
    });
    this.#parts.onProblem(error);
  }

  #take(message: Message, frame: Buffer): void | Promise<void> {
    if (message.kind === 'open-link') return this.#open(message);
    if (this.#applier === undefined || this.#isHalted) return undefined;
    switch (message.kind) {
      case 'list-nodes':
        return this.#listNodes(message);
      case 'hash-files':
        return this.#hashFiles(message);
      case 'list-groups':
        return this.#listGroups(message);
      case 'ask-signature':
        return this.#sign(message);
      case 'batch':
        return this.#apply(message, frame);
      case 'file-start':
        return this.#startFile(message);
      case 'file-leaves':
        return this.#writeLeaves(message, frame);
      case 'file-end':
        return this.#endFile(message.transfer, Buffer.from(message.content));
      case 'file-abort':
        return this.#dropFile(message.transfer);
      case 'cut':
        return this.#answerCut(message);
      default:
        throw new TowlineError('PROTOCOL', `the source sent ${message.kind}, which only a target sends`, {
          rule: 'direction',
          value: message.kind,
          limit: '',
        });
    }
  }

  async #open(message: MessageOf<'open-link'>): Promise<void> {
    const {session, tree} = this.#parts;
    this.#link = message.link;
    if (message.volume !== this.#options.volume) {
      throw new TowlineError('NOT_AUTHORISED', 'the source asked for a volume that it was not given', {peer: ''});
    }
    if (!viewDigest(message.view).equals(message.viewDigest)) {
      throw new TowlineError('PROTOCOL', 'the view does not have the digest that was announced', {
        rule: 'view',
        value: '',
        limit: '',
      });
    }
    const timePrecisionNs = Math.max(message.view.timePrecisionNs, this.#options.timePrecisionNs);
    this.#isDurable = message.isDurable;
    this.#confirmed = message.confirmedDeletes;
    this.#applier = await this.#parts.open(message, {...message.view, timePrecisionNs});
    session.send({
      kind: 'link-opened',
      link: message.link,
      epoch: message.epoch,
      timePrecisionNs: this.#options.timePrecisionNs,
      rootDigest: tree.rootDigest(),
      entryCount: tree.entryCount(),
      stateId: tree.stateId,
    });
  }

  async #listNodes({link, request, nodes}: MessageOf<'list-nodes'>): Promise<void> {
    const {tree, session} = this.#parts;
    const found = nodes.map(({path, prefix}): TreeNode => {
      const dirId = tree.dirIdOf(path);
      return dirId === undefined ? {kind: 'absent'} : tree.node(dirId, prefix);
    });
    for (const part of splitNodes(found))
      await session.sendData(encode({kind: 'node-listing', link, request, nodes: part}), true);
  }

  async #hashFiles({link, request, paths}: MessageOf<'hash-files'>): Promise<void> {
    const {jobs, session} = this.#parts;
    const entries = paths.map((path) => this.#fileAt(path));
    const unread = entries.filter((file) => file !== undefined && file.entry.content === undefined) as File[];
    if (unread.length > 0) {
      const files = unread.map(({path, entry}) => ({path, expected: statOf(entry)}));
      const read = await jobs.run('hash-files', {files}, {lane: 1});
      for (const [index, file] of unread.entries()) {
        if (read.status[index] !== READ_STATUS.ok) continue;
        const content = Buffer.from(read.digests.slice(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES));
        this.#parts.tree.setContent(file.parentId, file.entry.name, content);
      }
    }
    session.send({
      kind: 'file-digests',
      link,
      request,
      digests: paths.map((path) => this.#fileAt(path)?.entry.content),
    });
  }

  #fileAt(path: RelPath): File | undefined {
    const {tree} = this.#parts;
    const parentId = tree.dirIdOf(parentOf(path));
    const entry = parentId === undefined ? undefined : tree.get(parentId, nameOf(path));
    return parentId === undefined || entry?.type !== 'file' ? undefined : {path, parentId, entry};
  }

  async #listGroups({link, request, after}: MessageOf<'list-groups'>): Promise<void> {
    const {tree, session} = this.#parts;
    const {groups, next} = tree.groups(after, GROUPS_AT_ONCE);
    const parts = splitGroups(groups);
    if (parts.length === 0) parts.push([]);
    for (const [index, part] of parts.entries()) {
      // Only the last part of the page says where the next one begins.
      const isLast = index === parts.length - 1;
      await session.sendData(
        encode({kind: 'group-listing', link, request, groups: part, next: isLast ? next : 0xffff_ffff}),
        true,
      );
    }
  }

  async #sign({link, request, path, content, blockBytes, seed}: MessageOf<'ask-signature'>): Promise<void> {
    const {jobs, session} = this.#parts;
    const file = this.#fileAt(path);
    const isThere = file !== undefined && sameDigest(file.entry.content, content);
    const input = isThere
      ? {file: {path, expected: statOf(file.entry)}, content: Buffer.from(content), blockBytes, seed: Buffer.from(seed)}
      : undefined;
    const signature = input === undefined ? undefined : await jobs.run('sign-file', input, {lane: 1});
    if (signature === undefined) {
      session.send({
        kind: 'no-signature',
        link,
        request,
        code: 'base-changed',
        message: 'the file is not there with that content',
      });
      return;
    }
    const whole = {...signature, strong: Buffer.from(signature.strong), weak: Buffer.from(signature.weak)};
    for (const rows of signatureParts(whole, SIGNATURE_BLOCKS_AT_ONCE)) {
      await session.sendData(encode({kind: 'signature', link, request, rows}), false);
    }
  }

  #apply(message: MessageOf<'batch'>, frame: Buffer): Promise<void> {
    this.#batches = this.#batches.then(async () => {
      if (this.#isHalted) return;
      try {
        this.#judge(message.ops);
        const results = await (this.#applier as BatchApplier).apply(frame, message, this.#staged);
        this.#forgetStaged(message.ops);
        this.#parts.session.send({kind: 'batch-result', link: message.link, batch: message.batch, results});
      } catch (error) {
        if (!isTowlineError(error)) throw error;
        this.#refuse(error);
      }
    });
    return this.#batches;
  }

  /** @throws HALTED when this batch's deletes and those shortly before are more than the limits allow */
  #judge(ops: readonly Op[]): void {
    const count = ops.reduce((sum, op) => sum + this.#destroyedBy(op), 0);
    if (count === 0) return;
    const {tree, clock} = this.#parts;
    const treeCount = tree.entryCount() - count; // noteDeletes counts what goes as still there
    this.#burst = noteDeletes(this.#burst, count, treeCount, clock.monotonicMs(), NO_DELETE_LIMITS).burst; // nothing is held here
    const verdict = judgeDeletes(
      this.#burst.released,
      this.#burst.treeCount,
      this.#options.deleteLimits,
      this.#confirmed,
    );
    if (verdict.go) return;
    const {kind, limit} = verdict;
    throw new TowlineError(
      'HALTED',
      `halted by the target: ${verdict.count} of ${this.#burst.treeCount} entries would be deleted`,
      {kind, volume: this.#options.volume, count: verdict.count, limit},
    );
  }

  #destroyedBy(op: Op): number {
    if (op.kind !== 'delete' && op.kind !== 'put-file' && op.kind !== 'put-symlink') return 0;
    const parentId = this.#parts.tree.dirIdOf(parentOf(op.path));
    const entry = parentId === undefined ? undefined : this.#parts.tree.get(parentId, nameOf(op.path));
    if (entry === undefined) return 0;
    if (entry.type === 'dir') return 1 + this.#parts.tree.countBelow(entry.dirId);
    if (op.kind === 'delete') return 1;
    return op.kind === 'put-file' && entry.type === 'file' && op.sizeBytes === 0 && entry.sizeBytes > 0 ? 1 : 0;
  }

  #forgetStaged(ops: readonly Op[]): void {
    for (const op of ops)
      if (op.kind === 'put-file' && op.source.from === 'staged') this.#staged.delete(op.source.transfer);
  }

  #startFile(message: MessageOf<'file-start'>): void {
    const {transfer, path, sizeBytes, base} = message;
    if (this.#transfers.size >= TRANSFERS_MAX || this.#transfers.has(transfer)) {
      throw new TowlineError('PROTOCOL', 'too many transfers, or one number twice', {
        rule: 'transfers',
        value: String(transfer),
        limit: String(TRANSFERS_MAX),
      });
    }
    const stage = `t${Math.floor(this.#parts.clock.nowMs())}-${transfer}`;
    const known = base === undefined ? undefined : this.#fileAt(base.path);
    const isThere = known !== undefined && sameDigest(known.entry.content, base?.content);
    const from = isThere ? {path: known.path, expected: statOf(known.entry)} : undefined;
    const state: Transfer = {stage, work: Promise.resolve(), isOver: false, missing: new Set(), end: undefined};
    this.#transfers.set(transfer, state);
    this.#then(state, async () => {
      if (base !== undefined && !isThere) {
        return this.#overFile(transfer, {
          status: 'failed',
          code: 'base-changed',
          message: 'the base of the delta is not there',
        });
      }
      const result = await this.#parts.jobs.run(
        'open-staged',
        {transfer, stage, path, sizeBytes, base: from, isDurable: this.#isDurable},
        {lane: 1},
      );
      if (result.status === 'failed') this.#overFile(transfer, result);
    });
  }

  #writeLeaves(message: MessageOf<'file-leaves'>, frame: Buffer): Promise<void> | undefined {
    const {link, transfer} = message;
    const state = this.#transfers.get(transfer);
    if (state === undefined || state.isOver) return undefined;
    const leafIndexes = message.leaves.map((_, index) => message.leafIndexFirst + index);
    return this.#then(state, async () => {
      if (state.isOver) return;
      const transferList = frame.length >= OWN_MEMORY_BYTES ? [frame.buffer as ArrayBuffer] : [];
      const {rejected, isBaseChanged, result} = await this.#parts.jobs.run(
        'write-leaves',
        {frame},
        {lane: 1, transfer: transferList},
      );
      if (result.status === 'failed') return this.#overFile(transfer, result);
      for (const leafIndex of leafIndexes) state.missing.delete(leafIndex);
      for (const leafIndex of rejected) {
        state.missing.add(leafIndex);
        this.#parts.session.send({kind: 'leaf-rejected', link, transfer, leafIndex, isBaseChanged});
      }
      if (state.end !== undefined && state.missing.size === 0) await this.#finish(transfer, state, state.end);
    });
  }

  #endFile(transfer: number, content: Buffer): Promise<void> | undefined {
    const state = this.#transfers.get(transfer);
    if (state === undefined || state.isOver) return undefined;
    return this.#then(state, async () => {
      if (state.isOver) return;
      if (state.missing.size > 0)
        state.end = content; // rejected leaves are on their way again
      else await this.#finish(transfer, state, content);
    });
  }

  async #finish(transfer: number, state: Transfer, content: Buffer): Promise<void> {
    const result = await this.#parts.jobs.run('finish-staged', {transfer, content}, {lane: 1});
    if (result.status === 'done') this.#staged.set(transfer, {stage: state.stage, content});
    state.isOver = true;
    this.#transfers.delete(transfer);
    this.#parts.session.send({kind: 'file-staged', link: this.#link, transfer, result});
  }

  #overFile(transfer: number, result: OpResult): void {
    const state = this.#transfers.get(transfer);
    if (state === undefined) return;
    state.isOver = true;
    this.#parts.session.send({kind: 'file-staged', link: this.#link, transfer, result});
  }

  #dropFile(transfer: number): Promise<void> | undefined {
    const state = this.#transfers.get(transfer);
    if (state === undefined) return undefined;
    state.isOver = true;
    this.#transfers.delete(transfer);
    return this.#then(state, async () => {
      await this.#parts.jobs.run('drop-staged', {transfer}, {lane: 1});
    });
  }

  /** One transfer's messages are worked off one after the other. */
  #then(state: Transfer, work: () => Promise<void> | void): Promise<void> {
    state.work = state.work.then(work);
    state.work.catch((error: unknown) => this.#guardedFailure(error));
    return state.work.catch(() => undefined);
  }

  #guardedFailure(error: unknown): void {
    if (!this.#parts.session.isOpen) return;
    this.#refuse(
      isTowlineError(error)
        ? error
        : new TowlineError('BUG', messageOf(error), {what: messageOf(error)}, {cause: error}),
    );
  }

  async #answerCut({link, cut}: MessageOf<'cut'>): Promise<void> {
    await this.#batches;
    const {tree, session} = this.#parts;
    const rootDigest = tree.rootDigest();
    const groupsDigest = tree.groupsDigest();
    tree.flush();
    session.send({
      kind: 'cut-result',
      link,
      cut,
      rootDigest,
      groupsDigest,
      entryCount: tree.entryCount(),
      isDurable: this.#isDurable,
    });
  }

  /** Drops what was being received; called when the session is over. */
  async close(): Promise<void> {
    for (const transfer of [...this.#transfers.keys()]) await this.#dropFile(transfer)?.catch(() => undefined);
    await this.#batches.catch(() => undefined);
  }
}

interface File {
  path: RelPath;
  parentId: number;
  entry: Entry;
}
