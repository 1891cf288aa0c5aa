/**
 * The target's side of one volume: its state, lock, staging and trash, and the one link that writes to it.
 *
 * Invariants: one link writes at a time, a newer one of the same peer replaces the older; what else changes the target is
 * looked at only while no batch is being applied, so that nothing old overwrites what a batch has noted.
 */
import {join} from 'node:path';
import {Applier, type StagedFile} from '../apply/applier.ts';
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import {Turns} from '../base/turns.ts';
import type {VolumeConfig} from '../config/agent-config.ts';
import {closeFd} from '../linux/open-fd.ts';
import type {Failed, Op} from '../model/op.ts';
import {isWithin, showPath, type RelPath} from '../model/path.ts';
import {narrowedView, sameView, type Holding, type View} from '../model/view.ts';
import type {RollingHour} from '../reconcile/rolling-hour.ts';
import type {Change} from '../scan/pass.ts';
import {Scanner} from '../scan/scanner.ts';
import {stepOf} from '../session/change-steps.ts';
import {LiveVolume, type Follower, type Noticed} from '../session/live-volume.ts';
import type {LinkPort} from '../session/link-port.ts';
import {refusalMessage} from '../session/refusal.ts';
import {TargetLink, type BatchApplier, type TargetLinkParts} from '../session/target-link.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import {holdLock, volumeLockPath, type HeldLock} from '../volume/lock.ts';
import {findPlaces, leavePlaces, RESERVED_NAME, type Places} from '../volume/places.ts';
import {probeHolds} from '../volume/probe-holds.ts';
import {openRoot} from '../volume/root-identity.ts';
import type {MessageOf} from '../wire/messages.ts';
import type {AgentParts, FoundRoot, ScopedJobs} from './agent-parts.ts';
import {holdingOf, offeredView} from './own-limits.ts';
import {entryStore, sourceState} from './source-state.ts';
import {openState, type OpenState} from './state-folder.ts';
import {SOURCE_AGENT, TARGET_AGENT} from './sync-agents.ts';
import {startWatch, type RunningWatch} from './watch-source.ts';

export interface TargetVolumeOptions {
  config: VolumeConfig;
  notes: LinkNotes;
  found: FoundRoot;
  chokidarEntries: number;
  onNotice(message: string): void;
  /** Something else than the link has changed these paths. */
  onDrift(paths: readonly RelPath[]): void;
}

/** Who is told of what a link does. */
export interface ServeHooks extends Pick<TargetLinkParts, 'onCut' | 'onSourceState'> {
  onRefused(error: unknown): void;
  confirmedDeletes: number;
  hour: RollingHour;
}

const PRUNE_EVERY_MS = 3_600_000;
const DRIFT = {settleMs: 1_000, maxWaitMs: 10_000, pollMs: 60_000}; // nobody waits for it
const DRIFT_PATHS_MAX = 1_000;

export class TargetVolume {
  readonly opened: OpenState;
  readonly places: Places;
  readonly #options: TargetVolumeOptions;
  readonly #parts: AgentParts;
  readonly #jobs: ScopedJobs;
  readonly #lock: HeldLock;
  readonly #holding: Holding;
  readonly #foldsCase: boolean;
  readonly #turns = new Turns();
  readonly #proved = Promise.withResolvers<void>();
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
    try {
      this.#lock = lock = holdLock(volumeLockPath(root), found.path);
      this.places = this.#withRootFd((fd) => findPlaces(fd, found.path, folder, found.beside));
      const held = this.#withRootFd((fd) => probeHolds(fd, found.path, this.places));
      this.#holding = holdingOf(config.accept, held);
      this.#foldsCase = held.foldsCase;
      this.#view = narrowedView(offeredView(config), this.#holding.limits);
    } catch (error) {
      lock?.release();
      this.opened.close();
      throw error;
    }
    this.#jobs = parts.jobsFor({root, places: this.places});
    const tree = sourceState(volume);
    const exclusive = <T>(work: () => Promise<T>): Promise<T> => this.#turns.exclusive(work);
    this.#live = new LiveVolume(
      {...DRIFT, rescanMs: config.rescanMs},
      {
        scanner: {
          scan: () => exclusive(() => this.#newScanner(this.#view).scan()),
          lookAt: (dirs, also) => exclusive(() => this.#newScanner(this.#view).lookAt(dirs, also)),
        },
        state: tree,
        clock: parts.clock,
        events: {onProblems: () => undefined, onGone: () => undefined, onNotice: (text) => options.onNotice(text)},
      },
    );
    this.#live.follow(this.#driftFollower());
  }

  get jobs(): ScopedJobs {
    return this.#jobs;
  }

