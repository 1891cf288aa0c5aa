/**
 * Looks at what a watcher reported on a source once it was quiet, and hands what changed to every link that follows.
 *
 * Knows no peer. Invariants: a reported name is looked at or the whole volume is scanned; every follower gets every
 * look's changes in the order of the looks, or is told that it must compare.
 */
import {later, type Clock} from '../base/clock.ts';
import {isWithin, nameOf, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import {DirtySet, type DueDir, type Patience} from '../reconcile/dirty-set.ts';
import {newPass, type Change, type LookedAt, type ScanResult} from '../scan/pass.ts';
import type {PathProblem} from '../scan/scan-problems.ts';
import {namesToLookAt} from './linked-names.ts';
import type {SourceState} from './source-link.ts';

/** The scanner, by shape. */
export interface ScanPort {
  scan(): Promise<ScanResult>;
  lookAt(
    dirs: LookedAt[],
    also?: {unsettled?: {path: RelPath; names: Name[]}[]; trees?: RelPath[]},
  ): Promise<ScanResult>;
}

export interface LiveVolumeOptions {
  settleMs: number;
  maxWaitMs: number;
  rescanMs: number;
  /** Directories without a watch are looked at this often. */
  pollMs: number;
}

export interface LiveVolumeParts {
  scanner: ScanPort;
  state: SourceState;
  clock: Clock;
  events: {
    onProblems(problems: PathProblem[], isWholeScan: boolean): void;
    /** A path that is no more: its problems go with it. */
    onGone(path: RelPath): void;
    onNotice(message: string): void;
    /** The whole volume is scanned, and why. */
    onScan?(why: string): void;
  };
}

/** What one look or scan has found. */
export interface Noticed {
  result: ScanResult;
  noticedMs: number;
  /** Entries before it. */
  countBefore: number;
  /** Of a scan of the whole volume: the state's sequence number before it. Of its changes only renames are told. */
  scannedSince: number | undefined;
}

/** A link that follows. */
export interface Follower {
  /** Whether it is still sending what differed when it was opened. */
  readonly isCatchingUp: boolean;
  /** Resolves when it was taken in, or at once by a follower that lags. */
  take(noticed: Noticed): Promise<void>;
  /** Nothing is left to be looked at: a proof can be made. */
  rest(): void;
}

const NAMES_AT_ONCE = 2_048; // one look; more is taken in the next round
const DIRTY_COUNT_MAX = 100_000; // about 35 MB; beyond it a scan is cheaper
/** Before anybody looks, as on a target during its first copy, where nearly all of it is its own: 7 MB. */
const EARLY_COUNT_MAX = 20_000;
const MOVES_MS = 10_000; // longer than an event is on its way
const MOVES_MAX = 1_000;
const MOVED_TO_MAX = 64;
const OTHER_NAMES_ROUNDS_MAX = 8; // names of names; what is left then, or is more than one look, is looked at next
const SLEEP_MS_MAX = 3_600_000; // within what a timer can hold
const BEHIND_MS = 500; // so long the others wait for a follower, once

export class LiveVolume {
  readonly #options: LiveVolumeOptions;
  readonly #parts: LiveVolumeParts;
  readonly #dirty: DirtySet;
  readonly #followers = new Set<Follower>();
  #wake = Promise.withResolvers<void>();
  /** Why the whole volume must be scanned; undefined when it need not. */
  #scanWhy: string | undefined;
  #rescanAtMs: number;
  /** Directories that were renamed not long ago: what was reported below their old paths is below the new ones. */
  #moves: {from: RelPath; to: RelPath; atMs: number}[] = [];
  /** Directories that could not be looked at because they had gone, perhaps elsewhere. */
  readonly #doubtful = new Map<RelPath, number>();
  #isPolling = false;
  #isRunning = false;
  #isLooking = false;
  /** Changes that somebody else has found, and the state knows. */
  #told: Change[] = [];
  /** Scans that were begun and ended; who asks for one waits for the next to end. */
  #scans = {asked: 0, done: 0, waiting: [] as (() => void)[]};

  constructor(options: LiveVolumeOptions, parts: LiveVolumeParts) {
    this.#options = options;
    this.#parts = parts;
    const {settleMs, maxWaitMs, rescanMs} = options;
    this.#dirty = new DirtySet({settleMs, maxWaitMs, countMax: DIRTY_COUNT_MAX});
    this.#rescanAtMs = parts.clock.monotonicMs() + rescanMs;
  }

  /** Names that were noticed and not looked at yet. */
  get noticedCount(): number {
    return this.#dirty.size;
  }

  /** Whether nothing is left to be looked at but what never rests. */
  get isQuiet(): boolean {
    return (
      this.#dirty.size === this.#dirty.restlessCount &&
      this.#told.length === 0 &&
      !this.#isLooking &&
      this.#scanWhy === undefined
    );
  }

  /** Whether there are names that never rest: then nothing is in sync. */
  get isRestless(): boolean {
    return this.#dirty.restlessCount > 0;
  }

  get isPolling(): boolean {
    return this.#isPolling;
  }

  /** @returns ends it */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** A name was reported. @param name undefined: the directory's whole listing */
  note(dir: RelPath, name: Name | undefined): void {
    if (!this.#isRunning && this.#dirty.size >= EARLY_COUNT_MAX) {
      this.#dirty.clear(false);
      this.noteTree(ROOT, 'much changed before anybody looked');
    }
    if (!this.#isRunning && this.#scanWhy !== undefined) return; // that scan sees it
    this.#dirty.note(dir, name, this.#parts.clock.monotonicMs());
    this.#wake.resolve();
  }

  /** A file changed while it was read, or rests again. */
  setPatience(path: RelPath, patience: Patience): void {
    this.#dirty.setPatience(parentOf(path), nameOf(path), patience);
  }

  /** A directory appeared, or everything is in doubt (`''`): it is scanned with all below it. @param why for the log */
  noteTree(path: RelPath, why = 'directories moved faster than they were looked at'): void {
    if (path === ROOT) this.#scanWhy ??= why;
    else this.#dirty.noteTree(path, this.#parts.clock.monotonicMs());
    this.#wake.resolve();
  }

  /** Changes that were found otherwise than by a look, and that the state knows already. */
  tell(changes: readonly Change[]): void {
    for (const change of changes) this.#told.push(change);
    this.#wake.resolve();
  }

  /** Not all directories are watched: the volume is scanned often. */
  setPolling(isPolling: boolean): void {
    this.#isPolling = isPolling;
    if (isPolling) this.#rescanAtMs = this.#parts.clock.monotonicMs() + this.#options.pollMs;
    this.#wake.resolve();
  }

  /** Scans the whole volume after this time at the latest: something in it is worth another try. */
  rescanWithin(delayMs: number): void {
    this.#rescanAtMs = Math.min(this.#rescanAtMs, this.#parts.clock.monotonicMs() + delayMs);
    this.#wake.resolve();
  }

  /** Everything noticed so far is looked at now, quiet or not. */
  hurry(): void {
    this.#dirty.hurry(this.#parts.clock.monotonicMs());
    this.#wake.resolve();
  }

  /** Scans the whole volume. @returns when a scan that began after this call has ended and was handed over */
  rescan(): Promise<void> {
    const wanted = ++this.#scans.asked;
    this.noteTree(ROOT, 'it was asked for');
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.#scans.done >= wanted) resolve();
        else this.#scans.waiting.push(check);
      };
      check();
    });
  }

  /**
   * Looks until the signal is aborted.
   * @throws HALTED and what else keeps the scanner from reading the volume
   */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#wake.resolve();
    signal.addEventListener('abort', onAbort);
    this.#isRunning = true;
    try {
      while (!signal.aborted) {
        this.#wake = Promise.withResolvers<void>();
        if (await this.#round()) continue;
        for (const follower of this.#followers) follower.rest();
        await this.#sleep();
      }
    } finally {
      this.#isRunning = false;
      signal.removeEventListener('abort', onAbort);
      this.#scans.done = Infinity; // nobody scans any more: who waits need not
      for (const check of this.#scans.waiting.splice(0)) check();
    }
  }

  /** @returns whether anything was done */
  async #round(): Promise<boolean> {
    const {clock, state} = this.#parts;
    const nowMs = clock.monotonicMs();
    const told = this.#told.splice(0);
    if (told.length > 0) {
      const result = {...newPass(true).result, changes: told};
      const noticed = {result, noticedMs: nowMs, countBefore: state.entryCount(), scannedSince: undefined};
      return this.#working(() => this.#hand(noticed));
    }
    if (this.#dirty.takeFull()) {
      this.#parts.events.onNotice('more changed than is kept one by one; the volume is scanned');
      this.#scanWhy ??= 'more changed than is kept one by one';
    }
    if (nowMs >= this.#rescanAtMs && !this.#isRescanHeld(nowMs))
      this.#scanWhy ??= this.#isPolling ? 'not all of it is watched' : 'that is done once in a while';
    const why = this.#scanWhy;
    if (why !== undefined) return this.#working(() => this.#scan(why));
    const due = this.#dirty.take(nowMs, NAMES_AT_ONCE);
    if (due.length === 0) return false;
    return this.#working(() => this.#look(due));
  }

  /** A rescan that no event asks for waits for links that catch up, but not for ever. */
  #isRescanHeld(nowMs: number): boolean {
    const isCatchingUp = [...this.#followers].some((follower) => follower.isCatchingUp);
    return isCatchingUp && nowMs < this.#rescanAtMs + this.#options.rescanMs;
  }

  async #working(work: () => Promise<void>): Promise<true> {
    this.#isLooking = true;
    try {
      await work();
    } finally {
      this.#isLooking = false;
    }
    return true;
  }

  async #scan(why: string): Promise<void> {
    const {scanner, state, clock, events} = this.#parts;
    const asked = this.#scans.asked;
    this.#scanWhy = undefined;
    events.onScan?.(why);
    this.#rescanAtMs = clock.monotonicMs() + (this.#isPolling ? this.#options.pollMs : this.#options.rescanMs);
    const scannedSince = state.seq();
    const countBefore = state.entryCount();
    const result = await scanner.scan();
    events.onProblems(result.problems, true);
    this.#noteMoves(result);
    await this.#hand({result, noticedMs: clock.monotonicMs(), countBefore, scannedSince});
    this.#scans.done = Math.max(this.#scans.done, asked);
    for (const check of this.#scans.waiting.splice(0)) check();
  }

  async #look(due: DueDir[]): Promise<void> {
    const {events, scanner, state} = this.#parts;
    const noticedMs = Math.min(...due.map(({firstMs}) => firstMs));
    const all = due.flatMap(({path, names}) => [path, ...this.#movedTo(path)].map((at) => ({path: at, names})));
    const dirs = all.flatMap(({path, names}) => (names === 'tree' ? [] : [{path, names}]));
    const trees = all.filter(({names}) => names === 'tree').map(({path}) => path);
    const unsettled = this.#dirty.peek(NAMES_AT_ONCE);
    const result = await scanner.lookAt(dirs, {trees, unsettled});
    events.onProblems(result.problems, false);
    this.#noteMoves(result);
    await this.#alsoOtherNames(result);
    for (const change of result.changes) {
      if (change.kind === 'gone') events.onGone(change.path);
      else if (change.kind === 'put' && change.from !== undefined) events.onGone(change.from);
      if (isOpened(change)) this.noteTree(ROOT, 'a directory may be readable again');
    }
    if (result.changes.length === 0 && result.newDirs.length === 0) return;
    // The state has lost what is gone already: a burst of deletes is judged against the tree before it.
    const goneCount = result.changes.reduce((sum, change) => sum + (change.kind === 'gone' ? change.count : 0), 0);
    await this.#hand({result, noticedMs, countBefore: state.entryCount() + goneCount, scannedSince: undefined});
  }

  /** A link alone is waited for; of several, none waits long for another. */
  async #hand(noticed: Noticed): Promise<void> {
    const taken = [...this.#followers].map((follower) => follower.take(noticed));
    if (taken.length < 2) {
      await taken[0];
      return;
    }
    const waker = new AbortController();
    const patience = this.#parts.clock.sleep(BEHIND_MS, waker.signal).catch(() => undefined);
    await Promise.race([Promise.all(taken), patience]);
    waker.abort();
  }

  /** Events name paths: those of a directory that has been renamed since are looked for at its new path. */
  #noteMoves({changes, missed, left}: ScanResult): void {
    const {clock, state} = this.#parts;
    const atMs = clock.monotonicMs();
    // Asked again until what moved there has come to rest, or is gone as well.
    for (const path of left) this.note(parentOf(path), nameOf(path));
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
    const latest = this.#moves.slice(before);
    for (const [path, sinceMs] of this.#doubtful) {
      // What was looked for too early, under a name that the state learns of only now.
      const hasArrived = latest.some(({to}) => isWithin(path, to));
      if (hasArrived && state.entryAt(path)?.type === 'dir') this.note(path, undefined);
      const moved = this.#movedTo(path, sinceMs === atMs ? 0 : before);
      for (const to of moved) this.noteTree(to);
      if (sinceMs < oldestMs) this.#doubtful.delete(path);
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

  /** A change through one name of a hard-linked file is a change of its other names too; those may be other files by now. */
  async #alsoOtherNames(result: ScanResult): Promise<void> {
    const {scanner, state} = this.#parts;
    let found: Pick<ScanResult, 'changes' | 'stale'> = {...result};
    for (let round = 1; ; round++) {
      const others = namesToLookAt(result.changes, found, state);
      if (others.length === 0) return;
      if (others.length > NAMES_AT_ONCE || round > OTHER_NAMES_ROUNDS_MAX)
        return others.forEach((path) => this.note(parentOf(path), nameOf(path)));
      const dirs = [...Map.groupBy(others, parentOf)].map(([path, paths]) => ({path, names: paths.map(nameOf)}));
      const more = await scanner.lookAt(dirs);
      for (const change of more.changes) result.changes.push(change);
      for (const problem of more.problems) result.problems.push(problem);
      this.#parts.events.onProblems(more.problems, false);
      found = more;
    }
  }

  async #sleep(): Promise<void> {
    const {clock} = this.#parts;
    const nowMs = clock.monotonicMs();
    const dueMs = this.#dirty.nextDueMs() ?? Infinity;
    // One that waits for links that catch up is tried again now and then.
    const rescanMs = this.#rescanAtMs > nowMs ? this.#rescanAtMs : nowMs + this.#options.pollMs;
    const nextMs = Math.min(nowMs + SLEEP_MS_MAX, dueMs, rescanMs);
    const forget = later(clock, Math.max(0, nextMs - nowMs), () => this.#wake.resolve());
    await this.#wake.promise;
    forget();
  }
}

/** Whether a directory that could not be read has got other permissions: perhaps it can be read now. */
function isOpened(change: Change): boolean {
  if (change.kind !== 'put' || !change.after.isIncomplete || change.before === undefined) return false;
  const {before, after} = change;
  return before.mode !== after.mode || before.uid !== after.uid || before.gid !== after.gid;
}
