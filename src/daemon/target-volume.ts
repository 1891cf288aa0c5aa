/**
 * The target's side of one volume: its state, lock, staging and trash, and the one link that writes to it.
 *
 * Invariants: one link writes at a time, a newer one of the same peer replaces the older; what else changes the target is
 * looked at only while no batch is being applied, so that nothing old overwrites what a batch has noted.
 */
import {join} from 'node:path';
import type {Applier} from '../apply/applier.ts';
import type {StagedFile} from '../apply/staged-transfers.ts';
import {PartialFiles} from '../apply/partial-files.ts';
import {waitingMs} from '../apply/roll-forward.ts';
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import type {JobRunner} from '../base/jobs.ts';
import {Turns} from '../base/turns.ts';
import type {VolumeConfig} from '../config/agent-config.ts';
import {closeFd} from '../linux/open-fd.ts';
import type {RelPath} from '../model/path.ts';
import {narrowedView, sameView, type Holding, type View} from '../model/view.ts';
import type {RollingHour} from '../reconcile/rolling-hour.ts';
import type {ScanResult} from '../scan/pass.ts';
import {LiveVolume} from '../session/live-volume.ts';
import type {LinkPort} from '../session/link-port.ts';
import {refusalMessage} from '../session/refusal.ts';
import {TargetLink, type BatchApplier, type TargetLinkParts} from '../session/target-link.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import {holdLock, volumeLockPath, type HeldLock} from '../volume/lock.ts';
import {findPlaces, leavePlaces, type Places} from '../volume/places.ts';
import {probeHolds} from '../volume/probe-holds.ts';
import {openRoot} from '../volume/root-identity.ts';
import type {MessageOf} from '../wire/messages.ts';
import type {AgentParts, FoundRoot, ScopedJobs} from './agent-parts.ts';
import {holdingOf, offeredView} from './own-limits.ts';
import {isStateTrouble} from './run-errors.ts';
import {sourceState} from './source-state.ts';
import {RefusedOps} from './refused-ops.ts';
import {openState, type OpenState} from './state-folder.ts';
import {TargetCopy, type TargetCopyOptions} from './target-copy.ts';
import type {TargetProblems} from './target-problems.ts';
import {TrashKeeper} from './trash-keeper.ts';
import type {VolumeJobs} from './volume-jobs.ts';
import {startWatch, type RunningWatch} from './watch-source.ts';

export interface TargetVolumeOptions {
  config: VolumeConfig;
  notes: LinkNotes;
  found: FoundRoot;
  chokidarEntries: number;
  /** Share of the filesystem that is left free, 0 to 1. */
  reserve: number;
  onNotice(message: string): void;
  /** Something else than the link has changed these paths. */
  onDrift(paths: readonly RelPath[]): void;
  /** Of this copy: what is not to be touched, and what becomes of it. */
  problems: TargetProblems;
  /** Whether what others change is told path by path, and not only repaired. */
  reportsDrift(): boolean;
}

/** Who is told of what a link does. */
export interface ServeHooks extends Pick<TargetLinkParts, 'onCut' | 'onSourceState' | 'onContradicted'> {
  onRefused(error: unknown): void;
  confirmedDeletes: number;
  hour: RollingHour;
  /** The link may look at this copy, and change nothing. */
  isReadOnly?: boolean;
}

const DRIFT = {settleMs: 1_000, maxWaitMs: 10_000, pollMs: 60_000}; // nobody waits for it

export class TargetVolume {
  readonly opened: OpenState;
  readonly places: Places;
  readonly #options: TargetVolumeOptions;
  readonly #parts: AgentParts;
  readonly #jobs: ScopedJobs;
  readonly #partials: PartialFiles;
  readonly #lock: HeldLock;
  readonly #holding: Holding;
  readonly #copy: TargetCopy;
  readonly #refused: RefusedOps;
  readonly #trash: TrashKeeper;
  /** The jobs of a link; what they take from the trash is noted. */
  readonly #linkJobs: JobRunner<VolumeJobs>;
  readonly #turns = new Turns();
  readonly #proved = Promise.withResolvers<void>();
  readonly #failed = Promise.withResolvers<never>();
  readonly #live: LiveVolume;
  #ready: {view: View; isDurable: boolean; applier: Applier} | undefined;
  #isWatching = false;
  #isLooking = false;
  #watch: RunningWatch | undefined;
  #link: TargetLink | undefined;
  #port: LinkPort | undefined;
  #serving: Promise<unknown> = Promise.resolve();
  #signal: AbortSignal | undefined;
  #view: View;

