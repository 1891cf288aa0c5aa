/**
 * The source's side of one volume in one view: its state, its scanner, what is noticed live. Serves any number of links.
 *
 * Opens and closes; sends nothing. Invariant: links start from a state that a whole scan has brought up to date.
 */
import {join} from 'node:path';
import {retryDelayMs, UNREAD_RETRY_MS} from '../base/backoff.ts';
import type {Entry} from '../model/entry.ts';
import {ROOT} from '../model/path.ts';
import type {View} from '../model/view.ts';
import type {LinkSettings} from '../config/agent-config.ts';
import type {ScanResult} from '../scan/pass.ts';
import {Scanner} from '../scan/scanner.ts';
import type {PathProblem} from '../scan/scan-problems.ts';
import {LiveVolume} from '../session/live-volume.ts';
import {SecondLook} from '../session/second-look.ts';
import type {SourceState} from '../session/source-link.ts';
import {RESERVED_NAME} from '../volume/places.ts';
import type {AgentParts, FoundRoot, ScopedJobs} from './agent-parts.ts';
import {ExtentKeeper} from './extent-keeper.ts';
import {followSilentChanges} from './silent-changes.ts';
import {entryStore, secondLookState, sourceState} from './source-state.ts';
import {openState, type OpenState} from './state-folder.ts';
import {SOURCE_AGENT} from './sync-agents.ts';
import {startWatch, type RunningWatch} from './watch-source.ts';
import type {RelPath} from '../model/path.ts';
import type {LinkNotes} from '../state/agent-store.ts';

/** Who follows is told of what keeps paths from being read. */
export interface ScanListener {
  scanned(problems: readonly PathProblem[], isWhole: boolean): void;
  gone(path: RelPath): void;
}

export interface SourceVolumeOptions {
  name: string;
  settings: LinkSettings;
  view: View;
  /** Name of the state's folder: one for each view. */
  folder: string;
  notes: LinkNotes;
  found: FoundRoot;
  chokidarEntries: number;
  /** Share of the filesystem that is left free. */
  reserve: number;
  /** It is scanned once: nobody follows what changes then. */
  isScannedOnce?: boolean;
  onNotice(message: string): void;
}

const POLL_MS = 10_000;

export class SourceVolume {
  readonly opened: OpenState;
  readonly state: SourceState;
  readonly jobs: ScopedJobs;
  readonly live: LiveVolume;
  readonly extents: ExtentKeeper;
  /** Resolves when the state is up to date for the first time. */
  readonly scanned: Promise<void>;
  readonly #options: SourceVolumeOptions;
  readonly #parts: AgentParts;
  readonly #scanner: Scanner;
  readonly #secondLook: SecondLook;
  readonly #listeners = new Set<ScanListener>();
  readonly #firstScan = Promise.withResolvers<void>();
  /** What keeps paths from being read, as the last look at each said. */
  #problems = new Map<RelPath, PathProblem>();
  #unreadSinceMs: number | undefined;
  #watch: RunningWatch | undefined;
  #view: View;

