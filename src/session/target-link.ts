/**
 * The target's end of a mirror link: answers what the source asks about its tree, stages, applies, proves.
 *
 * Invariants: batches are applied one after the other in the order they came; deletes are judged here too, by this
 * side's own limits; the answer to a cut is given when everything before it is durable.
 */
import {later, type Clock} from '../base/clock.ts';
import {release} from '../base/memory.ts';
import {asTowlineError, isTowlineError, TowlineError} from '../base/errors.ts';
import type {JobRunner} from '../base/jobs.ts';
import type {Digest} from '../model/digest.ts';
import {isCreation, type Failed, type Op, type OpResult} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import {narrowedView, viewDigest, type Holding, type View} from '../model/view.ts';
import type {DeleteLimits} from '../reconcile/delete-guard.ts';
import {RollingHour} from '../reconcile/rolling-hour.ts';
import {protocolFault} from '../wire/fault.ts';
import {BATCHES_OPEN_MAX, CUTS_OPEN_MAX, PARTIAL_FILES_MAX, REQUESTS_OPEN_MAX} from '../wire/limits.ts';
import type {Message, MessageOf} from '../wire/messages.ts';
import {splitPaths} from '../wire/split.ts';
import {answerDigests, answerGroups, answerNodes, answerSignature, answerVerify} from './answer-asks.ts';
import {ReceiveFiles, type StagedFiles} from './receive-files.ts';
import {refusalMessage} from './refusal.ts';
import type {LinkSession} from './link-port.ts';
import {TargetDeletes} from './target-deletes.ts';
import type {KnownFile, PartialFiles, TargetJobs, TargetTree} from './target-tree.ts';

/** What was found of a batch's operations before it is applied, by index; apply/applier.ts by shape. */
export interface Findings {
  /** They are not to be done. */
  refused?: ReadonlyMap<number, Failed> | undefined;
  /** What they take away was judged as one entry at most. */
  bare?: ReadonlySet<number>;
}

/** Applies batches; apply/applier.ts by shape. */
export interface BatchApplier {
  apply(frame: Uint8Array, message: MessageOf<'batch'>, staged: StagedFiles, found: Findings): Promise<OpResult[]>;
  /** Gives back a little of the space that files take beyond the source's. @returns whether there is more */
  giveBack(): Promise<boolean>;
}

export interface TargetLinkParts {
  session: LinkSession;
  jobs: JobRunner<TargetJobs>;
  tree: TargetTree;
  clock: Clock;
  /** Where parts of large files are kept; without it none is. */
  partials?: PartialFiles;
  /** Makes the volume ready in the effective view: recovers, scans. Called once, before anything is answered. */
  open(request: MessageOf<'open-link'>, view: View): Promise<BatchApplier>;
  onProblem(error: unknown): void;
  /** The account of this link's deletes, kept over connections; a new one when it is missing. */
  hour?: RollingHour;
  /** Operations that must not be done now, by index: a container has something mounted there. */
  refused?: (ops: readonly Op[]) => Promise<Map<number, Failed>>;
  /** The same of one file, before its content is taken. */
  heldBack?: (path: RelPath) => Failed | undefined;
  /** A cut was answered. */
  onCut?: (answered: {cut: number; isEqual: boolean; digest: Buffer}) => void;
  /** A file was read once more, for the source, and the state knows other bytes under its times. */
  onContradicted?: (file: KnownFile, found: Digest) => void;
  /** How the source sees the link. */
  onSourceState?: (state: MessageOf<'link-state'>) => void;
}

export interface TargetLinkOptions {
  volume: string;
  /** What this side holds, whatever the source asks. */
  holding: Holding;
  deleteLimits: DeleteLimits;
  /** Deletes that the operator of this side confirmed; what the source's operator confirmed counts too. */
  confirmedDeletes?: number;
  /** The source may ask, and change nothing. */
  isReadOnly?: boolean;
  /** Files of this size or more are changed in place, in bytes; where the filesystem keeps no modes none is. */
  inPlaceAbove?: number | undefined;
}

