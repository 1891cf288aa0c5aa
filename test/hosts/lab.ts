/**
 * The laboratory of a test file: agents in hosts of their own, gone with the file.
 *
 * Needs what `needsHosts` says.
 */
import {join} from 'node:path';
import {afterAll, type describe, type test} from 'vitest';
import {needsCommands, needsRoot} from '../needs.ts';
import {makeTmpDir} from '../tmp.ts';
import {type AgentSettings, PORT, TestAgent} from './agent.ts';
import {cleanUp} from './clean-up.ts';
import {makeNetwork} from './namespaces.ts';

afterAll(cleanUp);

/** Skips where no hosts can be made. */
export function needsHosts<T extends typeof test | typeof describe>(declare: T): T {
  return needsRoot(needsCommands('ip', 'iptables', 'tc', 'ss', 'rsync')(declare));
}

export interface Made {
  /** False: it only dials. */
  listens?: boolean;
  /** Put before node. */
  wrapper?: readonly string[];
  config?: (agent: {volume(name: string): string}) => AgentSettings;
}

/**
 * Agents by name, each in a host of a new network; not yet started.
 * @param made by name; `config` gets the agent, for the folders of its volumes
 */
export function makeAgents<N extends string>(made: Record<N, Made>): Record<N, TestAgent> {
  const names = Object.keys(made) as N[];
  const base = makeTmpDir('file');
  const {hosts} = makeNetwork(names.length);
  const agents = names.map((name, index) => {
    const {config, listens = true, wrapper = []} = made[name];
    const agent = new TestAgent({name, listens, wrapper, folder: join(base, name), host: hosts[index]!});
    if (config !== undefined) agent.configure(config(agent));
    return [name, agent] as const;
  });
  return Object.fromEntries(agents) as Record<N, TestAgent>;
}

/** Starts them at once. */
export async function startAll(...agents: TestAgent[]): Promise<void> {
  await Promise.all(agents.map((agent) => agent.start()));
}

/** Stops them at once, by SIGTERM. */
export async function stopAll(...agents: TestAgent[]): Promise<void> {
  await Promise.all(agents.map((agent) => agent.stop()));
}

/** For volumes whose work deletes most of what is there: the guard is not what those tests are about. */
export const LOOSE = {guard: {'delete-share': '100%', 'delete-count': 10_000_000}};

/** Open TCP connections of an agent's host that have its port at one end. */
export function connectionCount(agent: TestAgent): number {
  const filter = `( sport = :${PORT} or dport = :${PORT} )`;
  return agent.host.run('ss', '-Htn', 'state', 'established', filter).split('\n').filter(Boolean).length;
}
