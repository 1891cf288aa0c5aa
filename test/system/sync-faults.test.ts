/**
 * `sync --once` when the machine fails it: reads that end in EIO, a full disk, a disk that became read-only. One clear
 * sentence each, the right exit code, and what the target had stays whole.
 */
import {appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test, vi} from 'vitest';
import {makeLoopFilesystem, type LoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {compareByRsync, makePair, type Pair, syncOnce, towline} from '../sync/harness.ts';
import {Random} from '../sync/random-tree.ts';

vi.setConfig({testTimeout: 120_000}); // seconds on a quiet machine
const MIB = 1 << 20;

/** As people run it: without `--json`. */
const sync = (pair: Pair, ...args: string[]) =>
  towline(['sync', pair.source, pair.target, '--once', '--state', pair.state, ...args]);

const straceTest = needsCommands('rsync', 'strace')(test);

straceTest.each([
  ['10 bytes', 10],
  ['5 MiB', 5 * MIB],
])('EIO while %s are read: the path is named, its old version stays, the rest is equal', async (_, size) => {
  const pair = makePair();
  mkdirSync(join(pair.source, 'dir'));
  const bad = join(pair.source, 'dir/bad');
  const old = new Random(1).bytes(size);
  writeFileSync(bad, old);
  writeFileSync(join(pair.source, 'good'), 'good');
  expect((await sync(pair)).exitCode).toBe(0);
  appendFileSync(bad, 'more');
  appendFileSync(join(pair.source, 'good'), 'more');
  const reads = 'pread64,preadv,preadv2,read,readv,copy_file_range';
  const wrapper = ['strace', '-f', '-qq', '-o', '/dev/null', '-P', bad, '-e', `inject=${reads}:error=EIO`];
  const args = ['sync', pair.source, pair.target, '--once', '--state', pair.state];
  const run = await towline(args, {wrapper});
  expect(run.exitCode).toBe(1);
  expect((run.stdout + run.stderr).split('\n').filter((line) => line.includes('dir/bad'))).toEqual([
    '! dir/bad: dir/bad cannot be read (EIO); its old version stays on the target (source)',
  ]);
  expect(readFileSync(join(pair.target, 'dir/bad')).equals(old)).toBe(true);
  expect(compareByRsync(pair.source, pair.target, '--exclude=/dir/bad')).toBe('');
  expect((await sync(pair)).exitCode).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});

straceTest('EIO while a directory is listed: nothing below it is deleted, the rest is equal', async () => {
  const pair = makePair();
  mkdirSync(join(pair.source, 'dir/below'), {recursive: true});
  for (const path of ['dir/1', 'dir/below/2', '3']) writeFileSync(join(pair.source, path), path);
  expect((await sync(pair)).exitCode).toBe(0);
  rmSync(join(pair.source, '3'));
  rmSync(join(pair.source, 'dir/1'));
  const wrapper = ['strace', '-f', '-qq', '-o', '/dev/null', '-P', join(pair.source, 'dir')];
  const args = ['sync', pair.source, pair.target, '--once', '--state', pair.state];
  const run = await towline(args, {wrapper: [...wrapper, '-e', 'inject=getdents64:error=EIO']});
  expect(run.exitCode).toBe(1);
  expect(run.stdout + run.stderr).toMatch(/^! dir: .*EIO/m);
  expect(readdirSync(pair.target).filter((name) => name !== '.towline')).toEqual(['dir']);
  expect(readdirSync(join(pair.target, 'dir')).toSorted()).toEqual(['1', 'below']);
  expect((await sync(pair)).exitCode).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});

const loopTest = needsLoopMounts(needsCommands('mkfs.ext4', 'rsync')(test));

function makeLoopPair(sizeMiB: number): Pair & {disk: LoopFilesystem} {
  const disk = makeLoopFilesystem('ext4', sizeMiB);
  rmSync(join(disk.path, 'lost+found'), {recursive: true});
  return {...makePair(), target: disk.path, disk};
}

loopTest(
  'H7 150 files of 128 KiB on a target disk of 16 MiB: each is whole or not there; once 70 are left, all arrive',
  async () => {
    const pair = makeLoopPair(16);
    const random = new Random(7);
    for (let index = 0; index < 150; index++) writeFileSync(join(pair.source, `${index}`), random.bytes(128 << 10));
    const run = await syncOnce(pair);
    expect(run.exitCode).toBe(1);
    expect(run.result.problemCount).toBeGreaterThan(0);
    expect(new Set(run.result.problems.map(({code}) => code))).toEqual(new Set(['no-space']));
    expect(compareByRsync(pair.source, pair.target, '--ignore-non-existing', '--omit-dir-times')).toBe('');
    for (let index = 70; index < 150; index++) rmSync(join(pair.source, `${index}`));
    const later = await sync(pair, '--delete-limit', 'none');
    expect(later.exitCode, later.stdout).toBe(0);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
  },
);

loopTest('H15 the source frees most of a full disk of 24 MiB and fills it again: the trash makes room', async () => {
  const pair = makeLoopPair(24);
  writeFileSync(join(pair.source, 'kept'), 'kept');
  writeFileSync(join(pair.source, 'first'), new Random(1).bytes(12 * MIB));
  expect((await sync(pair)).exitCode).toBe(0);
  rmSync(join(pair.source, 'first'));
  writeFileSync(join(pair.source, 'second'), new Random(2).bytes(13 * MIB));
  expect((await sync(pair)).exitCode).toBe(0);
  rmSync(join(pair.source, 'second'));
  for (let index = 0; index < 200; index++)
    writeFileSync(join(pair.source, `${index}`), new Random(index).bytes(60_000));
  expect((await sync(pair)).exitCode).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});

loopTest(
  'H12 the target disk became read-only: one sentence, exit 1, nothing changed; equal once it is writable',
  async () => {
    const pair = makeLoopPair(16);
    writeFileSync(join(pair.source, 'file'), 'old');
    pair.disk.remount('ro');
    const first = await sync(pair);
    expect(first.exitCode).toBe(1);
    expect(first.stderr).toMatch(/^Error: [^\n]*read-only[^\n]*\n$/);
    expect(readdirSync(pair.target)).toEqual([]);
    pair.disk.remount('rw');
    expect((await sync(pair)).exitCode).toBe(0);
    writeFileSync(join(pair.source, 'file'), 'new');
    pair.disk.remount('ro');
    const second = await sync(pair);
    expect(second.exitCode).toBe(1);
    expect(second.stderr).toMatch(/^Error: [^\n]*read-only[^\n]*\n$/);
    expect(readFileSync(join(pair.target, 'file'), 'utf8')).toBe('old');
    pair.disk.remount('rw');
    expect((await sync(pair)).exitCode).toBe(0);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
  },
);
