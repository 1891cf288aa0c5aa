/**
 * `sync --once` after renames: no content travels, and who reads the target meanwhile sees whole files at every moment.
 */
import {mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {setImmediate} from 'node:timers/promises';
import {join} from 'node:path';
import {expect, test, vi} from 'vitest';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../../needs.ts';
import {command, compareByRsync, makePair, type Pair, type Run, syncOnce, trashOf} from '../../sync/harness.ts';
import {Random} from '../../sync/random-tree.ts';
import {makeTmpDir} from '../../tmp.ts';

vi.setConfig({testTimeout: 120_000}); // seconds on a quiet machine
const rsyncTest = needsCommands('rsync')(test);
const MIB = 1 << 20;

async function inSync(pair: Pair): Promise<Run> {
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  return run;
}

/** What was done to paths, the attributes of directories aside. */
function doneTo(run: Run): string[] {
  return run.events
    .filter(({event, op}) => event === 'applied' && op !== 'set-meta')
    .map(({op, path, to}) =>
      to === null ? `${String(op)} ${String(path)}` : `${String(op)} ${String(path)} ${to as string}`,
    )
    .toSorted();
}

/** Reads paths of the target over and over while a run goes on; returns every version that was seen, '' for missing. */
async function pollDuring<T>(
  run: Promise<T>,
  paths: string[],
): Promise<{result: T; seen: Set<string>[]; count: number}> {
  const seen = paths.map(() => new Set<string>());
  const state = {isOver: false};
  void run.finally(() => (state.isOver = true)).catch(() => undefined);
  let count = 0;
  for (; !state.isOver; count++) {
    for (const [index, path] of paths.entries()) seen[index]!.add(contentOf(path));
    await setImmediate();
  }
  return {result: await run, seen, count};
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

rsyncTest('E1 files of 500 bytes and 3 MiB renamed, here and into a new folder: 0 bytes of content sent', async () => {
  const pair = makePair();
  for (const size of [500, 3 * MIB]) {
    for (const name of ['here', 'away'])
      writeFileSync(join(pair.source, `${name} ${size}`), new Random(size).bytes(size));
  }
  await inSync(pair);
  mkdirSync(join(pair.source, 'new/folder'), {recursive: true});
  for (const size of [500, 3 * MIB]) {
    renameSync(join(pair.source, `here ${size}`), join(pair.source, `renamed ${size}`));
    renameSync(join(pair.source, `away ${size}`), join(pair.source, `new/folder/${size}`));
  }
  const run = await inSync(pair);
  expect(run.result.stats).toMatchObject({contentBytes: 0, copiedBytes: 0, renamed: 4, deleted: 0, filesSent: 0});
  expect(doneTo(run)).toEqual([
    'make-dir new',
    'make-dir new/folder',
    `rename away ${3 * MIB} new/folder/${3 * MIB}`,
    'rename away 500 new/folder/500',
    `rename here ${3 * MIB} renamed ${3 * MIB}`,
    'rename here 500 renamed 500',
  ]);
});

rsyncTest('E2 a directory with 10,000 files is renamed: 0 bytes of content sent, one rename', async () => {
  const pair = makePair();
  for (let dir = 0; dir < 10; dir++) {
    mkdirSync(join(pair.source, `old/${dir}`), {recursive: true});
    for (let index = 0; index < 1_000; index++)
      writeFileSync(join(pair.source, `old/${dir}/${index}`), `${dir} ${index}`);
  }
  await inSync(pair);
  renameSync(join(pair.source, 'old'), join(pair.source, 'new'));
  const run = await inSync(pair);
  expect(doneTo(run)).toEqual(['rename old new']);
  expect(run.result.stats).toMatchObject({contentBytes: 0, copiedBytes: 0, filesHashed: 0, deleted: 0});
  expect(run.result.stats['wireBytes']).toBeLessThan(16_384);
});

rsyncTest('E3 8 KiB of a renamed file of 4 MiB are edited: at most 64 KiB sent', async () => {
  const pair = makePair();
  const bytes = new Random(3).bytes(4 * MIB);
  writeFileSync(join(pair.source, 'old'), bytes);
  await inSync(pair);
  renameSync(join(pair.source, 'old'), join(pair.source, 'new'));
  bytes.set(new Random(4).bytes(8_192), 2 * MIB);
  writeFileSync(join(pair.source, 'new'), bytes, {flag: 'r+'});
  const {stats} = (await inSync(pair)).result;
  expect(stats['contentBytes']).toBeGreaterThanOrEqual(8_192);
  expect(stats['contentBytes']).toBeLessThanOrEqual(65_536);
});

rsyncTest(
  'E4 two names swapped through a third, read all the while: never missing, short or mixed, 0 bytes sent',
  async () => {
    const pair = makePair();
    const at = (path: string): string => join(pair.source, path);
    const [a, b] = ['a'.repeat(200_000), 'b'.repeat(150_000)];
    for (const dir of ['d1', 'd2']) mkdirSync(at(dir));
    const contents = {x: a, y: b, 'd1/file': a, 'd2/file': b};
    for (const [path, content] of Object.entries(contents)) writeFileSync(at(path), content);
    await inSync(pair);
    for (const [one, two] of [
      ['x', 'y'],
      ['d1', 'd2'],
    ] as const) {
      renameSync(at(one), at('third'));
      renameSync(at(two), at(one));
      renameSync(at('third'), at(two));
    }
    const paths = Object.keys(contents).map((path) => join(pair.target, path));
    const {result: run, seen, count} = await pollDuring(syncOnce(pair), paths);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
    expect(count).toBeGreaterThan(10);
    for (const versions of seen) expect([...versions].toSorted()).toEqual([a, b]); // the old and the new one
    expect(run.result.stats).toMatchObject({contentBytes: 0, deleted: 0});
  },
);

rsyncTest('E5 a rename out of the tree is a delete with a copy in the trash, one into it a new entry', async () => {
  const pair = makePair();
  const outside = makeTmpDir();
  writeFileSync(join(pair.source, 'leaves'), 'it leaves');
  mkdirSync(join(pair.source, 'stays'));
  writeFileSync(join(outside, 'comes'), 'it comes');
  await inSync(pair);
  renameSync(join(pair.source, 'leaves'), join(outside, 'left'));
  renameSync(join(outside, 'comes'), join(pair.source, 'came'));
  const run = await inSync(pair);
  expect(doneTo(run)).toEqual(['delete leaves', 'put-file came']);
  const trash = trashOf(run.result.folders.trash);
  expect(trash.map(({path, reason}) => [path, reason])).toEqual([['leaves', 'deleted']]);
  expect(readFileSync(trash[0]!.at, 'utf8')).toBe('it leaves');
});

rsyncTest(
  'E6 a rename over an existing file, read all the while: old or new; the file that was there is in the trash',
  async () => {
    const pair = makePair();
    const [old, fresh] = ['o'.repeat(100_000), 'n'.repeat(120_000)];
    writeFileSync(join(pair.source, 'file'), old);
    writeFileSync(join(pair.source, 'file.new'), fresh);
    await inSync(pair);
    renameSync(join(pair.source, 'file.new'), join(pair.source, 'file'));
    const {result: run, seen} = await pollDuring(syncOnce(pair), [join(pair.target, 'file')]);
    expect(run.exitCode, run.stderr).toBe(0);
    expect([...seen[0]!].toSorted()).toEqual([fresh, old]);
    expect(run.result.stats['contentBytes']).toBe(0);
    expect(readdirSync(pair.target)).toEqual(['file']);
    const kept = trashOf(run.result.folders.trash).filter(({path}) => path === 'file');
    expect(kept.map(({at}) => readFileSync(at, 'utf8'))).toEqual([old]);
  },
);

const e7 = 'E7 x deleted and an unrelated y made, also with the inode of x: not taken for a rename';
needsLoopMounts(rsyncTest)(e7, async () => {
  const pair = makePair('test', makeLoopFilesystem('ext4', 20).path); // on which nobody else takes inodes
  for (let index = 0; index < 20; index++) writeFileSync(join(pair.source, `x${index}`), `old ${index}`);
  await inSync(pair);
  const before = command('find', pair.source, '-name', 'x*', '-printf', '%i\\n');
  for (let index = 0; index < 9; index++) {
    rmSync(join(pair.source, `x${index}`));
    writeFileSync(join(pair.source, `y${index}`), `new ${index}`); // same size
  }
  const reused = command('find', pair.source, '-name', 'y*', '-printf', '%i\\n').trim().split('\n');
  const run = await inSync(pair);
  expect(doneTo(run).filter((line) => line.startsWith('rename'))).toEqual([]);
  expect(run.result.stats).toMatchObject({renamed: 0, deleted: 9, created: 9});
  expect(
    reused.some((inode) => before.split('\n').includes(inode)),
    'an inode was used again',
  ).toBe(true);
});
