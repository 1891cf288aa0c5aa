/**
 * One source and its targets, each an agent in a host of its own with a fresh filesystem of its own, and the line of the
 * source: made anew for a measurement, gone with it.
 *
 * Not for what is compared with them (bench/agents/stage.ts adds that). A target's state lies on the filesystem of its
 * copies, so that files are staged beside them.
 */
import {join} from 'node:path';
import {TestAgent, PORT, type VolumeSettings} from '../../test/hosts/agent.ts';
import {pair} from '../../test/hosts/agents.ts';
import {type Host, makeNetwork} from '../../test/hosts/namespaces.ts';
import {startProxy} from '../../test/hosts/proxy.ts';
import {makeFilesystem, type Room} from '../sync/filesystems.ts';

const IN_SYNC_MS_MAX = 1_800_000;
const HALT_LOOK_MS = 5_000;

/** Of the source, each way; 0: as fast as the machine is. */
export interface Line {
  bitsPerSecond: number;
  /** By a proxy on the way: TCP itself sees no delay at either end. */
  delayMs: number;
}

export interface HostOptions {
  /** An empty folder. */
  base: string;
  line?: Line;
  targetCount?: number;
  /** Of each filesystem. */
  room: Room;
}

/** An agent and the root of its filesystem. */
export interface Place {
  agent: TestAgent;
  path: string;
}

export interface Hosts {
  source: Place;
  /** `target`, `target-2`, and so on. */
  targets: [Place, ...Place[]];
  /** How the source's host reaches a port of a target, over its line. */
  wayTo(target: Host, port: number): Promise<{host: string; port: number}>;
  addVolume: AddVolume;
  end: () => Promise<void>;
}

/**
 * Gives a volume, or one with other settings, to all running agents; it is the folder of that name on each filesystem.
 * @param settings of the source @param targetSettings of each target @returns once all digests are equal
 */
export type AddVolume = (
  name: string,
  settings?: Record<string, unknown>,
  targetSettings?: Record<string, unknown>,
) => Promise<void>;

/** Starts them all. @returns once each target is connected */
export async function makeHosts({base, line, targetCount = 1, room}: HostOptions): Promise<Hosts> {
  const filesystems = Array.from({length: 1 + targetCount}, () => makeFilesystem(room));
  const network = makeNetwork(2 + targetCount);
  const [here, between, ...there] = network.hosts as [Host, Host, ...Host[]];
  const {bitsPerSecond = 0, delayMs = 0} = line ?? {};
  if (bitsPerSecond > 0) here.limitRate(bitsPerSecond);
  const proxies: {stop(): Promise<void>}[] = [];
  const wayTo: Hosts['wayTo'] = async (target, port) => {
    if (delayMs === 0) return {host: target.ipv4, port};
    const proxy = await startProxy({host: between, to: {host: target.ipv4, port}, delayMs});
    proxies.push(proxy);
    return {host: between.ipv4, port: proxy.port};
  };
  const source = placeOf('source', {root: filesystems[0]!.path, folder: join(base, 'source'), host: here});
  const targets = there.map((host, index) => {
    const root = filesystems[1 + index]!.path;
    return placeOf(index === 0 ? 'target' : `target-${index + 1}`, {root, folder: join(root, 'agent'), host});
  });
  for (const {agent} of targets) await pair(source.agent, agent, {aDials: await wayTo(agent.host, PORT)});
  const places = [source, ...targets];
  await startAll(places);
  const stopWatch = watchHalts(source.agent);
  return {
    source,
    targets: targets as [Place, ...Place[]],
    wayTo,
    addVolume: volumesOf(source, targets),
    end: async () => {
      stopWatch();
      await Promise.all([...places.map(({agent}) => agent.stop()), ...proxies.map((proxy) => proxy.stop())]);
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
  host: Host;
}

/** Starts two agents on hosts that are there already. @returns once they are connected; they have no volume yet */
export async function startAgents(at: Record<'source' | 'target', AgentPlace>): Promise<{
  agents: Record<'source' | 'target', TestAgent>;
  addVolume: AddVolume;
}> {
  const [source, target] = [placeOf('source', at.source), placeOf('target', at.target)];
  await pair(source.agent, target.agent);
  await startAll([source, target]);
  return {agents: {source: source.agent, target: target.agent}, addVolume: volumesOf(source, [target])};
}

function placeOf(name: string, {root, folder, host}: AgentPlace): Place {
  return {agent: new TestAgent({name, folder, host, listens: name !== 'source'}), path: root};
}

/** @param places the source first */
async function startAll(places: readonly Place[]): Promise<void> {
  await Promise.all(places.map(({agent}) => agent.start()));
  const source = places[0]!.agent;
  await source.until('connected', async () => (await source.report()).peers.every((peer) => peer.isConnected));
}

/** Ends the measurement with an error when a guard halts a link: nothing that it waits for would come. */
function watchHalts(source: TestAgent): () => void {
  const look = async (): Promise<void> => {
    const report = await source.report().catch(() => undefined); // it is being started or ended
    const halted = report?.volumes.flatMap(({links}) => links).find(({halt}) => halt !== undefined);
    if (halted !== undefined) throw source.failure(`${halted.volume} is halted: ${halted.halt!.message}`);
  };
  const timer = setInterval(() => void look(), HALT_LOOK_MS); // a rejection of nobody's ends the process
  return () => clearInterval(timer);
}

function volumesOf(source: Place, targets: readonly Place[]): AddVolume {
  const sent: Record<string, VolumeSettings> = {};
  const received = targets.map((): Record<string, VolumeSettings> => ({}));
  return async (name, settings = {}, targetSettings = {}) => {
    sent[name] = {at: join(source.path, name), send: targets.map(({agent}) => agent.name), ...settings};
    for (const [index, {agent, path}] of targets.entries()) {
      const volumes = received[index]!;
      volumes[name] = {at: join(path, name), receive: 'source', ...targetSettings};
      agent.configure({volumes});
      await agent.reload();
    }
    source.agent.configure({volumes: sent});
    await source.agent.reload();
    await untilEqual(source.agent, name);
  };
}

/** Waits until every target's digest equals the source's; nothing else reads the files. */
export async function untilEqual(source: TestAgent, volume: string): Promise<void> {
  const isInSync = async (): Promise<boolean> =>
    (await source.volumeReport(volume)).links.every(({state}) => state === 'in-sync');
  await source.until(`${volume} is in sync`, isInSync, IN_SYNC_MS_MAX);
}
