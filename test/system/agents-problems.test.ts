/** Problems of agents: listed, tried again with growing delays by themselves, over a restart; and what a flush says. */
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {pair, untilInSync} from '../hosts/agents.ts';
import {LOOSE, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {type LoopFilesystem, makeLoopFilesystem} from '../loop-fs.ts';

interface Told {
  path: string;
  code: string;
  firstSeen: string;
  lastSeen: string;
  nextTry?: string;
}

needsHosts(describe)('a copy on a disk that fails', {timeout: 120_000}, () => {
  const {source, target} = makeAgents({source: {}, target: {}});
  let disk: LoopFilesystem;

  beforeAll(async () => {
    await pair(source, target);
    disk = makeLoopFilesystem('ext4', 32);
    target.configure({volumes: {data: {at: disk.path, receive: 'source', ...LOOSE}}});
    source.configure({volumes: {data: {at: source.volume('data'), send: ['target'], ...LOOSE}}});
    writeFileSync(inSource('file'), 'old');
    await startAll(source, target);
    await untilInSync(source, 'data');
  });
  afterAll(() => stopAll(source, target));

  const inSource = (name: string): string => join(source.volume('data'), name);
  const inTarget = (name: string): string => join(disk.path, name);

  async function problems(): Promise<Told[]> {
    const {stdout} = await source.command(['pending', 'data', '--json']);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Told & {event: string});
    return lines.filter(({event}) => event === 'problem');
  }

  test('H12 the target’s disk becomes read-only: listed, tried again after growing delays, goes on by itself', async () => {
    disk.remount('ro');
    writeFileSync(inSource('file'), 'new');
    writeFileSync(inSource('another'), 'new too');
    const tries: number[] = [];
    await source.until(
      'five tries were made',
      async () => {
        const told = (await problems()).find(({path}) => path === 'file');
        const at = told === undefined ? undefined : Date.parse(told.lastSeen);
        // A proof that fails right behind it has the comparison try it once more at once.
        if (at !== undefined && at - (tries.at(-1) ?? 0) > 200) tries.push(at);
        return tries.length >= 5;
      },
      60_000,
    );
    const delays = tries.slice(1).map((at, index) => at - tries[index]!);
    expect(delays.at(-1)!).toBeGreaterThan(1.5 * delays[0]!);
    const told = (await problems()).find(({path}) => path === 'file')!;
    expect(told).toMatchObject({code: 'unwritable', nextTry: expect.any(String)});
    expect(Date.parse(told.nextTry!)).toBeGreaterThan(Date.parse(told.lastSeen));
    expect(Date.parse(told.firstSeen)).toBeLessThanOrEqual(tries[0]!);
    expect(readFileSync(inTarget('file'), 'utf8')).toBe('old');

    await source.stop();
    await source.start();
    const again = (await problems()).find(({path}) => path === 'file')!;
    expect(again.firstSeen).toBe(told.firstSeen);
    disk.remount('rw');
    await untilInSync(source, 'data', 60_000);
    expect(readFileSync(inTarget('file'), 'utf8')).toBe('new');
    expect(await problems()).toEqual([]);
  });

  test('J12 flush: what was written before is durable on the peer; a target killed right then has it', async () => {
    for (let round = 0; round < 2; round++) {
      writeFileSync(inSource(`flushed-${round}`), `${round}`.repeat(100_000));
      const {exitCode, stdout} = await source.command(['flush', 'data', '--timeout', '20s']);
      await target.kill9();
      expect([exitCode, stdout]).toEqual([0, expect.stringContaining('in sync')]);
      expect(readFileSync(inTarget(`flushed-${round}`), 'utf8')).toBe(`${round}`.repeat(100_000));
      await target.start();
    }
    await untilInSync(source, 'data');
  });

  test('J12 flush: a peer that answers nothing, and one that is not there: its time is over, with the reason', async () => {
    target.freeze();
    try {
      writeFileSync(inSource('late'), 'late');
      const startMs = performance.now();
      const frozen = await source.command(['flush', 'data', '--timeout', '2s']);
      expect((performance.now() - startMs) / 1_000).toBeGreaterThan(1.9);
      expect([frozen.exitCode, frozen.stdout]).toEqual([5, expect.stringMatching(/not in sync: timeout: \S/)]);
      expect(existsSync(inTarget('late'))).toBe(false);
    } finally {
      target.thaw();
    }
    await untilInSync(source, 'data');
    await target.stop();
    await source.until('it is away', async () => (await source.link('data', 'target')).state === 'connecting');
    await sleep(1);
    const away = await source.command(['flush', 'data', '--timeout', '1s']);
    expect([away.exitCode, away.stdout]).toEqual([5, expect.stringMatching(/timeout: .*(connect|refused|reach)/i)]);
    await target.start();
    await untilInSync(source, 'data');
  });
});