const READ_ONLY: ReadonlySet<Message['kind']> = new Set([
  'open-link',
  'list-nodes',
  'list-groups',
  'hash-files',
  'cut',
  'link-state',
]);

/** What an open link works with. */
interface OpenLink {
  applier: BatchApplier;
  files: ReceiveFiles;
}

const REST_MS = 20; // longer than a pause between two batches

export class TargetLink {
  readonly #options: TargetLinkOptions;
  readonly #parts: TargetLinkParts;
  #opened: OpenLink | undefined;
  #link: number | undefined;
  #isDurable = true;
  #batches: Promise<void> = Promise.resolve();
  /** When the applier has got the last batch, and whether that only creates. */
  #lastBegun = {isCreating: false, promise: Promise.resolve()};
  readonly #deletes: TargetDeletes;
  #batchesOpen = 0;
  #asksOpen = 0;
  #cutsOpen = 0;
  readonly #answers = {tree: Promise.resolve(), content: Promise.resolve()};
  #isHalted = false;
  #isClosed = false;
  #mayGiveBack = false;
  #givingBack: Promise<void> | undefined;
  #digestLater: (() => void) | undefined;

  constructor(options: TargetLinkOptions, parts: TargetLinkParts) {
    this.#options = options;
    this.#parts = parts;
    this.#deletes = new TargetDeletes(options, {...parts, hour: parts.hour ?? new RollingHour()});
    parts.session.onMessage = (message, frame) => this.#guarded(message, frame);
  }

