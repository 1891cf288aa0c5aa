/**
 * What travels when a large file changes a little: counted by the program's own `contentBytes`, judged by rsync and cmp.
 */
import {spawnSync} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import {compareByRsync, makePair, syncOnce, trashOf, type Pair, type Run} from '../../sync/harness.ts';

const MIB = 1024 * 1024;
const SIZE_MIB = Number(process.env['TOWLINE_TEST_DELTA_MIB'] ?? 64);
const PAGE_BYTES = 8192;
const BLOCK_BYTES_MAX = 32 * 1024; // what a delta block of such a file is at most

let pair: Pair;
let path: string;
let original: Buffer;

beforeAll(async () => {
  pair = makePair('file');
  path = join(pair.source, 'big');
  original = randomBytes(SIZE_MIB * MIB);
  writeFileSync(path, original);
  await mirrored();
}, 120_000);

/** A run that must end in sync, with both files equal. */
async function mirrored(): Promise<Run['result']> {
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(spawnSync('cmp', [path, join(pair.target, 'big')], {encoding: 'utf8'}).stdout).toBe('');
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  return run.result;
}

/** Back to the random file that every case starts from. */
async function restored(): Promise<void> {
  writeFileSync(path, original);
  await mirrored();
}

describe(`a file of ${SIZE_MIB} MiB`, () => {
  test(`B1 one byte put before ${SIZE_MIB} MiB sends less than two blocks`, async () => {
    writeFileSync(path, Buffer.concat([Buffer.from('x'), original]));
    const {stats} = await mirrored();
    expect(stats['contentBytes']).toBeLessThan(2 * BLOCK_BYTES_MAX);
    await restored();
  }, 60_000);

  test('B2 10 MiB appended send 10 MiB and one block at most', async () => {
    writeFileSync(path, randomBytes(10 * MIB), {flag: 'a'});
    const {stats} = await mirrored();
    expect(stats['contentBytes']).toBeLessThanOrEqual(10 * MIB + BLOCK_BYTES_MAX);
    truncateSync(path, SIZE_MIB * MIB);
    const cut = await mirrored();
    expect(cut.stats['contentBytes'], 'B4 cut on a block boundary').toBe(0);
    truncateSync(path, SIZE_MIB * MIB - 12_345);
    const cutOff = await mirrored();
    expect(cutOff.stats['contentBytes'], 'B4 cut off a block boundary').toBeLessThan(BLOCK_BYTES_MAX);
    await restored();
  }, 60_000);

  test('B3 100 scattered pages of 8 KiB, signature at hand, send at most twice the changed bytes, all told', async () => {
    const fd = openSync(path, 'r+');
    const step = Math.floor((SIZE_MIB * MIB) / 100 / PAGE_BYTES) * PAGE_BYTES;
    for (let index = 0; index < 100; index++) writeSync(fd, randomBytes(PAGE_BYTES), 0, PAGE_BYTES, index * step);
    closeSync(fd);
    const {stats} = await mirrored();
    expect(stats['contentBytes']).toBeLessThanOrEqual(2 * 100 * PAGE_BYTES);
    expect(stats['contentBytes']).toBeGreaterThanOrEqual(100 * PAGE_BYTES);
    await restored();
  }, 60_000);

  test('B5 its blocks of 64 KiB in reverse order send less than 1 %', async () => {
    const pieces = Array.from({length: SIZE_MIB * 16}, (_, index) =>
      original.subarray(index * 65_536, (index + 1) * 65_536),
    );
    writeFileSync(path, Buffer.concat(pieces.toReversed()));
    const {stats} = await mirrored();
    expect(stats['contentBytes']).toBeLessThan(0.01 * SIZE_MIB * MIB);
    await restored();
  }, 60_000);

  test('B7 the base edited on the target between two runs: right in the end, the edit is in the trash', async () => {
    const copy = join(pair.target, 'big');
    const edited = Buffer.from(original);
    edited.fill(7, 5 * MIB, 6 * MIB);
    writeFileSync(copy, edited);
    writeFileSync(path, randomBytes(100), {flag: 'a'});
    const {stats, folders} = await mirrored();
    expect(stats['contentBytes']).toBeLessThanOrEqual(2 * MIB);
    const kept = trashOf(folders.trash).filter(({reason}) => reason === 'foreign');
    expect(kept).toHaveLength(1);
    expect(readFileSync(kept[0]!.at).equals(edited)).toBe(true);
    await restored();
  }, 60_000);
});

test('B6 64 MiB whose 8,192 blocks of 8 KiB have one weak sum, shifted by a byte: right, and within 30 s', async () => {
  const weak = makePair();
  const file = join(weak.source, 'weak');
  const blocks = Array.from({length: 8_192}, (_, index) => weakTwin(index));
  writeFileSync(file, Buffer.concat(blocks));
  expect((await syncOnce(weak)).exitCode).toBe(0);
  writeFileSync(file, Buffer.concat([Buffer.from('x'), ...blocks]));
  const startMs = performance.now();
  const run = await syncOnce(weak);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(performance.now() - startMs).toBeLessThan(30_000);
  expect(compareByRsync(weak.source, weak.target)).toBe('');
}, 60_000);

/**
 * 8 KiB blocks that differ and have one sum and one weighted sum: the pattern +1, -2, +1 on three neighbours changes
 * neither.
 */
function weakTwin(index: number): Buffer {
  const block = Buffer.alloc(PAGE_BYTES, 100);
  for (let bit = 0; bit < 13; bit++) {
    if (((index >> bit) & 1) === 0) continue;
    const at = bit * 4;
    block[at] = 101;
    block[at + 1] = 98;
    block[at + 2] = 101;
  }
  return block;
}

test('B7 other bytes of equal size and time on the target are noticed by the ctime, and kept', async () => {
  const small = makePair();
  const file = join(small.source, 'file');
  writeFileSync(file, randomBytes(4 * MIB));
  await syncOnce(small);
  const stranger = randomBytes(4 * MIB);
  writeFileSync(join(small.target, 'file'), stranger);
  spawnSync('touch', ['-r', file, join(small.target, 'file')]);
  writeFileSync(file, randomBytes(MIB), {flag: 'a'});
  const run = await syncOnce(small);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(compareByRsync(small.source, small.target)).toBe('');
  const kept = trashOf(run.result.folders.trash);
  expect(kept.map(({reason}) => reason)).toEqual(['foreign']);
  expect(readFileSync(kept[0]!.at).equals(stranger)).toBe(true);
});
