/**
 * `agent --once` as cron sees it, without a running agent: what each exit code needs to be reached, and that it never
 * says 0 when the two sides differ.
 */
import {type ChildProcess, execFileSync} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {once as eventOf} from 'node:events';
import {existsSync, mkdirSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {beforeEach, describe, expect, onTestFinished, test} from 'vitest';
import {type CommandResult, PORT, TestAgent, type VolumeSettings} from '../hosts/agent.ts';
import {differencesOf, pair} from '../hosts/agents.ts';
import {LOOSE, needsHosts} from '../hosts/lab.ts';
import {type Host, makeNetwork} from '../hosts/namespaces.ts';
import {changeRandomly, makeRandomTree, Random} from '../sync/random-tree.ts';
import {makeTmpDir} from '../tmp.ts';

const ROUNDS = Number(process.env['TOWLINE_TEST_ROUNDS'] ?? 8);
const MIB = 1 << 20;

needsHosts(describe)('J7 agent --once', {timeout: 120_000}, () => {
  let source: TestAgent;
  let target: TestAgent;

  beforeEach(async () => {
    const base = makeTmpDir();
    const network = makeNetwork(2);
    onTestFinished(() => network.close());
    const [here, there] = network.hosts as [Host, Host];
    source = new TestAgent({name: 'source', folder: join(base, 'source'), host: here, listens: false});
    target = new TestAgent({name: 'target', folder: join(base, 'target'), host: there});
    configure();
    await pair(source, target);
    for (let file = 0; file < 30; file++) writeFileSync(inSource(`${file}`), `content ${file}`);
  });

  function configure(
    more: Partial<VolumeSettings> = {},
    receive: NonNullable<VolumeSettings['receive']> = 'source',
  ): void {
    source.configure({volumes: {data: {at: source.volume('data'), send: ['target'], ...more}}});
    target.configure({volumes: {data: {at: target.volume('data'), receive}}});
  }

  const inSource = (name: string): string => join(source.volume('data'), name);
  const inTarget = (name: string): string => join(target.volume('data'), name);
  const once = (agent: TestAgent, timeout = '20s'): Promise<CommandResult> =>
    agent.command(['agent', '--once', '--timeout', timeout]);
  const differences = (): Promise<string> => differencesOf(source.volume('data'), target.volume('data'));

  const bothOnce = (timeout?: string): Promise<CommandResult[]> =>
    Promise.all([once(source, timeout), once(target, timeout)]);

  function expectCode({exitCode, stdout, stderr}: CommandResult, wanted: number): void {
    expect(exitCode, stdout + stderr).toBe(wanted);
  }

  /** Both at once, as two cron jobs do. */
  async function expectBothOnce(wanted: number, timeout?: string): Promise<void> {
    for (const result of await bothOnce(timeout)) expectCode(result, wanted);
  }

  test('0 on both sides once they are equal, on the first run and on the next', async () => {
    await expectBothOnce(0);
    expect(await differences()).toBe('');
    writeFileSync(inSource('more'), 'of the second run');
    await expectBothOnce(0);
    expect(await differences()).toBe('');
  });

  test('0 against a peer whose daemon runs', async () => {
    await target.start();
    expectCode(await once(source), 0);
    expect(await differences()).toBe('');
    await target.stop();
  });

  test('1 when a path has a problem; it is named', async () => {
    execFileSync('mknod', [inSource('device'), 'c', '1', '3']);
    await target.start();
    const {exitCode, stdout, stderr} = await once(source);
    expect(exitCode).toBe(1);
    expect(stdout + stderr).toContain('device');
    expect(existsSync(inTarget('29'))).toBe(true);
    await target.stop();
  });

  test('2 for a configuration that is wrong, for a volume that nobody knows, and for a port in use', async () => {
    expectCode(await source.command(['agent', '--once', 'unknown']), 2);
    const script = `require('net').createServer().listen(${PORT}, '::', () => console.log('up'))`;
    const busy = target.host.spawn([process.execPath, '-e', script]);
    await eventOf(busy.stdout!, 'data');
    expectCode(await once(target), 2);
    busy.kill('SIGKILL');
    configure({at: 'relative/path'});
    expectCode(await once(source), 2);
  });

  test('3 when the source was emptied: nothing is deleted', async () => {
    await expectBothOnce(0);
    for (let file = 0; file < 30; file++) rmSync(inSource(`${file}`));
    expectCode((await bothOnce('10s'))[0]!, 3);
    expect(existsSync(inTarget('0'))).toBe(true);
  });

  test('3 when the root of a known volume is missing', async () => {
    await expectBothOnce(0);
    const root = join(source.folder, 'volumes/data');
    renameSync(root, `${root}-away`);
    expectCode(await once(source, '10s'), 3);
    expect(existsSync(inTarget('0'))).toBe(true);
  });

  test('4 when the peer has another identity than was pinned', async () => {
    source.pin('target', 'ab'.repeat(32), `${target.host.ipv4}:${PORT}`);
    await target.start();
    expectCode(await once(source, '10s'), 4);
    expect(await differences()).not.toBe('');
    await target.stop();
  });

  test('5 when nobody answers until the timeout', async () => {
    const {exitCode, seconds} = await once(source, '2s');
    expect(exitCode).toBe(5);
    expect(seconds).toBeLessThan(10);
    expectCode(await once(target, '2s'), 5);
  });

  test('6 while another process writes to the target', async () => {
    const other = join(target.folder, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'of-the-other'), 'x');
    const sync = target.host.spawn(
      ['env', `XDG_STATE_HOME=${target.folder}/sync`, ...syncWords(other, target.volume('data'))],
      {stdio: 'ignore'},
    );
    await sleepUntil(() => existsSync(inTarget('of-the-other')));
    expectCode(await once(target, '5s'), 6);
    sync.kill('SIGTERM');
  });

  test('8 when the target has pinned other rules', async () => {
    configure({ignore: ['*.tmp']}, {from: 'source', 'pin-ignore': '0'.repeat(64)});
    await expectBothOnce(8, '10s');
    expect(existsSync(inTarget('0'))).toBe(false);
  });

  test('130 when it is interrupted before it is done', async () => {
    const run = source.startCommand(['agent', '--once', '--timeout', '60s']);
    await sleepUntil(() => existsSync(join(source.stateFolder, 'agent.db')));
    await sleep(500); // the moment does not matter: nobody answers
    run.child.kill('SIGINT');
    expectCode(await run.end(15_000), 130);
  });

  test('never 0 when the sides differ, whatever is cut, killed or changed on the way', async () => {
    const random = new Random(Number(process.env['TOWLINE_TEST_SEED'] ?? 5));
    makeRandomTree(source.volume('data'), 100, random);
    // The guards, each side's own, are not what this is about.
    source.configure({volumes: {data: {at: source.volume('data'), send: ['target'], ...LOOSE}}});
    target.configure({volumes: {data: {at: target.volume('data'), receive: 'source', ...LOOSE}}});
    writeFileSync(inSource('large'), randomBytes(8 * MIB));
    const codes: (number | null)[] = [];
    const cuts: ((ends: {child: ChildProcess}[]) => unknown)[] = [
      ([sending]) => sending!.child.kill('SIGKILL'),
      ([, receiving]) => receiving!.child.kill('SIGKILL'),
      () => target.host.rejectPackets(source.host),
      () => target.host.unplug(),
    ];
    for (let round = 0; round < ROUNDS; round++) {
      changeRandomly(source.volume('data'), 20, random);
      const ends = [source, target].map((agent) => agent.startCommand(['agent', '--once', '--timeout', '3s']));
      await sleep(random.below(1_200)); // the moment is the random part
      const isChanged = random.below(4) === 0;
      if (isChanged) changeRandomly(source.volume('data'), 5, random);
      else random.of(cuts)(ends);
      const results = await Promise.all(ends.map((end) => end.end(40_000)));
      target.host.openFirewall();
      target.host.plug();
      codes.push(...results.map(({exitCode}) => exitCode));
      // What is changed during the run is of its cut or of the next one.
      if (!isChanged && codes.slice(-2).includes(0)) expect(await differences(), codes.join(' ')).toBe('');
    }
    await expectBothOnce(0);
    expect(await differences(), `codes on the way: ${codes.join(' ')}`).toBe('');
  });
});

function syncWords(source: string, target: string): string[] {
  const project = join(import.meta.dirname, '../..');
  return [join(project, 'node_modules/.bin/node'), join(project, 'dist/main.js'), 'sync', source, target];
}

async function sleepUntil(isTrue: () => boolean, timeoutMs = 20_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!isTrue()) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${isTrue.toString()}`);
    await sleep(20);
  }
}
