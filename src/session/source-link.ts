/**
 * The source's end of a mirror link: opens it, compares, sends what differs, proves that both are equal.
 *
 * Not the watcher and not the scanner: it is given a state that is up to date and changes that were noticed. States and
 * edges are in STATES.md. Invariant: "in sync" is said only for equal digests of one cut that both sides observed.
 */
import type {Clock} from '../base/clock.ts';
import {Ending} from '../base/ending.ts';
import type {TowlineError} from '../base/errors.ts';
import type {JobRunner} from '../base/jobs.ts';
import type {Digest} from '../model/digest.ts';
import {metaOf} from '../model/entry.ts';
import {lostKinds, type LeftOut, type LeftOutKind, type LeftOutReason} from '../model/left-out.ts';
import {ROOT, type RelPath} from '../model/path.ts';
import type {LinkStats} from '../model/status.ts';
import {EMPTY_TREE, entryDigestBytes, leafNodeDigest, treeEntryOf} from '../model/tree.ts';
import {metaInView, narrowedView, viewDigest, type Holding, type View} from '../model/view.ts';
import {judgeDeletes, type DeleteLimits} from '../reconcile/delete-guard.ts';
import type {Step} from '../reconcile/plan-path.ts';
import {RollingHour} from '../reconcile/rolling-hour.ts';
import type {Message, MessageOf} from '../wire/messages.ts';
import {AskPeer} from './ask-peer.ts';
import {compareContents} from './compare-content.ts';
import {misgrouped, repairGroups} from './groups.ts';
import {haltedByDeletes, refusalError} from './refusal.ts';
import type {SenderEvents, SenderJobs, SenderParts, SourceStore} from './send-item.ts';
import {Sender} from './sender.ts';
import {SourceLosses} from './source-losses.ts';
import type {LinkSession} from './link-port.ts';
import {LinkedSession} from './link-session.ts';
import {walk, type SourceTree} from './walk.ts';

/** What the link needs of the source's state. */
export interface SourceState extends SourceTree, SourceStore {
  rootDigest(): Digest;
  groupsDigest(): Digest;
  groups(after: number, countMax: number): {groups: RelPath[][]; next: number};
  entryCount(): number;
  /** Whether there are files whose content is not known: then no digest can be equal. */
  hasUnread(): boolean;
  setView(view: View): void;
  seq(): number;
  /** Entries that a target does not take whole. */
  leftOut(kind: LeftOutKind, target: Pick<Holding, 'limits' | 'owner'>): LeftOut;
}

export interface SourceLinkOptions {
  link: number;
  volume: string;
  /** As it is packed (model/epoch.ts); the first one when it is left out. */
  epoch?: number;
  view: View;
  isDryRun: boolean;
  isDurable: boolean;
  isQuick: boolean;
  deleteLimits: DeleteLimits;
  confirmedDeletes: number;
}

export interface SourceLinkParts extends Omit<SenderParts, 'store' | 'events'> {
  session: LinkSession;
  jobs: JobRunner<SenderJobs>;
  state: SourceState;
  clock: Clock;
  stats: LinkStats;
  events: SenderEvents & {onCompared(entries: number): void};
  /** The account of this link's deletes, kept over connections; a new one when it is missing. */
  hour?: RollingHour;
}

export interface CutResult {
  isEqual: boolean;
  isTreeEqual: boolean;
  digest: Digest;
  entryCount: number;
}

/** What one comparison led to. */
export interface CatchUp {
  /** Steps that were sent. */
  steps: number;
  /** Files taken as equal by size and time, unread. */
  assumed: number;
}

/** With more names to be made equal their links wait for them. */
const DIFFERING_MAX = 10_000;

/** A comparison that was not firm is made once more, so often; of a source that never rests the last one counts. */
const COMPARISONS_AGAIN_MAX = 2;

interface Compared {
  isGrouped: boolean;
  /** Paths, as far as they are not too many. */
  differing: Set<RelPath>;
  destructive: Step[];
  /** Entries that these would destroy. */
  destroyed: number;
  /**
   * Nothing was on its way and nothing was noticed meanwhile. Else what was renamed may have been compared with the
   * target as it was before: that looks like the loss of all that is below.
   */
  isFirm: boolean;
}

