/**
 * The source's end of a mirror link: opens it, compares, sends what differs, proves that both are equal.
 *
 * Not the watcher and not the scanner: it is given a state that is up to date and changes that were noticed. States and
 * edges are in STATES.md. Invariant: "in sync" is said only for equal digests of one cut that both sides observed.
 */
import type {Clock} from '../base/clock.ts';
import {TowlineError, type HaltKind} from '../base/errors.ts';
import type {JobRunner} from '../base/jobs.ts';
import {DIGEST_BYTES, sameDigest, type Digest} from '../model/digest.ts';
import {metaOf, sameTime, statOf, type Entry} from '../model/entry.ts';
import {ROOT, showPath, type RelPath} from '../model/path.ts';
import type {LinkStats} from '../model/status.ts';
import {EMPTY_TREE, entryDigestBytes, leafNodeDigest, type TreeNode} from '../model/tree.ts';
import {viewDigest, type View} from '../model/view.ts';
import {judgeDeletes, type DeleteLimits} from '../reconcile/delete-guard.ts';
import {planMeta, type Have, type Step} from '../reconcile/plan-path.ts';
import type {Message, MessageOf} from '../wire/messages.ts';
import {splitNodeRequests, splitPaths} from '../wire/split.ts';
import {repairGroups} from './groups.ts';
import {READ_STATUS} from './large-file.ts';
import type {SenderEvents, SenderJobs, SenderParts, SourceStore} from './send-item.ts';
import {Sender} from './sender.ts';
import type {Session} from './session.ts';
import {walk, type SourceTree} from './walk.ts';

/** What the link needs of the source's state. */
export interface SourceState extends SourceTree, SourceStore {
  rootDigest(): Digest;
  groupsDigest(): Digest;
  groups(after: number, countMax: number): {groups: RelPath[][]; next: number};
  entryCount(): number;
  setView(view: View): void;
  seq(): number;
}

export interface SourceLinkOptions {
  link: number;
  volume: string;
  view: View;
  isDryRun: boolean;
  isDurable: boolean;
  isQuick: boolean;
  deleteLimits: DeleteLimits;
  confirmedDeletes: number;
  /** Renames that were noticed and are not done on the target (dry run): new path → old path. */
  renames?: ReadonlyMap<RelPath, RelPath>;
}

export interface SourceLinkParts extends Omit<SenderParts, 'store' | 'events'> {
  session: Session;
  jobs: JobRunner<SenderJobs>;
  state: SourceState;
  clock: Clock;
  stats: LinkStats;
  events: SenderEvents & {
    onCompared(entries: number): void;
    /** Dry run: what would be done. */
    onPlanned(step: Step): void;
  };
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

const ASK_NODES_OPEN_MAX = 4;
const HASH_FILES_AT_ONCE = 512;

export class SourceLink {
  readonly sender: Sender;
  readonly #options: SourceLinkOptions;
  readonly #parts: SourceLinkParts;
  readonly #opened = Promise.withResolvers<MessageOf<'link-opened'>>();
  readonly #cuts = new Map<number, (result: MessageOf<'cut-result'>) => void>();
  readonly #refused = Promise.withResolvers<never>();
  #view: View;
  #targetCount = 0;
  #targetDigest: Digest | undefined;
  #nextCut = 1;

