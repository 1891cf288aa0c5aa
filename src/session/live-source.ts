/**
 * Follows a source live: what the watcher reported is looked at once it was quiet, and what changed is sent.
 *
 * Not the catch-up at a link's start. Invariants: a reported name is looked at or the whole volume is scanned; deletes
 * beyond the first few of a burst wait until it is over; the link is said to be in sync only after a cut that proves it.
 */
import {backoffDelayMs} from '../base/backoff.ts';
import type {Clock} from '../base/clock.ts';
import {isWithin, nameOf, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import type {Digest} from '../model/digest.ts';
import {DirtySet, type DueDir} from '../reconcile/dirty-set.ts';
import type {PathProblem} from '../scan/scan-problems.ts';
import type {Change, LookedAt, ScanResult} from '../scan/pass.ts';
import {moveSteps, orderChanges, stepOf} from './change-steps.ts';
import {LiveDeletes, type LiveDeletesOptions} from './live-deletes.ts';
import type {SourceLink, SourceState} from './source-link.ts';
import {createSteps} from './walk.ts';

/** The scanner, by shape. */
export interface ScanPort {
  scan(): Promise<ScanResult>;
  lookAt(
    dirs: LookedAt[],
    also?: {unsettled?: {path: RelPath; names: Name[]}[]; trees?: RelPath[]},
  ): Promise<ScanResult>;
}

export interface LiveOptions extends LiveDeletesOptions {
  settleMs: number;
  maxWaitMs: number;
  rescanMs: number;
  /** Directories without a watch are looked at this often. */
  pollMs: number;
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

const NAMES_AT_ONCE = 2_048; // one look; more is taken in the next round
const DIRTY_COUNT_MAX = 200_000; // about 40 MB; beyond it a scan is cheaper
const MOVES_MS = 10_000; // longer than an event is on its way
const MOVES_MAX = 1_000;
const MOVED_TO_MAX = 64;
const SLEEP_MS_MAX = 3_600_000; // within what a timer can hold
const RETRY = {delayMsMin: 500, delayMsMax: 60_000};

export class LiveSource {
  readonly #options: LiveOptions;
  readonly #parts: LiveParts;
  readonly #dirty: DirtySet;
  #wake = Promise.withResolvers<void>();
  readonly #deletes: LiveDeletes;
  #needsScan = false;
  #rescanAtMs: number;
  #walkAtMs: number | undefined;
  #walkAttempts = 0;
  /** Directories that were renamed not long ago: what was reported below their old paths is below the new ones. */
  #moves: {from: RelPath; to: RelPath; atMs: number}[] = [];
  /** Directories that could not be looked at because they had gone, perhaps elsewhere. */
  readonly #doubtful = new Map<RelPath, number>();
  #isPolling = false;
  #isCatchingUp = false;

  constructor(options: LiveOptions, parts: LiveParts) {
    this.#options = options;
    this.#parts = parts;
    const {settleMs, maxWaitMs} = options;
    this.#deletes = new LiveDeletes(options, parts);
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
    if (path === ROOT) this.#needsScan = true;
    else this.#dirty.noteTree(path, this.#parts.clock.monotonicMs());
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
    if ((this.#deletes.dueMs ?? Infinity) <= nowMs) return this.#release(link);
    if (nowMs >= this.#rescanAtMs && !this.#isCatchingUp) this.noteTree(ROOT);
    if (this.#needsScan && !this.#isCatchingUp) return this.#scan(link);
    const due = this.#dirty.take(nowMs, NAMES_AT_ONCE);
    if (due.length > 0) {
      await this.#look(link, due);
      return true;
    }
    if (this.#walkAtMs !== undefined && this.#walkAtMs <= nowMs && !this.#isCatchingUp) {
      this.#walkAtMs = undefined;
      await link.catchUp();
      return true;
    }
    return false;
  }

  /** Scans the whole volume, and sends what differs. */
  async #scan(link: SourceLink): Promise<boolean> {
    const {scanner, state, clock, events} = this.#parts;
    this.#needsScan = false;
    this.#rescanAtMs = clock.monotonicMs() + (this.#isPolling ? this.#options.pollMs : this.#options.rescanMs);
    const sinceSeq = state.seq();
    const result = await scanner.scan();
    events.onProblems(result.problems, true);
    this.#noteMoves(result);
    for (const step of moveSteps(result, (path) => state.entryAt(path), sinceSeq)) await link.sender.add(step);
    await link.catchUp();
    return true;
  }

  async #look(link: SourceLink, due: DueDir[]): Promise<void> {
    const noticedMs = Math.min(...due.map(({firstMs}) => firstMs));
    const all = due.flatMap(({path, names}) => [path, ...this.#movedTo(path)].map((at) => ({path: at, names})));
    const dirs = all.flatMap(({path, names}) => (names === 'tree' ? [] : [{path, names}]));
    const trees = all.filter(({names}) => names === 'tree').map(({path}) => path);
    const unsettled = this.#dirty.peek(NAMES_AT_ONCE);
    await this.#send(link, await this.#parts.scanner.lookAt(dirs, {trees, unsettled}), noticedMs);
  }

  /** Sends what a look has found, in an order that the target can follow. */
  async #send(link: SourceLink, result: ScanResult, noticedMs: number): Promise<void> {
    const {events} = this.#parts;
    events.onProblems(result.problems, false);
    this.#noteMoves(result);
    await this.#alsoOtherNames(result);
    this.#deletes.note(result);
    for (const change of result.changes) {
      if (change.kind === 'gone') events.onGone(change.path);
      if (isOpened(change)) this.noteTree(ROOT);
      if (change.kind !== 'put' || change.after.type === 'file') link.sender.abortLarge(change.path);
    }
    const {first, newDirs, moves, last, lastNewDirs, gone} = orderChanges(result);
    // The state has lost all of them already: the burst is judged against the tree before it.
    const goneCount = gone.reduce((sum, {count}) => sum + count, 0);
    const noted = {noticedMs, countBefore: this.#parts.state.entryCount() + goneCount};
    const moved = new Set(moves.map(({to}) => to));
    await this.#sendChanges(link, first, noted);
    const hasMoves = moves.length > 0;
    if (hasMoves) await this.#sendNew(link, newDirs, moved, 'dirs', noticedMs);
    await this.#sendChanges(link, moves, noted);
    await this.#sendNew(link, newDirs, moved, hasMoves ? 'others' : 'all', noticedMs);
    await this.#sendChanges(link, last, noted);
    await this.#sendNew(link, lastNewDirs, moved, 'all', noticedMs);
    await this.#sendChanges(link, gone, noted);
    await link.sender.kick();
  }

  /** Events name paths: those of a directory that has been renamed since are looked for at its new path. */
  #noteMoves({changes, missed}: ScanResult): void {
    const {clock, state} = this.#parts;
    const atMs = clock.monotonicMs();
    for (const path of missed) {
      this.#doubtful.set(path, atMs);
      if (state.entryAt(path)?.type !== 'dir') continue;
      this.note(path, undefined);
      if (path !== ROOT) this.note(parentOf(path), nameOf(path));
    }
    const before = this.#moves.length;
    for (const change of changes) {
      if ((change.kind !== 'renamed' && change.kind !== 'exchanged') || change.entry.type !== 'dir') continue;
      this.#moves.push({from: change.path, to: change.to, atMs});
      if (change.kind === 'exchanged') this.#moves.push({from: change.to, to: change.path, atMs});
    }
    const oldestMs = atMs - this.#options.maxWaitMs - MOVES_MS;
    for (const [path, sinceMs] of this.#doubtful) {
      const moved = this.#movedTo(path, sinceMs === atMs ? 0 : before);
      for (const to of moved) this.noteTree(to);
      if (moved.length > 0 || sinceMs < oldestMs) this.#doubtful.delete(path);
    }
    this.#moves = this.#moves.filter((move) => move.atMs >= oldestMs);
    if (this.#moves.length > MOVES_MAX) this.noteTree(ROOT);
    if (this.#moves.length > MOVES_MAX) this.#moves = [];
  }

  /** Where a directory may be by now, after the moves from `first` on. */
  #movedTo(path: RelPath, first = 0): RelPath[] {
    const paths = new Set([path]);
    for (const {from, to} of this.#moves.slice(first)) {
      for (const known of [...paths]) if (isWithin(known, from)) paths.add(to + known.slice(from.length));
      if (paths.size > MOVED_TO_MAX) this.noteTree(ROOT); // round in circles: everything is looked at instead
      if (paths.size > MOVED_TO_MAX) return [];
    }
    paths.delete(path);
    return [...paths].filter((at) => this.#parts.state.entryAt(at)?.type === 'dir');
  }

  async #sendChanges(
    link: SourceLink,
    changes: readonly Change[],
    noted: {noticedMs: number; countBefore: number},
  ): Promise<void> {
    const steps = changes.map((change) => stepOf(change, link.view)).filter((step) => step !== undefined);
    for (const step of await link.prepare(steps)) {
      if (step.destroys === 0 || this.#deletes.take(step, noted)) await link.sender.add(step, noted.noticedMs);
    }
  }

  /** What is below new directories was scanned, but is not kept among the changes: it may be much. */
  async #sendNew(
    link: SourceLink,
    dirs: readonly RelPath[],
    moved: ReadonlySet<RelPath>,
    types: 'all' | 'dirs' | 'others',
    noticedMs: number,
  ): Promise<void> {
    for (const dir of dirs)
      for (const step of createSteps(this.#parts.state, dir, link.view, moved, types))
        await link.sender.add(step, noticedMs);
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

  /** The burst is over. @throws HALTED */
  async #release(link: SourceLink): Promise<boolean> {
    for (const {step, noticedMs} of this.#deletes.release()) await link.sender.add(step, noticedMs);
    await link.sender.kick();
    return true;
  }

  async #prove(link: SourceLink): Promise<void> {
    const {events, clock} = this.#parts;
    if (this.#deletes.heldCount > 0) return;
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
      this.#deletes.dueMs,
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

/** Whether a directory that could not be read has got other permissions: perhaps it can be read now. */
function isOpened(change: Change): boolean {
  if (change.kind !== 'put' || !change.after.isIncomplete || change.before === undefined) return false;
  const {before, after} = change;
  return before.mode !== after.mode || before.uid !== after.uid || before.gid !== after.gid;
}
