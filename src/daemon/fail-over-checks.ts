/**
 * Who may be promoted, followed, and told of a volume. Judges, and changes nothing.
 */
import {TowlineError} from '../base/errors.ts';
import {judgeEpoch, type Epoch} from '../model/epoch.ts';
import type {AgentVolume} from './agent-volume.ts';
import type {Peer} from './peer.ts';

/** Whether this copy is halted because that peer was promoted in the same epoch. */
export function isRivalOf(volume: AgentVolume, peer: string): boolean {
  const {epoch, superseded} = volume.epochs.role;
  return superseded?.peer === peer && superseded.epoch.number === epoch.number;
}

/** Whether a peer has, or had, to do with the volume: nobody else hears of it. */
export function isKnownTo(volume: AgentVolume, peer: string): boolean {
  const {decided, superseded} = volume.epochs.role;
  const names = [
    ...volume.configured.send.map(({to}) => to),
    ...volume.sends.map(({config}) => config.to),
    ...(decided?.followers ?? []).map(({to}) => to),
    volume.configured.receive?.from,
    decided?.former,
    decided?.source,
    decided?.configured,
    superseded?.peer,
  ];
  return names.includes(peer);
}

/** Two sources at once are what promotion must not make by accident. @throws REFUSED */
export function checkSourceIsAway(volume: AgentVolume, peer: Peer): void {
  const {name} = volume.config;
  const from = peer.config.name;
  if (peer.links === undefined) return;
  if (!peer.speaks('follow'))
    throw refused(`the agent of ${from} is too old to follow ${name} afterwards: update it first, or add --force`);
  if (volume.receive?.isServed !== true) return;
  throw refused(
    `${from} is connected and sends ${name}; stop what writes to it there, then on ${from}: towline flush, then towline pause of the volume; or add --force and lose what is not here yet`,
  );
}

/** @throws REFUSED */
export function checkMayFollow(volume: AgentVolume, peer: string, theirs: Epoch): void {
  const {name} = volume.config;
  const ours = volume.epochs.epoch();
  const verdict = judgeEpoch(ours, theirs);
  const follows = volume.receive?.from === peer && volume.decisionNeeded === undefined;
  if (follows && (verdict === 'same' || verdict === 'newer'))
    throw refused(`${name} follows ${peer} already, in epoch ${theirs.number}`);
  if (verdict === 'newer' || verdict === 'rival') return;
  const isOther = volume.receive !== undefined || volume.decisionNeeded !== undefined;
  if (verdict === 'same' && isOther && theirs.number > 1) return;
  const why = {
    older: `${name} is in epoch ${ours.number} here, and only in epoch ${theirs.number} on ${peer}; promote it there first`,
    far: `${peer} claims epoch ${theirs.number}, and ${name} is in epoch ${ours.number} here; that is not believed`,
    same: `${name} was not promoted on ${peer}; say towline promote there first`,
  };
  throw refused(why[verdict]);
}

/** Refused by the operator's own rules, or for want of what a command needs. */
export function refused(reason: string): TowlineError<'REFUSED'> {
  return new TowlineError('REFUSED', reason, {reason});
}
