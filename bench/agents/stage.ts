/**
 * Two hosts with a line between them, an agent on each, an sshd on the second, and fresh filesystems: made anew for each
 * run of a measurement, gone with it.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import type {TestAgent} from '../../test/hosts/agent.ts';
import {makeFilesystem, type Room} from '../sync/filesystems.ts';
import {type AddVolume, makeHosts, untilEqual} from './hosts.ts';
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
  /** Of bench/agents/hosts.ts. */
  addVolume: AddVolume;
  /** Copies a volume by rsync over ssh. @param more options @throws Error when it fails */
  copyByRsync(volume: string, ...more: string[]): Promise<void>;
  end(): Promise<void>;
}

/** @param base an empty folder @param ssh of bench/agents/ssh.ts @param room of each filesystem */
export async function makeStage(
  line: Line,
  base: string,
  ssh: ReturnType<typeof makeSsh>,
  room: Room = {sizeMiB: FILESYSTEM_MIB},
): Promise<Stage> {
  const hosts = await makeHosts({
    base,
    room,
    line: {bitsPerSecond: line === '100 Mbit/s' ? LINE_BITS : 0, delayMs: line === '40 ms' ? DELAY_MS : 0},
  });
  const {source, targets} = hosts;
  const [target] = targets;
  const copies = makeFilesystem(room);
  const endSsh = await ssh.start(target.agent.host);
  const sshWay = await hosts.wayTo(target.agent.host, SSH_PORT);
  return {
    source: source.path,
    targets: {towline: target.path, rsync: copies.path},
    agents: {source: source.agent, target: target.agent},
    addVolume: hosts.addVolume,
    copyByRsync: (volume, ...more) =>
      run(
        source.agent.host.words([
          ...['rsync', '-aH', '--numeric-ids', '--delete', ...more, '-e', ssh.shell(sshWay.port)],
          ...[`${join(source.path, volume)}/`, `root@${sshWay.host}:${join(copies.path, volume)}/`],
        ]),
      ),
    end: async () => {
      await endSsh();
      await hosts.end();
      copies.remove();
    },
  };
}

async function run([command = '', ...args]: string[]): Promise<void> {
  const child = spawn(command, args, {stdio: ['ignore', 'ignore', 'inherit']});
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`rsync ended with ${code}`);
}

/** Starts both agents, which have the volume already. @returns once it is in sync again */
export async function startBoth({agents}: Stage, volume: string): Promise<void> {
  await Promise.all([agents.source.start(), agents.target.start()]);
  await untilEqual(agents.source, volume);
}

/** The most memory of the agents as they run now: source, target. @returns MB */
export function peaksOf({agents}: Stage): number[] {
  return [agents.source, agents.target].map((agent) => Math.round(agent.memory().peakBytes / 1e6));
}

export async function seconds(run: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await run();
  return (performance.now() - startMs) / 1_000;
}