  async #guarded(message: Message, frame: Buffer): Promise<void> {
    try {
      await this.#take(message, frame);
    } catch (error) {
      this.#stop(error);
    }
  }

  /** What the link does not survive: the source is told, unless nobody is there any more. */
  #stop(error: unknown): void {
    const {session} = this.#parts;
    if (!session.isOpen) return;
    const known = asTowlineError(error);
    if (known.code !== 'PROTOCOL') return this.#refuse(known);
    session.fail(known);
    this.#parts.onProblem(known);
  }

  #refuse(error: TowlineError): void {
    this.#isHalted = true;
    this.#parts.session.send(refusalMessage(this.#link ?? 0, error));
    this.#parts.onProblem(error);
  }

  #take(message: Message, frame: Buffer): void | Promise<void> {
    if (message.kind === 'open-link') return this.#open(message);
    if (this.#isHalted) return undefined; // on its way when the source was told
    const opened = this.#opened;
    if (opened === undefined) throw protocolFault('a message', 'order', message.kind, 'open-link first');
    if ('link' in message && message.link !== this.#link)
      throw protocolFault('a message', 'link', message.link, this.#link ?? 0);
    if (this.#options.isReadOnly === true && !READ_ONLY.has(message.kind))
      throw protocolFault('a link that is only compared', 'kind', message.kind, [...READ_ONLY].join(', '));
    switch (message.kind) {
      case 'list-nodes':
        return this.#answer('tree', () => answerNodes(message, this.#parts));
      case 'list-groups':
        return this.#answer('tree', () => answerGroups(message, this.#parts));
      case 'hash-files':
        return this.#answer('content', () => answerDigests(message, this.#parts));
      case 'verify-files':
        return this.#answer('content', () => answerVerify(message, this.#parts));
      case 'ask-signature':
        return this.#answer('content', () => answerSignature(message, this.#parts));
      case 'batch':
        return this.#apply(message, frame, opened);
      case 'file-start':
        return opened.files.start(message);
      case 'file-leaves':
        return opened.files.writeLeaves(message, frame);
      case 'file-holes':
        return opened.files.passHoles(message);
      case 'file-same':
        return opened.files.passSame(message);
      case 'ask-leaves':
        return this.#counted(() => opened.files.answerHeld(message));
      case 'file-end':
        return opened.files.end(message.transfer, Buffer.from(message.content));
      case 'file-abort':
        return opened.files.drop(message.transfer);
      case 'cut':
        return this.#cut(message);
      case 'link-state':
        return this.#parts.onSourceState?.(message);
      default:
        throw protocolFault('a message', 'direction', message.kind, 'what a source sends');
    }
  }

  /** One answer after the other of each sort: what waits for credit is one answer, however many were asked for. */
  #answer(sort: 'tree' | 'content', answer: () => Promise<void>): Promise<void> {
    return this.#counted(() => {
      const answered = this.#answers[sort].then(answer);
      this.#answers[sort] = answered.catch(() => undefined);
      return answered;
    });
  }

  /** @throws PROTOCOL when too many requests are open */
  async #counted(answer: () => Promise<void>): Promise<void> {
    if (this.#asksOpen >= REQUESTS_OPEN_MAX)
      throw protocolFault('a request', 'open requests', this.#asksOpen + 1, REQUESTS_OPEN_MAX);
    this.#asksOpen++;
    try {
      await answer();
      await this.#parts.session.drained();
    } finally {
      this.#asksOpen--;
    }
  }

  async #open(message: MessageOf<'open-link'>): Promise<void> {
    const {session, tree} = this.#parts;
    if (this.#link !== undefined) throw protocolFault('a message', 'order', message.kind, 'open-link once');
    this.#link = message.link;
    if (message.volume !== this.#options.volume) {
      throw new TowlineError('NOT_AUTHORISED', 'the source asked for a volume that it was not given', {peer: ''});
    }
    if (!viewDigest(message.view).equals(message.viewDigest)) {
      throw protocolFault('a view', 'view', 'another digest', 'the digest that was announced');
    }
    this.#isDurable = message.isDurable;
    this.#deletes.confirmed(Math.max(this.#options.confirmedDeletes ?? 0, message.confirmedDeletes));
    const {holding} = this.#options;
    const applier = await this.#parts.open(message, narrowedView(message.view, holding.limits));
    const {isDurable, link} = message;
    const onError = (error: unknown): void => this.#stop(error);
    // That writing has begun is noted in a mode.
    const inPlaceAbove = holding.limits.modes ? this.#options.inPlaceAbove : undefined;
    const options = {link, isDurable, inPlaceAbove};
    this.#opened = {applier, files: new ReceiveFiles(options, {...this.#parts, onError})};
    this.#tellPartials(message.link);
    session.send({
      kind: 'link-opened',
      link: message.link,
      epoch: message.epoch,
      ...holding,
      groupsDigest: tree.groupsDigest(),
      rootDigest: tree.rootDigest(),
      entryCount: tree.entryCount(),
      stateId: tree.stateId,
    });
    this.#giveBackSoon(applier);
  }

  /** What is here of files that were begun: before anything of them is sent again. */
  #tellPartials(link: number): void {
    const {session, partials} = this.#parts;
    const all = session.speaks('resume') ? (partials?.paths() ?? []) : [];
    const [paths = []] = splitPaths(all.slice(-PARTIAL_FILES_MAX));
    if (paths.length > 0) session.send({kind: 'partial-files', link, paths});
  }

  #apply(message: MessageOf<'batch'>, frame: Buffer, {applier, files}: OpenLink): Promise<void> {
    if (this.#batchesOpen >= BATCHES_OPEN_MAX)
      throw protocolFault('a batch', 'open batches', this.#batchesOpen + 1, BATCHES_OPEN_MAX);
    this.#batchesOpen++;
    const before = this.#batches;
    // Of two that only create, the second is begun while the first is recorded: the applier keeps their order.
    const isCreating = message.ops.every(isCreation);
    const ready = isCreating && this.#lastBegun.isCreating ? this.#lastBegun.promise : before;
    const begun = Promise.withResolvers<void>();
    this.#lastBegun = {isCreating, promise: begun.promise};
    const opened = {applier, files};
    this.#batches = this.#applyInTurn(message, frame, opened, {ready, before, begin: () => begun.resolve()});
    this.#batches.catch(() => undefined); // told by whoever waits for it
    return this.#untilAnswered(this.#batches);
  }

  /** @param turn `ready`: when it may begin; `before`: the batch before, which is answered first; `begin` lets the next in */
  async #applyInTurn(
    message: MessageOf<'batch'>,
    frame: Buffer,
    {applier, files}: OpenLink,
    turn: {ready: Promise<void>; before: Promise<void>; begin: () => void},
  ): Promise<void> {
    const {ops, link, batch} = message;
    try {
      await turn.ready;
      const refused = await this.#parts.refused?.(ops);
      if (this.#isHalted) return;
      const judged = this.#deletes.judge(ops, refused);
      const bare = new Set(judged.flatMap(({isBare}, index) => (isBare ? [index] : [])));
      const taken = files.take(ops);
      const applied = applier.apply(frame, message, taken, {refused, bare});
      applied.catch(() => files.notApplied(taken));
      turn.begin();
      const [own, earlier] = await Promise.allSettled([applied, turn.before]);
      if (earlier.status === 'rejected') throw earlier.reason;
      if (own.status === 'rejected') throw own.reason;
      const results = own.value;
      this.#deletes.noteDone(ops, judged, results);
      files.applied(ops, results, taken);
      release(frame); // whatever is kept of it was copied
      this.#parts.session.send({kind: 'batch-result', link, batch, results});
      this.#digestSoon();
      this.#giveBackSoon(applier);
    } catch (error) {
      if (!isTowlineError(error)) throw error;
      this.#refuse(error);
    } finally {
      turn.begin();
      await turn.before.catch(() => undefined); // whoever waits for the last batch waits for all
    }
  }

  /** After the last batch for now the source makes its digests; this side's are made at the same time. */
  #digestSoon(): void {
    this.#digestLater?.();
    if (this.#isClosed) return;
    this.#digestLater = later(this.#parts.clock, REST_MS, () => {
      if (this.#batchesOpen > 0 || !this.#parts.session.isOpen) return;
      try {
        this.#parts.tree.rootDigest();
      } catch (error) {
        this.#stop(error);
      }
    });
  }

  /** Between batches, a little at a time. */
  #giveBackSoon(applier: BatchApplier): void {
    this.#mayGiveBack = true;
    this.#givingBack ??= this.#giveBack(applier);
  }

  async #giveBack(applier: BatchApplier): Promise<void> {
    try {
      while (this.#mayGiveBack && this.#parts.session.isOpen && !this.#isHalted && !this.#isClosed) {
        this.#mayGiveBack = false;
        if (await applier.giveBack()) this.#mayGiveBack = true;
      }
    } catch (error) {
      this.#stop(error);
    } finally {
      this.#givingBack = undefined;
    }
  }

  /** A batch is open until its answer has left. */
  async #untilAnswered(applied: Promise<void>): Promise<void> {
    try {
      await applied;
    } finally {
      await this.#parts.session.drained();
      this.#batchesOpen--;
    }
  }

  /** @throws PROTOCOL when another one has no result yet */
  #cut(asked: MessageOf<'cut'>): Promise<void> {
    if (this.#cutsOpen >= CUTS_OPEN_MAX) throw protocolFault('a cut', 'open cuts', this.#cutsOpen + 1, CUTS_OPEN_MAX);
    this.#cutsOpen++;
    return this.#answer('tree', () => this.#answerCut(asked));
  }

  async #answerCut(asked: MessageOf<'cut'>): Promise<void> {
    const {link, cut} = asked;
    await this.#batches;
    const {tree, session} = this.#parts;
    const rootDigest = tree.rootDigest();
    const groupsDigest = tree.groupsDigest();
    tree.flush();
    this.#cutsOpen--; // with its result the source may ask for the next one
    session.send({
      kind: 'cut-result',
      link,
      cut,
      rootDigest,
      groupsDigest,
      entryCount: tree.entryCount(),
      isDurable: this.#isDurable,
    });
    const isEqual = rootDigest.equals(asked.rootDigest) && groupsDigest.equals(asked.groupsDigest);
    this.#parts.onCut?.({cut, isEqual, digest: rootDigest});
    if (isEqual && this.#options.isReadOnly !== true) this.#opened?.files.allArrived();
  }

  /** Ends what was being received; called when the session is over. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#digestLater?.();
    await this.#batches.catch(() => undefined);
    await this.#opened?.files.close();
    await this.#givingBack;
  }
}
