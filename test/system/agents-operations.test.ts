/** What operators do and ask for: pauses, rates, rules added later, a stop in the middle, a run beside the service. */
import {randomBytes} from 'node:crypto';
import {existsSync, mkdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterAll, beforeAll, describe, expect, onTestFinished, test} from 'vitest';
import {PORT, TestAgent, type VolumeSettings} from '../hosts/agent.ts';
import {differencesOf, pair, untilInSync} from '../hosts/agents.ts';
import {connectionCount, LOOSE, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {type Host, makeNetwork} from '../hosts/namespaces.ts';
import {type Proxy, startProxy} from '../hosts/proxy.ts';
import {besideSlow, FAST_BITS} from '../hosts/slow-target.ts';
import {makeTmpDir} from '../tmp.ts';

const MIB = 1 << 20;
const RATE_SECONDS = Number(process.env['TOWLINE_TEST_RATE_S'] ?? 5);
const CHURN_ROUNDS = Number(process.env['TOWLINE_TEST_CHURN'] ?? 40);

needsHosts(describe)('two agents with a counted line between them', {timeout: 120_000}, () => {
  let source: TestAgent;
  let target: TestAgent;
  let proxy: Proxy;

  beforeAll(async () => {
    const base = makeTmpDir('file');
    const [here, between, there] = makeNetwork(3).hosts as [Host, Host, Host];
    source = new TestAgent({name: 'source', folder: join(base, 'source'), host: here, listens: false});
    target = new TestAgent({name: 'target', folder: join(base, 'target'), host: there});
    proxy = await startProxy({host: between, to: {host: there.ipv4, port: PORT}, port: PORT});
    await pair(source, target, {aDials: {host: between.ipv4, port: PORT}});
    target.configure({volumes: {data: {at: target.volume('data'), receive: 'source'}}});
    configureSource({});
    await startAll(source, target);
    await untilInSync(source, 'data');
  });
  afterAll(() => stopAll(source, target));

  function configureSource(more: Partial<VolumeSettings>): void {
    source.configure({volumes: {data: {at: source.volume('data'), send: ['target'], ...LOOSE, ...more}}});
  }

  const inSource = (name: string): string => join(source.volume('data'), name);
  const inTarget = (name: string): string => join(target.volume('data'), name);
  /** What went over the line so far, both ways. */
  const lineBytes = async (): Promise<number> => {
    const {forwardBytes, backBytes} = await proxy.report();
    return forwardBytes + backBytes;
  };

  test('J2 what was written again and again while paused is sent once, as it is at the end', async () => {
    const names = Array.from({length: 8}, (_, index) => `churn-${index}`);
    await source.pause('data');
    await source.until('is paused', async () => (await source.link('data', 'target')).state === 'paused');
    const before = await lineBytes();
    for (let round = 0; round < CHURN_ROUNDS; round++) {
      for (const name of names) writeFileSync(inSource(name), randomBytes(128 * 1024));
      writeFileSync(inSource(`come-and-gone-${round}`), randomBytes(128 * 1024));
      rmSync(inSource(`come-and-gone-${round}`));
    }
    expect(existsSync(inTarget(names[0]!))).toBe(false);
    expect((await lineBytes()) - before).toBeLessThan(64 * 1024); // heartbeats
    await source.resume('data');
    await untilInSync(source, 'data');
    const sent = (await lineBytes()) - before;
    const net = names.length * 128 * 1024;
    expect(sent).toBeGreaterThan(net);
    expect(sent).toBeLessThan(1.2 * net + 64 * 1024);
  });

  test('J3 limit.rate: 1MiB is kept within a tenth, and lifted by a reload', async () => {
    configureSource({limit: {rate: '1MiB'}});
    await source.reload();
    writeFileSync(inSource('limited'), randomBytes((RATE_SECONDS + 30) * MIB));
    // What a bucket holds at the start goes at once: the rate is what comes after it.
    const start = await lineBytes();
    await source.until('the transfer runs', async () => (await lineBytes()) - start > 2 * MIB);
    const [from, fromMs] = [await lineBytes(), performance.now()];
    await sleep(RATE_SECONDS * 1_000); // the rate over this time is what is measured
    const rate = ((await lineBytes()) - from) / ((performance.now() - fromMs) / 1_000);
    configureSource({});
    await source.reload();
    await untilInSync(source, 'data');
    expect(rate / MIB).toBeGreaterThan(0.9);
    expect(rate / MIB).toBeLessThan(1.1);
    rmSync(inSource('limited'));
    await untilInSync(source, 'data');
  });

  test('J4 an ignore rule added later travels; what the target has of it stays', async () => {
    writeFileSync(inSource('old.log'), 'from before the rule');
    await untilInSync(source, 'data');
    configureSource({ignore: ['*.log']});
    await source.reload();
    rmSync(inSource('old.log'));
    writeFileSync(inSource('new.log'), 'not to be sent');
    writeFileSync(inSource('new.txt'), 'to be sent');
    const isThere = (): boolean => existsSync(inTarget('new.txt'));
    await source.until('what is not ignored arrives', isThere);
    await source.until('is in sync', async () => (await source.link('data', 'target')).state === 'in-sync');
    expect([existsSync(inTarget('old.log')), existsSync(inTarget('new.log'))]).toEqual([true, false]);
    expect(await differencesOf(source.volume('data'), target.volume('data'), '--exclude=*.log')).toBe('');
    configureSource({});
    await source.reload();
    await untilInSync(source, 'data');
    expect(existsSync(inTarget('old.log'))).toBe(false);
  });

  test('J8 SIGTERM in the middle of a transfer: ended within 10 s, and files that had arrived are not sent again', async () => {
    const files = 24;
    await proxy.set({bytesPerSecond: 8 * MIB});
    const before = await lineBytes();
    mkdirSync(inSource('interrupted'));
    for (let index = 0; index < files; index++) writeFileSync(inSource(`interrupted/${index}`), randomBytes(MIB));
    await source.until('half is there', async () => (await lineBytes()) - before > (files * MIB) / 2);
    const {exitCode, seconds} = await source.stop('SIGTERM');
    expect(exitCode).toBe(0);
    expect(seconds).toBeLessThan(10);
    await proxy.set({bytesPerSecond: 0});
    await source.start();
    await untilInSync(source, 'data');
    // Two files are on their way at a time: they go again, the others do not.
    expect((await lineBytes()) - before).toBeLessThan(1.25 * files * MIB);
  });

  test('J13 agent --once beside the running service is done through it', async () => {
    writeFileSync(inSource('asked-for'), 'by a cron job');
    const {pid} = source;
    const {exitCode, stdout, stderr} = await source.command(['agent', '--once', 'data', '--timeout', '20s']);
    expect(exitCode, stdout + stderr).toBe(0);
    expect(existsSync(inTarget('asked-for'))).toBe(true);
    expect(source.pid).toBe(pid);
    expect(connectionCount(source)).toBe(1);
    await untilInSync(source, 'data');
  });

  test('J17 every delete and overwrite stands in the log with time, peer, batch, path and place in the trash', async () => {
    writeFileSync(inSource('to-delete'), 'first');
    writeFileSync(inSource('to-overwrite'), 'first');
    await untilInSync(source, 'data');
    rmSync(inSource('to-delete'));
    writeFileSync(inSource('to-overwrite'), 'second');
    await untilInSync(source, 'data');
    let lines: string[] = [];
    const logged = (path: string): string | undefined =>
      lines.findLast((line) => (JSON.parse(line) as {path?: string}).path === path);
    await target.until('both are in the log', async () => {
      lines = (await target.must('log', 'data', '--json')).trim().split('\n');
      return logged('to-delete') !== undefined && logged('to-overwrite') !== undefined;
    });
    for (const path of ['to-delete', 'to-overwrite']) {
      const line = logged(path)!;
      expect(JSON.parse(line)).toMatchObject({peer: 'source', path, place: expect.any(String)});
      expect(line).toMatch(/"batch":\d/);
      expect(line).toMatch(/"at":"\d{4}-\d\d-\d\dT[\d:.]+Z"/);
    }
    const trash = await target.must('trash', 'list', 'data', '--json');
    expect(trash).toContain('to-delete');
  });

  test('J17 a target killed right after a delete was answered has it in the log', async () => {
    writeFileSync(inSource('last-word'), 'x');
    await untilInSync(source, 'data');
    rmSync(inSource('last-word'));
    await source.flush('data', 20_000);
    await target.kill9();
    expect(await target.must('log', 'data', '--json')).toContain('"path":"last-word"');
    await target.start();
    await untilInSync(source, 'data');
  });
});

needsHosts(describe)('rules that are pinned', {timeout: 60_000}, () => {
  test('J4 a source whose rules are not the pinned ones is refused, and its files stay where they are', async () => {
    const {source, target} = makeAgents({
      source: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), send: ['target'], ignore: ['*.tmp']}}})},
      target: {
        config: (agent) => ({
          volumes: {data: {at: agent.volume('data'), receive: {from: 'source', 'pin-ignore': '0'.repeat(64)}}},
        }),
      },
    });
    onTestFinished(() => stopAll(source, target));
    await pair(source, target);
    writeFileSync(join(source.volume('data'), 'file'), 'x');
    await startAll(source, target);
    await target.until('says why not', async () =>
      /rule|ignore|pin/.test((await target.link('data', 'source')).reason ?? ''),
    );
    expect(existsSync(join(target.volume('data'), 'file'))).toBe(false);
    const {exitCode} = await source.command(['agent', '--once', '--timeout', '5s']);
    expect(exitCode).toBe(8);
  });
});

