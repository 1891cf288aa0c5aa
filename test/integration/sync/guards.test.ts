/**
 * Guards of a single run: what looks like an accident deletes nothing and ends with 3; what was meant goes on when it
 * is confirmed; what was deleted or overwritten is in the trash.
 */
import {cpSync, mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {needsCommands, needsRoot} from '../../needs.ts';
import {
  command,
  compareByRsync,
  makePair,
  syncOnce,
  towline,
  trashOf,
  type Pair,
  type Run,
} from '../../sync/harness.ts';

const rootTest = needsRoot(test);

function fill(folder: string, count: number, prefix = 'file'): void {
  mkdirSync(folder, {recursive: true});
  for (let index = 0; index < count; index++) writeFileSync(join(folder, `${prefix}-${index}`), `${prefix} ${index}\n`);
}

/** A pair in sync, with `count` files in the root. */
async function synced(count: number): Promise<Pair> {
  const pair = makePair();
  fill(pair.source, count);
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(0);
  return pair;
}

function remove(folder: string, from: number, to: number): void {
  for (let index = from; index < to; index++) rmSync(join(folder, `file-${index}`));
}

const namesIn = (folder: string): string => command('find', folder, '-printf', '%P %s %i\n');

function expectHalt(run: Run, kind: string): void {
  const error = run.events.find(({event}) => event === 'error');
  expect(run.exitCode, run.stderr).toBe(3);
  expect(error?.['details']).toMatchObject({kind});
}

test('F1 deletes a subtree of 5 levels with 40 files, which the trash keeps as it was', async () => {
  const pair = await synced(60);
  fill(join(pair.source, 'a/b/c/d/e'), 40);
  await syncOnce(pair);
  const before = command('find', join(pair.target, 'a'), '-printf', '%P %s %T@\n');
  rmSync(join(pair.source, 'a'), {recursive: true});
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  const [item, ...others] = trashOf(run.result.folders.trash);
  expect(others).toEqual([]);
  expect(item).toMatchObject({path: 'a', reason: 'deleted', type: 'dir'});
  expect(command('find', item!.at, '-printf', '%P %s %T@\n')).toBe(before);
});

test('F2 a source that was emptied while nothing ran deletes nothing of 30 files and ends with 3', async () => {
  const pair = await synced(30);
  const before = namesIn(pair.target);
  remove(pair.source, 0, 30);
  expectHalt(await syncOnce(pair), 'root-emptied');
  expect(namesIn(pair.target)).toBe(before);
});

test('F5 51 of 100 deleted halts with nothing deleted; confirmed with the printed count it goes on', async () => {
  const pair = await synced(100);
  remove(pair.source, 0, 51);
  const before = namesIn(pair.target);
  const run = await syncOnce(pair);
  expectHalt(run, 'delete-share');
  expect(run.stderr).toContain('51');
  expect(namesIn(pair.target)).toBe(before);

  const confirm = (count: string): Promise<Run> =>
    towline(['confirm', pair.source, pair.target, '--state', pair.state, '--yes', count]);
  expect((await confirm('50')).exitCode).toBe(8);
  expectHalt(await syncOnce(pair), 'delete-share');
  expect((await confirm('51')).exitCode).toBe(0);
  const after = await syncOnce(pair);
  expect(after.exitCode, after.stderr).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  expect(trashOf(after.result.folders.trash)).toHaveLength(51);

  // The word was for this once.
  remove(pair.source, 51, 90);
  expectHalt(await syncOnce(pair), 'delete-share');
});

test('F5 50 of 100 deleted goes without being asked', async () => {
  const pair = await synced(100);
  remove(pair.source, 0, 50);
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});

test('F5 a folder of 99 files that a rename replaces counts as 100 deletes', async () => {
  const pair = makePair();
  fill(join(pair.source, 'big'), 99);
  fill(join(pair.source, 'small'), 2, 'other');
  await syncOnce(pair);
  const before = namesIn(pair.target);
  rmSync(join(pair.source, 'big'), {recursive: true});
  renameSync(join(pair.source, 'small'), join(pair.source, 'big'));
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(3);
  expect(namesIn(pair.target)).toBe(before);
});

test('F6 60 of 100 files renamed, some into a new folder, are no deletes and send 0 bytes of content', async () => {
  const pair = await synced(100);
  mkdirSync(join(pair.source, 'new'));
  for (let index = 0; index < 60; index++) {
    const to = index % 2 === 0 ? `new/${index}` : `moved-${index}`;
    renameSync(join(pair.source, `file-${index}`), join(pair.source, to));
  }
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(run.result.stats).toMatchObject({deleted: 0, contentBytes: 0, renamed: 60});
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  expect(trashOf(run.result.folders.trash)).toEqual([]);
});

needsCommands('strace')(test)('F6 a rename of 51 of 102 that a kill kept from the target deletes nothing', async () => {
  const pair = makePair();
  fill(join(pair.source, 'a'), 60);
  fill(join(pair.source, 'b'), 40, 'other');
  await syncOnce(pair);
  renameSync(join(pair.source, 'a'), join(pair.source, 'c'));
  const killed = await syncOnce(pair, [], {wrapper: killAt('renameat2', 1)});
  expect(killed.exitCode).not.toBe(0);
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(run.result.stats).toMatchObject({deleted: 0, contentBytes: 0});
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});

test('F16 100 files cut to 0 bytes count as 100 deletes', async () => {
  const pair = await synced(100);
  const before = namesIn(pair.target);
  for (let index = 0; index < 100; index++) truncateSync(join(pair.source, `file-${index}`));
  expect((await syncOnce(pair)).exitCode).toBe(3);
  expect(namesIn(pair.target)).toBe(before);
});

rootTest.each(['source', 'target'] as const)(
  'F4 another folder in place of the %s halts: nothing is written',
  async (side) => {
    const pair = await synced(5);
    const other = side === 'source' ? 'target' : 'source';
    const before = namesIn(pair[other]);
    renameSync(pair[side], `${pair[side]}.away`);
    fill(pair[side], 3, 'stranger');
    const strangers = namesIn(pair[side]);
    const run = await syncOnce(pair);
    expectHalt(run, 'root-replaced');
    expect(run.stderr).toContain('mark');
    expect(namesIn(pair[other])).toBe(before);
    expect(namesIn(pair[side])).toBe(strangers);
  },
);

rootTest.each(['source', 'target'] as const)(
  'F15 a copy of the marked %s in its place is a clone: halt',
  async (side) => {
    const pair = await synced(5);
    renameSync(pair[side], `${pair[side]}.away`);
    command('cp', '-a', `${pair[side]}.away`, pair[side]);
    const run = await syncOnce(pair);
    expectHalt(run, 'root-replaced');
    expect(run.stderr).toContain('copy');
  },
);

test('F11 what was deleted and overwritten comes back from the trash by hand, byte for byte', async () => {
  const pair = await synced(30);
  const sums = (): string => command('sha256sum', join(pair.target, 'file-1'), join(pair.target, 'file-2'));
  const before = sums();
  rmSync(join(pair.source, 'file-1'));
  writeFileSync(join(pair.source, 'file-2'), 'a new version\n');
  const run = await syncOnce(pair);
  const trash = trashOf(run.result.folders.trash);
  expect(trash.map(({path, reason}) => `${path} ${reason}`).toSorted()).toEqual([
    'file-1 deleted',
    'file-2 overwritten',
  ]);
  for (const {at, path} of trash) cpSync(at, join(pair.target, path));
  expect(sums()).toBe(before);
});

test('F11 of versions that the mirror wrote itself one an hour is kept, of those of others every one', async () => {
  const pair = await synced(3);
  const hours = new Set([hourNow()]);
  for (const version of ['second', 'third']) {
    writeFileSync(join(pair.source, 'file-0'), `${version}\n`);
    await syncOnce(pair);
  }
  for (const stranger of ['x', 'y']) {
    writeFileSync(join(pair.target, 'file-0'), `${stranger}\n`);
    await syncOnce(pair);
  }
  const run = await syncOnce(pair);
  hours.add(hourNow());
  const kept = trashOf(run.result.folders.trash).map(({at, reason}) => [reason, readFileSync(at, 'utf8')]);
  expect(kept.filter(([reason]) => reason === 'overwritten').length).toBeLessThanOrEqual(hours.size);
  expect(kept[0]).toEqual(['overwritten', 'file 0\n']);
  expect(kept.filter(([reason]) => reason === 'foreign')).toEqual([
    ['foreign', 'x\n'],
    ['foreign', 'y\n'],
  ]);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});

function hourNow(): string {
  return new Date().toISOString().slice(0, 13);
}

/** strace that kills the program at its n-th call. */
function killAt(syscall: string, count: number): string[] {
  return [
    'strace',
    '-f',
    '-qq',
    '-o',
    '/dev/null',
    '-e',
    `trace=${syscall}`,
    '-e',
    `inject=${syscall}:signal=KILL:when=${count}`,
  ];
}

rootTest.each(['source', 'target'] as const)(
  'F4 a %s that was replaced on purpose is taken after confirm',
  async (side) => {
    const pair = await synced(5);
    renameSync(pair[side], `${pair[side]}.away`);
    command('cp', '-r', `${pair[side]}.away`, pair[side]);
    expectHalt(await syncOnce(pair), 'root-replaced');
    const asked = await towline(['confirm', pair.source, pair.target, '--state', pair.state, '--json', '--yes', '0']);
    expect(asked.exitCode, asked.stderr).toBe(0);
    expect(asked.events[0]).toMatchObject({halted: true, kind: 'root-replaced', count: 0});
    const run = await syncOnce(pair);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.result.stats['contentBytes']).toBe(0);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
    const nothing = await towline(['confirm', pair.source, pair.target, '--state', pair.state, '--yes', '0']);
    expect(nothing.exitCode).toBe(8);
  },
);

test('F5 a halt that is settled on the source waits for nobody any more', async () => {
  const pair = await synced(60);
  command('cp', '-a', pair.source, `${pair.source}.copy`);
  remove(pair.source, 0, 50);
  expectHalt(await syncOnce(pair), 'delete-share');
  command('cp', '-a', `${pair.source}.copy/.`, pair.source);
  expect((await syncOnce(pair)).exitCode).toBe(0);
  const run = await towline(['confirm', pair.source, pair.target, '--state', pair.state, '--yes', '50']);
  expect(run.exitCode).toBe(8);
});
