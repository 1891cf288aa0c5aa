/**
 * The target's end of `sync`: listens on loopback for the one source it was told of and serves its link.
 *
 * Runs in a thread of its own, so that both ends' encryption does not share one core.
 */
import {Applier} from '../apply/applier.ts';
import {dryApplyJobs} from '../apply/dry-apply-jobs.ts';
import {PartialFiles} from '../apply/partial-files.ts';
import {waitingMs} from '../apply/roll-forward.ts';
import {systemClock} from '../base/clock.ts';
import {endAll} from '../base/end-all.ts';
import {isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import type {Accept} from '../config/agent-config.ts';
import {narrowedView, sameView, type Holding, type View} from '../model/view.ts';
import type {DeleteLimits} from '../reconcile/delete-guard.ts';
import {RollingHour} from '../reconcile/rolling-hour.ts';
import {Scanner} from '../scan/scanner.ts';
import {Session} from '../session/session.ts';
import {TargetLink} from '../session/target-link.ts';
import type {Channel} from '../transport/channel.ts';
import type {Identity} from '../transport/identity.ts';
import {listen, type Listener} from '../transport/listen.ts';
import {FRAME_BYTES_MAX} from '../wire/limits.ts';
import type {MessageOf} from '../wire/messages.ts';
import {closeFd} from '../linux/open-fd.ts';
import {holdLock, volumeLockPath, type HeldLock} from '../volume/lock.ts';
import {findPlaces, leavePlaces, RESERVED_NAME, type Places} from '../volume/places.ts';
import {openRoot} from '../volume/root-identity.ts';
import {assumedHeld, probeHolds} from '../volume/probe-holds.ts';
import {holdingOf} from './own-limits.ts';
import {entryStore} from './source-state.ts';
import {openState, type OpenState} from './state-folder.ts';
import {SOURCE_AGENT, TARGET_AGENT} from './sync-agents.ts';
import {recoveredSentences} from './target-copy.ts';
import {volumePool, type VolumeJobs} from './volume-jobs.ts';
import type {JobPool} from '../base/worker-pool.ts';

export interface TargetEndOptions {
  volume: string;
  rootPath: string;
  stateFolder: string;
  isDryRun: boolean;
  isDurable: boolean;
  deleteLimits: DeleteLimits;
  /** As the source offers it. */
  view: View;
  accept: Accept;
  trashKeepMs: number;
  /** See TargetLinkOptions. */
  inPlaceAbove: number | undefined;
}

export interface TargetEndParts {
  onNotice: (message: string) => void;
}

const PRUNE_EVERY_MS = 3_600_000;
const GIVE_BACK_MS_MAX = 5_000; // at the end: who stops it does not wait longer

/** One target, from opening its state to closing it. */
export class TargetEnd {
  readonly #options: TargetEndOptions;
  readonly #parts: TargetEndParts;
  readonly #state: OpenState;
  readonly #places: Places;
  readonly #holding: Holding;
  readonly #foldsCase: boolean;
  /** In which the target was read before the source asked. */
  readonly #view: View;
  readonly #pool: JobPool<VolumeJobs>;
  readonly #lock: HeldLock | undefined;
  readonly #prune: NodeJS.Timeout;
  readonly #hour = new RollingHour();
  readonly #partials: PartialFiles;
  #prepared: Promise<Applier> | undefined;
  /** Of the link that was opened last. */
  #applier: Promise<Applier> | undefined;
  #listener: Listener | undefined;
  #link: TargetLink | undefined;
  #session: Session | undefined;

  /** @throws TowlineError as `openState`, and LOCKED when another process writes to this volume */
  constructor(options: TargetEndOptions, parts: TargetEndParts) {
    this.#options = options;
    this.#parts = parts;
    const {stateFolder: folder, rootPath, isDryRun, isDurable} = options;
    this.#state = openState({
      folder,
      side: 'target',
      rootPath,
      isDryRun,
      isDurable,
      onNotice: parts.onNotice,
    });
    const {root} = this.#state;
    try {
      this.#lock = isDryRun ? undefined : holdLock(volumeLockPath(root), rootPath);
      this.#places = this.#withRootFd((fd) =>
        isDryRun ? {staging: folder, trash: folder, isInRoot: false} : findPlaces(fd, rootPath, folder),
      );
      const held = this.#withRootFd((fd) => (isDryRun ? assumedHeld() : probeHolds(fd, rootPath, this.#places)));
      this.#holding = holdingOf(options.accept, held);
      this.#foldsCase = held.foldsCase;
    } catch (error) {
      this.#lock?.release();
      this.#state.close();
      throw error;
    }
    this.#pool = volumePool('towline target', {root, places: this.#places});
    this.#partials = new PartialFiles({journal: () => this.#state.journal, jobs: this.#pool, clock: systemClock});
    // Begun before the source asks: both trees are read at the same time.
    this.#view = narrowedView(options.view, this.#holding.limits);
    this.#prepared = this.#prepare(this.#view, options.isDurable);
    this.#prepared.catch(() => undefined); // told to the source when it opens the link
    this.#prune = setInterval(
      () => void this.#pruneTrash().catch((error: unknown) => parts.onNotice(String(error))),
      PRUNE_EVERY_MS,
    );
    this.#prune.unref();
  }

  get places(): Places {
    return this.#places;
  }

  /** Listens for one known source. @returns the port on loopback */
  async listen(identity: Identity, sourceId: string): Promise<number> {
    this.#listener = await listen(
      {
        identity,
        host: '127.0.0.1',
        port: 0,
        isKnownPeer: (id) => id === sourceId,
        onChannel: (channel) => void this.#serve(channel),
        onTrouble: (trouble) => this.#parts.onNotice(trouble.message),
      },
      {frameBytesMax: FRAME_BYTES_MAX},
    );
    return this.#listener.address.port;
  }

  /** A newer connection of the source replaces the older one. */
  async #serve(channel: Channel): Promise<void> {
    const {volume} = this.#state;
    const {volume: name, deleteLimits, inPlaceAbove} = this.#options;
    this.#session?.close('replaced by a newer connection');
    await this.#link?.close();
    const session = new Session({name: 'target', isInProcess: true}, {channel});
    this.#session = session;
    this.#link = new TargetLink(
      {volume: name, holding: this.#holding, deleteLimits, inPlaceAbove},
      {
        session,
        jobs: this.#pool,
        tree: volume,
        partials: this.#partials,
        clock: systemClock,
        hour: this.#hour,
        open: (request, view) => this.#open(request, view),
        onProblem: (error) => {
          this.#state.endedBy(error);
          this.#parts.onNotice(isTowlineError(error) ? error.message : String(error));
        },
      },
    );
    await session.ready().catch(() => undefined);
  }

  #open(request: MessageOf<'open-link'>, view: View): Promise<Applier> {
    this.#applier = this.#openOnce(request, view);
    return this.#applier;
  }

  /** Makes the volume ready: what a crash left is rolled forward, then the tree is observed. */
  async #openOnce(request: MessageOf<'open-link'>, view: View): Promise<Applier> {
    if (request.isDryRun !== this.#options.isDryRun)
      throw new TowlineError('REFUSED', 'this end was not opened for a dry run, or for nothing else', {
        reason: 'dry run',
      });
    const prepared = this.#prepared;
    this.#prepared = undefined;
    const isAsPrepared = request.isDurable === this.#options.isDurable && sameView(view, this.#view);
    if (prepared !== undefined && isAsPrepared) return prepared;
    await prepared?.catch(() => undefined); // two scans at once would each write what the other does not know of
    return this.#prepare(view, request.isDurable);
  }

  async #prepare(view: View, isDurable: boolean): Promise<Applier> {
    const {volume, journal} = this.#state;
    volume.setView(view);
    const options = {
      isDurable,
      reserved: [RESERVED_NAME],
      view,
      agent: SOURCE_AGENT,
      foldsCase: this.#foldsCase,
      places: this.#places,
    };
    const jobs = this.#options.isDryRun ? dryApplyJobs(volume) : this.#pool;
    const applier = new Applier(options, {jobs, store: volume, journal, partials: this.#partials, clock: systemClock});
    if (!this.#options.isDryRun) {
      for (const sentence of recoveredSentences(await applier.recover())) this.#parts.onNotice(sentence);
    }
    const rules = {ignore: view.ignore, reserved: [RESERVED_NAME], seed: volume.hashSeed};
    const scanner = new Scanner({agent: TARGET_AGENT, rules}, {store: entryStore(volume), jobs: this.#pool});
    await scanner.scan();
    return applier;
  }

  /** Who runs it once expects the space to be free at the end. */
  async #giveBackRest(): Promise<void> {
    const endMs = systemClock.monotonicMs() + GIVE_BACK_MS_MAX;
    const applier = await this.#applier?.catch(() => undefined);
    try {
      while (systemClock.monotonicMs() < endMs && (await applier?.giveBack()) === true);
    } catch (error) {
      this.#parts.onNotice(messageOf(error));
    }
  }

  async #pruneTrash(): Promise<void> {
    if (this.#options.isDryRun) return;
    await this.#partials.prune();
    const limits = {keepMs: this.#options.trashKeepMs, waitingMs: waitingMs(this.#state.journal)};
    await this.#pool.run('prune-trash', {nowMs: systemClock.nowMs(), ...limits}, {lane: 1});
  }

  #withRootFd<T>(job: (fd: number) => T): T {
    const {root} = this.#state;
    const {fd} = openRoot(root.path, root);
    try {
      return job(fd);
    } finally {
      closeFd(fd);
    }
  }

  /** Ends everything; of large files what is staged in part is kept. */
  async close(): Promise<void> {
    clearInterval(this.#prune);
    this.#session?.close('the target ends');
    await endAll([
      () => this.#link?.close(),
      () => this.#giveBackRest(),
      () => this.#listener?.close(),
      () => this.#pruneTrash().catch(() => undefined),
      () => this.#pool.close(),
      () => this.#state.close(),
      () => this.#leave(),
      () => this.#lock?.release(),
    ]);
  }

  #leave(): void {
    try {
      if (!this.#options.isDryRun) this.#withRootFd((fd) => leavePlaces(fd, this.#places));
    } catch (error) {
      if (!isTowlineError(error)) throw error; // the root is gone: nothing to be tidied
    }
  }
}
