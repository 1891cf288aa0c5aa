/**
 * What the labs of whole systems are played on: two live agents on hosts of their own, a proxy between them that can be
 * cut, volumes that come and go, and a list of the ways in which all of that can fail and be whole again.
 *
 * Needs what `needsHosts` says. Invariant: a fault is over when its promise resolves; what it stopped runs again.
 */
import {mkdirSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {type AgentOptions, PORT, TestAgent, type VolumeSettings} from '../hosts/agent.ts';
import {pair} from '../hosts/agents.ts';
import {LOOSE, startAll, stopAll} from '../hosts/lab.ts';
import {makeNetwork} from '../hosts/namespaces.ts';
import {type Proxy, startProxy} from '../hosts/proxy.ts';
import type {Random} from '../sync/random-tree.ts';
import {makeTmpDir} from '../tmp.ts';

export interface LabOptions {
  /** Where something of an agent is planted. */
  source?: Pick<AgentOptions, 'wrapper' | 'main'>;
  target?: Pick<AgentOptions, 'wrapper' | 'main'>;
  limits?: Record<string, unknown>;
  /** The target dials too, not through the proxy. */
  bothDial?: boolean;
}

/** One volume, with the same name on both sides. */
export interface LabVolume {
  name: string;
  settings?: Partial<VolumeSettings>;
  /** Of the receiving side. */
  accepts?: Partial<VolumeSettings>;
  /** From the target to the source. */
  isBack?: boolean;
}

export class LabPair {
  readonly source: TestAgent;
  readonly target: TestAgent;
  readonly proxy: Proxy;
  readonly #limits: Record<string, unknown>;
  #volumes: LabVolume[] = [];
  /** How often each fault was played. */
  readonly faults = new Map<string, number>();

  private constructor(source: TestAgent, target: TestAgent, proxy: Proxy, limits: Record<string, unknown>) {
    this.source = source;
    this.target = target;
    this.proxy = proxy;
    this.#limits = limits;
  }

  /** Starts both, paired; the source dials the target through the proxy. */
  static async start({
    source: plantedSource = {},
    target: planted = {},
    limits = {},
    bothDial = false,
  }: LabOptions = {}): Promise<LabPair> {
    const base = makeTmpDir('file');
    const [here, between, there] = makeNetwork(3).hosts as [TestAgent['host'], TestAgent['host'], TestAgent['host']];
    const source = new TestAgent({
      name: 'source',
      folder: join(base, 'source'),
      host: here,
      listens: bothDial,
      ...plantedSource,
    });
    const target = new TestAgent({name: 'target', folder: join(base, 'target'), host: there, ...planted});
    const proxy = await startProxy({host: between, to: {host: there.ipv4, port: PORT}, port: PORT});
    await pair(source, target, {aDials: {host: between.ipv4, port: PORT}, bDials: bothDial ? 'ipv4' : 'none'});
    const lab = new LabPair(source, target, proxy, limits);
    lab.#configure();
    await startAll(source, target);
    return lab;
  }

  /** Both agents serve exactly these volumes from now on. */
  async serve(volumes: readonly LabVolume[]): Promise<void> {
    this.#volumes = [...volumes];
    this.#configure();
    await Promise.all([this.source.reload(), this.target.reload()]);
  }

  #configure(): void {
    const sides: Record<'source' | 'target', Record<string, VolumeSettings>> = {source: {}, target: {}};
    for (const {name, settings, accepts, isBack = false} of this.#volumes) {
      const [from, to] = isBack ? (['target', 'source'] as const) : (['source', 'target'] as const);
      sides[from][name] = {at: this[from].volume(name), send: [to], ...LOOSE, ...settings};
      sides[to][name] = {at: this[to].volume(name), receive: from, ...LOOSE, ...accepts};
    }
    this.source.configure({volumes: sides.source, limits: this.#limits});
    this.target.configure({volumes: sides.target, limits: this.#limits});
  }

  /** Removes what volumes have left that are served no more: folders and state. */
  clear(names: readonly string[]): void {
    for (const {folder, stateFolder} of [this.source, this.target])
      for (const name of names)
        for (const path of [join(folder, 'volumes', name), join(stateFolder, 'volumes', name)])
          rmSync(path, {recursive: true, force: true});
  }

  /** A new empty folder of a side, outside of its volumes and on their filesystem. */
  aside(side: TestAgent, name: string): string {
    const path = join(side.folder, 'aside', name);
    rmSync(path, {recursive: true, force: true});
    mkdirSync(path, {recursive: true});
    return path;
  }

  /** Plays a random one of the faults that are named. @returns what it was */
  async fail(random: Random, names: readonly FaultName[] = FAULT_NAMES): Promise<string> {
    const name = random.of(names);
    this.faults.set(name, (this.faults.get(name) ?? 0) + 1);
    await FAULTS[name](this, random);
    return name;
  }

  /** Nothing is cut, frozen or stopped any more. */
  async heal(): Promise<void> {
    await this.proxy.thaw();
    await this.proxy.accept();
    for (const agent of [this.source, this.target]) {
      agent.host.plug();
      agent.host.openFirewall();
      agent.host.limitRate(undefined);
      if (!agent.isRunning) await agent.start();
    }
  }

  stop(): Promise<void> {
    return stopAll(this.source, this.target);
  }
}

const REST_MS = 400; // what a fault lasts at most, beside the start of an agent

async function end(agent: TestAgent, signal: 'SIGTERM' | 'SIGKILL', random: Random): Promise<void> {
  const waitMs = random.below(REST_MS);
  await agent.stop(signal);
  await sleep(waitMs);
  await agent.start();
}

async function during(random: Random, begin: () => unknown, end: () => unknown): Promise<void> {
  await begin();
  await sleep(random.below(REST_MS));
  await end();
}

/** Each with its end. */
const FAULTS = {
  nothing: (_lab, random) => sleep(random.below(REST_MS)),
  'restart of the source': ({source}, random) => end(source, 'SIGTERM', random),
  'restart of the target': ({target}, random) => end(target, 'SIGTERM', random),
  'kill of the source': ({source}, random) => end(source, 'SIGKILL', random),
  'kill of the target': ({target}, random) => end(target, 'SIGKILL', random),
  'kill of both': async ({source, target}, random) =>
    void (await Promise.all([end(source, 'SIGKILL', random), end(target, 'SIGKILL', random)])),
  cuts: async ({proxy}, random) => {
    for (let count = 1 + random.below(3); count > 0; count--) {
      await sleep(random.below(200));
      await proxy.cut();
    }
  },
  'cut at a byte': async ({proxy}, random) => {
    await proxy.cutNextAfter(random.of(['forward', 'back']), random.below(20_000));
    await proxy.cut();
    await sleep(random.below(REST_MS));
  },
  'half-open': ({proxy}, random) =>
    during(
      random,
      () => proxy.halfOpen(),
      () => proxy.cut(),
    ),
  'pause of the network': ({proxy}, random) =>
    during(
      random,
      () => proxy.freeze(),
      () => proxy.thaw(),
    ),
  'refused connections': ({proxy}, random) =>
    during(
      random,
      () => proxy.refuse().then(() => proxy.cut()),
      () => proxy.accept(),
    ),
  'dropped packets': ({target}, random) =>
    during(
      random,
      () => target.host.dropPackets(),
      () => target.host.openFirewall(),
    ),
  'pause of the source': ({source}, random) =>
    during(
      random,
      () => source.freeze(),
      () => source.thaw(),
    ),
  'pause of the target': ({target}, random) =>
    during(
      random,
      () => target.freeze(),
      () => target.thaw(),
    ),
} satisfies Record<string, (lab: LabPair, random: Random) => Promise<unknown>>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];
