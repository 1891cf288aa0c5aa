/**
 * Fail-over: makes a copy the source (`promote`), makes a former source a copy (`follow`), and answers both for peers.
 *
 * Not the epochs themselves (volume-epochs.ts) and not the comparison (compare-copies.ts). Invariants: a decision is
 * durable before anything follows from it, and one row holds it whole; nothing is pushed to a peer that has not said
 * that it follows.
 */
import {randomBytes} from 'node:crypto';
import {TowlineError} from '../base/errors.ts';
import type {FollowPlan} from '../control/agent-api.ts';
import {FIRST_EPOCH, judgeEpoch, nextEpoch, packEpoch, unpackEpoch, type Epoch} from '../model/epoch.ts';
import type {Decided, VolumeRole} from '../model/role.ts';
import type {LinkPort} from '../session/link-port.ts';
import {refusePort} from '../session/refusal.ts';
import {LABEL_BYTES_MAX} from '../wire/limits.ts';
import type {MessageOf} from '../wire/messages.ts';
import type {AgentParts} from './agent-parts.ts';
import type {AgentVolume} from './agent-volume.ts';
import {compareWith, serveComparison} from './compare-copies.ts';
import {checkMayFollow, checkSourceIsAway, isKnownTo, isRivalOf, refused} from './fail-over-checks.ts';
import type {Peer} from './peer.ts';
import {haltedByEpoch} from './volume-epochs.ts';
import {receiveScope, sendScope} from './volume-scopes.ts';

export interface FailOverParts extends AgentParts {
  /** Of this agent, for sentences. */
  name(): string;
  volume(name: string): AgentVolume | undefined;
  volumes(): AgentVolume[];
  /** Closes a volume, then decides, then starts it in the role that is noted by then; also when that throws. */
  restart(volume: string, decide: () => void): Promise<void>;
}

type Wanted = {volume: string; peer: string; peerVolume: string};
type Source = {epoch: Epoch; sinceMs: number};

const ASK_MS_MAX = 10_000;
const PLAN_MS_MAX = 3_600_000; // what was counted so long ago is counted again
const FOLLOWERS_MAX = 64;

export class FailOver {
  readonly #parts: FailOverParts;
  readonly #plans = new Map<string, FollowPlan & {atMs: number}>();
  /** Peers and volumes that a question is being answered of: one at a time. */
  readonly #answering = new Set<string>();

  constructor(parts: FailOverParts) {
    this.#parts = parts;
  }

  /** @throws REFUSED, SYSTEM when the decision cannot be kept: nothing has changed then */
  async promote({volume: name, isForced}: {volume: string; isForced: boolean}): Promise<{
    epoch: number;
    from: string | undefined;
  }> {
    const volume = this.#volume(name);
    const from = volume.receive?.from;
    const {superseded} = volume.epochs.role;
    if (from === undefined && superseded === undefined && volume.decisionNeeded === undefined)
      throw refused(
        `${name} is the source already, in epoch ${volume.epochs.epoch().number}: there is nothing to promote`,
      );
    const peer = from === undefined ? undefined : this.#parts.peer(from);
    if (!isForced && peer !== undefined) checkSourceIsAway(volume, peer);
    const known = [volume.epochs.epoch(), ...(superseded === undefined ? [] : [superseded.epoch])];
    if (peer?.speaks('follow') === true) known.push(await this.#epochAt(peer, volume));
    const epoch = nextEpoch(known, randomBytes(4).readUInt32BE());
    if (epoch === undefined) throw refused(`${name} was promoted too often: no epoch is left`);
    if (from !== undefined && volume.decisionNeeded === undefined) await this.#settle(volume);
    await this.#parts.restart(name, () => volume.notes.setRole(this.#promoted(volume, epoch)));
    this.#parts.log.warn('promoted', {volume: name, epoch: epoch.number, from});
    peer?.send({kind: 'volume-ready', volume: name}); // it tries at once, and hears of it
    return {epoch: epoch.number, from};
  }

  /** A batch that a crash left half way belongs to the copy that is promoted. */
  async #settle(volume: AgentVolume): Promise<void> {
    const {name} = volume.config;
    try {
      await volume.settle(`${name} is being promoted on ${this.#parts.name()}`);
    } catch (error) {
      await this.#parts.restart(name, () => undefined);
      throw error;
    }
  }

