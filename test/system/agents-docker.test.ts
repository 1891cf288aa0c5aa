/**
 * Two agents keep volumes of two Docker engines equal: while containers write, engines restart, and volumes go and come.
 *
 * One set-up for the whole file; each case has volumes of its own.
 */
import {existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import type {HaltKind} from '../../src/base/errors.ts';
import {untilInSync} from '../hosts/agents.ts';
import {type DockerHost, makeDockerLab} from '../hosts/docker-lab.ts';
import {needsDocker} from '../hosts/engines.ts';
import {needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {makeTmpDir} from '../tmp.ts';

const LARGE = 2_000;
const SHARE_FROM = 20;
const FILES = 30; // more than `share-from`: losing them all is a mass delete
const NAMES = Array.from({length: FILES}, (_, index) => `file-${index}`).sort();
const VOLUMES = [
  ...['live', 'recreated', 'recreated-away', 'recreated-target', 'removed', 'removed-target'],
  ...['covered', 'mounted', 'forgotten', 'large'],
];

const describeLab = needsHosts(needsDocker(describe));

describeLab('volumes of two Docker engines', {timeout: 60_000}, () => {
  let source: DockerHost;
  let target: DockerHost;
  let bound: string;

  beforeAll(async () => {
    bound = makeTmpDir('file');
    ({source, target} = await makeDockerLab({
      ...Object.fromEntries(VOLUMES.map((name) => [name, {}])),
      named: {at: () => 'docker-container:k1:/named', toAt: () => 'docker-container:k1:/named'},
      anonymous: {at: () => 'docker-container:k1:/anonymous'},
      bound: {at: () => 'docker-container:k1:/bound'},
    }));
    for (const {docker} of [source, target]) {
      for (const name of [...VOLUMES, 'anonymous', 'bound']) docker('volume', 'create', name);
    }
    source.engine.run('k1', '-v', 'of-k1:/named', '-v', '/anonymous', '-v', `${bound}:/bound`);
    target.engine.run('k1', '-v', 'also-of-k1:/named');
    // Here, because what is younger than a second comes and goes without being counted.
    for (let file = 0; file < LARGE; file++) writeFileSync(join(source.data('large'), `${file}`), 'x');
    await startAll(source.agent, target.agent);
    return async () => {
      await stopAll(source.agent, target.agent);
      await Promise.all([source.engine.stop(), target.engine.stop()]); // before their hosts go
    };
  }, 60_000);

  function fill(volume: string): void {
    for (const name of NAMES) writeFileSync(join(source.data(volume), name), `content of ${name}`);
  }

  async function untilHalted({agent}: DockerHost, volume: string, kind: HaltKind, says: RegExp): Promise<void> {
    await agent.until(`${volume} is halted by ${kind}`, async () => {
      const {halt, links} = await agent.volumeReport(volume);
      const [link] = links;
      const found = halt ?? link?.halt;
      return link?.state === 'halted' && found?.kind === kind && says.test(link.reason ?? '');
    });
  }

  /** What `agent --once` says of a halted volume, through the running agent. */
  async function expectOnceHalted({agent}: DockerHost, volume: string, says: RegExp): Promise<void> {
    const {exitCode, stdout, stderr} = await agent.command(['agent', '--once', volume, '--timeout', '10s']);
    expect(exitCode, stdout + stderr).toBe(3);
    expect(stdout + stderr).toMatch(says);
  }

  /** Removes a container's volume with the container, and makes both again with the same names: empty. */
  function recreate({docker, engine}: DockerHost, name: string): void {
    docker('rm', '-f', name);
    docker('volume', 'rm', name);
    docker('volume', 'create', name);
    engine.run(name, '-v', `${name}:/data`);
  }

  const filesOf = (host: DockerHost, volume: string): string[] => readdirSync(host.data(volume)).sort();

  test('K1 volumes by container and mount, an anonymous one, and a bind mount: equal', async () => {
    source.docker(
      'exec',
      'k1',
      'sh',
      '-c',
      'for d in named anonymous bound; do mkdir /$d/sub; echo $d > /$d/sub/f; done',
    );
    for (const name of ['named', 'anonymous', 'bound']) {
      await untilInSync(source.agent, name);
      const {path} = await target.agent.volumeReport(name);
      expect(readFileSync(join(path!, 'sub/f'), 'utf8')).toBe(`${name}\n`);
    }
    expect(target.docker('exec', 'k1', 'cat', '/named/sub/f')).toBe('named');
    expect((await source.agent.volumeReport('bound')).path).toBe(bound);
  });

  test('K1 staging and trash lie beside the data folder: the container sees the volume’s files alone', async () => {
    fill('covered');
    target.engine.run('looks', '-v', 'covered:/data');
    await untilInSync(source.agent, 'covered');
    const beside = join(dirname(target.data('covered')), '.towline');
    expect(await target.agent.volumeReport('covered')).toMatchObject({
      staging: join(beside, 'staging'),
      trash: join(beside, 'trash'),
    });
    expect(target.docker('exec', 'looks', 'ls', '-A', '/data').split('\n').sort()).toEqual(NAMES);
    expect(readdirSync(dirname(source.data('covered')))).toEqual(['_data']);
    target.docker('rm', '-f', 'looks');
  });

  test('K2 a container writes all the time, both engines restart: links go on, and it is equal at the end', async () => {
    // Each name is replaced every few seconds: one that is replaced several times a second is sent once it rests.
    const loop =
      'while :; do n=$((n+1)); echo $n > /data/new; mv /data/new /data/$((n%200)); echo $n >> /data/log; sleep 0.01; done';
    source.docker('rm', '-f', 'writer'); // of an earlier try
    source.engine.run('writer', '-v', 'live:/data');
    const write = (): string => source.docker('exec', '-d', 'writer', 'sh', '-c', loop);
    write();
    const arrived = (): string => {
      const log = join(target.data('live'), '7');
      return existsSync(log) ? readFileSync(log, 'utf8') : '';
    };
    await target.agent.until('files arrive', () => arrived() !== '');
    for (const host of [source, target]) {
      await host.engine.restart();
      if (host === source) source.docker('start', 'writer');
      if (host === source) write();
      const before = arrived();
      await target.agent.until('what is written after a restart arrives', () => arrived() !== before);
    }
    source.docker('rm', '-f', 'writer');
    await untilInSync(source.agent, 'live');
    for (const {agent} of [source, target]) expect((await agent.volumeReport('live')).halt).toBeUndefined();
    // An engine that came back is asked again: a volume that is there by now is found.
    expect((await source.agent.volumeReport('named')).path).toBe(source.data('of-k1'));
  });

  test('K2 the engine is away when the agent starts: known volumes stay where they are, with the same staging', async () => {
    await target.agent.stop();
    const before = filesOf(target, 'covered');
    await target.engine.stop();
    await target.agent.start();
    writeFileSync(join(source.data('covered'), 'while-away'), 'x');
    await untilInSync(source.agent, 'covered');
    const {path, staging} = await target.agent.volumeReport('covered');
    expect(path).toBe(target.data('covered'));
    expect(staging).toBe(join(dirname(path!), '.towline/staging'));
    expect(filesOf(target, 'covered')).toEqual([...before, 'while-away']);
    await target.engine.start();
  });

  test('F13 what a container has mounted below a deleted path, and over a replaced file, stays; the rest arrives', async () => {
    const inSource = (name: string): string => join(source.data('mounted'), name);
    fill('mounted');
    mkdirSync(inSource('top/inner'), {recursive: true});
    writeFileSync(inSource('top/inner/hidden'), 'below the mount');
    mkdirSync(inSource('memory'));
    writeFileSync(inSource('app.yml'), 'old');
    await untilInSync(source.agent, 'mounted');
    const yml = join(target.data('mounted'), 'app.yml');
    const mounts = ['-v', 'mounted:/data', '-v', 'inner:/data/top/inner', '--tmpfs', '/data/memory'];
    target.engine.run('mounts', ...mounts, '-v', `${yml}:/app.yml`);
    target.docker('exec', 'mounts', 'sh', '-c', 'echo 1 > /data/top/inner/kept; echo 2 > /data/memory/kept');
    const seen = (): string =>
      target.docker('exec', 'mounts', 'cat', '/data/top/inner/kept', '/data/memory/kept', '/app.yml');

    rmSync(inSource('top'), {recursive: true});
    rmSync(inSource('memory'), {recursive: true});
    writeFileSync(inSource('app.new'), 'new');
    renameSync(inSource('app.new'), inSource('app.yml'));
    writeFileSync(inSource('beside'), 'arrives');
    const problems = async (): Promise<{path: string; code: string}[]> => {
      const {stdout} = await source.agent.command(['pending', 'mounted', '--json']);
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as {path?: string; code?: string});
      return lines.flatMap(({path, code}) => (path === undefined || code === undefined ? [] : [{path, code}]));
    };
    await source.agent.until('three paths are problems', async () => (await problems()).length >= 3);
    expect(await problems()).toEqual(
      expect.arrayContaining(['app.yml', 'memory', 'top'].map((path) => ({path, code: 'mount'}))),
    );
    await source.agent.until('the rest arrives', () => filesOf(target, 'mounted').includes('beside'));
    expect(seen()).toBe('1\n2\nold');

    target.docker('rm', '-f', 'mounts');
    await source.agent.must('rescan', 'mounted');
    await untilInSync(source.agent, 'mounted');
    expect(filesOf(target, 'mounted')).toEqual([...NAMES, 'app.yml', 'beside'].sort());
    expect(readFileSync(yml, 'utf8')).toBe('new');
    expect(target.docker('volume', 'ls', '-q')).toContain('inner');
  });

  test('forget takes what lies beside the data folder too', async () => {
    await untilInSync(source.agent, 'forgotten');
    const beside = dirname(target.data('forgotten'));
    expect(readdirSync(beside).sort()).toEqual(['.towline', '_data']);
    await target.agent.must('pause', 'forgotten');
    await target.agent.must('forget', 'forgotten', '--yes');
    expect(readdirSync(beside)).toEqual(['_data']);
  });

  test('F10 K3 container and volume made again with the same names, empty: halted, neither side erased', async () => {
    source.engine.run('recreated', '-v', 'recreated:/data');
    fill('recreated');
    await untilInSync(source.agent, 'recreated');
    recreate(source, 'recreated');
    await untilHalted(source, 'recreated', 'root-replaced', /another directory/);
    writeFileSync(join(source.data('recreated'), 'of-the-new-one'), 'new');
    await expectOnceHalted(source, 'recreated', /another directory than the volume.*recreated\?/);
    expect(filesOf(target, 'recreated')).toEqual(NAMES);
    expect(filesOf(source, 'recreated')).toEqual(['of-the-new-one']);
    expect((await source.agent.command(['confirm', 'recreated', '--yes', '1'])).exitCode).toBe(8);
    await source.agent.must('confirm', 'recreated', '--yes', '0');
    await untilHalted(source, 'recreated', 'delete-share', /30/);
    expect(filesOf(target, 'recreated')).toEqual(expect.arrayContaining(NAMES));
    expect((await source.agent.command(['confirm', 'recreated', '--yes', '29'])).exitCode).toBe(8);
    await source.agent.must('confirm', 'recreated', '--yes', `${FILES}`);
    await untilInSync(source.agent, 'recreated');
    expect(filesOf(target, 'recreated')).toEqual(['of-the-new-one']);
    expect(await target.agent.must('trash', 'list', 'recreated', '--json')).toContain('file-29');
  });

  test('F10 K3 the same while the source agent is down', async () => {
    source.engine.run('recreated-away', '-v', 'recreated-away:/data');
    fill('recreated-away');
    await untilInSync(source.agent, 'recreated-away');
    await source.agent.stop();
    recreate(source, 'recreated-away');
    await expectOnceHalted(source, 'recreated-away', /recreated-away\/_data is another directory/);
    await source.agent.start();
    await untilHalted(source, 'recreated-away', 'root-replaced', /another directory/);
    expect(filesOf(target, 'recreated-away')).toEqual(NAMES);
    expect(filesOf(source, 'recreated-away')).toEqual([]);
  });

  test('F10 K3 the same on the target: halted there, filled again once it is confirmed there', async () => {
    target.engine.run('recreated-target', '-v', 'recreated-target:/data');
    fill('recreated-target');
    await untilInSync(source.agent, 'recreated-target');
    recreate(target, 'recreated-target');
    await untilHalted(target, 'recreated-target', 'root-replaced', /another directory/);
    await expectOnceHalted(target, 'recreated-target', /recreated-target\/_data is another directory/);
    writeFileSync(join(source.data('recreated-target'), 'later'), 'x');
    await source.agent.must('rescan', 'recreated-target');
    expect(filesOf(target, 'recreated-target')).toEqual([]);
    expect(filesOf(source, 'recreated-target')).toEqual([...NAMES, 'later']);
    await target.agent.must('confirm', 'recreated-target', '--yes', '0');
    await untilInSync(source.agent, 'recreated-target');
    expect(filesOf(target, 'recreated-target')).toEqual([...NAMES, 'later']);
  });

  test('K3 a container made again with the volume it had: its links go on; with a new anonymous one: halted', async () => {
    source.docker('rm', '-f', 'k1');
    await untilHalted(source, 'named', 'root-missing', /there is no docker container k1/);
    const copied = filesOf(target, 'anonymous');
    source.engine.run('k1', '-v', 'of-k1:/named', '-v', '/anonymous', '-v', `${bound}:/bound`);
    source.docker('exec', 'k1', 'touch', '/named/later', '/bound/later');
    for (const name of ['named', 'bound']) await untilInSync(source.agent, name);
    expect(target.docker('start', 'k1')).toBe('k1');
    expect(target.docker('exec', 'k1', 'ls', '/named')).toBe('later\nsub');
    await untilHalted(source, 'anonymous', 'root-replaced', /another directory/);
    expect(filesOf(target, 'anonymous')).toEqual(copied);
  });

  test('F12 the volume removed on the source: halted, the copy stays; halted too when another of its name is made', async () => {
    fill('removed');
    await untilInSync(source.agent, 'removed');
    source.docker('volume', 'rm', 'removed');
    await untilHalted(source, 'removed', 'root-missing', /no docker volume removed|does not exist/);
    await expectOnceHalted(source, 'removed', /known volume/);
    expect(filesOf(target, 'removed')).toEqual(NAMES);
    source.docker('volume', 'create', 'removed');
    await untilHalted(source, 'removed', 'root-replaced', /another directory/);
    expect(filesOf(target, 'removed')).toEqual(NAMES);
  });

  test('F12 a volume of 2,000 files removed on the source: at most the first of a burst go, into the trash', async () => {
    await untilInSync(source.agent, 'large');
    source.docker('volume', 'rm', 'large');
    await untilHalted(source, 'large', 'root-missing', /no docker volume large|does not exist/);
    const left = filesOf(target, 'large').length;
    expect(left).toBeGreaterThanOrEqual(LARGE - SHARE_FROM);
    const trashed = (await target.agent.must('trash', 'list', 'large', '--json')).match(/"reason":"deleted"/g);
    expect(trashed?.length ?? 0).toBe(LARGE - left);
  });

  test('F12 the volume removed on the target: halted, nothing is written where it was', async () => {
    fill('removed-target');
    await untilInSync(source.agent, 'removed-target');
    target.docker('volume', 'rm', 'removed-target');
    writeFileSync(join(source.data('removed-target'), 'later'), 'x');
    await untilHalted(target, 'removed-target', 'root-missing', /no docker volume removed-target|does not exist/);
    for (const host of [source, target]) await expectOnceHalted(host, 'removed-target', /known volume/);
    expect(existsSync(dirname(target.data('removed-target')))).toBe(false);
    target.docker('volume', 'create', 'removed-target');
    await untilHalted(target, 'removed-target', 'root-replaced', /another directory/);
    expect(filesOf(target, 'removed-target')).toEqual([]);
    expect(filesOf(source, 'removed-target')).toEqual([...NAMES, 'later']);
  });
});
