/**
 * `towline init`: the first configuration and the identity of this host's agent.
 *
 * Invariant: a file that is there is left as it is.
 */
import {existsSync, mkdirSync} from 'node:fs';
import {dirname, resolve} from 'node:path';
import {TowlineError} from '../base/errors.ts';
import {writeOwnedText} from '../base/owned-file.ts';
import type {HostPort} from '../config/agent-config.ts';
import {configTemplate} from '../config/config-template.ts';
import {parseListen, PORT} from '../config/host-port.ts';
import {ownName} from '../config/load-config.ts';
import {AGENT_STATE_FOLDER, CONFIG_FILE} from '../config/state-folder.ts';
import {stateFolderOf} from '../config/sync-options.ts';
import {checkPeerName} from '../config/peer-files.ts';
import {agentIdentity} from '../daemon/pair-agents.ts';
import {commandOptions} from './agent-connection.ts';
import type {CommonFlags} from './common-options.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {Teller} from './teller.ts';
import {oneLine} from './text.ts';

export interface InitFlags extends CommonFlags {
  name?: string;
  listen?: string;
}

/** @throws TowlineError USAGE when there is a configuration already */
export async function initCommand(flags: InitFlags, parts: CliParts & {screen: Screen}): Promise<number> {
  const teller = new Teller(flags, parts);
  const file = resolve(flags.config ?? CONFIG_FILE);
  const name = flags.name === undefined ? ownName() : checkPeerName(flags.name);
  const listen = listenOf(flags.listen);
  const stateFolder = stateFolderOf(flags.state);
  if (existsSync(file)) throw isThere(file);
  const {id} = await agentIdentity(stateFolder ?? AGENT_STATE_FOLDER);
  mkdirSync(dirname(file), {recursive: true, mode: 0o755});
  if (!writeOwnedText(file, configTemplate({name, listen, stateFolder}), {mode: 0o644, isNew: true}))
    throw isThere(file);
  const {state: _inFile, ...others} = flags;
  const invite = `towline invite${listen === undefined ? '' : commandOptions(others)}`;
  const join = `towline join CODE${listen === undefined ? commandOptions(others) : ''}`;
  const [here, there] = listen === undefined ? [join, invite] : [invite, join];
  teller.line(`Wrote ${oneLine(file)} for agent ${name}`);
  teller.line(`ID ${id}`);
  teller.line(`Next: ${here}, and on the other host: ${there}; then add volumes to ${oneLine(file)}`);
  return teller.result(0, {id, name, config: file});
}

function listenOf(typed: string | undefined): HostPort | undefined {
  if (typed === 'none') return undefined;
  if (typed !== undefined) return parseListen(typed);
  const hasIpv6 = existsSync('/proc/net/if_inet6');
  return {host: hasIpv6 ? '::' : '0.0.0.0', port: PORT};
}

function isThere(file: string): TowlineError<'USAGE'> {
  const hint = 'edit it, or name another one with --config';
  return new TowlineError('USAGE', `${file} is there already and is not overwritten: ${hint}`, {hint});
}
