/**
 * What two clones' extent maps say has changed, against what a comparison of their bytes finds: random writes, holes,
 * preallocated space, ranges taken out and put in, past the page cache and through mmap, on XFS and btrfs. TOWLINE_TEST_EXTENT_ROUNDS sets how many (150).
 */
import {spawnSync} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {closeSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {extentsOf} from '../../../src/linux/extent-map.ts';
import {statFd} from '../../../src/linux/stat.ts';
import {changedRanges} from '../../../src/volume/changed-ranges.ts';
import {FileClones} from '../../../src/volume/file-clones.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../../needs.ts';
import {mapFile} from '../../sync/mapped.ts';

const ROUNDS = Number(process.env['TOWLINE_TEST_EXTENT_ROUNDS'] ?? 150);
const SEED = Number(process.env['TOWLINE_LAB_SEED'] ?? 20_261_122);
const SIZE_MAX = 8 << 20;
const BLOCK = 4096;

/** Mulberry32: the same numbers for the same seed. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

function io(path: string, command: string): void {
  run('-c', command, path);
}

function run(...args: string[]): void {
  spawnSync('xfs_io', args); // what a filesystem refuses (a range at the end, say) changes nothing
}

const KINDS =
  'write write write append punch reserve cut extend collapse insert zero past-the-cache through-a-mapping'.split(' ');

/** One change of the file. @returns what it was */
function change(path: string, fd: number, below: (n: number) => number): string {
  const {sizeBytes} = statFd(fd);
  const at = below(sizeBytes + 1);
  const length = 1 + below(below(4) === 0 ? 1 << 20 : 20_000);
  const [blockAt, blockLength] = [Math.floor(at / BLOCK) * BLOCK, Math.ceil(length / BLOCK) * BLOCK];
  const kind = below(KINDS.length);
  const room = SIZE_MAX - length;
  if (kind <= 2)
    writeSync(fd, Buffer.alloc(length, below(3) === 0 ? 0 : 1 + below(255)), 0, length, Math.min(at, room));
  else if (kind === 3) writeSync(fd, Buffer.alloc(length, 1 + below(255)), 0, length, Math.min(sizeBytes, room));
  else if (kind === 4) io(path, `fpunch ${at} ${length}`);
  else if (kind === 5) io(path, `falloc -k ${Math.min(at, room)} ${length}`);
  else if (kind === 6) ftruncateSync(fd, at);
  else if (kind === 7) ftruncateSync(fd, Math.min(SIZE_MAX, sizeBytes + length));
  else if (kind === 8) io(path, `fcollapse ${blockAt} ${blockLength}`);
  else if (kind === 9 && sizeBytes + blockLength < SIZE_MAX) io(path, `finsert ${blockAt} ${blockLength}`);
  else if (kind === 11) run('-d', '-c', `pwrite -S ${1 + below(255)} ${blockAt} ${blockLength}`, path);
  else if (kind === 12 && at + length < sizeBytes)
    run('-c', 'mmap -w 0 8m', '-c', `mwrite -S ${1 + below(255)} ${at} ${length}`, path);
  else io(path, `fzero ${Math.min(at, room)} ${length}`);
  return KINDS[kind]!;
}

function bytesOf(fd: number): Buffer {
  const bytes = Buffer.alloc(statFd(fd).sizeBytes);
  readSync(fd, bytes, 0, bytes.length, 0);
  return bytes;
}

const describeLoops = needsLoopMounts(needsCommands('mkfs.xfs', 'mkfs.btrfs', 'xfs_io', 'python3')(describe));

describeLoops.each([
  ['xfs', ''],
  ['btrfs', ''],
  ['btrfs', 'compress-force=zstd'],
] as const)('on %s %s', (kind, options) => {
  const {path: folder} = makeLoopFilesystem(kind, 400, options);

  test(`no byte that differs lies outside of what is told, over ${ROUNDS} random rounds`, {timeout: 240_000}, () => {
    const below = random(SEED);
    const path = join(folder, 'file');
    const fd = openSync(path, 'w+');
    const dirFd = openSync(folder, 'r');
    const clones = new FileClones();
    onTestFinished(() => [fd, dirFd].forEach((each) => closeSync(each)));
    writeSync(fd, Buffer.alloc(1 << 20, 7), 0, 1 << 20, 0);
    let before = clones.take(dirFd, fd)!;
    let [toldBytes, differentBytes, knownCount] = [0, 0, 0];
    for (let round = 0; round < ROUNDS; round++) {
      const kinds = Array.from({length: 1 + below(6)}, () => change(path, fd, below));
      if (below(3) === 0) fsyncSync(fd);
      const after = clones.take(dirFd, fd)!;
      const [old, now] = [bytesOf(before.fd), bytesOf(after.fd)];
      const ranges = changedRanges({fd: before.fd, sizeBytes: old.length}, {fd: after.fd, sizeBytes: now.length});
      if (ranges !== undefined) {
        knownCount++;
        toldBytes += ranges.totalBytes;
        let at = 0;
        // The gaps between the ranges must be equal; old bytes are missing behind the old end, where all is told.
        for (const {from, end} of [...ranges.within(0, now.length), {from: now.length, end: now.length}]) {
          const gap = `round ${round} (${kinds.join()}): ${at} to ${from} of ${old.length} and ${now.length}`;
          expect(from > at && at >= old.length, gap).toBe(false);
          if (from > at) expect(old.compare(now, at, from, at, from), gap).toBe(0);
          at = end;
        }
        for (let block = 0; block < now.length; block += BLOCK) {
          const end = Math.min(block + BLOCK, now.length);
          if (end > old.length || old.compare(now, block, end, block, end) !== 0) differentBytes += end - block;
        }
      }
      clones.close(before.fd);
      before = after;
    }
    clones.close(before.fd);
    expect(knownCount).toBe(ROUNDS);
    // Told is what changed, and not everything.
    expect(toldBytes).toBeGreaterThanOrEqual(differentBytes);
    if (options === '') expect(toldBytes).toBeLessThan(4 * differentBytes);
  });

  test('a store through a mapping that stays open is told, also into a page that was dirty when the first clone was made', async () => {
    const path = join(folder, 'mapped');
    const fd = openSync(path, 'w+');
    const dirFd = openSync(folder, 'r');
    onTestFinished(() => [fd, dirFd].forEach((each) => closeSync(each)));
    const sizeBytes = 1 << 20;
    writeSync(fd, randomBytes(sizeBytes), 0, sizeBytes, 0);
    const clones = new FileClones();
    const mapped = await mapFile(path);
    await mapped.store(500_000, 'first');
    const before = clones.take(dirFd, fd)!;
    await mapped.store(500_000, 'second');
    const after = clones.take(dirFd, fd)!;
    const [old, now] = [bytesOf(before.fd), bytesOf(after.fd)];
    expect(old.toString('latin1', 500_000, 500_005)).toBe('first');
    expect(now.toString('latin1', 500_000, 500_006)).toBe('second');
    const ranges = changedRanges({fd: before.fd, sizeBytes}, {fd: after.fd, sizeBytes})!;
    expect([...ranges.within(500_000, 500_006)]).toEqual([{from: 500_000, end: 500_006}]);
    for (const clone of [before, after]) clones.close(clone.fd);
  });

  test('of 3,000 pages of a file in more than one piece of its map each is told, and nothing between them', () => {
    const path = join(folder, 'pages');
    const fd = openSync(path, 'w+');
    const dirFd = openSync(folder, 'r');
    const clones = new FileClones();
    onTestFinished(() => [fd, dirFd].forEach((each) => closeSync(each)));
    const sizeBytes = 48 << 20;
    writeSync(fd, Buffer.alloc(sizeBytes, 'old'), 0, sizeBytes, 0);
    const before = clones.take(dirFd, fd)!;
    for (let page = 0; page < 3_000; page++) writeSync(fd, Buffer.alloc(8192, 'new'), 0, 8192, page * 16_384);
    const after = clones.take(dirFd, fd)!;
    const ranges = changedRanges({fd: before.fd, sizeBytes}, {fd: after.fd, sizeBytes})!;
    if (options === '') {
      expect(extentsOf(after.fd, 0, sizeBytes)!.end).toBeLessThan(sizeBytes);
      expect([ranges.count, ranges.totalBytes]).toEqual([3_000, 3_000 * 8192]);
      expect([...ranges.within(100, 20_000)]).toEqual([
        {from: 100, end: 8192},
        {from: 16_384, end: 20_000},
      ]);
    } else expect(ranges.totalBytes).toBeGreaterThan(0.99 * sizeBytes); // of what is compressed nothing is certain
    const none = changedRanges({fd: after.fd, sizeBytes}, {fd: after.fd, sizeBytes})!;
    if (options === '') expect(none.totalBytes).toBe(0);
    else expect(none.totalBytes).toBeGreaterThan(0.9 * sizeBytes);
    for (const clone of [before, after]) clones.close(clone.fd);
  });
});
