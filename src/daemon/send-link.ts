/**
 * One volume on its way to one peer, for as long as the agent runs: opens the link whenever there is a session, catches
 * up, follows, proves; halts, and goes on when the operator says so.
 *
 * Not the volume and not the peer: both may come and go. Invariant: in sync is reported only after a cut with equal
 * digests on the session that is still open, and ends with the next change.
 */
import {backoffDelayMs} from '../base/backoff.ts';
import {asTowlineError, EXIT_CODE, isTowlineError, TowlineError} from '../base/errors.ts';
import {sleepUnless} from '../base/clock.ts';
import {pacerOf} from '../base/pace.ts';
import type {SendConfig} from '../config/agent-config.ts';
import type {LinkOutcome, LinkReport, LinkState} from '../control/agent-api.ts';
import {packEpoch} from '../model/epoch.ts';
import {showPath} from '../model/path.ts';
import {placeOfProblem} from '../model/problem.ts';
import {zeroStats} from '../model/status.ts';
import {RollingHour} from '../reconcile/rolling-hour.ts';
import type {FollowStatus} from '../session/live-link.ts';
import type {SourceLink} from '../session/source-link.ts';
import type {SessionLinks} from '../session/session-links.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import type {AgentParts, LinkEvent} from './agent-parts.ts';
import {leftOutProblems} from './left-out-problems.ts';
import {
  chosenBy,
  failureOf,
  haltReport,
  isRootHalt,
  lastProof,
  Meter,
  noteProof,
  sendOutcome,
  type Proof,
} from './link-figures.ts';
import {ProofWaiters} from './proof-waiters.ts';
import {isStateTrouble} from './run-errors.ts';
import {linkEvents, newRunning, type RunningLink} from './running-link.ts';
import type {SourcePool} from './source-pool.ts';
import type {SourceVolume} from './source-volume.ts';
import type {SyncEvent} from './sync-api.ts';
import type {SyncEvents} from './sync-events.ts';
import type {SourceEpochs} from './volume-epochs.ts';

/** Ends of an attempt that only waiting, or the peer's word, changes. */
const REFUSED_MS = 30_000;
const RETRY = {delayMsMin: 500, delayMsMax: 30_000};

export class SendLink {
  readonly volume: string;
  readonly config: SendConfig;
  readonly #parts: AgentParts;
  readonly #notes: LinkNotes;
  readonly #meter: Meter;
  /** Over all connections. */
  readonly #kept = {stats: zeroStats(), hour: new RollingHour()};
  readonly #onEvent: (event: LinkEvent) => void;
  readonly #epochs: SourceEpochs;
  #state: LinkState = 'waiting';
  #reason: string | undefined = 'the volume is not open yet';
  #running: RunningLink | undefined;
  #proof: Proof | undefined;
  #sentBefore = 0;
  /** Deletes that the operator has confirmed: until they are done, over all connections. */
  #confirmed = 0;
  /** While the volume is not open for a reason that a single run does not wait out: its exit code. */
  #final: number | undefined;
  /** How the last attempt was refused. */
  #refused: {exitCode: number; reason: string} | undefined;
  #again = Promise.withResolvers<void>();
  readonly #waiters = new ProofWaiters();
  /** Errors that are the peer's word, and not our own trouble. */
  readonly #refusals = new WeakSet<TowlineError>();

  constructor(
    options: Pick<SendLink, 'volume' | 'config' | 'notes'> & {
      epochs: SourceEpochs;
      onEvent: (event: LinkEvent) => void;
    },
    parts: AgentParts,
  ) {
    this.volume = options.volume;
    this.config = options.config;
    this.#notes = options.notes;
    this.#onEvent = options.onEvent;
    this.#epochs = options.epochs;
    this.#parts = parts;
    this.#meter = new Meter(parts.clock);
    this.#proof = lastProof(this.#notes);
  }

  get notes(): LinkNotes {
    return this.#notes;
  }