  /** @throws TowlineError as `openState` */
  constructor(options: SourceVolumeOptions, parts: AgentParts) {
    this.#options = options;
    this.#parts = parts;
    this.#view = options.view;
    this.opened = openState({
      folder: join(parts.stateFolder, 'volumes', options.name, options.folder),
      side: 'source',
      view: options.view,
      rootPath: options.found.path,
      isDryRun: false,
      isDurable: options.settings.durability !== 'none',
      agent: options.notes,
      onNotice: (message) => options.onNotice(message),
    });
    const {root, volume} = this.opened;
    volume.setIds(options.view.ids);
    this.jobs = parts.jobsFor({root, places: undefined});
    this.extents = new ExtentKeeper(
      {reserveShare: options.reserve, rootPath: options.found.path},
      {jobs: this.jobs, clock: parts.clock, onNotice: (message) => options.onNotice(message)},
    );
    const again = {state: secondLookState(volume, SOURCE_AGENT), jobs: this.jobs, clock: parts.clock};
    this.#secondLook = new SecondLook({}, again);
    this.state = sourceState(volume, this.#secondLook);
    const {ignore, ids} = options.view;
    const rules = {ignore, reserved: [RESERVED_NAME], seed: volume.hashSeed};
    this.#scanner = new Scanner({agent: SOURCE_AGENT, rules, ids}, {store: entryStore(volume), jobs: this.jobs});
    const {settleMs, maxWaitMs, rescanMs} = options.settings;
    this.live = new LiveVolume(
      {settleMs, maxWaitMs, rescanMs, pollMs: POLL_MS},
      {
        scanner: this.#scanner,
        state: this.state,
        clock: parts.clock,
        events: {
          onProblems: (problems, isWhole) => this.#tellScanned(problems, isWhole),
          onGone: (path) => {
            this.#problems.delete(path);
            for (const listener of this.#listeners) listener.gone(path);
          },
          onNotice: (message) => options.onNotice(message),
          onScan: (why) => parts.log.info('the volume is scanned', {volume: options.name, why}),
        },
      },
    );
    this.scanned = this.#firstScan.promise;
    this.scanned.catch(() => undefined);
  }

  /** That both ends compare in. */
  get view(): View {
    return this.#view;
  }

  /** Whether other bytes under a file's times would be no surprise. */
  isDoubtful(entry: Entry): boolean {
    return this.#secondLook.isDoubtful(entry);
  }

  /** Takes another view, of the same ignore rules and ids: its only link's target holds something else now. */
  adopt(view: View): void {
    this.#view = view;
    this.state.setView(view);
  }

  /** @returns ends it */
  listen(listener: ScanListener): () => void {
    this.#listeners.add(listener);
    listener.scanned([...this.#problems.values()], true);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Watches, scans, then looks at what is noticed, until the signal is aborted.
   * @throws HALTED when the root is not what it was, and whatever else keeps the volume from being read
   */
  async run(signal: AbortSignal): Promise<void> {
    const {volume} = this.opened;
    try {
      if (this.#options.isScannedOnce !== true) this.#watch = await this.#startWatch();
      const result: ScanResult = await this.#scanner.scan();
      if (result.missed.length > 0) this.live.noteTree(ROOT, 'directories changed while they were scanned');
      this.#tellScanned(result.problems, true);
      volume.flush();
      this.#firstScan.resolve();
      this.#parts.onChange();
      await this.#look(signal);
    } catch (error) {
      this.#firstScan.reject(error);
      throw error;
    } finally {
      await this.live.run(AbortSignal.abort()); // who waits for a look that never came need not
      await this.#watch?.close();
    }
  }

  #startWatch(): Promise<RunningWatch> {
    const {settings, chokidarEntries} = this.#options;
    const onNotice = (_level: string, message: string): void => this.#options.onNotice(message);
    return startWatch(
      {root: this.opened.root, backEnd: settings.watch, chokidarEntries},
      {live: this.live, thread: this.#parts.watchThread, onNotice},
    );
  }

  async #look(signal: AbortSignal): Promise<void> {
    const {root, volume: store} = this.opened;
    const {live} = this;
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    const silent = {root, store, live, secondLook: this.#secondLook, mapped: this.#parts.mapped};
    try {
      await Promise.race([live.run(both), followSilentChanges(silent, both), this.extents.run(both)]);
    } finally {
      over.abort();
    }
  }

  /** Everything that was written before this call is looked at; @returns when that has been handed to all links. */
  async drain(): Promise<void> {
    await this.#watch?.drain();
    this.live.hurry();
  }

  /** Everything is looked at, and what may have been read too soon is read again. For when nothing is written. */
  async readAll(signal: AbortSignal): Promise<void> {
    await this.drain();
    await this.live.rescan();
    await this.#secondLook.readNow(this.live, signal);
  }

  #tellScanned(problems: readonly PathProblem[], isWhole: boolean): void {
    if (isWhole) this.#problems.clear();
    for (const problem of problems) this.#problems.set(problem.path, problem);
    this.#tryAgainLater();
    for (const listener of this.#listeners) listener.scanned(problems, isWhole);
  }

  /** What cannot be read may be readable later, and nothing tells when: a disk that fails, a server that is away. */
  #tryAgainLater(): void {
    const isUnread = [...this.#problems.values()].some(({code}) => code === 'unreadable' || code === 'changing');
    if (!isUnread) this.#unreadSinceMs = undefined;
    else {
      const nowMs = this.#parts.clock.monotonicMs();
      this.#unreadSinceMs ??= nowMs;
      const delayMs = retryDelayMs(nowMs - this.#unreadSinceMs, Math.random());
      this.live.rescanWithin(Math.max(UNREAD_RETRY_MS, delayMs));
    }
  }

  /** Ends what works on the volume. */
  async stop(): Promise<void> {
    await this.jobs.close();
  }

  /** Once nobody uses its state any more. */
  close(): void {
    this.opened.close();
  }
}
