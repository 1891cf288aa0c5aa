/**
 * Judges what stands between agents: our port, and each peer's door. Pure.
 */
import type {ErrorCode} from '../../base/errors.ts';
import type {HostPort, PeerConfig} from '../../config/agent-config.ts';
import {showHostPort} from '../../config/host-port.ts';
import {finding, type Finding} from './finding.ts';

export type PortFacts =
  | {kind: 'free'}
  /** This agent, by its key. */
  | {kind: 'own'}
  | {kind: 'taken'}
  | {kind: 'fault'; errno: string};

/** What came of knocking at a peer. */
export type PeerFacts =
  {kind: 'open'; clockAheadS: number | undefined} | {kind: 'closed'; code: ErrorCode; message: string};

const CLOCK_APART_S_MAX = 5;

export function judgePort(listen: HostPort | undefined, facts: PortFacts | undefined): Finding {
  const area = 'listener';
  if (listen === undefined || facts === undefined) {
    return finding(area, 'ok', 'this agent does not listen: it dials its peers');
  }
  const at = showHostPort(listen);
  switch (facts.kind) {
    case 'own':
      return finding(area, 'ok', `this agent listens on ${at}`);
    case 'free':
      return finding(area, 'note', `${at} is free: the agent does not run`, 'systemctl start towline');
    case 'taken': {
      const fix = `ss -ltnp 'sport = :${listen.port}' tells which; end it, or set \`agent.listen\` to another port`;
      return finding(area, 'bad', `${at} is held by another program`, fix);
    }
    case 'fault':
      return facts.errno === 'EADDRNOTAVAIL'
        ? finding(area, 'bad', `this host does not have the address of ${at}`, 'ip addr; or listen on [::]')
        : finding(area, 'bad', `cannot listen on ${at} (${facts.errno})`, 'set `agent.listen` to another address');
  }
}

/** @param facts undefined when it was not asked: it has no address, or we have no identity */
export function judgePeer(peer: PeerConfig, facts: PeerFacts | undefined, listen: HostPort | undefined): Finding[] {
  const area = `peer ${peer.name}`;
  if (peer.address === undefined) return [judgeDialler(area, listen)];
  const at = showHostPort(peer.address);
  if (facts === undefined) return [finding(area, 'note', `${at} was not tried: this agent has no identity to show`)];
  if (facts.kind === 'closed') return [judgeClosed(area, peer, facts)];
  const {clockAheadS} = facts;
  const findings = [finding(area, 'ok', `this agent reaches it at ${at}, and is known there`)];
  if (clockAheadS !== undefined && Math.abs(clockAheadS) > CLOCK_APART_S_MAX) {
    const what = `its clock is ${Math.abs(clockAheadS)} s ${clockAheadS > 0 ? 'ahead of' : 'behind'} this one: times in logs and trash differ`;
    findings.push(finding(area, 'warn', what, 'keep both right: timedatectl set-ntp true, or install chrony'));
  }
  return findings;
}

function judgeDialler(area: string, listen: HostPort | undefined): Finding {
  if (listen === undefined) {
    const what = 'neither side dials: the peer has no address here, and this agent does not listen';
    return finding(area, 'bad', what, "give the peer's `address`, or set `agent.listen`");
  }
  return finding(area, 'ok', `it dials this agent, on port ${listen.port}: its way must be open from there to here`);
}

function judgeClosed(area: string, peer: PeerConfig, {code, message}: {code: ErrorCode; message: string}): Finding {
  const {host, port} = peer.address!;
  const FIX: Partial<Record<ErrorCode, string>> = {
    PEER_LOST: `start the agent there, and open TCP port ${port} from here to ${host}; or let that side dial`,
    NOT_AUTHORISED: `towline peer list on both sides; pair them anew: towline invite there, towline join here`,
    PROTOCOL: `something else than an agent is at ${host} port ${port}: correct the address`,
  };
  return finding(area, 'bad', message, FIX[code]);
}
