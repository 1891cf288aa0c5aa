/**
 * Two hosts with a line between them, an agent on each, an sshd on the second, and fresh filesystems: made anew for each
 * run of a measurement, gone with it.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import {TestAgent, PORT, type VolumeSettings} from '../../test/hosts/agent.ts';
import {pair} from '../../test/hosts/agents.ts';
import {makeNetwork} from '../../test/hosts/namespaces.ts';
import {startProxy} from '../../test/hosts/proxy.ts';
import {makeFilesystem} from '../sync/filesystems.ts';
import {type makeSsh, SSH_PORT} from './ssh.ts';

export const LINES = ['raw', '100 Mbit/s', '40 ms'] as const;
export type Line = (typeof LINES)[number];

const FILESYSTEM_MIB = 2_048;
const LINE_BITS = 100_000_000;
const DELAY_MS = 40; // each way

export interface Stage {
  /** Where both tools copy from, a folder for each volume. */
  source: string;
  /** Where each copies to. */
  targets: {towline: string; rsync: string};
  agents: {source: TestAgent; target: TestAgent};
  /** Gives a volume, or one with other settings, to both running agents; resolves once both digests are equal. */
  addVolume(name: string, settings?: Record<string, unknown>): Promise<void>;
  /** Copies a volume by rsync over ssh. @param more options @throws Error when it fails */
  copyByRsync(volume: string, ...more: string[]): Promise<void>;
  end(): Promise<void>;
}

/** @param base an empty folder @param ssh of bench/agents/ssh.ts @param room of each filesystem */
export async function makeStage(
  line: Line,
  base: string,
  ssh: ReturnType<typeof makeSsh>,
  room: {sizeMiB: number; inodes?: number} = {sizeMiB: FILESYSTEM_MIB},
): Promise<Stage> {
  const filesystems = Array.from({length: 3}, () => makeFilesystem(room.sizeMiB, room.inodes));
  const [source, towline, rsync] = filesystems.map(({path}) => path) as [string, string, string];
  const network = makeNetwork(3);
  const [here, there, between] = network.hosts as [TestAgent['host'], TestAgent['host'], TestAgent['host']];
  if (line === '100 Mbit/s') there.limitRate(LINE_BITS);
  const way = async (port: number): Promise<{host: string; port: number; end(): Promise<void>}> => {
    if (line !== '40 ms') return {host: there.ipv4, port, end: () => Promise.resolve()};
    const proxy = await startProxy({host: between, port, to: {host: there.ipv4, port}, delayMs: DELAY_MS});
    return {host: between.ipv4, port, end: () => proxy.stop()};
  };
  const [agentWay, sshWay] = [await way(PORT), await way(SSH_PORT)];
  const endSsh = await ssh.start(there);
  const {agents, addVolume} = await startAgents({
    source: {root: source, folder: join(base, 'source'), host: here},
    target: {root: towline, folder: join(towline, 'agent'), host: there}, // so that files are staged beside their copies
    aDials: agentWay,
  });
  return {
    source,
    targets: {towline, rsync},
    agents,
    addVolume,
    copyByRsync: (volume, ...more) =>
      run(
        here.words([
          ...['rsync', '-aH', '--numeric-ids', '--delete', ...more, '-e', ssh.shell(sshWay.port)],
          ...[`${join(source, volume)}/`, `root@${sshWay.host}:${join(rsync, volume)}/`],
        ]),
      ),
    end: async () => {
      await Promise.all([agents.source.stop(), agents.target.stop(), endSsh(), agentWay.end(), sshWay.end()]);
      network.close();
      for (const filesystem of filesystems) filesystem.remove();
    },
  };
}

interface AgentPlace {
  /** A volume is a folder in there. */
  root: string;
  /** The agent's own. */
  folder: string;
  host: TestAgent['host'];
}

/** Starts two agents that know each other and have no volume yet. @returns once they are connected */
export async function startAgents(places: {
  source: AgentPlace;
  target: AgentPlace;
  aDials?: {host: string; port: number};
}): Promise<Pick<Stage, 'agents' | 'addVolume'>> {
  const {source, target, ...way} = places;
  const agents = {
    source: new TestAgent({name: 'source', folder: source.folder, host: source.host, listens: false}),
    target: new TestAgent({name: 'target', folder: target.folder, host: target.host}),
  };
  await pair(agents.source, agents.target, way);
  await Promise.all([agents.source.start(), agents.target.start()]);
  await agents.source.until('connected', async () => (await agents.source.report()).peers[0]!.isConnected);
  return {agents, addVolume: volumesOf(agents, source.root, target.root)};
}

const IN_SYNC_MS_MAX = 1_800_000;

function volumesOf(agents: Stage['agents'], from: string, to: string): Stage['addVolume'] {
  const volumes: Record<'source' | 'target', Record<string, VolumeSettings>> = {source: {}, target: {}};
  return async (name, settings = {}) => {
    volumes.source[name] = {at: join(from, name), send: ['target'], ...settings};
    volumes.target[name] = {at: join(to, name), receive: 'source'};
    for (const end of ['target', 'source'] as const) {
      agents[end].configure({volumes: volumes[end]});
      await agents[end].reload();
    }
    const isInSync = async (): Promise<boolean> => (await agents.source.link(name, 'target')).state === 'in-sync';
    await agents.source.until(`${name} is in sync`, isInSync, IN_SYNC_MS_MAX);
  };
}

async function run([command = '', ...args]: string[]): Promise<void> {
  const child = spawn(command, args, {stdio: ['ignore', 'ignore', 'inherit']});
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`rsync ended with ${code}`);
}
