/** What a live process refuses to destroy, and how it ends. */
import {existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {describe, expect, test} from 'vitest';
import {
  command,
  compareByRsync,
  makePair,
  startLive,
  syncOnce,
  towline,
  type JsonEvent,
  type Pair,
} from '../../sync/harness.ts';
import {equalByRsync, stagedBytes, untilEqual} from '../../sync/live.ts';
import {needsCommands} from '../../needs.ts';

const ENTRIES = 100; // besides the file that `untilEqual` writes
const RELEASED_MAX = 20; // `share-from`: so many of a burst go at once

needsCommands('rsync')(describe)('a live pair and its guards', {timeout: 60_000}, () => {
  test('F2 `rm -rf` of everything in the source: halt, and what went is in the trash', async () => {
    const pair = livePair();
    const live = startLive(pair);
    await untilEqual(live, pair);
    const before = contents(pair.target);
    command('sh', '-c', `rm -rf '${pair.source}'/*`);
    const run = await live.end();
    expect(run.exitCode).toBe(3);
    expect(run.result.status).toMatchObject({state: 'halted'});
    const left = contents(pair.target);
    expect(before.size - left.size).toBeLessThanOrEqual(RELEASED_MAX);
    const kept = contents(run.result.folders.trash);
    expect([...before].filter((content) => !left.has(content) && !kept.has(content))).toEqual([]);
  });

  test('F5 52 of 101 entries deleted with a limit of 50 %: halt, at most 20 gone and in the trash; confirm goes on', async () => {
    const pair = livePair();
    const live = startLive(pair, ['--delete-limit', '50%']);
    await untilEqual(live, pair);
    const before = contents(pair.target);
    for (let index = 0; index < 52; index++) rmSync(join(pair.source, `file${index}`));
    const run = await live.end();
    expect(run.exitCode).toBe(3);
    const left = contents(pair.target);
    expect(before.size - left.size).toBeLessThanOrEqual(RELEASED_MAX);
    const kept = contents(run.result.folders.trash);
    expect([...before].filter((content) => !left.has(content) && !kept.has(content))).toEqual([]);

    const told = run.events.find(({event}) => event === 'error')?.['details'] as {count: number};
    const places = [pair.source, pair.target, '--state', pair.state];
    const wrong = await towline(['confirm', ...places, '--yes', String(told.count + 1)]);
    expect(wrong.exitCode).toBe(8);
    const confirmed = await towline(['confirm', ...places, '--yes', String(told.count)]);
    expect(confirmed.exitCode, confirmed.stderr).toBe(0);
    const after = await syncOnce(pair, ['--delete-limit', '50%']);
    expect(after.exitCode, after.stderr).toBe(0);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
  });

  test('what comes and goes is no loss, however often; what was there before still counts', async () => {
    const pair = livePair();
    const live = startLive(pair);
    await untilEqual(live, pair);
    for (let round = 0; round < 150; round++) {
      writeFileSync(join(pair.source, 'journal'), `round ${round}`);
      mkdirSync(join(pair.source, 'scratch'));
      writeFileSync(join(pair.source, 'scratch/file'), `round ${round}`);
      await sleep(20);
      rmSync(join(pair.source, 'journal'));
      rmSync(join(pair.source, 'scratch'), {recursive: true});
    }
    await untilEqual(live, pair);
    // Into a new folder, which does not make them new.
    mkdirSync(join(pair.source, 'scratch'));
    for (let index = 0; index < 60; index++)
      renameSync(join(pair.source, `file${index}`), join(pair.source, `scratch/${index}`));
    await live.waitFor(() => existsSync(join(pair.target, 'scratch/59')));
    rmSync(join(pair.source, 'scratch'), {recursive: true});
    expect((await live.end()).exitCode).toBe(3);
    expect(readdirSync(join(pair.target, 'scratch')).length).toBeGreaterThanOrEqual(60 - RELEASED_MAX);
  });

  test('F8 an ignored file keeps its directory from going: told, everything else is done, and it goes once the file does', async () => {
    const pair = makePair();
    const at = (path: string): string => join(pair.source, path);
    mkdirSync(at('kept/below'), {recursive: true});
    mkdirSync(at('gone'));
    for (const path of ['kept/below/a', 'kept/b', 'gone/c', 'stays']) writeFileSync(at(path), path);
    const live = startLive(pair, ['--ignore', '*.local', '--delete-limit', 'none']);
    await live.waitInSync();
    const mine = join(pair.target, 'kept/below/mine.local');
    writeFileSync(mine, 'of the target alone');
    rmSync(at('kept'), {recursive: true});
    rmSync(at('gone'), {recursive: true});
    writeFileSync(at('new'), 'new');
    const isProblem = ({event, path, code}: JsonEvent): boolean =>
      event === 'problem' && path === 'kept' && code === 'not-empty';
    await live.waitForEvent(isProblem);
    await live.waitFor(() => existsSync(join(pair.target, 'new')) && !existsSync(join(pair.target, 'gone')));
    expect(readFileSync(mine, 'utf8')).toBe('of the target alone');
    expect(command('find', pair.target, '-type', 'f', '-printf', '%P ').split(' ').toSorted()).toEqual([
      '',
      'kept/below/mine.local',
      'new',
      'stays',
    ]);
    rmSync(mine);
    const mark = live.events.length;
    await live.waitForEventAfter(mark, ({event, path}) => event === 'solved' && path === 'kept', 40_000);
    await live.waitFor(() => compareByRsync(pair.source, pair.target) === '');
    const run = await live.stop();
    expect([run.exitCode, run.result.problems]).toEqual([0, []]);
  });

  test.each(['renamed away', 'renamed away, and another put in its place'])(
    'D6 the root of the source %s: halt, 0 deletes',
    async (what) => {
      const pair = livePair();
      const live = startLive(pair);
      await untilEqual(live, pair);
      const before = listNames(pair.target);
      renameSync(pair.source, `${pair.source}.away`);
      if (what !== 'renamed away') {
        mkdirSync(pair.source);
        writeFileSync(join(pair.source, 'another'), 'of another volume');
      }
      const run = await live.end();
      expect(run.exitCode).toBe(3);
      expect(run.result.stats['deleted']).toBe(0);
      expect(listNames(pair.target)).toEqual(before);
      const again = await syncOnce(pair);
      expect(again.exitCode).toBe(3);
      expect(listNames(pair.target)).toEqual(before);
    },
  );

  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends it with 0 within 10 s', async (signal) => {
    const pair = livePair();
    const live = startLive(pair);
    await untilEqual(live, pair);
    const run = await live.stop(signal, 10_000);
    expect(run.exitCode).toBe(0);
    expect(run.result.inSync).toBe(true);
  });

  test('J8 SIGTERM during the transfer of 512 MB ends it within 10 s; the next run completes it', async () => {
    const pair = livePair();
    writeFileSync(join(pair.source, 'large'), Buffer.alloc(512_000_000, 'not the same 8 bytes all over'));
    const live = startLive(pair);
    await live.waitFor(() => stagedBytes(pair) > 50_000_000);
    const run = await live.stop('SIGTERM', 10_000);
    expect(existsSync(join(pair.target, 'large'))).toBe(false);
    expect(run.exitCode).toBe(0);
    const next = await syncOnce(pair);
    expect(next.exitCode).toBe(0);
    expect(equalByRsync(pair)).toBe(true);
  });
});

/** A pair whose source holds 100 files, each with a content of its own. */
function livePair(): Pair {
  const pair = makePair();
  for (let index = 0; index < ENTRIES; index++) writeFileSync(join(pair.source, `file${index}`), `file ${index}`);
  return pair;
}

function listNames(root: string): string[] {
  return readdirSync(root).toSorted();
}

/** Contents of all files below a folder. */
function contents(root: string): Set<string> {
  const files = readdirSync(root, {withFileTypes: true, recursive: true}).filter((entry) => entry.isFile());
  return new Set(files.map(({parentPath, name}) => readFileSync(join(parentPath, name), 'utf8')));
}
