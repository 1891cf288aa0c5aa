/**
 * Space of zeros that the source has as holes is given back on the target: in steps, only when asked for, and never of a
 * file that somebody else has touched.
 */
import {spawn} from 'node:child_process';
import {chmodSync, copyFileSync, readFileSync, statSync, truncateSync, utimesSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {allocatedBytes, writeAt} from '../../sync/sparse.ts';
import {META, putFile, TargetFolder} from './target-folder.ts';

const MIB = 1024 * 1024;
const SIZE = 40 * MIB;
const BLOCK = 4096;

/** A target with a file that has 64 KiB of data in `SIZE` bytes of space. */
async function withZeros(): Promise<{target: TargetFolder; path: string; bytes: Buffer}> {
  const target = new TargetFolder();
  await target.apply(putFile('file', 'first'));
  const path = join(target.root, 'file');
  const bytes = Buffer.alloc(SIZE);
  bytes.fill('data', 3 * MIB, 3 * MIB + 64 * 1024);
  writeFileSync(path, bytes);
  return {target, path, bytes};
}

const setMeta = (allocated: number | undefined) =>
  ({kind: 'set-meta', path: 'file', type: 'file', meta: META, allocatedBytes: allocated}) as const;

describe('zeros become holes', () => {
  test('in steps of 16 MiB; content and time stay, and a chmod of the source between two steps is kept', async () => {
    const {target, path, bytes} = await withZeros();
    expect(await target.apply(setMeta(64 * 1024))).toEqual([{status: 'done'}]);
    expect(allocatedBytes(path)).toBeGreaterThanOrEqual(SIZE);
    expect(await target.giveBack()).toBe(true);
    const afterOne = allocatedBytes(path);
    expect(afterOne).toBeLessThan(SIZE - 14 * MIB);
    expect(afterOne).toBeGreaterThan(20 * MIB);
    expect(await target.apply({...setMeta(64 * 1024), meta: {...META, mode: 0o600}})).toEqual([{status: 'done'}]);
    for (let step = 0; await target.giveBack(); step++) expect(step).toBeLessThan(4);
    expect(allocatedBytes(path)).toBeLessThanOrEqual(64 * 1024 + 2 * BLOCK);
    const {mtime, mode} = statSync(path);
    expect([mtime.getTime(), mode & 0o777]).toEqual([META.mtime.s * 1_000, 0o600]);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(await target.giveBack()).toBe(false);
  });

  test.each([
    ['nothing was said of its space', undefined],
    ['the source has as much', SIZE],
    ['the source has nearly as much', SIZE - 64 * 1024],
  ])('not when %s', async (_, allocated) => {
    const {target, path} = await withZeros();
    await target.apply(setMeta(allocated));
    expect(await target.giveBack()).toBe(false);
    expect(allocatedBytes(path)).toBeGreaterThanOrEqual(SIZE);
  });

  test('not when somebody else has written to it meanwhile, also with the time put back', async () => {
    const {target, path} = await withZeros();
    await target.apply(setMeta(0));
    await target.giveBack();
    const before = allocatedBytes(path);
    writeAt(path, 30 * MIB, Buffer.from('theirs'));
    utimesSync(path, META.mtime.s, META.mtime.s);
    expect(await target.giveBack()).toBe(false);
    expect(allocatedBytes(path)).toBe(before);
    expect(
      readFileSync(path)
        .subarray(30 * MIB, 30 * MIB + 6)
        .toString(),
    ).toBe('theirs');
  });

  test('not of a program that runs; its attributes are set all the same', async () => {
    const {target, path} = await withZeros();
    copyFileSync('/bin/sleep', path);
    truncateSync(path, statSync(path).size + MIB);
    chmodSync(path, 0o755);
    const child = spawn(path, ['60'], {stdio: 'ignore'});
    onTestFinished(() => void child.kill());
    await new Promise((resolve) => child.once('spawn', resolve));
    const before = allocatedBytes(path);
    const meta = {...META, mode: 0o755};
    expect(await target.apply({...setMeta(0), meta})).toEqual([{status: 'done'}]);
    expect(await target.giveBack()).toBe(false);
    expect(await target.apply({...setMeta(2 * SIZE), meta})).toEqual([{status: 'done'}]);
    expect(allocatedBytes(path)).toBe(before);
    expect(statSync(path).mtime.getTime()).toBe(META.mtime.s * 1_000);
  });
});

test('a hole takes its space when the source has none, and reads as before', async () => {
  const {target, path} = await withZeros();
  truncateSync(path, 0);
  truncateSync(path, SIZE);
  writeAt(path, MIB, Buffer.alloc(BLOCK, 'data'));
  const before = readFileSync(path);
  expect(await target.apply(setMeta(undefined))).toEqual([{status: 'done'}]);
  expect(allocatedBytes(path)).toBe(BLOCK);
  expect(await target.apply(setMeta(SIZE))).toEqual([{status: 'done'}]);
  expect(allocatedBytes(path)).toBeGreaterThanOrEqual(SIZE);
  expect(readFileSync(path).equals(before)).toBe(true);
  expect(statSync(path).mtime.getTime()).toBe(META.mtime.s * 1_000);
});
