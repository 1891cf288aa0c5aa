/**
 * `towline sync` of a large file, killed and stopped at random points: the next run sends what is missing, as its own
 * figures say. Longer: TOWLINE_TEST_LARGE_MIB=1024, TOWLINE_TEST_KILLS=20, TOWLINE_TEST_SEED=… for other points.
 */
import {randomBytes} from 'node:crypto';
import {existsSync, mkdirSync, readdirSync, rmSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {largestIn, sha256sum, writeLarge} from '../hosts/large-transfer.ts';
import {needsCommands, needsRoot} from '../needs.ts';
import {command, compareByRsync, makePair, startLive, syncOnce, type Pair} from '../sync/harness.ts';
import {targetFolder} from '../sync/live.ts';
import {Random} from '../sync/random-tree.ts';
import {makeHole, sparseFiles, writeAt} from '../sync/sparse.ts';

const MIB = 1 << 20;
const SIZE_BYTES = Number(process.env['TOWLINE_TEST_LARGE_MIB'] ?? 64) * MIB;
const KILLS = Number(process.env['TOWLINE_TEST_KILLS'] ?? 2);
const DONE_MS = 60_000 + SIZE_BYTES / 10_000;
const LEAF_BYTES = 256 * 1024;
const STOP_MS_MAX = 10_000;
const random = new Random(Number(process.env['TOWLINE_TEST_SEED'] ?? 1));
const judged = needsCommands('rsync')(test);
const timeout = {timeout: 60_000 + (KILLS + 1) * DONE_MS};

/** What is staged of a large file now. */
function staged(pair: Pair): number {
  const inRoot = join(pair.target, '.towline/staging');
  return largestIn(targetFolder(pair, 'staging') ?? inRoot)?.sizeBytes ?? largestIn(inRoot)?.sizeBytes ?? 0;
}

/** Starts a run, ends it when so much is staged. @returns what is staged then */
async function interrupted(pair: Pair, bytes: number, signal: NodeJS.Signals, ...args: string[]): Promise<number> {
  const live = startLive(pair, args);
  await live.waitFor(() => staged(pair) >= bytes, DONE_MS);
  const startMs = performance.now();
  const {exitCode} = await live.stop(signal);
  if (signal === 'SIGTERM') {
    expect(performance.now() - startMs).toBeLessThan(STOP_MS_MAX);
    expect(exitCode).toBe(0);
  }
  return staged(pair);
}

/** A plain run to the end. @returns bytes of content that it sent */
async function finish(pair: Pair, ...args: string[]): Promise<number> {
  const run = await syncOnce(pair, args, {timeoutMs: DONE_MS});
  expect(run.exitCode, run.stdout.slice(-2_000) + run.stderr).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  const {staging} = run.result.folders;
  expect(existsSync(staging) ? readdirSync(staging) : []).toEqual([]); // in a root it goes when it is empty
  return run.result.stats['contentBytes']!;
}

judged.each([
  {title: `H2 H3 killed ${KILLS} times`, signal: 'SIGKILL', args: []},
  {title: 'J8 stopped, which takes less than 10 s', signal: 'SIGTERM', args: []},
  {title: 'H2 killed with durability none', signal: 'SIGKILL', args: ['--durability', 'none']},
] as const)('$title: what was staged is not sent again', timeout, async ({title, signal, args}) => {
  const pair = makePair();
  const sum = writeLarge(join(pair.source, 'large'), SIZE_BYTES);
  const times = title.startsWith('H2 H3') ? KILLS : 1;
  let heldBytes = 0;
  for (let kill = 0; kill < times; kill++) {
    const share = (kill + 0.2 + random.below(60) / 100) / times;
    const before = heldBytes;
    heldBytes = await interrupted(pair, share * SIZE_BYTES, signal, ...args);
    expect(heldBytes).toBeGreaterThanOrEqual(before);
  }
  const sentBytes = await finish(pair, ...args);
  console.log(`${title}: ${heldBytes / MIB} MiB of ${SIZE_BYTES / MIB} were staged, ${sentBytes / MIB} were sent`);
  expect(heldBytes).toBeGreaterThan(0.1 * SIZE_BYTES);
  expect(sentBytes).toBeLessThanOrEqual(SIZE_BYTES - heldBytes + LEAF_BYTES);
  expect(sha256sum(join(pair.target, 'large'))).toBe(sum);
});

judged('H2 a part that is gone is sent again, and the figures show it', timeout, async () => {
  const pair = makePair();
  writeLarge(join(pair.source, 'large'), SIZE_BYTES);
  await interrupted(pair, SIZE_BYTES / 4, 'SIGKILL');
  rmSync(largestIn(targetFolder(pair, 'staging')!)!.path);
  expect(await finish(pair)).toBe(SIZE_BYTES);
});

judged('H2 a new version of a file that the target has, killed: its delta goes on too', timeout, async () => {
  const pair = makePair();
  const path = join(pair.source, 'large');
  writeLarge(path, SIZE_BYTES);
  await finish(pair);
  const half = SIZE_BYTES / 2;
  writeAt(path, 0, randomBytes(half));
  const heldBytes = await interrupted(pair, SIZE_BYTES / 4, 'SIGKILL');
  const sentBytes = await finish(pair);
  expect(sentBytes).toBeLessThanOrEqual(Math.max(0, half - heldBytes) + LEAF_BYTES);
});

judged('H2 a file with holes, killed: it goes on and keeps them', timeout, async () => {
  const pair = makePair();
  const path = join(pair.source, 'sparse');
  command('touch', path);
  makeHole(path, 4 * SIZE_BYTES);
  for (const offset of [0, 2 * SIZE_BYTES]) writeAt(path, offset, randomBytes(SIZE_BYTES / 2));
  const live = startLive(pair);
  const blocks = (): number => {
    const part = largestIn(targetFolder(pair, 'staging') ?? '/nonexistent');
    return part === undefined ? 0 : (statSync(part.path, {throwIfNoEntry: false})?.blocks ?? 0) * 512;
  };
  await live.waitFor(() => blocks() > SIZE_BYTES / 4, DONE_MS);
  await live.stop('SIGKILL');
  const heldBytes = blocks();
  expect(await finish(pair)).toBeLessThan(SIZE_BYTES - heldBytes + MIB);
  const [source, target] = sparseFiles([path, join(pair.target, 'sparse')]);
  expect(target!.digest).toBe(source!.digest);
  expect(target!.allocatedBytes).toBeLessThanOrEqual(source!.allocatedBytes + MIB);
});

needsRoot(judged)('H7 a part gives way where another file needs the room', timeout, async () => {
  const pair = makePair();
  mkdirSync(pair.target);
  command('mount', '-t', 'tmpfs', '-o', 'size=120m', 'towline-resume', pair.target);
  onTestFinished(() => void command('umount', pair.target));
  writeLarge(join(pair.source, 'first'), 80 * MIB);
  await interrupted(pair, 40 * MIB, 'SIGKILL');
  rmSync(join(pair.source, 'first'));
  writeLarge(join(pair.source, 'second'), 100 * MIB);
  expect(await finish(pair)).toBe(100 * MIB);
});

judged('a part whose file went away on the source goes with the next run', timeout, async () => {
  const pair = makePair();
  writeLarge(join(pair.source, 'large'), SIZE_BYTES);
  await interrupted(pair, SIZE_BYTES / 4, 'SIGKILL');
  rmSync(join(pair.source, 'large'));
  expect(await finish(pair)).toBe(0);
});