export class SourceLink {
  readonly sender: Sender;
  readonly #options: SourceLinkOptions;
  readonly #parts: SourceLinkParts;
  readonly #peer: AskPeer;
  readonly #opened = Promise.withResolvers<MessageOf<'link-opened'>>();
  readonly #cuts = new Map<number, (result: MessageOf<'cut-result'>) => void>();
  readonly #ending = new Ending();
  readonly #hour: RollingHour;
  readonly #losses: SourceLosses;
  #view: View;
  #holding: Holding | undefined;
  #leftOut: {asOf: string; all: LeftOut[]} = {asOf: '', all: []};
  #targetCount = 0;
  #targetDigest: Digest | undefined;
  #targetGroups: Digest | undefined;
  #hasCaughtUp = false;
  #nextCut = 1;
  /** Why the target refused the link, if it did. */
  refusal: TowlineError | undefined;
  onTargetChanged: (() => void) | undefined;

  constructor(options: SourceLinkOptions, parts: SourceLinkParts) {
    this.#options = options;
    this.#parts = {...parts, session: new LinkedSession(parts.session, this.#ending)};
    this.#peer = new AskPeer(options, this.#parts);
    this.#view = options.view;
    this.#hour = parts.hour ?? new RollingHour();
    this.#losses = new SourceLosses(options, {...parts, hour: this.#hour});
    this.sender = new Sender(options, {...this.#parts, store: parts.state});
    this.#opened.promise.catch(() => undefined);
    parts.session.onMessage = (message) => this.#take(message);
    void parts.session.closed.then((reason) => this.#fail(reason));
  }

  /** Tells when the target refuses the link or the session ends, also when it has. @returns forgets it */
  whenOver(tell: (reason: Error) => void): () => void {
    return this.#ending.whenOver(tell);
  }

  /** Number of the last cut; 0 before the first. */
  get lastCut(): number {
    return this.#nextCut - 1;
  }

  /** Entries that the target had when the link was opened or last proved. */
  get targetCount(): number {
    return this.#targetCount;
  }

  get view(): View {
    return this.#view;
  }

  /** Opens the link; the target scans its tree meanwhile. @returns its answer */
  async open(): Promise<MessageOf<'link-opened'>> {
    const {link, volume, view, isDryRun, isDurable, confirmedDeletes} = this.#options;
    this.#parts.session.send({
      kind: 'open-link',
      link,
      volume,
      mode: 'mirror',
      epoch: this.#options.epoch ?? 1,
      ackedSeq: 0,
      view,
      viewDigest: viewDigest(view),
      isDryRun,
      isDurable,
      confirmedDeletes: Math.min(confirmedDeletes, Number.MAX_SAFE_INTEGER),
    });
    this.#hour.confirmed(confirmedDeletes, this.#parts.clock.monotonicMs());
    const opened = await this.#ending.orEnd(this.#opened.promise);
    this.#view = narrowedView(view, opened.limits);
    this.#holding = opened;
    this.sender.view = this.#view;
    this.#targetGroups = Buffer.from(opened.groupsDigest);
    this.#targetCount = opened.entryCount;
    this.#targetDigest = Buffer.from(opened.rootDigest);
    return opened;
  }

  /** Compares both trees and sends what differs; deletes come last, judged together. */
  async catchUp(): Promise<CatchUp> {
    const {state} = this.#parts;
    const result: CatchUp = {steps: 0, assumed: 0};
    let {isGrouped, differing, destructive, destroyed, isFirm} = await this.#compare(result);
    for (let again = 0; destroyed > 0 && !isFirm && again < COMPARISONS_AGAIN_MAX; again++) {
      await this.sender.settle();
      ({isGrouped, differing, destructive, destroyed, isFirm} = await this.#compare(result));
    }
    this.#judge(destroyed);
    const losses = destructive.map((step) => this.#losses.lossOf(step));
    this.#losses.take(losses, this.#targetCount);
    await this.sender.settle();
    for (const step of destructive) {
      // What came meanwhile is not deleted.
      const isBack = step.kind === 'op' && step.op.kind === 'delete' && state.entryAt(step.path) !== undefined;
      if (!isBack) await this.sender.add(step);
    }
    await this.sender.settle();
    // What cannot be made equal keeps no other names apart.
    if (!isGrouped && this.#hasCaughtUp && differing.size <= DIFFERING_MAX)
      result.steps += await this.#repairLinks(differing);
    this.#hasCaughtUp = true;
    return result;
  }

  /** Sends what differs but destroys nothing; what destroys is collected. */
  async #compare(result: CatchUp): Promise<Compared> {
    const {state, session} = this.#parts;
    const [seq, isSettled] = [state.seq(), this.sender.isSettled];
    const destructive: Step[] = [];
    const differing = new Set<RelPath>();
    let destroyed = 0;
    const isGrouped = this.#targetGroups?.equals(state.groupsDigest()) === true;
    const theirs = isGrouped ? [] : await this.#peer.groups();
    this.sender.misgrouped = theirs.length === 0 ? new Set() : misgrouped(this.#ownGroups(), theirs);
    const rootStep = await this.#rootStep();
    if (rootStep !== undefined) {
      result.steps++;
      await this.sender.add(rootStep);
    }
    const onCompared = (count: number): void => this.#parts.events.onCompared(count);
    for await (const steps of walk({view: this.#view, onCompared}, {tree: state, peer: this.#peer})) {
      if (!session.isOpen) throw await session.closed;
      const compared = await this.#compareContents(steps);
      result.assumed += compared.assumed;
      result.steps += compared.steps.length;
      for (const step of compared.steps) {
        if (differing.size <= DIFFERING_MAX) differing.add(step.path);
        if (step.destroys === 0) await this.sender.add(step);
        else {
          destroyed += step.destroys;
          // Counted to the end, so that the operator hears the whole number; none of it will be done.
          const {deleteLimits, confirmedDeletes} = this.#options;
          if (destroyed <= Math.max(deleteLimits.count, confirmedDeletes)) destructive.push(step);
          else destructive.length = 0;
        }
      }
    }
    return {isGrouped, differing, destructive, destroyed, isFirm: isSettled && seq === state.seq()};
  }

  /** Steps of noticed changes, with contents compared where they may be equal already. */
  async prepare(steps: Step[]): Promise<Step[]> {
    return (await this.#compareContents(steps)).steps;
  }

  /** What would make the target equal, without anything being sent: of a link that was opened to be compared alone. */
  async *differences(): AsyncGenerator<Step[]> {
    const {state, session} = this.#parts;
    const rootStep = await this.#rootStep();
    if (rootStep !== undefined) yield [rootStep];
    for await (const steps of walk({view: this.#view}, {tree: state, peer: this.#peer})) {
      if (!session.isOpen) throw await session.closed;
      yield (await this.#compareContents(steps)).steps;
    }
  }

  /** Proves equality at this moment. @throws the reason why the session ended */
  async cut(): Promise<CutResult> {
    const {state, session} = this.#parts;
    const cut = this.#nextCut++;
    const rootDigest = state.rootDigest();
    const groupsDigest = state.groupsDigest();
    const {promise, resolve} = Promise.withResolvers<MessageOf<'cut-result'>>();
    this.#cuts.set(cut, resolve);
    session.send({kind: 'cut', link: this.#options.link, cut, seq: state.seq(), rootDigest, groupsDigest});
    const theirs = await this.#ending.orEnd(promise);
    this.#targetCount = theirs.entryCount;
    this.#targetDigest = Buffer.from(theirs.rootDigest);
    this.#targetGroups = Buffer.from(theirs.groupsDigest);
    const isTreeEqual = theirs.rootDigest.equals(rootDigest);
    return {
      isEqual: isTreeEqual && theirs.groupsDigest.equals(groupsDigest),
      isTreeEqual,
      digest: rootDigest,
      entryCount: theirs.entryCount,
    };
  }

  /** Has files of the target read once more. @returns what it holds of those that it could read. @throws REFUSED */
  verifyPeer(paths: RelPath[]): Promise<Map<RelPath, Digest>> {
    return this.#peer.verifyFiles(paths);
  }

  /** What the target does not take of what is there now, and why. Counted anew when anything has changed. */
  leftOut(): {left: LeftOut; reason: Omit<LeftOutReason, 'advice'>}[] {
    const {state} = this.#parts;
    const holding = this.#holding;
    if (holding === undefined) return [];
    const asOf = `${state.seq()} ${state.entryCount()}`;
    if (this.#leftOut.asOf !== asOf) {
      const kinds = lostKinds(this.#options.view, this.#view);
      const all = kinds.map((kind) => state.leftOut(kind, holding)).filter(({count}) => count > 0);
      this.#leftOut = {asOf, all};
    }
    const {timePrecisionNs} = this.#view;
    return this.#leftOut.all.map((left) => ({
      left,
      reason: {cause: left.kind === 'flags' ? undefined : holding.causes[left.kind], timePrecisionNs},
    }));
  }

  /** What the target holds, as it has told. */
  get holding(): Holding | undefined {
    return this.#holding;
  }

  /** Makes the hard links on the target those of the source, once all contents are equal. @returns steps sent */
  async repairLinks(): Promise<number> {
    const count = await this.#repairLinks(new Set());
    this.sender.misgrouped = new Set();
    return count;
  }

  /** @param except names that are not equal yet */
  async #repairLinks(except: ReadonlySet<RelPath>): Promise<number> {
    const theirs = await this.#peer.groups();
    const all = repairGroups(this.#ownGroups(), theirs, (path) => this.#parts.state.entryAt(path));
    const steps = all.filter(({path, op}) => !except.has(path) && !(op.kind === 'link' && except.has(op.to)));
    for (const step of steps) await this.sender.add(step);
    await this.sender.settle();
    return steps.length;
  }

  /** The root's own metadata, which no directory lists: it differs when the rest does not explain the digest. */
  async #rootStep(): Promise<Step | undefined> {
    const root = this.#parts.state.getRoot();
    if (root === undefined || root.isIncomplete || this.#targetDigest === undefined) return undefined;
    const [node] = await this.#peer.listNodes([{path: ROOT, prefix: Buffer.alloc(0)}]);
    const subtree = node === undefined || node.kind === 'absent' ? EMPTY_TREE : node.digest;
    // The guard judges against what the target has now, not what it had when the link was opened.
    this.#targetCount = node === undefined || node.kind === 'absent' ? 0 : node.count;
    const tree = {...treeEntryOf({...root, name: ROOT}, this.#view), subtree};
    if (leafNodeDigest([entryDigestBytes(tree, this.#view, 'source')]).equals(this.#targetDigest)) return undefined;
    return {
      kind: 'op',
      path: ROOT,
      op: {kind: 'set-meta', path: ROOT, type: 'dir', meta: metaInView(metaOf(root), 'dir', this.#view)},
      destroys: 0,
    };
  }

  #ownGroups(): RelPath[][] {
    const groups: RelPath[][] = [];
    for (let after = 0; ;) {
      const page = this.#parts.state.groups(after, 1_024);
      groups.push(...page.groups);
      if (page.next === 0) return groups;
      after = page.next;
    }
  }

  /** @throws HALTED */
  #judge(destroyed: number): void {
    const {deleteLimits, confirmedDeletes, volume} = this.#options;
    // A source that holds anything is not emptied, however much of the target goes: a renamed top folder, say.
    const isEmptied = this.#parts.state.entryCount() === 0;
    const treeCount = isEmptied ? this.#targetCount : Math.max(this.#targetCount, destroyed + 1);
    const verdict = judgeDeletes(destroyed, treeCount, deleteLimits, confirmedDeletes);
    if (verdict.go) return;
    throw haltedByDeletes(verdict, this.#targetCount, volume);
  }

  #compareContents(steps: Step[]): Promise<{steps: Step[]; assumed: number}> {
    const {isQuick, isDryRun} = this.#options;
    return compareContents(steps, {view: this.#view, isQuick, isDryRun}, {...this.#parts, peer: this.#peer});
  }

  #take(message: Message): void {
    switch (message.kind) {
      case 'link-opened':
        return this.#opened.resolve(message);
      case 'link-refused':
        this.refusal = refusalError(message, this.#options.volume);
        return this.#fail(this.refusal);
      case 'target-changed':
        return this.onTargetChanged?.();
      case 'cut-result':
        this.#cuts.get(message.cut)?.(message);
        this.#cuts.delete(message.cut);
        return;
      default:
        this.sender.take(message);
    }
  }

  #fail(reason: TowlineError): void {
    this.#ending.end(reason);
    this.sender.fail(reason);
  }
}