  /** @throws TowlineError as `openState`, and LOCKED when another process writes to this volume */
  constructor(options: TargetVolumeOptions, parts: AgentParts) {
    this.#options = options;
    this.#parts = parts;
    const {config, found, notes} = options;
    const folder = join(parts.stateFolder, 'volumes', config.name, 'target');
    this.opened = openState({
      folder,
      side: 'target',
      rootPath: found.path,
      isDryRun: false,
      isDurable: config.durability !== 'none',
      agent: notes,
      onNotice: (message) => options.onNotice(message),
    });
    const {root, volume} = this.opened;
    let lock: HeldLock | undefined;
    let foldsCase: boolean;
    try {
      this.#lock = lock = holdLock(volumeLockPath(root), found.path);
      const places = this.#withRootFd((fd) => findPlaces(fd, found.path, folder, found.beside));
      this.places = {...places, reserve: options.reserve};
      const held = this.#withRootFd((fd) => probeHolds(fd, found.path, this.places));
      this.#holding = holdingOf(config.accept, held);
      ({foldsCase} = held);
      this.#view = narrowedView(offeredView(config), this.#holding.limits);
    } catch (error) {
      lock?.release();
      this.opened.close();
      throw error;
    }
    this.#jobs = parts.jobsFor({root, places: this.places});
    const {engines, clock, log} = parts;
    const told = {onChange: () => parts.onChange(), onError: (error: unknown) => this.#told(error)};
    const used = {partials: {prune: () => this.#partials.prune()}, waitingMs: () => waitingMs(this.opened.journal)};
    this.#trash = new TrashKeeper(config, {jobs: this.#jobs, ...used, clock, log, ...told});
    this.#linkJobs = this.#trash.listening(this.#jobs);
    this.#refused = new RefusedOps({rootPath: found.path}, {engines, store: volume, problems: options.problems});
    this.#partials = new PartialFiles({journal: () => this.opened.journal, jobs: this.#linkJobs, clock});
    this.#copy = new TargetCopy(
      {...this.#callbacks(), config, foldsCase, places: this.places},
      {...parts, opened: this.opened, partials: this.#partials, jobs: this.#linkJobs},
    );
    this.#live = this.#newLive();
    this.#failed.promise.catch(() => undefined);
  }

  /** What others change here: told, and compared again by the source. */
  #newLive(): LiveVolume {
    const {config} = this.#options;
    return new LiveVolume(
      {...DRIFT, rescanMs: config.rescanMs},
      {
        scanner: {
          scan: () => this.#looked(() => this.#copy.scan(this.#view), {isWhole: true}),
          lookAt: (dirs, also) =>
            this.#looked(() => this.#copy.scanner(this.#view).lookAt(dirs, also), {isWhole: false}),
        },
        state: sourceState(this.opened.volume),
        clock: this.#parts.clock,
        events: {
          onProblems: () => undefined,
          onGone: () => undefined,
          onNotice: (text) => this.#options.onNotice(text),
          onScan: (why) => this.#parts.log.info('the volume is scanned', {volume: config.name, why}),
        },
      },
    );
  }

  /** A look while no batch is applied; what others changed is told before the next batch may replace it. */
  #looked(look: () => Promise<ScanResult>, {isWhole}: {isWhole: boolean}): Promise<ScanResult> {
    return this.#turns.exclusive(async () => {
      const result = await look();
      const paths = this.#copy.driftAmong(result.changes, this.#view);
      // A whole scan that is not detailed tells renames alone: the source compares in any case.
      if (paths.length > 0 || isWhole) this.#options.onDrift(paths);
      return result;
    });
  }