/** One source and five targets; the last of them far away. */
needsHosts(describe)('a slow target', {timeout: 180_000}, () => {
  const TARGETS = 5;
  const SIZE = Number(process.env['TOWLINE_TEST_SLOW_MIB'] ?? 12) * MIB;
  const MEMORY_BYTES_MAX = 64 * MIB; // what a target that lags may cost beyond the others

  test('J5 one of five targets at 64 kbit/s: the others reach 90 % of what they reach without it', async () => {
    const names = Array.from({length: TARGETS}, (_, index) => `target-${index}`);
    const agents = makeAgents({
      source: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), send: names, ...LOOSE}}})},
      ...Object.fromEntries(
        names.map((name) => [
          name,
          {
            config: (agent: {volume(name: string): string}) => ({
              volumes: {data: {at: agent.volume('data'), receive: 'source'}},
            }),
          },
        ]),
      ),
    }) as Record<string, TestAgent>;
    const source = agents['source']!;
    const targets = names.map((name) => agents[name]!);
    const slow = targets.at(-1)!;
    const fast = targets.slice(0, -1);
    onTestFinished(() => stopAll(source, ...targets));
    for (const target of targets) await pair(source, target);
    for (const target of fast) target.host.limitRate(FAST_BITS);
    await startAll(source, ...targets);
    await untilInSync(source, 'data');

    /** Until all fast ones have a new file, in seconds. */
    const secondsOf = async (name: string): Promise<number> => {
      writeFileSync(join(source.volume('data'), name), randomBytes(SIZE));
      const startMs = performance.now();
      const isThere = (): boolean => fast.every((target) => existsSync(join(target.volume('data'), name)));
      await source.until(`${name} is on the fast targets`, isThere, 60_000);
      return (performance.now() - startMs) / 1_000;
    };
    const {without, withSlow, peakGrowthBytes} = await besideSlow({source, slow}, secondsOf);
    expect(without / withSlow).toBeGreaterThan(0.9);
    expect(peakGrowthBytes).toBeLessThan(MEMORY_BYTES_MAX);
    expect((await source.link('data', slow.name)).state).not.toBe('in-sync');
    slow.host.limitRate(undefined);
    await untilInSync(source, 'data', 60_000);
  });
});

