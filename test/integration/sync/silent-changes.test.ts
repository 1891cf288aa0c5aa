/**
 * Changes of which no watcher is told: stores through mmap, into pages that were clean and into dirty ones.
 *
 * The program itself takes 20 s and 60 s for it; the runs in here have shorter times and are in this process.
 * TOWLINE_TEST_MMAP=long lets the program do it, in its own time.
 */
import {existsSync, linkSync, mkdirSync, readFileSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import {describe, expect, test} from 'vitest';
import {makeSyncOptions} from '../../../src/config/sync-options.ts';
import {runSync} from '../../../src/daemon/sync.ts';
import type {SyncOutcome} from '../../../src/daemon/sync-api.ts';
import {SILENT_LOG} from '../../../src/telemetry/log.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../../needs.ts';
import {compareByRsync, makePair, startLive, syncOnce, type Pair} from '../../sync/harness.ts';
import {mapFile, type MappedFile} from '../../sync/mapped.ts';
import {until} from '../../until.ts';

const IS_LONG = process.env['TOWLINE_TEST_MMAP'] === 'long';
/** From the last store until it must be on the target. */
const LATEST_MS = IS_LONG ? 90_000 : 30_000;
/** A file at rest. */
const REST_MS = IS_LONG ? 60_000 : 500;
/** A file that was made only now is read well within this time. */
const START_MS = IS_LONG ? 60_000 : 6_000;

type End = () => Promise<unknown>;

/** A run in this process, with times that a test can wait for. @returns its outcome, and what ends a live one */
function runHere(pair: Pair, quietMs: number, flags: {once?: boolean}): {over: Promise<SyncOutcome>; end: End} {
  const options = makeSyncOptions(pair.source, pair.target, {...flags, state: pair.state});
  const stopping = new AbortController();
  const silentTimes = {quietMs, mappedMs: 100};
  const over = runSync(options, {onEvent: () => undefined, signal: stopping.signal, log: SILENT_LOG, silentTimes});
  const end = (): Promise<unknown> => {
    stopping.abort();
    return over.catch(() => undefined);
  };
  return {over, end};
}

function follow(pair: Pair, quietMs: number): End {
  if (!IS_LONG) return runHere(pair, quietMs, {}).end;
  const live = startLive(pair);
  return () => live.stop();
}

async function once(pair: Pair, quietMs: number): Promise<number | null> {
  return IS_LONG ? (await syncOnce(pair)).exitCode : (await runHere(pair, quietMs, {once: true}).over).exitCode;
}

const holds = (path: string, text: string): boolean => existsSync(path) && readFileSync(path, 'latin1').includes(text);
const timesOf = (path: string): bigint[] => {
  const {mtimeNs, ctimeNs} = statSync(path, {bigint: true});
  return [mtimeNs, ctimeNs];
};

/** Stores into a page until nothing but the bytes tells of it: when the kernel has just written the page, times do too. */
async function storeSilently(mapped: MappedFile, file: string, offset: number): Promise<string> {
  for (let count = 1; ; count++) {
    const before = timesOf(file);
    await mapped.store(offset, `SILENT ${count}.`);
    if (String(timesOf(file)) === String(before)) return `SILENT ${count}.`;
  }
}

/** A file that is on the target, and was at rest for so long that nothing but its times tells of a store. */
async function settled(pair: Pair): Promise<{file: string; copy: string; end: End}> {
  const [file, copy] = [join(pair.source, 'mapped'), join(pair.target, 'mapped')];
  writeFileSync(file, Buffer.alloc(16_384, 'old '));
  const end = follow(pair, REST_MS);
  await until(() => holds(copy, 'old '), LATEST_MS);
  await delay(REST_MS * 1.2 + 500);
  return {file, copy, end};
}

const options = {timeout: IS_LONG ? 600_000 : 60_000, concurrent: true}; // they wait, most of the time
needsCommands('python3', 'rsync')(describe)('stores through mmap', options, () => {
  test('A13 a store into a clean page of a file at rest, then some into the dirty page, whose times stay: all arrive', async ({
    onTestFinished,
  }) => {
    const pair = makePair('file');
    const {file, copy, end} = await settled(pair);
    onTestFinished(() => void end());
    const before = timesOf(file);
    const mapped = await mapFile(file);
    await mapped.store(4_096, 'FIRST');
    expect(timesOf(file)).not.toEqual(before);
    await until(() => holds(copy, 'FIRST'), LATEST_MS);
    const second = await storeSilently(mapped, file, 4_200);
    await until(() => holds(copy, second), LATEST_MS);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
  });

  test('A13 a store into a dirty page of a file that was made only now arrives, under both of its names', async ({
    onTestFinished,
  }) => {
    const pair = makePair('file');
    mkdirSync(join(pair.source, 'other'));
    const [file, copy] = [join(pair.source, 'mapped'), join(pair.target, 'other/name')];
    writeFileSync(file, Buffer.alloc(300_000, 'old '));
    linkSync(file, join(pair.source, 'other/name'));
    const mapped = await mapFile(file);
    await mapped.store(0, 'FIRST');
    const end = follow(pair, START_MS);
    onTestFinished(() => void end());
    await until(() => holds(copy, 'FIRST'), LATEST_MS);
    const second = await storeSilently(mapped, file, 100);
    await until(() => holds(copy, second), LATEST_MS);
    await until(() => compareByRsync(pair.source, pair.target) === '');
    expect(statSync(copy).nlink).toBe(2);
  });

  test('A13 a store right after a run with --once, of which no time tells: the next run finds it', async () => {
    const pair = makePair('file');
    const file = join(pair.source, 'mapped');
    writeFileSync(file, Buffer.alloc(16_384, 'old '));
    const mapped = await mapFile(file);
    await mapped.store(0, 'FIRST');
    expect(await once(pair, 3_600_000)).toBe(0); // however long it took: the file had changed only just before
    const second = await storeSilently(mapped, file, 100);
    await delay(REST_MS * 1.2);
    expect(await once(pair, REST_MS)).toBe(0);
    expect(holds(join(pair.target, 'mapped'), second)).toBe(true);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
  });

  needsLoopMounts(test)(
    'A13 on tmpfs, where only the first store into a page changes the times: later ones arrive',
    async ({onTestFinished}) => {
      const pair = makePair('file', makeLoopFilesystem('tmpfs', 16).path);
      const {file, copy, end} = await settled(pair);
      onTestFinished(() => void end());
      const mapped = await mapFile(file);
      await mapped.store(0, 'FIRST');
      const first = timesOf(file);
      await until(() => holds(copy, 'FIRST'), LATEST_MS);
      await delay(REST_MS * 2); // it counts as at rest again
      await mapped.store(100, 'SECOND');
      expect(timesOf(file)).toEqual(first);
      await until(() => holds(copy, 'SECOND'), LATEST_MS);
      expect(compareByRsync(pair.source, pair.target)).toBe('');
    },
  );
});