  #callbacks(): Omit<TargetCopyOptions, 'config' | 'foldsCase' | 'places'> {
    const options = this.#options;
    return {
      reportsDrift: () => options.reportsDrift(),
      onNotice: (message) => options.onNotice(message),
      onDrift: (paths) => options.onDrift(paths),
      onTrashed: () => this.#trash.noteBusy(),
    };
  }

  /** What a full disk took from the trash; undefined when it took nothing. */
  get notices(): string[] {
    return this.#trash.notice === undefined ? [] : [this.#trash.notice];
  }

  get jobs(): ScopedJobs {
    return this.#jobs;
  }

  /** Watches for what others change, and prunes the trash, until the signal is aborted. @throws HALTED, and what the state fails with */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const over = new AbortController();
    const keeping = this.#trash.run(AbortSignal.any([signal, over.signal])); // also beside what cannot be completed
    try {
      await this.#turns.exclusive(() => this.#copy.recover()); // what a crash left waits for no source
      await this.#startWatch();
      const {promise, resolve} = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => resolve(), {once: true});
      if (signal.aborted) resolve();
      await Promise.race([promise, this.#failed.promise, this.#untilReady(signal).then(() => this.#look(signal))]);
    } finally {
      over.abort();
      await keeping;
      this.#isWatching = false;
      await this.#watch?.close();
    }
  }

  async #startWatch(): Promise<void> {
    const {config} = this.#options;
    this.#watch = await startWatch(
      {root: this.opened.root, backEnd: config.watch, chokidarEntries: this.#options.chokidarEntries},
      {
        live: this.#live,
        thread: this.#parts.watchThread,
        onNotice: (_level, message) => this.#options.onNotice(message),
      },
    );
    this.#isWatching = true;
  }

  async #look(signal: AbortSignal): Promise<void> {
    this.#isLooking = true;
    await this.#live.run(signal);
  }

  /** While a first copy runs, nearly everything that changes is the link's own. */
  #untilReady(signal: AbortSignal): Promise<void> {
    const {promise, resolve} = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => resolve(), {once: true});
    return Promise.race([promise, this.#proved.promise]);
  }

  /** Serves a link that was granted, instead of the one before it. */
  serve(port: LinkPort, hooks: ServeHooks): void {
    const before = this.#link;
    const beforePort = this.#port;
    const {config} = this.#options;
    const {volume} = this.opened;
    const replaced = new TowlineError('REFUSED', 'another link of this agent took its place', {reason: 'replaced'});
    beforePort?.send(refusalMessage(beforePort.link, replaced));
    beforePort?.close(replaced);
    this.#port = port;
    const closed = this.#serving.then(() => before?.close());
    this.#serving = closed.catch(() => undefined);
    const link = new TargetLink(
      {
        volume: config.name,
        holding: this.#holding,
        deleteLimits: config.deleteLimits,
        confirmedDeletes: hooks.confirmedDeletes,
        isReadOnly: hooks.isReadOnly === true,
        inPlaceAbove: config.inPlaceAbove,
      },
      {
        session: port,
        jobs: this.#linkJobs,
        tree: volume,
        partials: this.#partials,
        clock: this.#parts.clock,
        hour: hooks.hour,
        open: async (request, view) => {
          await this.#serving;
          if (!port.isOpen) throw await port.closed; // a newer one came meanwhile: it scans
          if (hooks.isReadOnly !== true) return this.#open(request, view);
          this.#view = view;
          return this.#turns.exclusive(() => this.#copy.look(view));
        },
        onProblem: (error) => {
          if (isStateTrouble(error) || (isTowlineError(error) && error.code === 'BUG')) this.#failed.reject(error);
          hooks.onRefused(error);
        },
        refused: (ops) => this.#refused.among(ops),
        heldBack: (path) => this.#refused.file(path),
        ...(hooks.onContradicted && {onContradicted: hooks.onContradicted}),
        onCut: (cut) => {
          if (cut.isEqual) this.#proved.resolve();
          hooks.onCut?.(cut);
        },
        onSourceState: (state) => {
          if (state.state !== 'catching-up') this.#proved.resolve(); // the first copy is over, equal or not
          hooks.onSourceState?.(state);
        },
      },
    );
    this.#link = link;
    void port.closed.then(() => link.close());
  }

  /** Makes the volume ready in the source's view. What is known and watched needs no second scan. */
  async #open(request: MessageOf<'open-link'>, view: View): Promise<BatchApplier> {
    if (request.isDryRun) throw new TowlineError('REFUSED', 'an agent does not take dry runs', {reason: 'dry run'});
    const {isDurable} = request;
    const known = this.#ready;
    const isSame = known !== undefined && known.isDurable === isDurable && sameView(known.view, view);
    if (known !== undefined && isSame && this.#isWatching && this.#live.isQuiet && !this.#live.isPolling) {
      this.#withRootFd(() => undefined); // halts when another root is there now
      return this.#inTurns(known.applier);
    }
    this.#ready = undefined;
    const applier = await this.#turns.exclusive(() => {
      this.#view = view;
      return this.#copy.prepare(view, isDurable);
    });
    this.#ready = {view, isDurable, applier};
    return this.#inTurns(applier);
  }

  /**
   * Ends the link, finishes the batch at hand, and rolls forward what a crash left: nobody writes to this copy any more.
   * @param reason what the source is told
   */
  async settle(reason: TowlineError): Promise<void> {
    this.#port?.send(refusalMessage(this.#port.link, reason));
    this.#port?.close(reason);
    await this.#serving;
    await this.#link?.close();
    if (this.#ready === undefined) await this.#turns.exclusive(() => this.#copy.recover());
  }

  #inTurns(applier: Applier): BatchApplier {
    return {
      apply: (frame, message, staged: Map<number, StagedFile>, {refused, bare}) =>
        this.#turns.shared(async () => {
          try {
            // With what a look has found since the batch was judged: it was waiting for its turn.
            const held = this.#refused.drifted(message.ops, refused);
            const results = await applier.apply(frame, message, staged, {refused: held, bare});
            this.#options.problems.applied(message.ops, results);
            return results;
          } catch (error) {
            this.#ready = undefined; // a batch that failed half way is rolled forward before anything else
            throw error;
          }
        }),
      giveBack: () => this.#turns.shared(() => applier.giveBack()),
    };
  }

  /** Asks the source to compare both trees again. */
  askToCompare(): void {
    if (this.#port?.isOpen === true) this.#port.send({kind: 'target-changed', link: this.#port.link});
  }

  /** Looks at the whole tree; @returns when what differs from the state was told. */
  async rescan(): Promise<void> {
    if (this.#isLooking) return this.#live.rescan();
    // Nothing looks yet: the first copy is not over.
    if (this.#ready !== undefined) await this.#looked(() => this.#copy.scan(this.#view), {isWhole: false});
  }

  #told(error: unknown): void {
    if (this.#signal?.aborted !== true) this.#options.onNotice(messageOf(error));
  }

  #withRootFd<T>(job: (fd: number) => T): T {
    const {root} = this.opened;
    const {fd} = openRoot(root.path, root);
    try {
      return job(fd);
    } finally {
      closeFd(fd);
    }
  }

  /** Ends what works on the volume: the batch at hand is finished. */
  async stop(reason: TowlineError | undefined): Promise<void> {
    const port = this.#port;
    // The source waits for answers that do not come any more.
    if (port !== undefined && reason !== undefined) port.send(refusalMessage(port.link, reason));
    const stops = new TowlineError('CANCELLED', 'the agent stops', {signal: 'stop'});
    if (reason === undefined) port?.closeWithSession(stops);
    else port?.close(reason);
    await this.#serving;
    await this.#link?.close();
    await this.#jobs.close();
  }

  /** Once nobody uses its state any more. */
  close(): void {
    try {
      this.opened.close();
      this.#withRootFd((fd) => leavePlaces(fd, this.places));
    } catch (error) {
      if (!isTowlineError(error)) throw error; // the root is gone, or the disk of the state is full
    } finally {
      this.#lock.release();
    }
  }
}
