/**
 * Follows a source live: what the watcher reported is looked at once it was quiet, and what changed is sent.
 *
 * Not the catch-up at a link's start. Invariants: a reported name is looked at or the whole volume is scanned; deletes
 * beyond the first few of a burst wait until it is over; the link is said to be in sync only after a cut that proves it.
 */
import {backoffDelayMs} from '../base/backoff.ts';
import type {Clock} from '../base/clock.ts';
import {nameOf, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import type {Entry} from '../model/entry.ts';
import type {Digest} from '../model/digest.ts';
import {judgeAtMs, judgeDeletes, noteDeletes, type Burst, type DeleteLimits} from '../reconcile/delete-guard.ts';
import {DirtySet} from '../reconcile/dirty-set.ts';
import {planPath, type Have, type Step} from '../reconcile/plan-path.ts';
import type {PathProblem} from '../scan/scan-problems.ts';
import type {Change, ScanResult} from '../scan/scanner.ts';
import type {TreeEntry} from '../model/tree.ts';
import type {View} from '../model/view.ts';
import {haltedByDeletes} from './refusal.ts';
import type {SourceLink, SourceState} from './source-link.ts';
import {createSteps} from './walk.ts';

/** The scanner, by shape. */
export interface ScanPort {
  scanTree(start: RelPath): Promise<ScanResult>;
  lookAt(
    dirs: {path: RelPath; names: Name[] | undefined}[],
    unsettled?: {path: RelPath; names: Name[]}[],
  ): Promise<ScanResult>;
}

export interface LiveOptions {
  settleMs: number;
  maxWaitMs: number;
  rescanMs: number;
  /** Directories without a watch are looked at this often. */
  pollMs: number;
  deleteLimits: DeleteLimits;
  confirmedDeletes: number;
  volume: string;
}

export interface LiveParts {
  scanner: ScanPort;
  state: SourceState;
  clock: Clock;
  events: {
    onStatus(
      status: {kind: 'sending'; pendingCount: number} | {kind: 'in-sync'; digest: Digest} | {kind: 'unequal'},
    ): void;
    onProblems(problems: PathProblem[], isWholeScan: boolean): void;
    /** A path that is no more: its problems go with it. */
    onGone(path: RelPath): void;
    onNotice(message: string): void;
  };
}

interface HeldStep {
  step: Step;
  noticedMs: number;
}

const NAMES_AT_ONCE = 2_048; // one look; more is taken in the next round
const DIRTY_COUNT_MAX = 200_000; // about 40 MB; beyond it a scan is cheaper
const SLEEP_MS_MAX = 3_600_000; // within what a timer can hold
const RETRY = {delayMsMin: 500, delayMsMax: 60_000};

export class LiveSource {
  readonly #options: LiveOptions;
  readonly #parts: LiveParts;
  readonly #dirty: DirtySet;
  #wake = Promise.withResolvers<void>();
  #burst: Burst | undefined;
  #held: HeldStep[] = [];
  #needsScan: RelPath[] = [];
  #rescanAtMs: number;
  #walkAtMs: number | undefined;
  #walkAttempts = 0;
  #isPolling = false;
  #isCatchingUp = false;

  constructor(options: LiveOptions, parts: LiveParts) {
    this.#options = options;
    this.#parts = parts;
    const {settleMs, maxWaitMs} = options;
    this.#dirty = new DirtySet({settleMs, maxWaitMs, countMax: DIRTY_COUNT_MAX});
    this.#rescanAtMs = parts.clock.monotonicMs() + options.rescanMs;
  }

  /** A name was reported. @param name undefined: the directory's whole listing */
  note(dir: RelPath, name: Name | undefined): void {
    this.#dirty.note(dir, name, this.#parts.clock.monotonicMs());
    this.#wake.resolve();
  }

  /** A directory appeared, or everything is in doubt (`''`): it is scanned with all below it. */
  noteTree(path: RelPath): void {
    if (!this.#needsScan.includes(path)) this.#needsScan.push(path);
    this.#wake.resolve();
  }

  /** Not all directories are watched: the volume is scanned often. */
  setPolling(isPolling: boolean): void {
    this.#isPolling = isPolling;
    if (isPolling) this.#rescanAtMs = this.#parts.clock.monotonicMs() + this.#options.pollMs;
    this.#wake.resolve();
  }

  /** A path did not arrive; what differs is looked for again after a while. */
  noteFailure(path: RelPath, isChanging: boolean): void {
    if (isChanging) return this.note(parentOf(path), nameOf(path));
    this.#walkAtMs ??= this.#parts.clock.monotonicMs() + backoffDelayMs(this.#walkAttempts++, RETRY, Math.random());
    this.#wake.resolve();
  }

  /**
   * Follows until the signal is aborted. While the link catches up, small changes are sent already; scans and proofs wait.
   * @param catchingUp ends when everything that differed at the start was sent
   * @throws HALTED, or the reason why the session ended
   */
  async follow(link: SourceLink, catchingUp: Promise<void>, signal: AbortSignal): Promise<void> {
    let isProven = false;
    this.#isCatchingUp = true;
    const failed = catchingUp.then(() => {
      this.#isCatchingUp = false;
      this.#wake.resolve();
      return new Promise<never>(() => undefined);
    });
    failed.catch(() => undefined);
    const onAbort = (): void => this.#wake.resolve();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        this.#wake = Promise.withResolvers<void>();
        if (await this.#round(link)) isProven = false;
        else if (!isProven && !this.#isCatchingUp && link.sender.pendingCount === 0 && this.#dirty.size === 0) {
          isProven = true;
          await this.#prove(link);
        } else await Promise.race([this.#sleep(link), link.over, failed]);
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** @returns whether anything was done */
  async #round(link: SourceLink): Promise<boolean> {
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#dirty.takeFull()) {
      this.#parts.events.onNotice('more changed than is kept one by one; the volume is scanned');
      this.noteTree(ROOT);
    }
    if (this.#burst !== undefined && this.#held.length > 0 && judgeAtMs(this.#burst) <= nowMs)
      return this.#release(link);
    if (nowMs >= this.#rescanAtMs && !this.#isCatchingUp) this.noteTree(ROOT);
    if (this.#needsScan.length > 0 && !(this.#isCatchingUp && this.#needsScan.includes(ROOT))) return this.#scan(link);
    const due = this.#dirty.take(nowMs, NAMES_AT_ONCE);
    if (due.length > 0) {
      await this.#look(link, due, Math.min(...due.map(({firstMs}) => firstMs)));
      return true;
    }
    if (this.#walkAtMs !== undefined && this.#walkAtMs <= nowMs && !this.#isCatchingUp) {
      this.#walkAtMs = undefined;
      await link.catchUp();
      return true;
    }
    return false;
  }

  /** Scans what appeared, or the whole volume, and sends what differs. */
  async #scan(link: SourceLink): Promise<boolean> {
    const {scanner, state, clock, events} = this.#parts;
    const paths = this.#needsScan;
    this.#needsScan = [];
    if (paths.includes(ROOT)) {
      this.#rescanAtMs = clock.monotonicMs() + (this.#isPolling ? this.#options.pollMs : this.#options.rescanMs);
      const result = await scanner.scanTree(ROOT);
      events.onProblems(result.problems, true);
      await this.#sendRenames(link, result.changes);
      await link.catchUp();
      return true;
    }
    const noticedMs = clock.monotonicMs();
    for (const path of paths) {
      const result = await scanner.scanTree(path);
      events.onProblems(result.problems, false);
      await this.#sendRenames(link, result.changes);
      const step = this.#createStep(path, link.view);
      if (step !== undefined) await link.sender.add(step, noticedMs);
      for (const below of createSteps(state, path, link.view)) await link.sender.add(below, noticedMs);
    }
    await link.sender.kick();
    return true;
  }

  #createStep(path: RelPath, view: View): Step | undefined {
    const entry = this.#parts.state.entryAt(path);
    return entry === undefined ? undefined : planPath(path, treeEntryOf(entry), undefined, view);
  }

  async #sendRenames(link: SourceLink, changes: readonly Change[]): Promise<void> {
    for (const change of changes)
      if (change.kind === 'renamed' || change.kind === 'exchanged') await link.sender.add(moveStep(change));
  }

  async #look(link: SourceLink, due: {path: RelPath; names: Name[] | undefined}[], noticedMs: number): Promise<void> {
    const {scanner, events} = this.#parts;
    const result = await scanner.lookAt(due, this.#dirty.peek(NAMES_AT_ONCE));
    events.onProblems(result.problems, false);
    await this.#alsoOtherNames(result);
    const steps: Step[] = [];
    const newDirs: RelPath[] = [];
    for (const change of result.changes) {
      if (change.kind === 'gone') events.onGone(change.path);
      const step = this.#stepOf(change, link);
      if (change.kind === 'put' && change.after.type === 'dir' && change.before?.type !== 'dir')
        newDirs.push(change.path);
      else if (isOpened(change)) this.noteTree(ROOT);
      if (change.kind !== 'put' || change.after.type === 'file') link.sender.abortLarge(change.path);
      if (step === undefined) continue;
      steps.push(step);
    }
    // The state has lost all of them already: the burst is judged against the tree before it.
    const countBefore = result.changes.reduce(
      (sum, change) => sum + (change.kind === 'gone' ? change.count : 0),
      this.#parts.state.entryCount(),
    );
    for (const step of await link.prepare(steps)) {
      if (step.destroys === 0) await link.sender.add(step, noticedMs);
      else await this.#guard(link, step, {noticedMs, countBefore});
    }
    for (const path of newDirs) await this.#sendNewDir(link, path, noticedMs);
    await link.sender.kick();
  }

  /** A new directory: its own event may be the only one, so all below it is scanned and sent. */
  async #sendNewDir(link: SourceLink, path: RelPath, noticedMs: number): Promise<void> {
    const {scanner, state, events} = this.#parts;
    const result = await scanner.scanTree(path);
    events.onProblems(result.problems, false);
    await this.#sendRenames(link, result.changes);
    for (const step of createSteps(state, path, link.view)) await link.sender.add(step, noticedMs);
  }

  /** A change through one name of a hard-linked file is a change of its other names too. */
  async #alsoOtherNames(result: ScanResult): Promise<void> {
    const {scanner, state} = this.#parts;
    const seen = new Set(result.changes.map(({path}) => path));
    const others = new Set<RelPath>();
    for (const change of result.changes) {
      const entry = change.kind === 'put' ? change.after : change.kind === 'gone' ? change.before : undefined;
      if (entry === undefined || entry.type !== 'file') continue;
      if (entry.nlink < 2 && (change.kind !== 'put' || (change.before?.nlink ?? 1) < 2)) continue;
      for (const path of state.namesOf(entry)) if (!seen.has(path)) others.add(path);
    }
    if (others.size === 0) return;
    const dirs = [...Map.groupBy(others, parentOf)].map(([path, paths]) => ({path, names: paths.map(nameOf)}));
    const more = await scanner.lookAt(dirs);
    result.changes.push(...more.changes);
    result.problems.push(...more.problems);
  }

  #stepOf(change: Change, link: SourceLink): Step | undefined {
    if (change.kind === 'renamed' || change.kind === 'exchanged') return moveStep(change);
    if (change.kind === 'gone')
      return planPath(change.path, undefined, haveOf(change.before, change.count - 1), link.view);
    const before = change.before === undefined ? undefined : haveOf(change.before, 0);
    return planPath(change.path, treeEntryOf(change.after), before, link.view);
  }

  /** The first few deletes of a burst go at once, the rest waits for the verdict. */
  async #guard(
    link: SourceLink,
    step: Step,
    {noticedMs, countBefore}: {noticedMs: number; countBefore: number},
  ): Promise<void> {
    const noted = noteDeletes(
      this.#burst,
      step.destroys,
      countBefore - step.destroys,
      this.#parts.clock.monotonicMs(),
      this.#options.deleteLimits,
    );
    this.#burst = noted.burst;
    if (noted.isHeld) this.#held.push({step, noticedMs});
    else await link.sender.add(step, noticedMs);
  }

  /** The burst is over. @throws HALTED */
  async #release(link: SourceLink): Promise<boolean> {
    const {state} = this.#parts;
    const burst = this.#burst as Burst;
    const held = this.#held;
    this.#held = [];
    this.#burst = undefined;
    const total = burst.released + burst.held;
    const verdict = judgeDeletes(total, burst.treeCount, this.#options.deleteLimits, this.#options.confirmedDeletes);
    if (!verdict.go) throw haltedByDeletes(verdict, burst.treeCount, this.#options.volume);
    for (const {step, noticedMs} of held) {
      // What came back meanwhile is not deleted.
      const isBack = step.kind === 'op' && step.op.kind === 'delete' && state.entryAt(step.path) !== undefined;
      if (!isBack) await link.sender.add(step, noticedMs);
    }
    await link.sender.kick();
    return true;
  }

  async #prove(link: SourceLink): Promise<void> {
    const {events, clock} = this.#parts;
    if (this.#held.length > 0) return;
    const seq = this.#parts.state.seq();
    const cut = await link.cut();
    if (cut.isEqual) {
      this.#walkAttempts = 0;
      this.#walkAtMs = undefined;
      events.onStatus({kind: 'in-sync', digest: cut.digest});
      return;
    }
    if (seq !== this.#parts.state.seq() || this.#dirty.size > 0) return; // it moved on meanwhile
    events.onStatus({kind: 'unequal'});
    const sent = cut.isTreeEqual ? await link.repairLinks() : (await link.catchUp()).steps;
    if (sent > 0) this.#wake.resolve();
    this.#walkAtMs ??= clock.monotonicMs() + backoffDelayMs(this.#walkAttempts++, RETRY, Math.random());
  }

  async #sleep(link: SourceLink): Promise<void> {
    const {clock} = this.#parts;
    const nowMs = clock.monotonicMs();
    const times = [
      this.#dirty.nextDueMs(),
      ...(this.#isCatchingUp ? [] : [this.#rescanAtMs, this.#walkAtMs]),
      this.#held.length > 0 && this.#burst !== undefined ? judgeAtMs(this.#burst) : undefined,
    ];
    const nextMs = Math.min(nowMs + SLEEP_MS_MAX, ...times.filter((time) => time !== undefined));
    const waker = new AbortController();
    const timer = clock.sleep(Math.max(0, nextMs - nowMs), waker.signal).catch(() => undefined);
    // While answers are outstanding, the proof waits for them.
    const answered =
      link.sender.pendingCount > 0 ? link.sender.flush().catch(() => undefined) : new Promise<never>(() => undefined);
    await Promise.race([timer, this.#wake.promise, answered]);
    waker.abort();
  }
}

/** What the target is asked for a rename or an exchange that the scanner noticed. */
export function moveStep(change: Extract<Change, {kind: 'renamed' | 'exchanged'}>): Step {
  const {kind, path, to, entry} = change;
  if (kind === 'exchanged') return {kind: 'op', path, op: {kind: 'exchange', path, to}, destroys: 0};
  return {kind: 'op', path, op: {kind: 'rename', path, to, type: entry.type, content: entry.content}, destroys: 0};
}

/** Whether a directory that could not be read has got other permissions: perhaps it can be read now. */
function isOpened(change: Change): boolean {
  if (change.kind !== 'put' || !change.after.isIncomplete || change.before === undefined) return false;
  const {before, after} = change;
  return before.mode !== after.mode || before.uid !== after.uid || before.gid !== after.gid;
}

function haveOf(entry: Entry, count: number): Have {
  return {
    type: entry.type,
    meta: entry,
    sizeBytes: entry.sizeBytes,
    content: entry.content,
    count,
    linkTarget: entry.linkTarget,
  };
}

function treeEntryOf(entry: Entry): TreeEntry {
  const {name, type, sizeBytes, content, linkTarget, isIncomplete} = entry;
  return {name, type, meta: entry, sizeBytes, content, linkTarget, subtree: undefined, count: 0, isIncomplete};
}