  constructor(options: SourceLinkOptions, parts: SourceLinkParts) {
    this.#options = options;
    this.#parts = parts;
    this.#view = options.view;
    this.sender = new Sender({link: options.link, view: options.view}, {...parts, store: parts.state});
    this.#opened.promise.catch(() => undefined);
    this.#refused.promise.catch(() => undefined);
    parts.session.onMessage = (message) => this.#take(message);
    void parts.session.closed.then((reason) => this.#fail(reason));
  }

  /** Rejects when the target refuses the link or the session ends. */
  get over(): Promise<never> {
    return this.#refused.promise;
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
      epoch: 1,
      ackedSeq: 0,
      view,
      viewDigest: viewDigest(view),
      isDryRun,
      isDurable,
      confirmedDeletes: Math.min(confirmedDeletes, Number.MAX_SAFE_INTEGER),
    });
    const opened = await Promise.race([this.#opened.promise, this.over]);
    this.#view = {...view, timePrecisionNs: Math.max(view.timePrecisionNs, opened.timePrecisionNs)};
    this.#targetCount = opened.entryCount;
    this.#targetDigest = Buffer.from(opened.rootDigest);
    return opened;
  }

  /** Compares both trees and sends what differs; deletes come last, judged together. */
  async catchUp(): Promise<CatchUp> {
    const {state, session} = this.#parts;
    const destructive: Step[] = [];
    const result: CatchUp = {steps: 0, assumed: 0};
    let destroyed = 0;
    const rootStep = await this.#rootStep();
    if (rootStep !== undefined) {
      result.steps++;
      await this.#perform(rootStep);
    }
    const peer = {listNodes: (nodes: {path: RelPath; prefix: Buffer}[]) => this.#listNodes(nodes)};
    const options = {
      view: this.#view,
      onCompared: (count: number) => this.#parts.events.onCompared(count),
      ...(this.#options.renames === undefined ? {} : {renames: this.#options.renames}),
    };
    for await (const steps of walk(options, {tree: state, peer})) {
      if (!session.isOpen) throw await session.closed;
      for (const step of await this.#compareContents(steps, result)) {
        result.steps++;
        if (step.destroys === 0) await this.#perform(step);
        else {
          destroyed += step.destroys;
          destructive.push(step);
          if (destroyed > this.#options.deleteLimits.count && destroyed > this.#options.confirmedDeletes)
            this.#judge(destroyed);
        }
      }
    }
    this.#judge(destroyed);
    await this.sender.flush();
    for (const step of destructive) await this.#perform(step);
    await this.sender.flush();
    return result;
  }

  /** Steps of noticed changes, with contents compared where they may be equal already. */
  prepare(steps: Step[]): Promise<Step[]> {
    return this.#compareContents(steps, {steps: 0, assumed: 0});
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
    const theirs = await Promise.race([promise, this.over]);
    this.#targetCount = theirs.entryCount;
    this.#targetDigest = Buffer.from(theirs.rootDigest);
    const isTreeEqual = theirs.rootDigest.equals(rootDigest);
    return {
      isEqual: isTreeEqual && theirs.groupsDigest.equals(groupsDigest),
      isTreeEqual,
      digest: rootDigest,
      entryCount: theirs.entryCount,
    };
  }

  /** Makes the hard links on the target those of the source, once all contents are equal. @returns steps sent */
  async repairLinks(): Promise<number> {
    const {link} = this.#options;
    const theirs: RelPath[][] = [];
    for (let after = 0; ;) {
      let next = 0;
      await this.#parts.session.ask(
        (request) => ({kind: 'list-groups', link, request, after}),
        (answer) => {
          if (answer.kind !== 'group-listing') return false;
          theirs.push(...answer.groups);
          next = answer.next;
          return next !== 0xffff_ffff;
        },
      );
      if (next === 0) break;
      after = next;
    }
    const steps = repairGroups(this.#ownGroups(), theirs, (path) => this.#parts.state.entryAt(path));
    for (const step of steps) await this.#perform(step);
    await this.sender.flush();
    return steps.length;
  }

  /** The root's own metadata, which no directory lists: it differs when the rest does not explain the digest. */
  async #rootStep(): Promise<Step | undefined> {
    const root = this.#parts.state.getRoot();
    if (root === undefined || root.isIncomplete || this.#targetDigest === undefined) return undefined;
    const [node] = await this.#listNodes([{path: ROOT, prefix: Buffer.alloc(0)}]);
    const subtree = node === undefined || node.kind === 'absent' ? EMPTY_TREE : node.digest;
    const tree = {
      name: ROOT,
      type: 'dir',
      meta: root,
      sizeBytes: 0,
      content: undefined,
      linkTarget: '',
      count: 0,
      subtree,
      isIncomplete: false,
    } as const;
    if (leafNodeDigest([entryDigestBytes(tree, this.#view, 'source')]).equals(this.#targetDigest)) return undefined;
    return {kind: 'op', path: ROOT, op: {kind: 'set-meta', path: ROOT, type: 'dir', meta: metaOf(root)}, destroys: 0};
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

  #perform(step: Step): Promise<void> | void {
    if (this.#options.isDryRun) return this.#parts.events.onPlanned(step);
    return this.sender.add(step);
  }

  /** @throws HALTED */
  #judge(destroyed: number): void {
    const {deleteLimits, confirmedDeletes, volume} = this.#options;
    const verdict = judgeDeletes(destroyed, this.#targetCount, deleteLimits, confirmedDeletes);
    if (verdict.go) return;
    throw haltedByDeletes(verdict, this.#targetCount, volume);
  }

  /**
   * Files of equal size whose content is not known on both sides are hashed before they are sent: what another tool
   * copied is adopted. With `isQuick`, equal size and time count as equal, and are counted.
   */
  async #compareContents(steps: Step[], result: CatchUp): Promise<Step[]> {
    const {state} = this.#parts;
    const kept: Step[] = [];
    const doubtful: {step: Extract<Step, {kind: 'file'}>; entry: Entry; have: Have}[] = [];
    for (const step of steps) {
      const entry = step.kind === 'file' ? state.entryAt(step.path) : undefined;
      if (step.kind !== 'file' || step.have?.type !== 'file' || entry === undefined) kept.push(step);
      else if (
        step.have.content !== undefined &&
        (entry.content !== undefined || !isAlike(entry, step.have)) &&
        !this.#options.isDryRun
      )
        kept.push(step);
      else if (
        this.#options.isQuick &&
        isAlike(entry, step.have) &&
        (entry.content === undefined || step.have.content === undefined)
      ) {
        result.assumed++;
        const meta = planMeta(step.path, 'file', entry, step.have.meta, this.#view);
        if (meta !== undefined) kept.push(meta);
      } else doubtful.push({step, entry, have: step.have});
    }
    for (let index = 0; index < doubtful.length; index += HASH_FILES_AT_ONCE) {
      kept.push(...(await this.#hashBoth(doubtful.slice(index, index + HASH_FILES_AT_ONCE))));
    }
    return kept;
  }

  async #hashBoth(doubtful: {step: Extract<Step, {kind: 'file'}>; entry: Entry; have: Have}[]): Promise<Step[]> {
    const isSameSize = ({entry, have}: {entry: Entry; have: Have}): boolean => entry.sizeBytes === have.sizeBytes;
    const [theirs] = await Promise.all([
      this.#hashTheirs(doubtful.filter(({have}) => have.content === undefined).map(({step}) => step.path)),
      this.#hashOurs(doubtful.filter((file) => isSameSize(file) && file.entry.content === undefined)),
    ]);
    return doubtful.flatMap(({step, have}): Step[] => {
      const entry = this.#parts.state.entryAt(step.path);
      const content = have.content ?? theirs.get(step.path);
      if (entry === undefined) return [];
      if (!sameDigest(entry.content, content)) return [{...step, have: {...have, content}}];
      const meta = planMeta(step.path, 'file', entry, have.meta, this.#view);
      return meta === undefined ? [] : [meta];
    });
  }

  async #hashTheirs(paths: RelPath[]): Promise<Map<RelPath, Digest>> {
    const found = new Map<RelPath, Digest>();
    for (const part of splitPaths(paths)) {
      if (part.length === 0) continue;
      let at = 0;
      await this.#parts.session.ask(
        (request) => ({kind: 'hash-files', link: this.#options.link, request, paths: part}),
        (answer) => {
          if (answer.kind !== 'file-digests') return false;
          for (const digest of answer.digests) {
            const path = part[at++];
            if (path !== undefined && digest !== undefined) found.set(path, Buffer.from(digest));
          }
          return at >= part.length;
        },
      );
    }
    return found;
  }

  async #hashOurs(files: {step: Step; entry: Entry}[]): Promise<void> {
    const {jobs, state, stats, events} = this.#parts;
    if (files.length === 0) return;
    const wanted = files.map(({step, entry}) => ({path: step.path, expected: statOf(entry)}));
    const read = await jobs.run('hash-files', {files: wanted}, {lane: 1});
    for (const [index, {step}] of files.entries()) {
      if (read.status[index] !== READ_STATUS.ok) {
        if (read.status[index] === READ_STATUS.unreadable) {
          events.onFailed(
            step.path,
            'unreadable',
            `${showPath(step.path)} cannot be read (errno ${read.errno[index]}); its old version stays on the target`,
            'source',
          );
        }
        continue;
      }
      stats.filesHashed++;
      state.setContentAt(step.path, Buffer.from(read.digests.slice(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES)));
      events.onNotes(step.path, read.notes[index] as number);
    }
  }

  /** Asks for nodes of the target's tree, in requests that overlap. */
  async #listNodes(nodes: {path: RelPath; prefix: Buffer}[]): Promise<TreeNode[]> {
    const parts = splitNodeRequests(nodes);
    const listed: TreeNode[] = [];
    for (let index = 0; index < parts.length; index += ASK_NODES_OPEN_MAX) {
      const answers = await Promise.all(
        parts.slice(index, index + ASK_NODES_OPEN_MAX).map((part) => this.#askNodes(part)),
      );
      listed.push(...answers.flat());
    }
    return listed;
  }

  async #askNodes(nodes: {path: RelPath; prefix: Buffer}[]): Promise<TreeNode[]> {
    const listed: TreeNode[] = [];
    if (nodes.length === 0) return listed;
    await this.#parts.session.ask(
      (request) => ({kind: 'list-nodes', link: this.#options.link, request, nodes}),
      (answer) => {
        if (answer.kind === 'node-listing') listed.push(...answer.nodes);
        return listed.length >= nodes.length;
      },
    );
    return listed;
  }

  #take(message: Message): void {
    switch (message.kind) {
      case 'link-opened':
        return this.#opened.resolve(message);
      case 'link-refused':
        return this.#fail(refusal(message, this.#options.volume));
      case 'cut-result':
        this.#cuts.get(message.cut)?.(message);
        this.#cuts.delete(message.cut);
        return;
      default:
        this.sender.take(message);
    }
  }

  #fail(reason: TowlineError): void {
    this.#refused.reject(reason);
    this.sender.fail(reason);
  }
}

/** Whether size and time say that a file is the same; only its content can prove it. */
function isAlike(entry: Entry, have: Have): boolean {
  return entry.sizeBytes === have.sizeBytes && sameTime(entry.mtime, have.meta.mtime);
}

function refusal(message: MessageOf<'link-refused'>, volume: string): TowlineError {
  const [code, kind] = message.code.split(':');
  if (code === 'HALTED') {
    return new TowlineError('HALTED', message.message, {
      kind: kind as HaltKind,
      volume,
      count: message.count,
      limit: message.limit,
    });
  }
  if (code === 'ROOT_MISSING') return new TowlineError('ROOT_MISSING', message.message, {path: volume});
  if (code === 'NOT_AUTHORISED') return new TowlineError('NOT_AUTHORISED', message.message, {peer: ''});
  if (code === 'BUG') return new TowlineError('BUG', message.message, {what: message.message});
  return new TowlineError('REFUSED', message.message, {reason: message.code});
}

/** The halt of a link whose deletes are too many. */
export function haltedByDeletes(
  verdict: {kind: HaltKind; count: number; limit: number},
  treeCount: number,
  volume: string,
): TowlineError {
  const what =
    verdict.kind === 'root-emptied'
      ? `the source is empty, and all ${treeCount} entries of the target would be deleted`
      : `${verdict.count} of ${treeCount} entries of the target would be deleted; the limit is ${verdict.limit}`;
  return new TowlineError('HALTED', `halted: ${what}. Look at the source; if that is right, confirm ${verdict.count}`, {
    kind: verdict.kind,
    volume,
    count: verdict.count,
    limit: verdict.limit,
  });
}
