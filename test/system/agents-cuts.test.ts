/**
 * A link whose network is cut, swallowed and slowed at random while its source is written to; a peer that freezes; a
 * peer that gets another address. Afterwards both sides are equal, and nothing of it stays in memory.
 *
 * Longer: TOWLINE_TEST_CUTS=1000, TOWLINE_TEST_FREEZE_S=60, TOWLINE_TEST_SEED=… for another history.
 */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {PORT, TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {LOOSE, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {makeNetwork} from '../hosts/namespaces.ts';
import {type Proxy, startProxy} from '../hosts/proxy.ts';
import {changeRandomly, makeRandomTree, Random} from '../sync/random-tree.ts';
import {makeTmpDir} from '../tmp.ts';

const CUTS = Number(process.env['TOWLINE_TEST_CUTS'] ?? 100);
const FREEZE_MS = Number(process.env['TOWLINE_TEST_FREEZE_S'] ?? 20) * 1_000;
const SEED = Number(process.env['TOWLINE_TEST_SEED'] ?? 1);
const WARM_UP_CUTS = 20; // before memory is looked at: pools are filled, code is compiled
const STEP_MS = 120; // changes between two cuts have so long to get under way
const GROWTH_BYTES_MAX = 40 << 20; // of resident memory, which the garbage collector gives back late
const DESCRIPTOR_GROWTH_MAX = 3;
const RECOVERY_MS = 60_000; // a black hole is noticed after 15 s, and then it may be half a minute to the next try
const VOLUME = 'data';
const CHANGES = 3;

needsHosts(describe)('a bad network', {timeout: 300_000}, () => {
  let source: TestAgent;
  let target: TestAgent;
  let proxy: Proxy;
  const random = new Random(SEED);

  beforeAll(async () => {
    const base = makeTmpDir('file');
    const [here, between, there] = makeNetwork(3).hosts as [TestAgent['host'], TestAgent['host'], TestAgent['host']];
    source = new TestAgent({name: 'source', folder: join(base, 'source'), host: here, listens: false});
    target = new TestAgent({name: 'target', folder: join(base, 'target'), host: there});
    source.configure({volumes: {[VOLUME]: {at: source.volume(VOLUME), send: ['target'], ...LOOSE}}});
    target.configure({volumes: {[VOLUME]: {at: target.volume(VOLUME), receive: 'source', ...LOOSE}}});
    proxy = await startProxy({host: between, to: {host: there.ipv4, port: PORT}, port: PORT});
    here.nameHosts({'target.test': between.ipv4});
    await pair(source, target, {aDials: {host: 'target.test', port: PORT}});
    makeRandomTree(source.volume(VOLUME), 300, random);
    await startAll(source, target);
    await untilInSync(source, VOLUME);
  });
  afterAll(() => stopAll(source, target));

  const change = (): string[] => changeRandomly(source.volume(VOLUME), CHANGES, random);

  /** Ways to lose the network, each with its end. Most are short: two sides that never talk prove nothing. */
  const cuts: (() => Promise<void>)[] = [
    () => proxy.cut(),
    () => proxy.halfOpen().then(() => proxy.cut()),
    () =>
      during(
        () => proxy.freeze(),
        () => proxy.thaw(),
      ),
    () =>
      during(
        () => proxy.freeze(),
        () => proxy.cut().then(() => proxy.thaw()),
      ),
    () =>
      during(
        () => proxy.cut().then(() => proxy.refuse()),
        () => proxy.accept(),
      ),
    () =>
      during(
        () => source.host.unplug(),
        () => source.host.plug(),
      ),
    () =>
      during(
        () => target.host.dropPackets(),
        () => target.host.openFirewall(),
      ),
    () =>
      during(
        () => target.host.rejectPackets(),
        () => target.host.openFirewall(),
      ),
    () =>
      during(
        () => source.host.limitRate(64_000),
        () => source.host.limitRate(undefined),
      ),
  ];

  async function during(begin: () => unknown, end: () => unknown): Promise<void> {
    await begin();
    change();
    await sleep(random.below(100));
    await end();
  }

  async function cutOften(count: number): Promise<void> {
    for (let cut = 0; cut < count; cut++) {
      change();
      await sleep(random.below(STEP_MS)); // the moment is the random part
      await random.of(cuts)();
    }
    await untilInSync(source, VOLUME, RECOVERY_MS);
  }

  const figures = () => [source, target].map((agent) => ({...agent.memory(), descriptors: agent.descriptors()}));

  test(`H11 ${CUTS} cuts, black holes and flaps while the source is written to: equal, memory and descriptors flat`, async () => {
    await cutOften(WARM_UP_CUTS);
    const before = figures();
    await cutOften(CUTS);
    // Sockets of connections that were lost go when their peer's end is noticed.
    const isFlat = (): boolean =>
      figures().every((now, side) => now.descriptors <= before[side]!.descriptors + DESCRIPTOR_GROWTH_MAX);
    await source.until(`as few descriptors as before: ${JSON.stringify(before)}`, isFlat);
    figures().forEach((now, side) => {
      expect(now.residentBytes).toBeLessThan(before[side]!.residentBytes + GROWTH_BYTES_MAX);
    });
  });

  test(`a peer that is frozen for ${FREEZE_MS / 1_000} s: the others are told, and it catches up when it thaws`, async () => {
    const before = figures();
    target.freeze();
    const endMs = performance.now() + FREEZE_MS;
    while (performance.now() < endMs) {
      change();
      writeFileSync(join(source.volume(VOLUME), 'large'), random.bytes(1 << 20));
      await sleep(500);
    }
    const {state, reason} = await source.link(VOLUME, 'target');
    target.thaw();
    expect(state).not.toBe('in-sync');
    expect(reason).toBeTruthy();
    await untilInSync(source, VOLUME, RECOVERY_MS);
    expect(source.memory().residentBytes).toBeLessThan(before[0]!.residentBytes + GROWTH_BYTES_MAX);
  });

  test('a peer that gets another address: its name is looked up again at the next try', async () => {
    const direct = target.host;
    source.host.nameHosts({'target.test': direct.ipv4});
    await proxy.cut();
    await untilInSync(source, VOLUME, RECOVERY_MS);
    direct.changeAddress(77);
    source.host.nameHosts({'target.test': direct.ipv4});
    change();
    await untilInSync(source, VOLUME, RECOVERY_MS);
    const established = source.host.run('ss', '-Htn', 'state', 'established', `( dport = :${PORT} )`);
    expect(established).toContain(`${direct.ipv4}:${PORT}`);
  });
});
