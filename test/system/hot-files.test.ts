/**
 * A large file that is written all the time, on filesystems with and without clones. TOWLINE_TEST_HOT_MIB sets its size
 * (700 for the whole case, 16 by default) and TOWLINE_TEST_HOT_VERSIONS how often it must arrive anew (3 by default).
 */
import {mkdirSync, readdirSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {type JsonEvent, makePair, type Pair, type Running, startLive, syncOnce} from '../sync/harness.ts';
import {versionsIn, writeVersions} from '../sync/hot-writer.ts';
import {untilEqual} from '../sync/live.ts';

const MIB = Number(process.env['TOWLINE_TEST_HOT_MIB'] ?? 16);
const VERSIONS = Number(process.env['TOWLINE_TEST_HOT_VERSIONS'] ?? 3);
const PAUSE_S = MIB > 100 ? 1 : 0.02;
const WAIT_MS = 60_000 + MIB * 1_000;

/** A source on the filesystem, the target on the machine's own. */
function pairOn(kind: 'xfs' | 'btrfs' | 'ext4'): Pair {
  const pair = makePair();
  const {path} = makeLoopFilesystem(kind, 300 + 4 * MIB);
  const source = join(path, 'volume');
  mkdirSync(source);
  return {...pair, source};
}

const isOf =
  (event: string, path: string) =>
  (each: JsonEvent): boolean =>
    each.event === event && each['path'] === path;

function statesSince(live: Running, mark: number): unknown[] {
  return live.events.slice(mark).flatMap(({event, state}) => (event === 'status' ? [state] : []));
}

/** Waits until the target's copy was replaced so often. @returns the versions that each was made of */
async function untilReplaced(live: Running, path: string, count: number): Promise<number[][]> {
  const seen: number[][] = [];
  let last = 0;
  await live.waitFor(() => {
    const ino = statSync(path, {throwIfNoEntry: false})?.ino ?? 0;
    if (ino !== 0 && ino !== last) {
      last = ino;
      seen.push(versionsIn(path));
    }
    return seen.length >= count;
  }, WAIT_MS);
  return seen;
}

const describeHot = needsLoopMounts(needsCommands('mkfs.xfs', 'mkfs.btrfs', 'python3', 'rsync')(describe));

describeHot('a file that is written all the time', {timeout: 4 * WAIT_MS}, () => {
  test.each(['xfs', 'btrfs'] as const)(
    `C5 on %s the target advances ${VERSIONS} times, each time to what the file was at one moment, and is in sync when it rests`,
    async (kind) => {
      const pair = pairOn(kind);
      const [hot, copy] = [join(pair.source, 'hot'), join(pair.target, 'hot')];
      const stop = await writeVersions(hot, {sizeBytes: MIB << 20, pauseS: PAUSE_S});
      const live = startLive(pair, ['--max-wait', '300ms']);
      await live.waitForEvent(isOf('applied', 'hot'), WAIT_MS);
      const mark = live.events.length;
      const seen = await untilReplaced(live, copy, VERSIONS);
      // Written front to back: at one moment it has the newer version up to a point, and the older one behind it.
      for (const versions of seen) expect(versions.length, versions.join()).toBeLessThanOrEqual(2);
      const newest = seen.map((versions) => versions[0]!);
      expect(newest).toEqual(newest.toSorted((a, b) => a - b));
      expect(new Set(newest).size).toBe(VERSIONS);
      expect(statesSince(live, mark)).not.toContain('in-sync');
      expect(live.events.filter(({code}) => code === 'torn')).toEqual([]);
      expect(readdirSync(pair.source)).toEqual(['hot']);

      writeFileSync(join(pair.source, 'other'), 'other');
      await live.waitForEvent(isOf('applied', 'other'), WAIT_MS);
      stop();
      await untilEqual(live, pair, WAIT_MS);
      const run = await live.stop();
      expect([run.exitCode, run.result.problems]).toEqual([0, []]);
    },
  );

  test(`C5 on ext4 with hot: torn the target advances ${VERSIONS} times, labelled, never in sync, and is whole when it rests`, async () => {
    const pair = pairOn('ext4');
    const [hot, copy] = [join(pair.source, 'hot'), join(pair.target, 'hot')];
    const stop = await writeVersions(hot, {sizeBytes: MIB << 20, pauseS: PAUSE_S});
    const live = startLive(pair, ['--max-wait', '300ms', '--hot', 'torn']);
    const problem = await live.waitForEvent(
      (event) => isOf('problem', 'hot')(event) && event['code'] === 'torn',
      WAIT_MS,
    );
    expect(problem['message']).toMatch(/its copy on the target mixes versions from .*Z to .*Z; /);
    const mark = live.events.length;
    const seen = await untilReplaced(live, copy, VERSIONS);
    expect(new Set(seen.map((versions) => versions.at(-1))).size).toBe(VERSIONS);
    expect(statSync(copy).size).toBe(MIB << 20);
    const since = live.events.slice(mark);
    expect(statesSince(live, mark)).not.toContain('in-sync');
    expect(since.filter(isOf('solved', 'hot'))).toEqual([]);

    stop();
    await untilEqual(live, pair, WAIT_MS);
    expect(versionsIn(copy)).toEqual(versionsIn(hot));
    const run = await live.stop();
    expect([run.exitCode, run.result.problems]).toEqual([0, []]);
  });

  test('C5 a single run sends it torn on ext4, and as of one moment on XFS; it ends with 1 and says so', async () => {
    for (const [kind, flags, code] of [
      ['ext4', ['--hot', 'torn'], 'torn'],
      ['xfs', [], 'changing'],
    ] as const) {
      const pair = pairOn(kind);
      const stop = await writeVersions(join(pair.source, 'hot'), {sizeBytes: MIB << 20, pauseS: 0});
      const {exitCode, result} = await syncOnce(pair, flags, {timeoutMs: WAIT_MS});
      stop();
      expect([exitCode, result.inSync]).toEqual([1, false]);
      expect(result.problems).toEqual([expect.objectContaining({path: 'hot', code, side: 'source'})]);
      expect(statSync(join(pair.target, 'hot')).size).toBe(MIB << 20);
      if (kind === 'xfs') expect(versionsIn(join(pair.target, 'hot')).length).toBeLessThanOrEqual(2);
      const {exitCode: restedCode} = await syncOnce(pair, [], {timeoutMs: WAIT_MS});
      expect(restedCode).toBe(0);
      expect(versionsIn(join(pair.target, 'hot'))).toEqual(versionsIn(join(pair.source, 'hot')));
    }
  });

  test('C5 on ext4 with hot: wait its last whole version stays, and a problem says why and what to do', async () => {
    const pair = pairOn('ext4');
    const [hot, copy] = [join(pair.source, 'hot'), join(pair.target, 'hot')];
    const live = startLive(pair, ['--max-wait', '300ms']);
    await live.waitForEvent(({event, state}) => event === 'status' && state === 'in-sync', WAIT_MS);
    const stop = await writeVersions(hot, {sizeBytes: MIB << 20, pauseS: PAUSE_S});
    const problem = await live.waitForEvent(isOf('problem', 'hot'), WAIT_MS);
    expect(problem).toMatchObject({code: 'changing', side: 'source'});
    expect(problem['message']).toMatch(/hot: torn.*XFS or btrfs.*hooks/);
    expect(statSync(copy, {throwIfNoEntry: false})).toBeUndefined();
    stop();
    await untilEqual(live, pair, WAIT_MS);
    expect(versionsIn(copy)).toEqual(versionsIn(hot));
    await live.stop();
  });
});
