/** Silent corruption: what rots on disk under unchanged times is found, told, and never passed on. */
import {spawnSync} from 'node:child_process';
import {closeSync, openSync, readFileSync, readSync, utimesSync, writeFileSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {type LoopFilesystem, makeLoopFilesystem} from '../loop-fs.ts';

const LONG_AGO_S = 1_700_000_000;
const MIB = 1 << 20;

needsHosts(describe)('two agents, each with its copy on a filesystem of its own', {timeout: 120_000}, () => {
  const {source, target} = makeAgents({source: {}, target: {}});
  const disks = new Map<TestAgent, LoopFilesystem>();

  beforeAll(async () => {
    await pair(source, target);
    for (const agent of [source, target]) disks.set(agent, makeLoopFilesystem('ext4', 64));
    for (const name of ['small', 'rotten', 'lost']) writeFileSync(at(source, name), `${name} `.repeat(200));
    writeFileSync(at(source, 'large'), Buffer.alloc(3 * MIB, 'large'));
    age(source, ['small', 'rotten', 'lost', 'large']);
    target.configure({volumes: {data: {at: disks.get(target)!.path, receive: 'source'}}});
    source.configure({volumes: {data: {at: disks.get(source)!.path, send: ['target']}}});
    await startAll(source, target);
    await untilInSync(source, 'data');
    // As if all that had been a while ago: what was changed only just before is not yet to be trusted.
    await target.stop();
    age(target, ['small', 'rotten', 'lost', 'large']);
    await target.start();
    await untilInSync(source, 'data');
  });
  afterAll(() => stopAll(source, target));

  const at = (agent: TestAgent, name: string): string => join(disks.get(agent)!.path, name);
  const untilProblem = (agent: TestAgent, path: string): Promise<void> =>
    agent.until(`${path} is listed`, async () => (await pending(agent)).includes(path));

  test('J11 a whole volume is read again: nothing rots', async () => {
    for (const agent of [source, target]) {
      const {exitCode, stdout, stderr} = await agent.command(['verify', 'data']);
      expect([exitCode, stderr]).toEqual([0, '']);
      expect(stdout).toMatch(/^data: 4 files read, 3\.0\d* MiB, none rots\n$/);
    }
  });

  test('J11 a bit flipped on the disk of the source: found, told with both digests, exit code 7, not passed on', async () => {
    flipOnDisk(source, 'rotten');
    flipOnDisk(source, 'large', 2 * MIB);
    const {exitCode, stdout} = await source.command(['verify', 'data', '--json']);
    expect(exitCode).toBe(7);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const found = lines.filter(({event}) => event === 'finding');
    expect(found.map(({path, kind, side}) => [path, kind, side].join(' ')).toSorted()).toEqual([
      'large corrupt source',
      'rotten corrupt source',
    ]);
    for (const {known, found: now} of found) {
      expect([known, now].every((digest) => /^[0-9a-f]{64}$/.test(String(digest)))).toBe(true);
      expect(known).not.toBe(now);
    }
    expect(lines.at(-1)).toMatchObject({event: 'result', exitCode: 7, corruptCount: 2, filesRead: 4});
    await untilProblem(source, 'rotten');
    expect(await pending(source)).toMatch(/corrupt-here|other bytes than when it was read/);
    // The target loses them: what rots is not sent in their place.
    for (const name of ['rotten', 'large', 'small']) spawnSync('rm', [at(target, name)]);
    await source.until('the sound one is repaired', () => exists(at(target, 'small')));
    await source.until('the others are told', async () => (await source.link('data', 'target')).state === 'problems');
    expect([exists(at(target, 'rotten')), exists(at(target, 'large'))]).toEqual([false, false]);
  });

  test('J11 what rotted is copied back, or touched to say that it is right: it arrives, and is a problem no more', async () => {
    writeFileSync(at(source, 'rotten'), 'from a backup');
    utimesSync(at(source, 'large'), new Date(), new Date());
    await untilInSync(source, 'data');
    expect(readFileSync(at(target, 'rotten'), 'utf8')).toBe('from a backup');
    expect(readFileSync(at(target, 'large')).equals(readFileSync(at(source, 'large')))).toBe(true);
    const {exitCode} = await source.command(['verify', 'data']);
    expect(exitCode).toBe(0);
    expect(await pending(source)).toContain('nothing is pending');
  });

  test('J11 a bit flipped on the disk of a copy: told there and from the source with --against; --repair fetches it again', async () => {
    const before = readFileSync(at(target, 'lost'));
    flipOnDisk(target, 'lost');
    const against = await source.command(['verify', 'data', '--against', 'target']);
    expect(against.exitCode).toBe(7);
    expect(against.stdout).toContain('lost has other bytes on target than here');
    await untilProblem(target, 'lost');
    expect((await target.volumeReport('data')).links[0]).toMatchObject({problemCount: 1, state: 'problems'});
    const alone = await target.command(['verify', 'data']);
    expect([alone.exitCode, alone.stdout.includes('1 rot on disk')]).toEqual([7, true]);
    expect(readFileSync(at(target, 'lost')).equals(before)).toBe(false); // told, and nothing else
    expect((await target.command(['verify', 'data', '--repair'])).exitCode).toBe(7);
    await target.until(
      'it is as it was',
      () => exists(at(target, 'lost')) && readFileSync(at(target, 'lost')).equals(before),
    );
    await untilInSync(source, 'data');
    expect((await target.volumeReport('data')).links[0]).toMatchObject({problemCount: 0, state: 'in-sync'});
    expect((await source.command(['verify', 'data', '--against', 'target'])).exitCode).toBe(0);
  });

  test('J11 a file that was changed in the ordinary way, a moment ago, is no corruption', async () => {
    writeFileSync(at(source, 'small'), 'another small one');
    const {exitCode, stdout} = await source.command(['verify', 'data', '--against', 'target']);
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('none rots')]);
    await untilInSync(source, 'data');
    flipOnDisk(target, 'small', 3); // a store through mmap may have changed it: nothing tells
    const against = await source.command(['verify', 'data', '--against', 'target']);
    expect([against.exitCode, against.stdout]).toEqual([7, expect.stringContaining('small has other bytes on target')]);
    expect((await target.volumeReport('data')).links[0]).toMatchObject({problemCount: 0});
  });

  test('verify of a peer or a volume that is not there says so', async () => {
    const peer = await target.command(['verify', 'data', '--against', 'source']);
    expect([peer.exitCode, peer.stderr]).toEqual([2, expect.stringContaining('is not sent to "source" from here')]);
    const volume = await source.command(['verify', 'other']);
    expect([volume.exitCode, volume.stderr]).toEqual([2, expect.stringContaining('there are: data')]);
  });

  async function pending(agent: TestAgent): Promise<string> {
    return (await agent.command(['pending', 'data'])).stdout;
  }

  /** Sets times of the inode that no system call can set. */
  function age(agent: TestAgent, names: string[]): void {
    const disk = disks.get(agent)!;
    disk.umount();
    const sets = names.flatMap((name) => [`sif /${name} ctime @${LONG_AGO_S}`, `sif /${name} crtime @${LONG_AGO_S}`]);
    const {status, stderr} = spawnSync('debugfs', ['-w', '-f', '-', disk.imagePath!], {
      input: sets.join('\n'),
      encoding: 'utf8',
    });
    expect([status, stderr.replace(/^debugfs .*\n/, '')]).toEqual([0, '']);
    disk.mount();
  }

  /** Changes one bit where the file lies on the disk: no time, no event, and memory still has the old bytes. */
  function flipOnDisk(agent: TestAgent, name: string, offset = 100): void {
    spawnSync('sync', ['-f', at(agent, name)]);
    const {stdout} = spawnSync('filefrag', ['-v', '-b1', at(agent, name)], {encoding: 'utf8'});
    const extents = [...stdout.matchAll(/^\s*\d+:\s+(\d+)\.\.\s*(\d+):\s+(\d+)\.\./gm)].map((found) =>
      found.slice(1).map(Number),
    );
    const [from, , physical] = extents.find(([first, last]) => first! <= offset && offset <= last!) as [
      number,
      number,
      number,
    ];
    const fd = openSync(disks.get(agent)!.imagePath!, 'r+');
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, physical + offset - from);
    byte[0]! ^= 1;
    writeSync(fd, byte, 0, 1, physical + offset - from);
    closeSync(fd);
  }
});

function exists(path: string): boolean {
  return spawnSync('test', ['-e', path]).status === 0;
}
