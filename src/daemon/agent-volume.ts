/**
 * One configured volume: finds its root, opens its two sides, and serves its links for as long as the root is there.
 *
 * Invariant: nothing is open while the root is not the known one; it is looked for again, and goes on by itself when it
 * is back.
 */
import {isDeepStrictEqual} from 'node:util';
import {sleepUnless} from '../base/clock.ts';
import {endAll} from '../base/end-all.ts';
import {asTowlineError, EXIT_CODE, isTowlineError, messageOf, TowlineError} from '../base/errors.ts';
import type {AgentLimits, VolumeConfig} from '../config/agent-config.ts';
import {roleInForce, type RoleInForce} from '../config/volume-role.ts';
import type {VolumeReport} from '../control/agent-api.ts';
import {showAddress} from '../model/address.ts';
import {bytesOf, type RelPath} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import type {LinkPort} from '../session/link-port.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import {besideIfUsed} from '../volume/places.ts';
import type {AgentParts, FoundRoot, LinkEvent} from './agent-parts.ts';
import {haltedByMissing, haltReport} from './link-figures.ts';
import {Quiesce} from './quiesce.ts';
import {roleNotices, roleReport} from './role-report.ts';
import {RootWatch} from './root-watch.ts';
import type {ReceiveLink} from './receive-link.ts';
import type {SendLink} from './send-link.ts';
import {SourcePool} from './source-pool.ts';
import type {SourceVolume} from './source-volume.ts';
import {TargetVolume} from './target-volume.ts';
import {closeSides, FINAL, sidesEndedBy, stopError, stopSides, whenAborted, type OpenVolume} from './volume-sides.ts';
import {VolumeEpochs} from './volume-epochs.ts';
import {VolumeGuests} from './volume-guests.ts';
import {linksOf} from './volume-links.ts';
import {volumeScope} from './volume-scopes.ts';

const ROOT_POLL_MS = 2_000;
const NOTICES_MAX = 20;

type VolumeLimits = Pick<AgentLimits, 'chokidarEntries' | 'reserve'>;

export interface AgentVolumeOptions {
  /** As it is written. */
  configured: VolumeConfig;
  limits: VolumeLimits;
  isPeer: (name: string) => boolean;
  onEvent: (event: LinkEvent) => void;
  /** Another agent is the source now: the volume is to be started anew. Undefined for one of this run alone. */
  onSuperseded: (() => void) | undefined;
}

export class AgentVolume {
  /** With the directions that are in force: a role stands above the configuration. */
  readonly config: VolumeConfig;
  readonly configured: VolumeConfig;
  readonly epochs: VolumeEpochs;
  readonly sends: readonly SendLink[];
  readonly receive: ReceiveLink | undefined;
  readonly quiesce: Quiesce;
  readonly #parts: AgentParts;
  readonly #limits: VolumeLimits;
  readonly #inForce: RoleInForce;
  readonly #isPeer: (name: string) => boolean;
  readonly #notes: LinkNotes;
  /** Why the peer that it follows does not send it. */
  sourceTrouble: string | undefined;
  readonly #controller = new AbortController();
  #found: FoundRoot | undefined;
  #open: OpenVolume | undefined;
  #reason: string | undefined = 'looking for its root';
  #again = Promise.withResolvers<void>();
  #reopen: AbortController | undefined;
  #notices: string[] = [];
  #ended: Promise<void> = Promise.resolve();
  /** Resolves when what was open is closed. */
  #closed: Promise<unknown> = Promise.resolve();
  readonly #guests = new VolumeGuests();

