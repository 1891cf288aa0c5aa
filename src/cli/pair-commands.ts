/**
 * `towline id`, `invite` and `join`: through the agent that runs, or without one.
 */
import type {HostPort} from '../config/agent-config.ts';
import {parseHostPort, showHostPort} from '../config/host-port.ts';
import {agentIdentity, inviteAlone, joinAgent, type NewPeer} from '../daemon/pair-agents.ts';
import {agentFolderOf, commandOptions, findAgent} from './agent-connection.ts';
import type {CommonFlags} from './common-options.ts';
import {configOf} from './config-commands.ts';
import {untilInterrupted} from './interruption.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {Teller} from './teller.ts';
import {localTime, oneLine} from './text.ts';

export interface InviteFlags extends CommonFlags {
  address?: string[];
}

export interface JoinFlags extends CommonFlags {
  as?: string;
}

const TROUBLES_SHOWN_MAX = 20; // whoever scans ports must not fill the screen

type Parts = CliParts & {screen: Screen};

export async function idCommand(flags: CommonFlags, parts: Parts): Promise<number> {
  const teller = new Teller(flags, parts);
  const {id} = await agentIdentity(await agentFolderOf(flags));
  if (!teller.isJson) parts.screen.line(id); // the result, so also with -q
  return teller.result(0, {id});
}

/** @throws TowlineError PEER_LOST when nobody joined in time, NOT_AUTHORISED after too many wrong tries */
export async function inviteCommand(flags: InviteFlags, parts: Parts): Promise<number> {
  const teller = new Teller(flags, parts);
  const addresses = (flags.address ?? []).map(parseHostPort);
  const agent = await findAgent(flags);
  if (agent !== undefined) {
    tellInvitation(await agent.invite({addresses: addresses.map(showHostPort)}), teller, parts);
    teller.line(`The agent waits for it; whether it joined: towline peer list${commandOptions(flags)}`);
    return teller.result(0);
  }
  return untilInterrupted(parts, (signal) => inviteWithoutAgent(addresses, flags, {...parts, teller, signal}));
}

async function inviteWithoutAgent(
  addresses: HostPort[],
  flags: InviteFlags,
  parts: Parts & {teller: Teller; signal: AbortSignal},
): Promise<number> {
  const {teller, screen, clock, signal} = parts;
  let troubleCount = 0;
  const peer = await inviteAlone(configOf(flags, parts), addresses, {
    clock,
    signal,
    onOpen: (invitation) => {
      const {code, expiresMs, addresses: dialled} = invitation;
      tellInvitation({code, expiresMs, addresses: dialled.map(showHostPort)}, teller, parts);
      teller.line('Waiting for it to join; Ctrl-C withdraws the invitation');
      screen.flush();
    },
    onTrouble: ({message}) => {
      if (++troubleCount <= TROUBLES_SHOWN_MAX) screen.note(`! ${oneLine(message)}`);
    },
  });
  return tellPeer(peer, flags, teller);
}

function tellInvitation(
  invitation: {code: string; expiresMs: number; addresses: readonly string[]},
  teller: Teller,
  parts: Parts,
): void {
  const {code, expiresMs, addresses} = invitation;
  teller.say('invitation', {code, expires: new Date(expiresMs).toISOString(), addresses});
  if (teller.isJson) return;
  teller.line(`For one agent, until ${localTime(expiresMs)}; it dials ${addresses.map(oneLine).join(' or ')}`);
  teller.line('On the other host, type: towline join CODE, with this code:');
  parts.screen.line(code); // the result, so also with -q
}

/** @throws TowlineError as joinAgent */
export async function joinCommand(code: string, flags: JoinFlags, parts: Parts): Promise<number> {
  const teller = new Teller(flags, parts);
  return untilInterrupted(parts, async (signal) => {
    const peer = await joinAgent(configOf(flags, parts), {code, as: flags.as, signal});
    const exitCode = tellPeer(peer, flags, teller);
    const agent = await findAgent(flags);
    for (const sentence of (await agent?.reload()) ?? []) teller.line(oneLine(sentence));
    return exitCode;
  });
}

function tellPeer({id, address, stored}: NewPeer, flags: CommonFlags, teller: Teller): number {
  const shown = address === undefined ? 'it dials this agent' : `at ${showHostPort(address)}`;
  teller.line(`Paired with ${stored.name}, ${shown}, ID ${id}`, 'green');
  if (stored.isInMainFile) teller.line(`It stands in ${oneLine(stored.file)} already, which was left as it is`);
  teller.line(`Next: name it in a volume's send or receive; to see it: towline peer list${commandOptions(flags)}`);
  return teller.result(0, {
    id,
    name: stored.name,
    address: address === undefined ? null : showHostPort(address),
    file: stored.file,
  });
}
