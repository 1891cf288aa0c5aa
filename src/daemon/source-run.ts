/**
 * Drives one run of `sync` from the source's end: opens both ends, catches up, follows live, reconnects, ends.
 *
 * Invariant: the outcome is "in sync" only after a cut with equal digests; a run that found nothing wrong ends with 0.
 */
import {systemClock as clock} from '../base/clock.ts';
import {asTowlineError, REACTION, type TowlineError} from '../base/errors.ts';
import {backoffDelayMs} from '../base/backoff.ts';
import {joinPath, ROOT, type Name, type RelPath} from '../model/path.ts';
import {zeroStats, type LinkStats, type LinkStatus} from '../model/status.ts';
import {RollingHour} from '../reconcile/rolling-hour.ts';
import type {ScanResult} from '../scan/pass.ts';
import {moveSteps} from '../session/change-steps.ts';
import {LiveLink} from '../session/live-link.ts';
import {LiveVolume} from '../session/live-volume.ts';
import {Session} from '../session/session.ts';
import {SourceLink} from '../session/source-link.ts';
import {dial} from '../transport/dial.ts';
import type {Identity} from '../transport/identity.ts';
import {MappedFiles} from '../watch/mapped-files.ts';
import {FRAME_BYTES_MAX} from '../wire/limits.ts';
import {AgainPaths} from './again-paths.ts';
import {leftOutProblems} from './left-out-problems.ts';
import {pairIdentities} from './pair-identities.ts';
import {cancelled, exitCodeOf} from './run-errors.ts';
import {signatureStore} from './signature-store.ts';
import {followSilentChanges} from './silent-changes.ts';
import {closeEnds, openEnds, viewOf, type SourceEnds} from './source-ends.ts';
import type {SyncOptions, SyncOutcome, SyncParts} from './sync-api.ts';
import type {SyncEvents} from './sync-events.ts';
import {startWatch, type RunningWatch} from './watch-source.ts';

const ROUNDS_MAX = 6; // of one catch-up: a source that never rests is reported, not chased for ever
const RECONNECT = {delayMsMin: 100, delayMsMax: 15_000};
const RETRIES_ONCE = 2; // both ends are in this process: a connection is lost only when nothing gets its turn
const POLL_MS = 10_000;

export class SourceRun {
  readonly #options: SyncOptions;
  readonly #folder: string;
  readonly #parts: SyncParts;
  readonly #stats: LinkStats = zeroStats();
  readonly #startMs = clock.monotonicMs();
  #status: LinkStatus = {kind: 'connecting', attempt: 0};
  #live: {volume: LiveVolume; link: LiveLink} | undefined;
  #link: SourceLink | undefined;
  #looking: Promise<void> | undefined;
  readonly #over = new AbortController();
  #again: AgainPaths | undefined;
  #assumed = 0;
  /** Sequence number before the last scan. */
  #scannedSeq = 0;
  /** Whether the link was in sync since it was last connected. */
  #wasInSync = false;
  #places = {staging: '', trash: ''};
  readonly #hour = new RollingHour();
  #confirmed: number | undefined;

  constructor(options: SyncOptions, folder: string, parts: SyncParts) {
    this.#options = options;
    this.#folder = folder;
    this.#parts = parts;
  }