  constructor(options: AgentVolumeOptions, parts: AgentParts) {
    const {configured, limits, onEvent, isPeer, onSuperseded} = options;
    const {name} = configured;
    this.configured = configured;
    this.#parts = parts;
    this.#limits = limits;
    this.#isPeer = isPeer;
    this.#notes = parts.file.notes(volumeScope(name));
    this.epochs = new VolumeEpochs({volume: name}, {...parts, notes: this.#notes, onSuperseded});
    const {role, damage} = this.epochs.read();
    const inForce = roleInForce(configured, role, isPeer);
    this.#inForce = {...inForce, contradiction: damage ?? inForce.contradiction};
    const config = (this.config = inForce.config);
    const {clock, log} = parts;
    const onChange = (): void => parts.onChange();
    const path = (): string | undefined => {
      const known = this.#notes.rootIdentity();
      return this.#found?.path ?? (known && bytesOf(known.path).toString());
    };
    const hooked = {volume: name, hooks: config.hooks};
    this.quiesce = new Quiesce(hooked, {notes: this.#notes, clock, log, path, onChange});
    const roleOfLinks = {config, epochs: this.epochs, sourceVolume: role.decided?.sourceVolume ?? undefined, onEvent};
    ({sends: this.sends, receive: this.receive} = linksOf(roleOfLinks, parts));
  }

  get isPaused(): boolean {
    return this.#notes.isPaused();
  }

  get notes(): LinkNotes {
    return this.#notes;
  }

  /** Why nothing is sent until promote or follow was said; undefined when that is not so. */
  get decisionNeeded(): string | undefined {
    return this.#inForce.contradiction ?? this.epochs.role.superseded?.message;
  }

  /** Whether it would be started with the same directions from this configuration. */
  isOf(configured: VolumeConfig): boolean {
    if (!isDeepStrictEqual(configured, this.configured)) return false;
    return isDeepStrictEqual(roleInForce(configured, this.epochs.role, this.#isPeer).config, this.config);
  }

  /** The source of a link, while it is open. */
  sourceOf(send: SendLink): SourceVolume | undefined {
    return this.#open?.sources?.sourceOf(send);
  }

  /** Of those that are open, in whatever view. */
  get firstSource(): SourceVolume | undefined {
    return this.#open?.sources?.first;
  }

  get target(): TargetVolume | undefined {
    return this.#open?.target;
  }

  report(): VolumeReport {
    const halt = this.#notes.haltOf();
    const someSource = this.#open?.sources?.first;
    return {
      name: this.config.name,
      address: showAddress(this.config.at),
      path: this.#found?.path,
      entryCount: someSource?.state.entryCount() ?? this.#open?.target?.opened.volume.entryCount(),
      isPaused: this.isPaused,
      links: [
        ...this.sends.map((send) => send.report()),
        ...(this.receive === undefined ? [] : [this.receive.report()]),
      ],
      reason: this.#open === undefined ? this.#reason : undefined,
      halt: halt === undefined ? undefined : haltReport(halt),
      staging: this.#open?.target?.places.staging,
      inPlaceAbove: this.config.receive === undefined ? undefined : this.config.inPlaceAbove,
      trash: this.#open?.target?.places.trash,
      role: roleReport(this.epochs.role, {source: this.receive?.from, advice: this.#inForce.advice}),
      notices: [
        ...this.quiesce.notices,
        ...roleNotices(this.epochs.role, this.#inForce.advice, this.sourceTrouble),
        ...this.#notices,
        ...(this.#open?.target?.notices ?? []),
      ],
    };
  }

  start(): void {
    this.#ended = this.quiesce.recover().then(() => this.#run(this.#controller.signal));
  }

  async stop(reason: string): Promise<void> {
    const resumed = this.quiesce.stop();
    this.#controller.abort(new TowlineError('CANCELLED', reason, {signal: 'stop'}));
    await this.#guests.sendAway(reason);
    await resumed;
    await this.#ended;
  }

  /** The peer does not let this agent in, or is another. */
  peerRefused(peer: string): void {
    for (const send of this.sends) if (send.config.to === peer) send.peerRefused();
    if (this.receive?.from === peer) this.receive.peerRefused();
  }

  /** Some of its problems are others now: its links say anew how they stand. */
  problemsChanged(): void {
    for (const send of this.sends) send.problemsChanged();
    this.receive?.problemsChanged();
  }

  /** Something that was waited for may be there: a root, a confirmation, the end of a pause. */
  wake(): void {
    this.#again.resolve();
    for (const send of this.sends) send.wake();
    this.receive?.ready();
  }

  /**
   * Of a received volume: takes nothing more from its source, and rolls forward what a crash left.
   * @throws REFUSED when the volume is not open
   */
  async settle(why: string): Promise<void> {
    const {target} = this;
    if (target === undefined) {
      const reason = this.#reason ?? this.receive?.report().reason ?? 'it is not received here';
      throw new TowlineError('REFUSED', `volume ${this.config.name} is not open: ${reason}`, {reason});
    }
    this.receive?.detach('waiting', why);
    await target.settle(new TowlineError('REFUSED', why, {reason: why}));
  }

  async pause(): Promise<void> {
    this.#notes.setPaused(true);
    this.#reopen?.abort(new TowlineError('CANCELLED', 'paused', {signal: 'pause'}));
    await this.#guests.sendAway('paused');
    await this.#closed;
  }

  /** A peer looks at this copy for as long as `look` goes on. @throws REFUSED while it is paused or being closed */
  async takeGuest(port: LinkPort, look: () => Promise<void>): Promise<void> {
    if (this.isPaused || this.#controller.signal.aborted) {
      const reason = this.isPaused ? 'it is paused' : 'it is being closed';
      throw new TowlineError('REFUSED', `volume ${this.config.name} cannot be looked at: ${reason}`, {reason});
    }
    await this.#guests.take(port, look);
  }

  resume(): void {
    this.#notes.setPaused(false);
    this.wake();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#again = Promise.withResolvers();
      try {
        if (await this.#runOnce(signal)) continue;
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(error);
      }
      await sleepUnless(this.#parts.clock, ROOT_POLL_MS, {signal, woken: this.#again.promise});
    }
  }

  /** @returns whether it is worth to look again at once. @throws what keeps the volume from being open */
  async #runOnce(signal: AbortSignal): Promise<boolean> {
    const {contradiction} = this.#inForce;
    if (contradiction !== undefined) this.#stand('halted', contradiction, EXIT_CODE.HALTED);
    else if (this.isPaused) this.#stand('paused', `paused; go on with towline resume ${this.config.name}`);
    else {
      const found = await this.#find();
      if (this.isPaused) return true;
      this.epochs.matchMark(found.path, this.receive === undefined);
      const ran = this.#runAt(found, signal);
      this.#closed = ran.catch(() => undefined);
      await ran;
      return true;
    }
    return false;
  }

  /** An engine that cannot be asked does not take a known root away. */
  async #find(): Promise<FoundRoot> {
    const {at} = this.config;
    try {
      return await this.#parts.engines.findRoot(at);
    } catch (error) {
      const known = this.#notes.rootIdentity();
      const isEngineAway = isTowlineError(error) && error.code === 'SYSTEM';
      if (isEngineAway && known !== undefined) return this.#knownPlace(known);
      if (isTowlineError(error) && error.code === 'ROOT_MISSING' && known !== undefined)
        throw haltedByMissing(this.config.name, error);
      throw error;
    }
  }

  /** Where it was, with the place beside an engine's data folder: staging must be found where it was left. */
  #knownPlace(known: RootIdentity): FoundRoot {
    const path = bytesOf(known.path).toString();
    if (this.#found?.path === path) return this.#found;
    return {path, beside: this.config.at.kind === 'path' ? undefined : besideIfUsed(path)};
  }

  async #runAt(found: FoundRoot, signal: AbortSignal): Promise<void> {
    const reopen = (this.#reopen = new AbortController());
    const ended = new AbortController();
    const both = AbortSignal.any([signal, reopen.signal, ended.signal]);
    let failure: unknown;
    this.#found = found;
    const open = this.#openSides(found);
    this.#open = open;
    this.#reason = undefined;
    this.#parts.log.info('volume is open', {volume: this.config.name, path: found.path});
    const root = new RootWatch({at: this.config.at, found, notes: this.#notes}, this.#parts);
    const stopEngines = this.#parts.engines.onChange(() => void root.engineChanged(reopen));
    const works = [root.watchMounts(both)];
    try {
      if (open.sources !== undefined) {
        works.push(open.sources.run(both));
        const {superseded} = this.epochs.role;
        for (const send of this.sends) {
          if (superseded === undefined) works.push(send.run(open.sources, both));
          else send.stand('halted', superseded.message, EXIT_CODE.HALTED);
        }
      }
      if (open.target !== undefined) {
        this.receive?.attach(open.target);
        works.push(open.target.run(both));
      }
      this.#parts.onChange();
      await Promise.race([Promise.all(works), whenAborted(both)]);
    } catch (error) {
      failure = error;
    }
    ended.abort(new TowlineError('CANCELLED', 'the volume is closed', {signal: 'stop'}));
    this.#open = undefined;
    let [state, reason]: ['paused' | 'waiting', string] = ['waiting', 'the volume is closed'];
    await endAll([
      stopEngines,
      () => ({state, reason} = this.#standing(signal)),
      () => this.receive?.detach(state, reason),
      () => stopSides(open, stopError(failure, reason)),
      () => Promise.allSettled(works),
      () => failure !== undefined && sidesEndedBy(open, failure),
      () => closeSides(open),
    ]).catch((error: unknown) => (failure ??= error));
    this.#parts.onChange();
    if (failure !== undefined) throw failure;
  }

  #standing(signal: AbortSignal): {state: 'paused' | 'waiting'; reason: string} {
    if (signal.aborted) return {state: 'waiting', reason: messageOf(signal.reason)};
    return this.isPaused
      ? {state: 'paused', reason: 'paused'}
      : {state: 'waiting', reason: 'the volume is opened again'};
  }

  #openSides(found: FoundRoot): OpenVolume {
    const {config} = this;
    const onNotice = (message: string): void => this.#notice(message);
    const {chokidarEntries, reserve} = this.#limits;
    const options = {config, notes: this.#notes, found, chokidarEntries, reserve, onNotice};
    let sources: SourcePool | undefined;
    try {
      if (this.sends.length > 0) sources = new SourcePool(options, this.sends, this.#parts);
      const {receive} = this;
      const hooks = receive && {
        onDrift: (paths: readonly RelPath[]) => receive.noteDrift(paths),
        problems: receive.problems,
        reportsDrift: () => receive.reportsDrift,
      };
      const target = hooks && new TargetVolume({...options, ...hooks}, this.#parts);
      return {sources, target};
    } catch (error) {
      void stopSides({sources, target: undefined}, stopError(error, messageOf(error)))
        .then(() => closeSides({sources, target: undefined}))
        .catch((problem: unknown) => this.#parts.log.error(messageOf(problem), {volume: config.name}));
      throw error;
    }
  }

  #failed(thrown: unknown): void {
    const {log} = this.#parts;
    const volume = this.config.name;
    const error = asTowlineError(thrown);
    const {code, message} = error;
    const isHalted = code === 'HALTED';
    if (this.#reason !== message) {
      log[isHalted || code === 'BUG' ? 'error' : 'warn'](message, {volume, code});
      if (code === 'BUG') log.error(String((thrown as Error).stack), {volume});
    }
    try {
      this.#stand(isHalted ? 'halted' : 'waiting', message, FINAL[code], isHalted ? error : undefined);
      if (!isHalted || this.#notes.haltOf() !== undefined) return;
      const {kind, count, limit} = (error as TowlineError<'HALTED'>).details;
      this.#notes.halt({kind, count, limit, message, sinceMs: this.#parts.clock.nowMs()});
    } catch (trouble) {
      log.error(`how it stands cannot be noted: ${messageOf(trouble)}`, {volume}); // at the next try it is
    }
  }

  /** @param exitCode what a single run ends with; undefined where it is worth waiting */
  #stand(state: 'halted' | 'waiting' | 'paused', reason: string, exitCode?: number, halted?: TowlineError): void {
    this.#reason = reason;
    for (const send of this.sends) send.stand(state, reason, exitCode);
    this.receive?.detach(state, reason, {exitCode, halted});
    this.#parts.onChange();
  }

  #notice(message: string): void {
    this.#parts.log.warn(message, {volume: this.config.name});
    this.#notices = [...this.#notices.filter((known) => known !== message), message].slice(-NOTICES_MAX);
    this.#parts.onChange();
  }

  /** Takes Towline's mark and folders from the root; the volume is not open. */
  cleanUp(): void {
    const root = this.#notes.rootIdentity();
    if (root !== undefined) this.#parts.forgetRoot(root, this.#knownPlace(root).beside);
  }
}
