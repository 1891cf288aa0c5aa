/**
 * One volume that this agent receives: says which links may write to it, and how the one that does stands.
 *
 * The volume's files are the target volume's business. Invariants: only the configured peer is let in; a halt of this
 * side is kept until its operator confirms it, or both sides are equal again.
 */
import {asTowlineError, EXIT_CODE, isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import type {VolumeConfig} from '../config/agent-config.ts';
import type {LinkOutcome, LinkReport, LinkState} from '../control/agent-api.ts';
import {showPath, type RelPath} from '../model/path.ts';
import {ignorePinOf} from '../model/view.ts';
import {RollingHour} from '../reconcile/rolling-hour.ts';
import type {LinkPort} from '../session/link-port.ts';
import {refusePort} from '../session/refusal.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import type {MessageOf} from '../wire/messages.ts';
import type {AgentParts} from './agent-parts.ts';
import {haltReport, isRootHalt, lastProof, type Proof} from './link-figures.ts';
import {ProofWaiters} from './proof-waiters.ts';
import {isContradicted, youngReads} from './source-state.ts';
import {TargetProblems} from './target-problems.ts';
import type {TargetVolume} from './target-volume.ts';

const DRIFT_EVERY_MS = 60_000; // at most so often is one path repaired
const DRIFT_PATHS_MAX = 1_000;

export class ReceiveLink {
  readonly config: VolumeConfig;
  readonly from: string;
  readonly #parts: AgentParts;
  readonly #notes: LinkNotes;
  /** Over all connections. */
  readonly #hour = new RollingHour();
  readonly #waiters = new ProofWaiters();
  /** Of this copy itself. */
  readonly problems: TargetProblems;
  /** When a path was last repaired. */
  readonly #drifted = new Map<RelPath, number>();
  #volume: TargetVolume | undefined;
  #port: LinkPort | undefined;
  #lastCut = {cut: 0, isEqual: false, digest: ''};
  #state: LinkState = 'waiting';
  #reason: string | undefined = 'the volume is not open yet';
  #problemCount = 0;
  /** Deletes that this side's operator has confirmed: until they are done, over all connections. */
  #confirmed = 0;
  /** While the volume is not open for a reason that a single run does not wait out: its exit code. */
  #final: number | undefined;
  /** Why the volume is not open; undefined while it is being opened for the first time. */
  #why: string | undefined;
  /** A link that the peer opened before that. */
  #early: (() => void) | undefined;
  /** What halted the volume itself, while it is not open for that. */
  #halted: TowlineError | undefined;
  #peerVolume: string;
  #proof: Proof | undefined;
  #driftTimer: NodeJS.Timeout | undefined;

  readonly #takeEpoch: (packed: number, peer: string) => void;

  constructor(
    options: {
      config: VolumeConfig;
      from: string;
      /** The volume's name there, where it is known. */
      peerVolume: string | undefined;
      notes: LinkNotes;
      /** Takes the epoch that the source tells. @throws HALTED when it is not one to receive in */
      takeEpoch: (packed: number, peer: string) => void;
    },
    parts: AgentParts,
  ) {
    this.config = options.config;
    this.from = options.from;
    this.#peerVolume = options.peerVolume ?? options.config.name;
    this.#notes = options.notes;
    this.#takeEpoch = options.takeEpoch;
    this.#parts = parts;
    this.#proof = lastProof(this.#notes);
    this.problems = new TargetProblems({volume: this.config.name}, {notes: this.#notes, clock: parts.clock});
  }

  /** Whether the source has its link open. */
  get isServed(): boolean {
    return this.#port?.isOpen === true;
  }

  get notes(): LinkNotes {
    return this.#notes;
  }

  report(): LinkReport {
    const halt = this.#notes.haltOf();
    return {
      volume: this.config.name,
      peer: this.from,
      direction: 'receive',
      peerVolume: this.#peerVolume,
      state: this.#state,
      reason: this.#reason ?? (this.#port === undefined ? this.#parts.peer(this.from)?.reason : undefined),
      inSyncAtMs: this.#proof?.atMs,
      digest: this.#proof?.digest,
      pendingCount: 0,
      problemCount: this.#problemCount + this.problems.count,
      lagMs: 0,
      rateBytes: 0,
      sentBytes: 0,
      halt: halt === undefined ? undefined : haltReport(halt),
    };
  }

  /** The volume is open: links can be served. */
  attach(volume: TargetVolume): void {
    this.#volume = volume;
    this.#final = undefined;
    this.#why = undefined;
    this.#halted = undefined;
    const halt = this.#notes.haltOf();
    if (halt !== undefined) this.#setState('halted', halt.message);
    else this.#setState('waiting', `waiting for ${this.from} to open the link`);
    this.#takeEarly();
    this.ready();
  }

  /** @param reason why the volume is not open */
  detach(
    state: LinkState,
    reason: string,
    {exitCode, halted}: {exitCode?: number | undefined; halted?: TowlineError | undefined} = {},
  ): void {
    this.#halted = halted;
    this.#volume = undefined;
    this.#port = undefined;
    clearTimeout(this.#driftTimer);
    this.#driftTimer = undefined;
    this.#setState(state, reason);
    this.#final = exitCode;
    this.#why = reason;
    this.#takeEarly();
    if (exitCode !== undefined) this.#settle(exitCode, reason);
  }

  /** The peer does not let this agent in, or is another: who waits need not wait on. */
  peerRefused(): void {
    this.#settle(EXIT_CODE.NOT_AUTHORISED, this.#parts.peer(this.from)?.reason);
  }

  #takeEarly(): void {
    const early = this.#early;
    this.#early = undefined;
    early?.();
  }

  /** Tells the peer that a link can be opened (again). */
  ready(): void {
    if (this.#volume === undefined) return;
    this.#parts.peer(this.from)?.send({kind: 'volume-ready', volume: this.config.name});
  }

  /** The peer opens a link. */
  accept(peer: string, request: MessageOf<'open-link'>, port: LinkPort): void {
    const isOpening = this.#volume === undefined && this.#why === undefined;
    if (isOpening && peer === this.from) {
      this.#early = () => this.accept(peer, request, port);
      return;
    }
    try {
      const volume = this.#checked(peer, request);
      this.#confirmed = Math.max(this.#confirmed, this.#notes.takeConfirmation());
      this.#final = undefined;
      this.#port = port;
      this.#lastCut = {cut: 0, isEqual: false, digest: ''};
      this.#setState('scanning', undefined);
      volume.serve(port, {
        confirmedDeletes: this.#confirmed,
        hour: this.#hour,
        onRefused: (error) => this.#refused(error, port),
        onCut: ({cut, isEqual, digest}) => this.#cut(cut, isEqual, digest),
        onSourceState: (state) => this.#sourceState(state),
        onContradicted: ({path, parentId, entry}, found) => {
          const by = {store: volume.opened.volume, reads: youngReads(() => this.#parts.clock.nowMs())};
          if (entry.content === undefined || !isContradicted({...entry, parentId}, found, by)) return;
          this.problems.corrupt(path, {known: entry.content, found});
          this.problemsChanged();
        },
      });
      void port.closed.then((reason) => this.#closed(port, reason));
    } catch (error) {
      if (!isTowlineError(error)) throw error;
      this.refuse(port, error, peer);
      if (peer !== this.from) return;
      this.#final = EXIT_CODE[error.code]; // who asks later hears of it too
      this.#setState(error.code === 'HALTED' ? 'halted' : 'waiting', error.message);
      this.#settle(EXIT_CODE[error.code], error.message);
    }
  }

  refuse(port: LinkPort, error: TowlineError, peer: string): void {
    this.#parts.log.warn(error.message, {volume: this.config.name, peer, code: error.code});
    refusePort(port, error);
  }

  /** @throws NOT_AUTHORISED, REFUSED, HALTED */
  #checked(peer: string, request: MessageOf<'open-link'>): TargetVolume {
    const {name, receive} = this.config;
    if (peer !== this.from)
      throw new TowlineError('NOT_AUTHORISED', `volume ${name} is not received from ${peer}`, {peer});
    const halt = this.#notes.haltOf();
    if (halt !== undefined) {
      const {kind, count, limit, message} = halt;
      throw new TowlineError('HALTED', `${message}; confirm it on this host`, {kind, volume: name, count, limit});
    }
    if (this.#halted !== undefined) throw this.#halted;
    if (this.#volume === undefined)
      throw new TowlineError(
        'REFUSED',
        `volume ${name} is not open${this.#why === undefined ? '' : `: ${this.#why}`}`,
        {
          reason: 'not open',
        },
      );
    this.#takeEpoch(request.epoch, peer);
    const pin = receive?.ignorePin;
    const found = ignorePinOf(request.view.ignore);
    if (pin !== undefined && pin !== found)
      throw new TowlineError(
        'REFUSED',
        `the ignore rules of ${name} are not the pinned ones: expected ${pin}, the sender has ${found}; set pin-ignore to the new digest if the new rules are right`,
        {reason: 'pinned ignore rules'},
      );
    return this.#volume;
  }

  /** This side ends the link: a guard, a lost root, full disk. */
  #refused(error: unknown, port: LinkPort): void {
    const {log, clock} = this.#parts;
    const message = messageOf(error);
    log.warn(message, {volume: this.config.name, peer: this.from});
    if (port !== this.#port || !isTowlineError(error)) return;
    if (error.code === 'HALTED' && !isRootHalt(error)) {
      const {kind, count, limit} = (error as TowlineError<'HALTED'>).details;
      this.#notes.halt({kind, count, limit, message, sinceMs: clock.nowMs()});
    }
    this.#setState(error.code === 'HALTED' ? 'halted' : 'waiting', message);
    this.#settle(EXIT_CODE[error.code], message);
  }

  #cut(cut: number, isEqual: boolean, digest: Buffer): void {
    this.#lastCut = {cut, isEqual, digest: digest.toString('hex')};
    if (!isEqual) return;
    this.problems.proved();
    this.#confirmed = 0;
    if (this.#notes.haltOf() !== undefined) this.#notes.clearHalt();
    const atMs = this.#parts.clock.nowMs();
    this.#notes.setLinkBase({lastInSync: {atMs, digest}});
    this.#proof = {atMs, digest: this.#lastCut.digest};
  }

  #sourceState({state, cut, problemCount, reason}: MessageOf<'link-state'>): void {
    this.#problemCount = problemCount;
    const isProved = this.#lastCut.isEqual && this.#lastCut.cut === cut;
    const told = reason === '' ? undefined : `${this.from}: ${reason}`;
    switch (state) {
      case 'catching-up':
        return this.#setState('comparing', undefined);
      case 'in-sync':
        if (!isProved) return this.#setState('comparing', undefined);
        if (this.problems.count > 0) {
          this.problemsChanged();
          return this.#settle(1, this.#reason, cut);
        }
        this.#setState('in-sync', undefined);
        return this.#settle(0, undefined, cut);
      case 'settled': {
        const why = told ?? `${this.from} has ${problemCount} path(s) with problems`;
        this.#setState('problems', why);
        return this.#settle(1, why, cut);
      }
      case 'halted':
        this.#setState('halted', told ?? `${this.from} has halted the link`);
        return this.#settle(EXIT_CODE.HALTED, told);
    }
  }

  #closed(port: LinkPort, reason: TowlineError): void {
    if (port !== this.#port) return;
    this.#port = undefined;
    if (this.#state === 'halted') return;
    this.#setState('waiting', reason.message);
  }

  /** The copy has other problems than it had. */
  problemsChanged(): void {
    const {count} = this.problems;
    if (this.#state === 'in-sync' && count > 0) {
      const what = `${count} path(s) of this copy have problems; see towline pending ${this.config.name}`;
      return this.#setState('problems', what);
    }
    this.#parts.onChange();
  }

  /** Whether what others change here is told and left alone: not before both sides were equal once. */
  get reportsDrift(): boolean {
    return this.config.drift === 'report' && this.#proof !== undefined;
  }

  /** The operator takes the source's version of what was reported as drift. */
  takeSource(): void {
    if (this.problems.takeSource()) this.#volume?.askToCompare();
    this.#parts.onChange();
  }

  /** Others changed the target: the source repairs it, each path at most once a minute, or it is only told. */
  noteDrift(paths: readonly RelPath[]): void {
    if (this.reportsDrift) this.problems.drifted(paths);
    this.problemsChanged();
    const nowMs = this.#parts.clock.monotonicMs();
    let dueMs = paths.length === 0 ? nowMs : Infinity;
    for (const path of paths) {
      this.#parts.log.warn('changed on the target by something else', {volume: this.config.name, path: showPath(path)});
      const lastMs = this.#drifted.get(path);
      dueMs = Math.min(dueMs, lastMs === undefined ? nowMs : Math.max(nowMs, lastMs + DRIFT_EVERY_MS));
      this.#drifted.set(path, Math.max(nowMs, dueMs));
    }
    if (this.#drifted.size > DRIFT_PATHS_MAX) this.#drifted.clear();
    if (this.#driftTimer !== undefined || dueMs === Infinity) return;
    this.#driftTimer = setTimeout(() => {
      this.#driftTimer = undefined;
      this.#volume?.askToCompare();
    }, dueMs - nowMs);
  }

  /** The next proof, or why there is none. */
  nextProof(): Promise<LinkOutcome> {
    const halt = this.#notes.haltOf();
    if (halt !== undefined) return Promise.resolve(this.#outcome(EXIT_CODE.HALTED, halt.message));
    if (this.#final !== undefined) return Promise.resolve(this.#outcome(this.#final, this.#reason));
    const peer = this.#parts.peer(this.from);
    if (peer?.failure === 'NOT_AUTHORISED')
      return Promise.resolve(this.#outcome(EXIT_CODE.NOT_AUTHORISED, peer.reason));
    const proof = this.#waiters.next({connection: this.#port, cut: this.#lastCut.cut});
    this.#volume?.rescan().then(
      () => this.#volume?.askToCompare(),
      (error: unknown) => this.#settle(EXIT_CODE[asTowlineError(error).code], messageOf(error)),
    );
    return proof;
  }

  lateOutcome(): LinkOutcome {
    const why = this.report().reason ?? 'the source has not proved yet that both are equal';
    if (this.#state === 'halted') return this.#outcome(EXIT_CODE.HALTED, why);
    return this.#outcome(EXIT_CODE.PEER_LOST, `timeout: ${why}`);
  }

  /** @param cut what is said of it; who waits for a later one goes on waiting */
  #settle(exitCode: number, reason: string | undefined, cut?: number): void {
    this.#waiters.settle(
      this.#outcome(exitCode, reason),
      cut === undefined ? undefined : {connection: this.#port, cut},
    );
  }

  #outcome(exitCode: number, reason: string | undefined): LinkOutcome {
    return {
      volume: this.config.name,
      peer: this.from,
      direction: 'receive',
      exitCode,
      reason,
      digest: exitCode === 0 ? this.#proof?.digest : undefined,
      problemCount: this.#problemCount + this.problems.count,
      problems: this.#notes.problems(100),
    };
  }

  #setState(state: LinkState, reason: string | undefined): void {
    this.#state = state;
    this.#reason = reason;
    this.#parts.onChange();
  }
}