  #newScanner(view: View): Scanner {
    const {volume} = this.opened;
    const rules = {ignore: view.ignore, reserved: [RESERVED_NAME], seed: volume.hashSeed};
    return new Scanner({agent: TARGET_AGENT, rules}, {store: entryStore(volume), jobs: this.#jobs});
  }

  /** Watches for what others change, and prunes the trash, until the signal is aborted. @throws HALTED */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const prune = setInterval(
      () => void this.#pruneTrash().catch((error: unknown) => this.#told(error)),
      PRUNE_EVERY_MS,
    );
    try {
      await this.#pruneTrash();
      await this.#startWatch();
      const {promise, resolve} = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => resolve(), {once: true});
      if (signal.aborted) resolve();
      await Promise.race([promise, this.#untilReady(signal).then(() => this.#look(signal))]);
    } finally {
      clearInterval(prune);
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
      },
      {
        session: port,
        jobs: this.#jobs,
        tree: volume,
        clock: this.#parts.clock,
        hour: hooks.hour,
        open: async (request, view) => {
          await this.#serving;
          if (!port.isOpen) throw await port.closed; // a newer one came meanwhile: it scans
          return this.#open(request, view);
        },
        onProblem: (error) => hooks.onRefused(error),
        refused: (ops) => this.#refusedBy(ops),
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
      this.#checkRoot();
      return this.#inTurns(known.applier);
    }
    this.#ready = undefined;
    const applier = await this.#turns.exclusive(() => this.#prepare(view, isDurable));
    this.#ready = {view, isDurable, applier};
    return this.#inTurns(applier);
  }

  async #prepare(view: View, isDurable: boolean): Promise<Applier> {
    const {volume, journal} = this.opened;
    const {name, receive} = this.#options.config;
    volume.setView(view);
    this.#view = view;
    const options = {
      isDurable,
      reserved: [RESERVED_NAME],
      view,
      agent: SOURCE_AGENT,
      foldsCase: this.#foldsCase,
    };
    const applier = new Applier(options, {
      jobs: this.#jobs,
      store: volume,
      journal,
      clock: this.#parts.clock,
      onDestroyed: (actions) =>
        this.#parts.onActions(actions.map((action) => ({...action, volume: name, peer: receive?.from ?? ''}))),
    });
    const count = await applier.recover();
    if (count > 0) this.#options.onNotice(`${count} batch(es) that a crash had interrupted were completed`);
    await this.#newScanner(view).scan();
    return applier;
  }

  #inTurns(applier: Applier): BatchApplier {
    return {
      apply: (frame, message, staged: Map<number, StagedFile>, refused) =>
        this.#turns.shared(async () => {
          try {
            return await applier.apply(frame, message, staged, refused);
          } catch (error) {
            this.#ready = undefined; // a batch that failed half way is rolled forward before anything else
            throw error;
          }
        }),
      giveBack: () => this.#turns.shared(() => applier.giveBack()),
    };
  }

  /** @throws HALTED when another root is there now */
  #checkRoot(): void {
    this.#withRootFd(() => undefined);
  }

  /** F13: what a running container has mounted below a path that would go, or over a file that would be replaced. */
  async #refusedBy(ops: readonly Op[]): Promise<Map<number, Failed>> {
    const refused = new Map<number, Failed>();
    const isHarmless = ops.every((op) => op.kind === 'set-meta' || (op.kind === 'make-dir' && !this.#isThere(op.path)));
    if (isHarmless) return refused;
    const mounts = await this.#parts.engines.protectedBelow(this.#options.found.path);
    if (mounts.length === 0) return refused;
    for (const [index, op] of ops.entries()) {
      if (op.kind === 'set-meta') continue;
      const destroyed = op.kind === 'rename' ? [op.to] : op.kind === 'exchange' ? [op.path, op.to] : [op.path];
      const mount = mounts.find((path) => destroyed.some((gone) => isWithin(path, gone) && this.#isReplaced(op, gone)));
      if (mount === undefined) continue;
      const message = `${showPath(op.path)} stays as it is: a container has something mounted at ${showPath(mount)}; stop the container, or leave the path out with ignore`;
      refused.set(index, {status: 'failed', code: 'mount', message});
    }
    return refused;
  }

  #isReplaced(op: Op, path: RelPath): boolean {
    const known = this.opened.volume.resolve(path);
    if (known === undefined) return false;
    return op.kind !== 'make-dir' || known.entry.type !== 'dir';
  }

  #isThere(path: RelPath): boolean {
    return this.opened.volume.resolve(path) !== undefined;
  }

  /** What others changed here: told, and compared again by the source. */
  #driftFollower(): Follower {
    return {
      isCatchingUp: false,
      take: ({result, scannedSince}: Noticed) => {
        // Renaming a directory changes its ctime, for one: nothing that the source would have to repair.
        const isDrift = (change: Change): boolean => stepOf(change, this.#view) !== undefined;
        const paths = result.changes.filter(isDrift).map(({path}) => path);
        if (paths.length > 0 || scannedSince !== undefined) this.#options.onDrift(paths.slice(0, DRIFT_PATHS_MAX));
        return Promise.resolve();
      },
      rest: () => undefined,
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
    if (this.#ready !== undefined) await this.#turns.exclusive(() => this.#newScanner(this.#view).scan());
  }

  async #pruneTrash(): Promise<void> {
    const {keepMs, sizeBytes} = this.#options.config.trash;
    await this.#jobs.run('prune-trash', {nowMs: this.#parts.clock.nowMs(), keepMs, sizeBytesMax: sizeBytes}, {lane: 1});
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
    port?.close(reason ?? new TowlineError('CANCELLED', 'the agent stops', {signal: 'stop'}));
    await this.#serving;
    await this.#link?.close();
    await this.#jobs.close();
  }

  /** Once nobody uses its state any more. */
  close(): void {
    this.opened.close();
    try {
      this.#withRootFd((fd) => leavePlaces(fd, this.places));
    } catch (error) {
      if (!isTowlineError(error)) throw error; // the root is gone: nothing to be tidied
    }
    this.#lock.release();
  }
}
