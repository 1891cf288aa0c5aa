/**
 * Holes of files: they arrive, they cost neither bytes on the wire nor space on the target, and they follow what becomes
 * of them on the source. On each filesystem that can punch holes, judged by du, python3 and cmp.
 */
import {randomBytes} from 'node:crypto';
import {chmodSync, copyFileSync, mkdirSync, readdirSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import {restoreTrash} from '../../../src/apply/browse-trash.ts';
import {makeLoopFilesystem, type LoopFilesystem, type LoopFilesystemKind} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../../needs.ts';
import {
  command,
  compareByRsync,
  makePair,
  startLive,
  syncOnce,
  type JsonEvent,
  type Pair,
  type Run,
} from '../../sync/harness.ts';
import {untilEqual} from '../../sync/live.ts';
import {allocatedBytes, makeHole, punch, sparseFiles, sparseOf, writeAt, type SparseFile} from '../../sync/sparse.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const BLOCK = 4 * KIB;
const NOTES = 2 * BLOCK;

/** All that can punch holes: `ext4,xfs,btrfs,tmpfs`. */
const KINDS = (process.env['TOWLINE_TEST_FILESYSTEMS'] ?? 'ext4,xfs').split(',') as LoopFilesystemKind[];

const describeHoles = needsLoopMounts(
  needsCommands('python3', 'fallocate', 'mkfs.ext4', 'mkfs.xfs', 'rsync')(describe),
);

describeHoles.each(KINDS)('on %s', (kind) => {
  let filesystem: LoopFilesystem;
  let folders = 0;
  beforeAll(() => {
    filesystem = makeLoopFilesystem(kind, 512);
  });

  function newPair(): Pair {
    const base = join(filesystem.path, `pair${folders++}`);
    mkdirSync(base);
    return makePair('test', base);
  }

  const at = (pair: Pair, name: string): {from: string; to: string} => ({
    from: join(pair.source, name),
    to: join(pair.target, name),
  });

  /** A run that must end in sync. */
  async function mirrored(pair: Pair): Promise<Run['result'] & {events: JsonEvent[]}> {
    const {exitCode, result, events} = await syncOnce(pair);
    expect({exitCode, problems: result.problems}).toEqual({exitCode: 0, problems: []});
    return {...result, events};
  }

  const changesIn = (events: readonly JsonEvent[], kind: string): string[] =>
    events.flatMap(({event, op, path}) => (event === kind ? [`${String(op)} ${String(path)}`] : [])).toSorted();

  /** Same content, and the same ranges of data. */
  function expectSame(pair: Pair, ...names: string[]): void {
    const sources = sparseFiles(names.map((name) => at(pair, name).from));
    const targets = sparseFiles(names.map((name) => at(pair, name).to));
    for (const [index, name] of names.entries()) {
      const [source, target] = [sources[index] as SparseFile, targets[index] as SparseFile];
      expect({name, ...target, allocatedBytes: 0}).toEqual({name, ...source, allocatedBytes: 0});
      expectSpace(target.allocatedBytes, source.allocatedBytes);
    }
  }

  /** Equal but for the filesystem's own notes about where things are. */
  function expectSpace(bytes: number, wanted: number): void {
    expect(bytes).toBeLessThanOrEqual(wanted + NOTES);
    expect(bytes).toBeGreaterThanOrEqual(wanted - NOTES);
  }

  needsCommands('setcap', 'getcap')(test)(
    'G1 G8 zeros become holes in a program, which keeps its capability',
    async () => {
      const pair = newPair();
      const {from, to} = at(pair, 'tool');
      writeFileSync(from, Buffer.concat([randomBytes(MIB), Buffer.alloc(MIB)]));
      chmodSync(from, 0o4755);
      command('setcap', 'cap_net_raw+ep', from);
      await mirrored(pair);
      punch(from, MIB, MIB);
      chmodSync(from, 0o4755);
      command('setcap', 'cap_net_raw+ep', from); // the kernel takes it from whatever is written to
      await mirrored(pair);
      expectSame(pair, 'tool');
      expect(command('getcap', to)).toContain('cap_net_raw');
      expect(statSync(to).mode & 0o7777).toBe(0o4755);
    },
  );

  test('G8 of 10 GiB with 1 MiB of data, a part of it in 64 scattered pages, at most 2 MiB are sent and allocated', async () => {
    const pair = newPair();
    const {from, to} = at(pair, 'big');
    makeHole(from, 10 * GIB);
    writeAt(from, 3 * GIB, randomBytes(768 * KIB));
    for (let page = 0; page < 64; page++) writeAt(from, page * 150 * MIB + 20 * KIB, randomBytes(BLOCK));
    const {stats} = await mirrored(pair);
    expect(stats['wireBytes']).toBeLessThan(2 * MIB);
    expect(stats['contentBytes']).toBe(MIB);
    expect(allocatedBytes(to)).toBeLessThan(2 * MIB);
    expectSame(pair, 'big');

    writeAt(from, 5 * GIB + 12 * KIB, randomBytes(BLOCK));
    punch(from, 3 * GIB + 64 * KIB, 256 * KIB);
    const edited = await mirrored(pair);
    expect(edited.stats['wireBytes'], 'a page written, a quarter punched').toBeLessThan(MIB);
    expect(edited.stats['contentBytes']).toBeLessThan(64 * KIB);
    expectSame(pair, 'big');
  }, 60_000);

  test('G8 holes of small files, at the beginning, in the middle and at the end, and of files that are nothing else', async () => {
    const pair = newPair();
    const sizes = [1, BLOCK - 1, BLOCK, 12 * KIB, 64 * KIB, 64 * KIB + 1, 256 * KIB, 256 * KIB + 1, 3 * MIB + 5];
    for (const size of sizes) makeHole(at(pair, `hole-${size}`).from, size);
    for (const size of sizes.filter((bytes) => bytes >= 12 * KIB)) {
      for (const [place, offset] of [
        ['begin', 0],
        ['middle', BLOCK],
        ['end', size - BLOCK],
      ] as const) {
        const {from} = at(pair, `${place}-${size}`);
        writeFileSync(from, randomBytes(size));
        punch(from, offset - (offset % BLOCK), BLOCK);
      }
    }
    await mirrored(pair);
    expectSame(pair, ...readdirSync(pair.source));
    expect(compareByRsync(pair.source, pair.target)).toBe('');
  }, 60_000);

  test('G8 what has all of its space keeps it: written zeros, preallocated space, a copy of a file with holes', async () => {
    const pair = newPair();
    writeFileSync(at(pair, 'zeros').from, Buffer.alloc(2 * MIB));
    writeFileSync(at(pair, 'small zeros').from, Buffer.alloc(48 * KIB));
    command('fallocate', '-l', String(2 * MIB), at(pair, 'preallocated').from);
    makeHole(at(pair, 'a sparse').from, 4 * MIB);
    writeAt(at(pair, 'a sparse').from, MIB, randomBytes(MIB));
    const first = await mirrored(pair);
    expect(first.stats['contentBytes'], 'leaves of zeros are not sent').toBe(MIB + 48 * KIB);
    command('cp', '--sparse=never', at(pair, 'a sparse').from, at(pair, 'full twin').from);
    command('cp', '--sparse=always', at(pair, 'a sparse').from, at(pair, 'sparse twin').from);
    command('cp', '--sparse=always', at(pair, 'zeros').from, at(pair, 'sparse zeros').from);
    const {stats} = await mirrored(pair);
    expect(stats['contentBytes'], 'all of it is copied on the target').toBe(0);
    for (const name of ['zeros', 'small zeros', 'full twin', 'preallocated'])
      expect({name, bytes: allocatedBytes(at(pair, name).to)}).toEqual({
        name,
        bytes: allocatedBytes(at(pair, name).from),
      });
    expectSame(pair, 'a sparse', 'sparse twin', 'sparse zeros');
    expect(compareByRsync(pair.source, pair.target)).toBe('');
  }, 60_000);

  test('G8 a region of zeros that is punched gives its space back, and a hole that is filled with zeros takes it', async () => {
    const pair = newPair();
    for (const [name, size] of [
      ['small', 48 * KIB],
      ['large', 40 * MIB],
    ] as const) {
      writeFileSync(at(pair, name).from, Buffer.concat([randomBytes(8 * KIB), Buffer.alloc(size)]));
      makeHole(at(pair, `${name} hole`).from, size);
    }
    copyFileSync(at(pair, 'large').from, at(pair, 'linked').from);
    command('ln', at(pair, 'linked').from, at(pair, 'other name').from);
    await mirrored(pair);
    for (const name of ['small', 'large', 'linked']) {
      const {from, to} = at(pair, name);
      expectSpace(allocatedBytes(to), allocatedBytes(from));
      punch(from, 16 * KIB, 16 * KIB);
      punch(from, 36 * KIB, 8 * KIB);
      if (name !== 'small') punch(from, MIB, 38 * MIB);
    }
    for (const [name, size] of [
      ['small hole', 48 * KIB],
      ['large hole', 40 * MIB],
    ] as const)
      writeAt(at(pair, name).from, 0, Buffer.alloc(size));
    command('touch', '-r', at(pair, 'small').to, at(pair, 'small').from); // only the ctime tells
    const dry = await syncOnce(pair, ['--dry-run']);
    const {stats, folders, events} = await mirrored(pair);
    expect(changesIn(dry.events, 'planned'), 'a dry run says so').toEqual(changesIn(events, 'applied'));
    expect(changesIn(events, 'applied')).toContain('set-meta small');
    expect(stats['contentBytes']).toBeLessThan(64 * KIB); // of the small ones nothing, of the large ones copies
    for (const name of ['small hole', 'large hole'])
      expectSpace(allocatedBytes(at(pair, name).to), allocatedBytes(at(pair, name).from));
    for (const name of ['small', 'large', 'linked']) {
      const {from, to} = at(pair, name);
      expect(allocatedBytes(to)).toBeLessThanOrEqual(allocatedBytes(from) + NOTES);
      command('cmp', from, to);
    }
    expect(compareByRsync(pair.source, pair.target), 'also the times').toBe('');
    expect(readdirSync(folders.trash), 'no version was replaced').toEqual([]);
    const again = await mirrored(pair);
    expect(again.stats['metaChanged']).toBe(0);
    expect(again.stats['filesHashed'], 'what was given back is known').toBe(0);
  }, 60_000);

  test('G8 live: what is punched, written into a hole and filled follows; the replaced version comes back with its holes', async () => {
    const pair = newPair();
    const {from, to} = at(pair, 'file');
    makeHole(from, 96 * MIB);
    writeAt(from, 32 * MIB, randomBytes(8 * MIB));
    const live = startLive(pair);
    await untilEqual(live, pair);
    expectSame(pair, 'file');
    const first = sparseOf(to);

    punch(from, 33 * MIB, 2 * MIB); // data
    await untilEqual(live, pair);
    expectSame(pair, 'file');
    writeAt(from, 80 * MIB, randomBytes(BLOCK));
    await untilEqual(live, pair);
    expectSame(pair, 'file');

    const zeros = at(pair, 'zeros');
    writeFileSync(zeros.from, Buffer.alloc(24 * MIB));
    await untilEqual(live, pair);
    expectSpace(allocatedBytes(zeros.to), 24 * MIB);
    punch(zeros.from, 4 * MIB, 16 * MIB); // zeros: the content stays
    await untilEqual(live, pair);
    await live.waitFor(() => allocatedBytes(zeros.to) <= allocatedBytes(zeros.from) + NOTES);
    command('cmp', zeros.from, zeros.to);
    expect(compareByRsync(pair.source, pair.target)).toBe('');

    const {result} = await live.stop();
    const toFolder = join(pair.target, '..', 'restored');
    mkdirSync(toFolder);
    const restored = await restoreTrash(result.folders.trash, {path: 'file', toFolder});
    const back = sparseOf(restored.path);
    expect({...back, allocatedBytes: 0}).toEqual({...first, allocatedBytes: 0});
    expect(back.allocatedBytes).toBeLessThan(8 * MIB + 16 * BLOCK);
  }, 60_000);
});