  /** @throws TowlineError for what is found before both ends are open */
  async run(): Promise<SyncOutcome> {
    const ends = openEnds(this.#options, this.#folder, this.#parts);
    this.#again = new AgainPaths(this.#options, {clock, events: ends.events, scanner: ends.scanner});
    let watch: RunningWatch | undefined;
    let error: TowlineError | undefined;
    try {
      // A single run reads the source while the target opens; a live one has its watches in place first.
      const scanned = this.#options.isOnce ? this.#scan(ends) : undefined;
      scanned?.catch(() => undefined);
      const {staging, trash} = await ends.target.opened;
      this.#places = {staging, trash};
      if (!this.#options.isOnce) watch = await this.#startLive(ends);
      await this.#runLinks(ends, scanned ?? this.#scan(ends));
    } catch (thrown) {
      error = asTowlineError(thrown);
      if (error !== this.#link?.refusal) ends.state.endedBy(error);
      if (error.code === 'HALTED') this.#halt(ends, error as TowlineError<'HALTED'>);
    } finally {
      this.#over.abort();
      await watch?.close();
    }
    const outcome = this.#outcome(ends, error);
    await closeEnds(ends);
    return outcome;
  }

  async #startLive(ends: SourceEnds): Promise<RunningWatch> {
    const {settleMs, maxWaitMs, rescanMs, hot} = this.#options;
    const volume = new LiveVolume(
      {settleMs, maxWaitMs, rescanMs, pollMs: POLL_MS},
      {
        scanner: ends.scanner,
        state: ends.source,
        clock,
        events: {
          onProblems: (problems, isWhole) => ends.events.scanned(problems, isWhole),
          onGone: (path) => ends.events.gone(path),
          onNotice: (message) => ends.events.notice('info', message),
        },
      },
    );
    const link = new LiveLink(
      {deleteLimits: this.#options.deleteLimit, confirmedDeletes: 0, volume: this.#options.source, maxWaitMs, hot},
      {
        volume,
        state: ends.source,
        clock,
        hour: this.#hour,
        events: {
          onStatus: (status) => this.#liveStatus(ends, status),
          onRestless: (path, {code, message}) => ends.events.failed(path, code, message, 'source'),
        },
      },
    );
    this.#live = {volume, link};
    return startWatch(
      {root: ends.state.root, backEnd: this.#options.watch},
      {live: volume, onNotice: (level, message) => ends.events.notice(level, message)},
    );
  }

  /** Looks at what was noticed, and at what nothing tells of, over all connections. */
  async #look(ends: SourceEnds, live: LiveVolume): Promise<void> {
    const signal = AbortSignal.any([this.#parts.signal, this.#over.signal]);
    const {root, volume: store} = ends.state;
    const mapped = new MappedFiles({everyMs: this.#parts.silentTimes?.mappedMs}, {clock});
    const silent = followSilentChanges({root, store, live, secondLook: ends.secondLook, mapped}, signal);
    await Promise.race([live.run(signal), silent]);
  }

  #liveStatus(
    ends: SourceEnds,
    status: {kind: 'sending'} | {kind: 'in-sync'; digest: Buffer} | {kind: 'unequal'},
  ): void {
    if (status.kind === 'in-sync') return this.#proved(ends, status.digest);
    if (status.kind !== 'unequal') return;
    this.#tellLeftOut(ends);
    const {count} = ends.events.problems();
    if (count > 0) this.#setStatus({kind: 'problems', count, asOfMs: clock.nowMs()});
  }

  #tellLeftOut({events}: SourceEnds): void {
    if (this.#link === undefined) return;
    events.leftOut(leftOutProblems(this.#link, ({option}) => `add ${option}`));
  }

  /** Both sides are equal at this moment. */
  #proved(ends: SourceEnds, digest: Buffer): void {
    this.#tellLeftOut(ends);
    ends.events.proved();
    if (this.#options.isDryRun) return; // they would be equal
    this.#wasInSync = true;
    if (ends.state.agent.haltOf() !== undefined) ends.state.agent.clearHalt(); // what it was about is no more
    ends.state.volume.flush();
    ends.state.agent.setLinkBase({lastInSync: {atMs: clock.nowMs(), digest}, ackedSeq: ends.state.volume.seq()});
    const {count} = ends.events.problems();
    const asOfMs = clock.nowMs();
    this.#setStatus(
      count > 0 ? {kind: 'problems', count, asOfMs} : {kind: 'in-sync', asOfMs, digest: digest.toString('hex')},
    );
  }

  /** One connection after the other, until the run is over. */
  async #runLinks(ends: SourceEnds, scanned: Promise<ScanResult>): Promise<void> {
    scanned.catch(() => undefined);
    const {signal} = this.#parts;
    const {source: own, target: other} = await pairIdentities(this.#folder, clock.nowMs());
    const port = await ends.target.listen(other, own.id);
    for (let attempt = 0; ; attempt++) {
      this.#setStatus({kind: 'connecting', attempt});
      try {
        const scanning = attempt === 0 ? scanned : this.#scan(ends);
        scanning.catch(() => undefined); // also when the connection fails first
        await this.#runLink(ends, {own, other, port}, scanning);
        return;
      } catch (error) {
        const known = asTowlineError(error);
        if (signal.aborted) throw cancelled(signal);
        const isLast = this.#options.isOnce && attempt >= RETRIES_ONCE;
        if (isLast || REACTION[known.code] !== 'retry') throw known;
        ends.events.notice('warn', `${known.message}; connecting again`);
        if (this.#wasInSync) attempt = 0; // it worked: this loss is the first again
        this.#wasInSync = false;
        await clock.sleep(backoffDelayMs(Math.min(attempt, 10), RECONNECT, Math.random()), signal);
      }
    }
  }

  async #scan(ends: SourceEnds): Promise<ScanResult> {
    this.#setStatus({kind: 'scanning', entries: 0});
    const onProgress = (entries: number): void =>
      this.#progress({phase: 'scan', entriesDone: entries, entriesTotal: undefined, bytesDone: 0, path: undefined});
    this.#scannedSeq = ends.source.seq();
    const result = await ends.scanner.scan(onProgress);
    if (result.missed.length > 0) this.#live?.volume.noteTree(ROOT, 'directories changed while they were scanned');
    this.#stats.entriesScanned = ends.source.entryCount();
    this.#stats.directoriesListed += result.directories;
    ends.events.scanned(result.problems, true);
    ends.state.volume.flush();
    return result;
  }

  async #runLink(
    ends: SourceEnds,
    peers: {own: Identity; other: Identity; port: number},
    scanning: Promise<ScanResult>,
  ): Promise<void> {
    const {signal} = this.#parts;
    const channel = await dial(
      {identity: peers.own, host: '127.0.0.1', port: peers.port, peerId: peers.other.id, signal},
      {frameBytesMax: FRAME_BYTES_MAX},
    );
    const session = new Session({name: 'source', isInProcess: true}, {channel});
    const onAbort = (): void => session.close('the run was ended');
    signal.addEventListener('abort', onAbort, {once: true});
    let catchingUp: Promise<void> | undefined;
    try {
      await session.ready();
      const link = (this.#link = this.#newLink(ends, session));
      const [, scanned] = await Promise.all([link.open(), scanning]);
      ends.source.setView(link.view);
      await this.#sendRenames(ends, link, scanned);
      catchingUp = this.#catchUp(ends, link);
      catchingUp.catch(() => undefined);
      if (this.#live !== undefined && !this.#options.isDryRun) {
        this.#looking ??= this.#look(ends, this.#live.volume);
        this.#looking.catch(() => (this.#looking = undefined));
        await Promise.race([this.#live.link.follow(link, catchingUp, signal), this.#looking]);
      } else await Promise.race([catchingUp, new Promise((_, reject) => link.whenOver(reject))]); // a refusal answers no question
      if (signal.aborted) throw cancelled(signal);
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#stats.wireBytes += session.wireBytes;
      session.close('done');
      await catchingUp?.catch(() => undefined);
    }
  }

  #newLink(ends: SourceEnds, session: Session): SourceLink {
    // A single run that connects again still has the operator's word.
    if (!this.#options.isOnce) this.#confirmed = undefined;
    this.#confirmed ??= ends.state.agent.takeConfirmation();
    const confirmedDeletes = this.#confirmed;
    return new SourceLink(
      {
        link: 1,
        volume: 'sync',
        view: viewOf(this.#options),
        isDryRun: this.#options.isDryRun,
        isDurable: this.#options.durability !== 'none',
        isQuick: this.#options.isQuick,
        deleteLimits: this.#options.deleteLimit,
        confirmedDeletes,
      },
      {
        session,
        jobs: ends.pool,
        state: ends.source,
        clock,
        hour: this.#hour,
        stats: this.#stats,
        seed: ends.state.volume.hashSeed,
        signatures: signatureStore(ends.state.volume),
        hot: this.#live?.link ?? this.#again,
        events: {
          onApplied: (applied) => {
            ends.events.applied(applied);
            this.#again?.arrived(applied);
            this.#live?.link.noteArrival(applied.path, applied.hot);
            this.#progress({
              phase: 'copy',
              entriesDone: this.#stats.filesSent,
              entriesTotal: undefined,
              bytesDone: this.#stats.contentBytes,
              path: applied.path,
            });
          },
          onFailed: (path, code, message, side) => this.#failed(ends, path, code, message, side),
          onCompared: () => undefined,
        },
      },
    );
  }

  #failed(
    ends: SourceEnds,
    path: RelPath,
    code: Parameters<SyncEvents['failed']>[1],
    message: string,
    side: 'source' | 'target',
  ): void {
    const isChanging = code === 'changing' || code === 'vanished';
    if (isChanging) this.#again?.failed(path);
    const retryMs = isChanging ? undefined : ends.events.failed(path, code, message, side);
    this.#live?.link.noteFailure(path, retryMs);
  }

  /** Renames and exchanges that the scan noticed go first: what follows builds on them. */
  async #sendRenames(ends: SourceEnds, link: SourceLink, scanned: ScanResult): Promise<void> {
    const source = {entryAt: (path: RelPath) => ends.source.entryAt(path), view: link.view};
    for (const step of moveSteps(scanned, source, this.#scannedSeq)) await link.sender.add(step);
    await link.sender.flush();
  }

  /** Compares and sends until both are equal, or until what is left cannot be sent now. */
  async #catchUp(ends: SourceEnds, link: SourceLink): Promise<void> {
    if (this.#options.isOnce && !this.#options.isDryRun) await this.#readAgain(ends);
    let idleRounds = 0;
    for (let round = 0; round < ROUNDS_MAX && idleRounds < 2; round++) {
      this.#setStatus({kind: 'comparing'});
      // With contents unknown nothing can be equal: the digests need not be made.
      const cut = ends.source.hasUnread() ? undefined : await link.cut();
      if (cut?.isEqual === true && this.#live?.volume.isRestless !== true) return this.#proved(ends, cut.digest);
      const sent = cut?.isTreeEqual === true ? await link.repairLinks() : await this.#sendDifferences(link);
      if (this.#live === undefined) await link.sender.flush(); // it ends soon: also for what goes on changing
      // A round that sent nothing may have read what makes the trees equal; links are repaired only after that.
      idleRounds = sent === 0 && this.#again?.size === 0 ? idleRounds + 1 : 0;
      if (round < ROUNDS_MAX - 1) await this.#again?.lookAgain(); // what failed in the last round is told below
    }
    const cut = await link.cut();
    if (cut.isEqual && this.#again?.size === 0) return this.#proved(ends, cut.digest);
    this.#tellLeftOut(ends);
    this.#again?.tell();
    this.#setStatus({kind: 'problems', count: ends.events.problems().count, asOfMs: clock.nowMs()});
  }

  /** What an earlier run read too soon. */
  #readAgain(ends: SourceEnds): Promise<void> {
    const note = (dir: RelPath, name: Name): void => this.#again?.note(joinPath(dir, name));
    return ends.secondLook.catchUp({note, tell: () => undefined}, this.#parts.signal);
  }

  async #sendDifferences(link: SourceLink): Promise<number> {
    const {steps, assumed} = await link.catchUp();
    this.#assumed = assumed;
    return steps;
  }

  #halt(ends: SourceEnds, error: TowlineError<'HALTED'>): void {
    const {kind, count, limit} = error.details;
    if (!this.#options.isDryRun)
      ends.state.agent.halt({kind, count, limit, message: error.message, sinceMs: clock.nowMs()});
    this.#setStatus({kind: 'halted', reason: error.message});
  }

  #outcome(ends: SourceEnds, error: TowlineError | undefined): SyncOutcome {
    const {first, count} = ends.events.problems();
    const status = this.#status;
    const isStopped = error === undefined || error.code === 'CANCELLED';
    const isInSync = isStopped && status.kind === 'in-sync';
    const base = ends.state.agent.linkBase().lastInSync;
    return {
      exitCode: exitCodeOf(error, isInSync, count, this.#options.isDryRun),
      status,
      stats: this.#stats,
      problems: first,
      problemCount: count,
      error,
      isInSync,
      digest: isInSync ? base?.digest.toString('hex') : undefined,
      elapsedMs: clock.monotonicMs() - this.#startMs,
      assumedCount: this.#assumed,
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
      folders: {state: this.#folder, ...this.#places},
    };
  }

  #setStatus(status: LinkStatus): void {
    this.#parts.log.debug('status', {from: this.#status.kind, to: status.kind});
    this.#status = status;
    this.#parts.onEvent({kind: 'status', status});
  }

  #progress(at: {
    phase: 'scan' | 'compare' | 'copy';
    entriesDone: number;
    entriesTotal: number | undefined;
    bytesDone: number;
    path: RelPath | undefined;
  }): void {
    this.#parts.onEvent({kind: 'progress', bytesTotal: undefined, ...at});
  }
}