  #promoted(volume: AgentVolume, epoch: Epoch): VolumeRole {
    const {decided, superseded} = volume.epochs.role;
    const former = (volume.receive?.from ?? superseded?.peer ?? decided?.former ?? '') || null;
    return {epoch, superseded: undefined, decided: {...this.#decided(volume, 'promote'), former}};
  }

  #decided(volume: AgentVolume, by: Decided['by']): Decided {
    return {
      by,
      sinceMs: this.#parts.clock.nowMs(),
      source: null,
      sourceVolume: null,
      configured: volume.configured.receive?.from ?? null,
      former: null,
      followers: [],
      confirmedDeletes: 0,
    };
  }

  /** What the peer knows, so that the new epoch is above it; one that gives no answer knows nothing. */
  async #epochAt(peer: Peer, volume: AgentVolume): Promise<Epoch> {
    const {name} = volume.config;
    const asked = {volume: volume.receive?.report().peerVolume ?? name, as: name};
    const answer = await this.#ask(peer, asked, volume, false).catch(() => undefined);
    const theirs = answer === undefined ? FIRST_EPOCH : unpackEpoch(answer.epoch);
    return judgeEpoch(volume.epochs.epoch(), theirs) === 'far' ? FIRST_EPOCH : theirs;
  }

  /** @throws REFUSED, PEER_LOST, and what keeps the copies from being compared */
  async plan(wanted: Wanted): Promise<FollowPlan> {
    const {volume, peer, source} = await this.#checked(wanted);
    const differences = await compareWith({volume, peer, peerVolume: wanted.peerVolume}, this.#parts);
    const plan = {...wanted, epoch: source.epoch.number, promotedMs: source.sinceMs, ...differences};
    this.#plans.set(wanted.volume, {...plan, atMs: this.#parts.clock.monotonicMs()});
    return plan;
  }

  /** @throws REFUSED, PEER_LOST; nothing has changed then */
  async follow({count, ...wanted}: Wanted & {count: number}): Promise<void> {
    const plan = this.#plans.get(wanted.volume);
    const isOf = plan !== undefined && plan.peer === wanted.peer && plan.peerVolume === wanted.peerVolume;
    if (!isOf || this.#parts.clock.monotonicMs() - plan.atMs > PLAN_MS_MAX)
      throw refused(`what following ${wanted.peer} would do to ${wanted.volume} was not looked at; look first`);
    if (plan.goneCount !== count)
      throw refused(`${plan.goneCount} entries of ${wanted.volume} would go to the trash, not ${count}; look again`);
    const {volume, peer, source} = await this.#checked(wanted);
    if (source.epoch.number !== plan.epoch) throw refused(`${wanted.peer} was promoted again; look again`);
    await this.#parts.restart(wanted.volume, () => {
      const {file} = this.#parts;
      const receive = file.notes(receiveScope(wanted.volume));
      receive.clearHalt();
      receive.confirm(count);
      volume.notes.setPaused(false);
      const decided = {...this.#decided(volume, 'follow'), source: wanted.peer, sourceVolume: wanted.peerVolume};
      volume.notes.setRole({
        epoch: source.epoch,
        superseded: undefined,
        decided: {...decided, confirmedDeletes: count},
      });
    });
    this.#plans.delete(wanted.volume);
    this.#parts.log.warn('follows', {...wanted, epoch: source.epoch.number, count});
    await this.announce(peer.config.name);
  }

  /** Both must agree that the peer is the source now, of an epoch that this agent may follow. */
  async #checked({volume: name, peer: peerName, peerVolume}: Wanted): Promise<{
    volume: AgentVolume;
    peer: Peer;
    source: Source;
  }> {
    const volume = this.#volume(name);
    const peer = this.#parts.peer(peerName);
    if (peer === undefined) {
      const hint = 'pair it with towline invite and join';
      throw new TowlineError('USAGE', `there is no peer ${JSON.stringify(peerName)}; ${hint}`, {hint});
    }
    if (Buffer.byteLength(peerVolume) > LABEL_BYTES_MAX) throw refused(`${peerVolume} is no volume's name`);
    const answer = await this.#ask(peer, {volume: peerVolume, as: name}, volume, false);
    if (!answer.isSource) throw refused(`${peerName} cannot be followed: ${answer.reason}`);
    const source = {epoch: unpackEpoch(answer.epoch), sinceMs: answer.sinceMs};
    checkMayFollow(volume, peerName, source.epoch);
    return {volume, peer, source};
  }

  async #ask(
    peer: Peer,
    {volume, as}: {volume: string; as: string},
    own: AgentVolume,
    isFollowing: boolean,
  ): Promise<MessageOf<'volume-source'>> {
    const {name} = peer.config;
    if (peer.links !== undefined && !peer.speaks('follow'))
      throw refused(`the agent of ${name} is too old to be followed: update it first`);
    const {epoch, decided} = own.epochs.role;
    const confirmedDeletes = isFollowing ? (decided?.confirmedDeletes ?? 0) : 0;
    const question = {
      kind: 'follow-volume' as const,
      volume,
      as,
      isFollowing,
      epoch: packEpoch(epoch),
      confirmedDeletes,
    };
    const answer = await peer.ask((request) => ({...question, request}), ASK_MS_MAX);
    if (answer.kind !== 'volume-source') throw refused(`${name} gave no answer`);
    return answer;
  }

  /** Tells a peer that came, or is followed from now on, which volumes are to be sent here. */
  async announce(peerName: string): Promise<void> {
    const peer = this.#parts.peer(peerName);
    if (peer?.links === undefined) return;
    for (const volume of this.#parts.volumes()) {
      const {decided} = volume.epochs.role;
      if (decided?.source !== peerName || volume.receive?.from !== peerName) continue;
      const asked = {volume: decided.sourceVolume ?? volume.config.name, as: volume.config.name};
      const said = await this.#ask(peer, asked, volume, true).catch((error: Error) => error);
      const isTaken = !(said instanceof Error) && said.isSource;
      volume.sourceTrouble = isTaken
        ? undefined
        : `${peerName} does not send it: ${said instanceof Error ? said.message : said.reason}`;
      const {role} = volume.epochs;
      if (!isTaken || role.decided === undefined || role.decided.confirmedDeletes === 0) continue;
      volume.notes.setRole({...role, decided: {...role.decided, confirmedDeletes: 0}});
    }
  }

  /** A peer asks who the source of a volume is, or follows from now on. */
  answer(peerName: string, question: MessageOf<'follow-volume'>): void {
    const asked = `${peerName} ${question.volume}`;
    if (this.#answering.has(asked)) return; // PROTOCOL.md: one at a time
    this.#answering.add(asked);
    void this.#answer(peerName, question)
      .catch((error: unknown) => this.#parts.log.error(String(error), {peer: peerName, volume: question.volume}))
      .finally(() => this.#answering.delete(asked));
  }

  async #answer(peerName: string, question: MessageOf<'follow-volume'>): Promise<void> {
    const {request, as, isFollowing, confirmedDeletes} = question;
    const volume = this.#parts.volume(question.volume);
    const reason = this.#refusalOf(peerName, question, volume);
    const role = reason === undefined || volume?.receive?.from === peerName ? volume?.epochs.role : undefined;
    const reply = (): void =>
      this.#parts.peer(peerName)?.send({
        kind: 'volume-source',
        request,
        isSource: reason === undefined,
        epoch: packEpoch(role?.epoch ?? FIRST_EPOCH),
        sinceMs: Math.max(0, role?.decided?.sinceMs ?? 0),
        reason: reason ?? '',
      });
    if (reason !== undefined || volume === undefined || !isFollowing) return reply();
    const {name} = volume.config;
    if (confirmedDeletes > 0) this.#parts.file.notes(sendScope(name, peerName, as)).confirm(confirmedDeletes);
    if (isRivalOf(volume, peerName)) {
      // The other one gives in: this copy is the source.
      await this.#parts.restart(name, () => volume.notes.setRole({...volume.epochs.role, superseded: undefined}));
      return this.#answer(peerName, question);
    }
    const isSentTo = volume.sends.some(({config}) => config.to === peerName && config.as === as);
    if (!isSentTo) await this.#parts.restart(name, () => this.#addFollower(volume, {to: peerName, as}));
    reply();
    for (const send of this.#parts.volume(name)?.sends ?? []) if (send.config.to === peerName) send.wake();
  }

  #addFollower(volume: AgentVolume, follower: {to: string; as: string}): void {
    const {role} = volume.epochs;
    const decided = role.decided ?? this.#decided(volume, 'promote');
    const others = decided.followers.filter(({to}) => to !== follower.to).slice(-FOLLOWERS_MAX + 1);
    volume.notes.setRole({...role, decided: {...decided, followers: [...others, follower]}});
    this.#parts.log.info('is followed', {volume: volume.config.name, peer: follower.to});
  }

  /** Why this agent is not the source for that peer; undefined when it is. */
  #refusalOf(peer: string, question: MessageOf<'follow-volume'>, volume: AgentVolume | undefined): string | undefined {
    const {volume: asked, as, isFollowing, epoch} = question;
    if (volume === undefined || !isKnownTo(volume, peer)) {
      this.#parts.log.warn(`${peer} wants to follow ${JSON.stringify(asked)}, which it was not given`, {peer});
      return `volume ${JSON.stringify(asked)} is not given to this agent; name it in send: of the volume there`;
    }
    const {name} = volume.config;
    if (volume.decisionNeeded !== undefined && !isRivalOf(volume, peer))
      return `${name} is halted there: ${volume.decisionNeeded}`;
    if (volume.receive !== undefined)
      return `${name} is not the source there, it is received from ${volume.receive.from}; promote it first`;
    if (!isFollowing) return undefined;
    const taken = volume.sends.find(({config}) => config.to === peer && config.as !== as);
    if (taken !== undefined) return `${name} is sent there as ${taken.config.as}, not as ${as}`;
    // Who followed in an epoch before takes this one when its link is opened.
    const isRight = ['same', 'older'].includes(judgeEpoch(volume.epochs.epoch(), unpackEpoch(epoch)));
    return isRight ? undefined : `${name} is in another epoch there: say towline follow again`;
  }

  /**
   * A link that a peer opens to a volume which is not received from it.
   * @returns whether it was one of a former source, a new source, or to be compared; else nobody has answered it
   */
  meet(peer: string, request: MessageOf<'open-link'>, port: LinkPort): boolean {
    const volume = this.#parts.volume(request.volume);
    if (volume === undefined || !isKnownTo(volume, peer)) return false;
    const {decided, epoch: ours} = volume.epochs.role;
    if (request.isDryRun && volume.receive === undefined && decided !== undefined) {
      void serveComparison(volume, port, this.#parts);
      return true;
    }
    const theirs = unpackEpoch(request.epoch);
    const verdict = judgeEpoch(ours, theirs);
    if (verdict === 'same' && ours.number === 1) return false;
    if (volume.receive !== undefined) {
      if (verdict !== 'older') return false;
      const what = `${volume.config.name} follows ${volume.receive.from} on ${this.#parts.name()} (epoch ${ours.number})`;
      this.#refuse(port, haltedByEpoch(volume.config.name, what, {ours, theirs}), peer);
      return true;
    }
    this.#refuse(port, this.#meeting(volume, peer, {ours, theirs}), peer);
    return true;
  }

  /** Two sources meet. @returns what the other one is told */
  #meeting(volume: AgentVolume, peer: string, {ours, theirs}: {ours: Epoch; theirs: Epoch}): TowlineError {
    const {name} = volume.config;
    const here = this.#parts.name();
    const {decided, superseded} = volume.epochs.role;
    const at = decided === undefined ? '' : ` at ${new Date(decided.sinceMs).toISOString()}`;
    const verdict = judgeEpoch(ours, theirs);
    // Of one promotion there is one source: who was promoted.
    const isOurs = verdict === 'same' && decided?.by === 'promote' && superseded === undefined;
    if (verdict === 'older' || isOurs)
      return haltedByEpoch(name, `${name} was promoted on ${here}${at} (epoch ${ours.number})`, {ours, theirs});
    if (verdict === 'far')
      return refused(`epoch ${theirs.number} is not believed on ${here}, which is in epoch ${ours.number}`);
    const isKnown = superseded !== undefined && superseded.epoch.number >= theirs.number;
    const supersede = (what: string): void => void (isKnown || volume.epochs.supersede({epoch: theirs, peer, what}));
    if (verdict === 'rival') {
      supersede(`${name} was promoted on two agents in epoch ${ours.number}, here and on ${peer}`);
      const both = `${name} was promoted on two agents in epoch ${ours.number}, on ${here} among them`;
      return haltedByEpoch(name, both, {ours, theirs});
    }
    supersede(`${peer} was promoted (epoch ${theirs.number})`);
    return refused(`${name} on ${here} does not follow yet: say towline follow ${name} there`);
  }

  #refuse(port: LinkPort, error: TowlineError, peer: string): void {
    this.#parts.log.warn(error.message, {peer, code: error.code});
    refusePort(port, error);
  }

  #volume(name: string): AgentVolume {
    const volume = this.#parts.volume(name);
    if (volume !== undefined) return volume;
    const hint = 'towline status lists the volumes';
    throw new TowlineError('USAGE', `there is no volume ${JSON.stringify(name)}; ${hint}`, {hint});
  }
}
