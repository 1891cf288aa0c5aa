/**
 * `towline peer list`, `remove` and `rotate`.
 */
import {TowlineError} from '../base/errors.ts';
import type {PeerConfig} from '../config/agent-config.ts';
import {showHostPort} from '../config/host-port.ts';
import {removePeer} from '../config/peer-files.ts';
import type {PeerReport} from '../control/agent-api.ts';
import {newIdentity} from '../daemon/pair-agents.ts';
import {findAgent} from './agent-connection.ts';
import type {CommonFlags} from './common-options.ts';
import {configOf} from './config-commands.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {spansOf, tableLines} from './table.ts';
import {Teller} from './teller.ts';
import {oneLine} from './text.ts';

export interface RotateFlags extends CommonFlags {
  force?: boolean;
}

type Parts = CliParts & {screen: Screen};

const ID_CHARS_SHOWN = 12; // as in messages and logs; --json has all

export async function peerListCommand(flags: CommonFlags, parts: Parts): Promise<number> {
  const teller = new Teller(flags, parts);
  const {peers, notices} = configOf(flags, parts);
  const agent = await findAgent(flags);
  const reports = new Map((await agent?.report())?.peers.map((report) => [report.id, report]));
  for (const peer of peers) teller.say('peer', peerFields(peer, reports.get(peer.id)));
  const rows = peers.map((peer) => {
    const address = peer.address === undefined ? 'dials us' : showHostPort(peer.address);
    const state = agent === undefined ? 'no agent runs' : stateOf(reports.get(peer.id));
    return spansOf([peer.name, peer.id.slice(0, ID_CHARS_SHOWN), address, state]);
  });
  if (peers.length === 0) teller.line('No peers: pair one with towline invite here and towline join CODE there');
  else
    for (const line of tableLines(['PEER', 'ID', 'ADDRESS', 'STATE'], rows, parts.stdout.columns)) teller.spans(line);
  for (const notice of notices) teller.line(`note: ${oneLine(notice)}`, 'yellow');
  return teller.result(0, {peers: peers.length});
}

function stateOf(report: PeerReport | undefined): string {
  if (report === undefined) return 'not taken up yet: reload the agent';
  if (!report.isConnected) return `not connected${report.reason === undefined ? '' : `: ${oneLine(report.reason)}`}`;
  return `connected, ${report.dialledBy === 'us' ? 'we dialled' : 'it dialled'}`;
}

function peerFields({name, id, address, file}: PeerConfig, report: PeerReport | undefined): Record<string, unknown> {
  return {
    name,
    id,
    address: address === undefined ? null : showHostPort(address),
    file,
    connected: report?.isConnected,
    dialledBy: report?.dialledBy,
    reason: report?.reason,
  };
}

/** @throws TowlineError USAGE for one that is not there, or stands in the main file */
export async function peerRemoveCommand(name: string, flags: CommonFlags, parts: Parts): Promise<number> {
  const teller = new Teller(flags, parts);
  const volumes = removePeer(configOf(flags, parts), name, parts.clock.nowMs());
  const agent = await findAgent(flags);
  const sentences = (await agent?.reload()) ?? [];
  teller.line(agent === undefined ? `${name} is removed` : `${name} is removed and cut`);
  if (volumes.length > 0) {
    teller.line(
      `Its links are off; the configuration still names it in ${volumes.join(', ')}: take it out there`,
      'yellow',
    );
  }
  for (const sentence of sentences) teller.line(oneLine(sentence));
  return teller.result(0, {name, volumes});
}

/** @throws TowlineError REFUSED when the peers cannot be told and that was not agreed to */
export async function peerRotateCommand(flags: RotateFlags, parts: Parts): Promise<number> {
  const teller = new Teller(flags, parts);
  const agent = await findAgent(flags);
  if (agent !== undefined) {
    for (const sentence of await agent.rotate({isForced: flags.force === true})) teller.line(oneLine(sentence));
    return teller.result(0);
  }
  if (flags.force !== true) {
    const reason =
      'no agent runs that could tell the peers of a new key: start it, or make one with --force and pair all peers again';
    throw new TowlineError('REFUSED', reason, {reason});
  }
  const {peers, stateFolder} = configOf(flags, parts);
  const {id} = await newIdentity(stateFolder);
  teller.line(`ID ${id}`);
  if (peers.length > 0)
    teller.line(`Its peers don't know this key; pair again: ${peers.map(({name}) => name).join(', ')}`, 'yellow');
  return teller.result(0, {id, pairAgain: peers.map(({name}) => name)});
}