needsHosts(describe)('many volumes and many peers', {timeout: 300_000}, () => {
  const VOLUMES = Number(process.env['TOWLINE_TEST_VOLUMES'] ?? 30);
  const PEERS = Number(process.env['TOWLINE_TEST_PEERS'] ?? 3);
  // An agent that has nothing to do has 100 MB; a volume costs a state, a journal and their caches.
  const MEMORY_BYTES_MAX = 160 * MIB + VOLUMES * 3 * MIB;
  const UNFAIR_MS_MAX = 20_000;

  test(`J15 ${VOLUMES} volumes to ${PEERS} peers each: one connection a peer, fair, memory bounded`, async () => {
    const peerNames = Array.from({length: PEERS}, (_, index) => `peer-${index}`);
    const volumeNames = Array.from({length: VOLUMES}, (_, index) => `volume-${index}`);
    const volumesOf = (agent: {volume(name: string): string}, links: object): Record<string, VolumeSettings> =>
      Object.fromEntries(volumeNames.map((name) => [name, {at: agent.volume(name), ...links}]));
    const agents = makeAgents({
      source: {config: (agent) => ({volumes: volumesOf(agent, {send: peerNames})})},
      ...Object.fromEntries(
        peerNames.map((name) => [
          name,
          {config: (agent: {volume(name: string): string}) => ({volumes: volumesOf(agent, {receive: 'source'})})},
        ]),
      ),
    }) as Record<string, TestAgent>;
    const source = agents['source']!;
    const peers = peerNames.map((name) => agents[name]!);
    onTestFinished(() => stopAll(source, ...peers));
    for (const peer of peers) await pair(source, peer);
    for (const name of volumeNames) {
      mkdirSync(join(source.volume(name), 'folder'));
      for (let file = 0; file < 20; file++)
        writeFileSync(join(source.volume(name), 'folder', `${file}`), randomBytes(2_000));
    }
    await startAll(source, ...peers);
    for (const name of volumeNames) await untilInSync(source, name, 120_000);
    expect(connectionCount(source)).toBe(PEERS);
    // Fair: while one volume has much to send, a file in each of the others does not wait for it.
    writeFileSync(join(source.volume('volume-0'), 'large'), randomBytes(64 * MIB));
    for (const name of volumeNames) writeFileSync(join(source.volume(name), 'small'), name);
    for (const name of volumeNames.slice(1)) await untilInSync(source, name, UNFAIR_MS_MAX);
    await untilInSync(source, 'volume-0', 60_000);
    expect(connectionCount(source)).toBe(PEERS);
    for (const agent of [source, ...peers]) expect(agent.memory().peakBytes).toBeLessThan(MEMORY_BYTES_MAX);
  });
});
