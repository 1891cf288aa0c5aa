/**
 * How a command finds the agent that runs on this host, and which of its volumes is meant.
 */
import {TowlineError} from '../base/errors.ts';
import {stateFolderOf} from '../config/sync-options.ts';
import type {AgentReport, VolumeReport} from '../control/agent-api.ts';
import type {AgentClient} from '../http/control-client.ts';
import type {CommonFlags} from './common-options.ts';
import {shellWord} from './summary.ts';

/** `--state`, or what the configuration says. */
export async function agentFolderOf(flags: CommonFlags): Promise<string> {
  const typed = stateFolderOf(flags.state);
  if (typed !== undefined) return typed;
  const {agentStateFolder} = await import('../config/state-folder.ts');
  return agentStateFolder(flags.config);
}

/** The agent that runs, or undefined. */
export async function findAgent(flags: CommonFlags): Promise<AgentClient | undefined> {
  const folder = await agentFolderOf(flags);
  const {connectControl} = await import('../http/control-client.ts');
  return connectControl(folder);
}

/** What must be typed after a command to reach the same agent: ` --state DIR`, or nothing. */
export function commandOptions({config, state}: CommonFlags): string {
  const words = Object.entries({config, state}).flatMap(([name, value]) =>
    value === undefined ? [] : [` --${name} ${shellWord(value)}`],
  );
  return words.join('');
}

/** @throws TowlineError PEER_LOST when none runs, with the command that starts it */
export async function connectAgent(flags: CommonFlags): Promise<AgentClient> {
  const client = await findAgent(flags);
  if (client !== undefined) return client;
  const folder = await agentFolderOf(flags);
  const options = commandOptions(flags);
  const start = options === '' ? 'systemctl start towline (or: towline agent)' : `towline agent${options}`;
  const message = `no agent runs on the state in ${folder}; to start it, type: ${start}`;
  throw new TowlineError('PEER_LOST', message, {peer: 'agent', idleMs: 0});
}

/**
 * The volume that was typed as its name, its address or the path that it was found at.
 * @throws TowlineError USAGE naming the volumes that there are
 */
export function volumeTyped(report: AgentReport, typed: string): VolumeReport {
  const {volumes} = report;
  const found =
    volumes.find(({name}) => name === typed) ??
    volumes.find(({address, path}) => [address, path].includes(typed) || `path:${path}` === typed);
  if (found !== undefined) return found;
  const names = volumes.map(({name}) => name).join(', ');
  const hint = names === '' ? 'none is configured' : `there are: ${names}`;
  throw new TowlineError('USAGE', `there is no volume ${JSON.stringify(typed)}; ${hint}`, {hint});
}