  report(): LinkReport {
    const halt = this.#notes.haltOf();
    const sentBytes = this.#sentBefore + (this.#running?.port.bytesSent ?? 0);
    const oldestMs = this.#running?.live.oldestMs;
    return {
      volume: this.volume,
      peer: this.config.to,
      direction: 'send',
      peerVolume: this.config.as,
      state: this.#state,
      reason: this.#reason,
      inSyncAtMs: this.#proof?.atMs,
      digest: this.#proof?.digest,
      pendingCount: this.pendingCount,
      problemCount: this.#notes.problemCount(),
      lagMs: oldestMs === undefined ? 0 : Math.max(0, this.#parts.clock.monotonicMs() - oldestMs),
      rateBytes: this.#meter.rate(sentBytes),
      sentBytes,
      halt: halt === undefined ? undefined : haltReport(halt),
      chosen: chosenBy(this.config),
    };
  }

  get pendingCount(): number {
    if (this.#running === undefined) return 0;
    const {link, live, source} = this.#running;
    return link.sender.pendingCount + live.heldCount + source.live.noticedCount;
  }

  /** The peer can take the volume (again), or the operator has confirmed: whatever is waited for is tried now. */
  wake(): void {
    this.#again.resolve();
  }

  /** Why nothing can be sent while the volume itself is not open. */
  stand(state: LinkState, reason: string, exitCode?: number): void {
    this.#setState(state, reason);
    this.#final = exitCode;
    if (exitCode !== undefined) this.#settle(exitCode, reason);
  }

  /** The peer does not let this agent in, or is another: who waits need not wait on. */
  peerRefused(): void {
    if (this.#running === undefined) this.#settle(EXIT_CODE.NOT_AUTHORISED, this.#parts.peer(this.config.to)?.reason);
  }

  /** The next proof or refusal from now on. @param isCompared walk both trees first, whatever was noticed */
  nextProof(isCompared: boolean): Promise<LinkOutcome> {
    const halt = this.#notes.haltOf();
    if (halt !== undefined && this.#state === 'halted') return Promise.resolve(this.#outcome(3, halt.message));
    if (this.#final !== undefined) return Promise.resolve(this.#outcome(this.#final, this.#reason));
    const peer = this.#parts.peer(this.config.to);
    if (peer?.failure === 'NOT_AUTHORISED')
      return Promise.resolve(this.#outcome(EXIT_CODE.NOT_AUTHORISED, peer.reason));
    // A peer that refused and left says nothing else; one that is there may have thought better of it.
    if (this.#refused !== undefined && peer?.links === undefined)
      return Promise.resolve(this.#outcome(this.#refused.exitCode, this.#refused.reason));
    if (this.#running === undefined) this.wake();
    const link = this.#running?.link;
    const proof = this.#waiters.next({connection: link, cut: link?.lastCut ?? 0});
    if (isCompared) this.#running?.live.compare();
    else this.#running?.live.prove();
    return proof;
  }

  /** The link while it is open: what is asked of the peer goes through it. */
  get link(): SourceLink | undefined {
    return this.#running?.link;
  }

  /** Says anew how the link stands: its problems are others now. */
  problemsChanged(): void {
    this.#running?.live.prove();
    this.#parts.onChange();
  }

  /** The next proof or refusal that comes by itself. */
  nextOutcome(): Promise<LinkOutcome> {
    const link = this.#running?.link;
    return this.#waiters.next({connection: link, cut: link?.lastCut ?? 0});
  }

  /** What the outcome is when nobody can wait any longer. */
  lateOutcome(): LinkOutcome {
    const isOpen = this.#running !== undefined;
    const why = this.#reason ?? (isOpen ? 'not everything has arrived yet' : 'not connected');
    if (this.#state === 'halted') return this.#outcome(3, why);
    return this.#outcome(EXIT_CODE.PEER_LOST, `timeout: ${why}`);
  }

  /**
   * Serves the link while the volume is open.
   * @throws HALTED when the volume's root is the trouble, and what its state fails with; all else is retried in here
   */
  async run(sources: SourcePool, signal: AbortSignal): Promise<void> {
    this.#final = undefined;
    for (let attempt = 0; !signal.aborted;) {
      this.#again = Promise.withResolvers();
      try {
        await this.#untilAllowed(signal);
        const links = await this.#connected(signal);
        const isDone = await this.#runOnce(links, sources, signal);
        attempt = 0;
        if (isDone && this.config.when.kind === 'every') await this.#pause(this.config.when.everyMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        const known = asTowlineError(error);
        if ((isRootHalt(known) || isStateTrouble(known)) && !this.#refusals.has(known)) throw known;
        await this.#pause(this.#judge(known, attempt++), signal);
      }
    }
  }

  /** Waits while a guard has halted the link. */
  async #untilAllowed(signal: AbortSignal): Promise<void> {
    for (let halt = this.#notes.haltOf(); halt !== undefined && !signal.aborted; halt = this.#notes.haltOf()) {
      this.#setState('halted', halt.message);
      this.#settle(EXIT_CODE.HALTED, halt.message);
      await this.#pause(REFUSED_MS, signal);
    }
  }

  async #connected(signal: AbortSignal): Promise<SessionLinks> {
    const peer = this.#parts.peer(this.config.to);
    if (peer === undefined)
      throw new TowlineError('NOT_AUTHORISED', `there is no peer ${this.config.to}`, {peer: this.config.to});
    if (peer.halt !== undefined) {
      this.#setState('halted', peer.halt.message);
      this.#settle(EXIT_CODE.HALTED, peer.halt.message);
    } else if (peer.links === undefined) this.#setState('connecting', peer.reason);
    return peer.connected(signal);
  }

  /** @returns how long to wait before the next try */
  #judge(error: TowlineError, attempt: number): number {
    const {log, clock} = this.#parts;
    log.warn(error.message, {volume: this.volume, peer: this.config.to, code: error.code});
    const isRefused = this.#refusals.has(error);
    if (error.code === 'HALTED') {
      const {kind, count, limit} = (error as TowlineError<'HALTED'>).details;
      const message = isRefused ? this.#epochs.refused(error, this.config.to) : error.message;
      if (!isRefused) this.#notes.halt({kind, count, limit, message, sinceMs: clock.nowMs()});
      this.#setState('halted', message);
      this.#settle(EXIT_CODE.HALTED, message);
      return REFUSED_MS;
    }
    const isFinal = isRefused || error.code === 'NOT_AUTHORISED' || error.code === 'REFUSED';
    this.#setState(isFinal ? 'waiting' : 'connecting', error.message);
    if (isFinal) this.#refused = {exitCode: EXIT_CODE[error.code], reason: error.message};
    if (isFinal) this.#settle(EXIT_CODE[error.code], error.message);
    if (isFinal) return REFUSED_MS;
    if (error.code === 'PEER_LOST' || error.code === 'CANCELLED') return 0; // the peer has its own patience
    return backoffDelayMs(Math.min(attempt, 10), RETRY, Math.random());
  }

  async #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    await sleepUnless(this.#parts.clock, delayMs, {signal, woken: this.#again.promise});
    this.#again = Promise.withResolvers();
  }

  /** @returns false when the link is to be opened again, on another state of the source */
  async #runOnce(links: SessionLinks, sources: SourcePool, signal: AbortSignal): Promise<boolean> {
    const source = sources.sourceOf(this) as SourceVolume;
    const port = links.newSource(pacerOf(this.config.rateBytes, this.#parts.pace, this.#parts.clock));
    const {clock} = this.#parts;
    const events = linkEvents(source, {agent: this.#notes, clock, onEvent: (event) => this.#take(event)});
    this.#confirmed = Math.max(this.#confirmed, this.#notes.takeConfirmation());
    const running = newRunning(
      {
        config: this.config,
        volume: this.volume,
        confirmedDeletes: this.#confirmed,
        epoch: packEpoch(this.#epochs.epoch()),
      },
      {port, source, events, ...this.#kept, clock, onStatus: (status) => this.#live(status, events)},
    );
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    this.#running = running;
    const leave = source.listen(events);
    // Whatever is waited for from the peer is not waited for any longer.
    const onAbort = (): void => links.closeSource(port, 'the source stops this link');
    signal.addEventListener('abort', onAbort, {once: true});
    let catchingUp: Promise<void> | undefined;
    try {
      this.#setState('scanning', undefined);
      const holding = await Promise.race([running.link.open(), failureOf(source.scanned)]);
      if (sources.settle(this, running.link.view, holding.limits) !== source) return false;
      await source.scanned;
      this.#refused = undefined;
      this.#setState('comparing', undefined);
      this.#tellPeer('catching-up', '');
      catchingUp = running.link.catchUp().then(() => undefined);
      catchingUp.catch(() => undefined);
      const done = this.config.when.kind === 'every' ? this.#proved(over) : undefined;
      await Promise.race([running.live.follow(running.link, catchingUp, both), done ?? new Promise<never>(() => {})]);
      return true;
    } catch (error) {
      if (running.link.refusal !== undefined && error === running.link.refusal)
        this.#refusals.add(running.link.refusal);
      else if (isTowlineError(error) && error.code === 'HALTED') this.#tellPeer('halted', error.message);
      throw error;
    } finally {
      over.abort();
      signal.removeEventListener('abort', onAbort);
      leave();
      this.#sentBefore += port.bytesSent;
      this.#running = undefined;
      links.closeSource(port, signal.aborted ? 'the source stops this link' : 'the source opens it again');
      await catchingUp?.catch(() => undefined);
    }
  }

  /** Of a link that does not follow: ends with its first proof, or when nothing more can be sent. */
  async #proved(over: AbortController): Promise<void> {
    await this.#waiters.next({connection: undefined, cut: 0});
    over.abort();
  }

  #take(event: SyncEvent): void {
    this.#tell(event);
    if (event.kind === 'problem') {
      const {message} = event.problem;
      const path = showPath(placeOfProblem(event.problem));
      this.#parts.log.warn(message, {volume: this.volume, peer: this.config.to, path});
    }
    this.#parts.onChange();
  }

  #tell(event: SyncEvent): void {
    this.#onEvent({...event, volume: this.volume, peer: this.config.to});
  }

  #live(status: FollowStatus, events: SyncEvents): void {
    if (status.kind === 'sending') {
      if (this.#state !== 'sending') this.#tellPeer('catching-up', '');
      return this.#setState('sending', undefined);
    }
    this.#tellLeftOut(events);
    if (status.kind === 'unequal') {
      const problemCount = this.#notes.problemCount();
      this.#confirmed = 0; // what was confirmed was sent
      const reason = problemCount > 0 ? undefined : 'both sides differ; it is tried again';
      this.#setState('problems', reason);
      this.#tellPeer('settled', reason ?? '');
      return this.#settle(1, reason ?? 'some paths have problems', true);
    }
    events.proved();
    this.#noteProof(status.digest);
    const isWhole = this.#notes.problemCount() === 0;
    this.#setState(isWhole ? 'in-sync' : 'problems', undefined);
    this.#tellPeer(isWhole ? 'in-sync' : 'settled', '');
    this.#settle(isWhole ? 0 : 1, isWhole ? undefined : 'some paths have problems', true);
  }

  #tellLeftOut(events: SyncEvents): void {
    if (this.#running === undefined) return;
    const {to, as} = this.config;
    events.leftOut(leftOutProblems(this.#running.link, ({key}) => `set accept: {${key}} at volume ${as} on ${to}`));
  }

  #noteProof(digest: Buffer): void {
    this.#confirmed = 0;
    this.#proof = noteProof(this.#notes, {
      digest,
      volume: this.#running?.source.opened.volume,
      clock: this.#parts.clock,
    });
    const {atMs: asOfMs} = this.#proof;
    this.#tell({kind: 'status', status: {kind: 'in-sync', asOfMs, digest: this.#proof.digest}});
  }

  #tellPeer(state: 'catching-up' | 'in-sync' | 'settled' | 'halted', reason: string): void {
    if (this.#running === undefined) return;
    const {port, link} = this.#running;
    const problemCount = this.#notes.problemCount();
    port.send({kind: 'link-state', link: port.link, state, cut: link.lastCut, problemCount, reason});
  }

  /** @param isProof said of the last cut; who waits for a later one goes on waiting */
  #settle(exitCode: number, reason: string | undefined, isProof = false): void {
    const link = this.#running?.link;
    this.#waiters.settle(
      this.#outcome(exitCode, reason),
      isProof ? {connection: link, cut: link?.lastCut ?? 0} : undefined,
    );
  }

  #outcome(exitCode: number, reason: string | undefined): LinkOutcome {
    const of = {volume: this.volume, peer: this.config.to, proof: this.#proof};
    return sendOutcome(of, this.#notes, exitCode, reason);
  }

  #setState(state: LinkState, reason: string | undefined): void {
    if (this.#state !== state) {
      this.#parts.log.debug('link', {volume: this.volume, peer: this.config.to, from: this.#state, to: state});
      this.#tell({kind: 'notice', level: 'info', message: reason === undefined ? state : `${state}: ${reason}`});
    }
    this.#state = state;
    this.#reason = reason;
    this.#parts.onChange();
  }
}
