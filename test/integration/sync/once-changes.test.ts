/**
 * `sync --once` after changes, after copies made by other programs, and for files that the target has already: what is
 * noticed, and how many bytes of content travel for it.
 */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {expect, test, vi} from 'vitest';
import {needsCommands, needsRoot} from '../../needs.ts';
import {command, compareByRsync, makePair, type Pair, type Run, syncOnce, trashOf} from '../../sync/harness.ts';
import {makeRandomTree, Random, setTime} from '../../sync/random-tree.ts';

vi.setConfig({testTimeout: 120_000}); // seconds on a quiet machine
const rsyncTest = needsCommands('rsync')(test);
const MIB = 1 << 20;

/** A run that ends in sync, checked by rsync; returns it with its counters. */
async function inSync(pair: Pair, args: string[] = []): Promise<Run> {
  const run = await syncOnce(pair, args);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  expect(run.result.inSync).toBe(true);
  return run;
}

/** Writes in place and puts the mtime back, as databases and backup tools do. */
function changeKeepingTime(path: string, change: () => void): void {
  const time = command('stat', '-c', '@%.9Y', path).trim();
  change();
  setTime(time, path);
}

/** As many other bytes. */
function otherBytes(path: string): Uint8Array {
  return readFileSync(path).map((byte) => byte ^ 0xff);
}

rsyncTest('A8, A9 bytes appended, or replaced at the same size, then the mtime put back: noticed', async () => {
  const pair = makePair();
  const random = new Random(8);
  for (const [name, size] of Object.entries({small: 3_000, large: 3 * MIB})) {
    for (const change of ['appended', 'replaced'])
      writeFileSync(join(pair.source, `${name} ${change}`), random.bytes(size));
  }
  await inSync(pair);
  for (const name of ['small', 'large']) {
    const [appended, replaced] = [join(pair.source, `${name} appended`), join(pair.source, `${name} replaced`)];
    changeKeepingTime(appended, () => appendFileSync(appended, 'more'));
    changeKeepingTime(replaced, () => writeFileSync(replaced, otherBytes(replaced), {flag: 'r+'}));
  }
  await inSync(pair);
});

rsyncTest('A10 content replaced at the same size within the same second: noticed by the nanoseconds', async () => {
  const pair = makePair();
  const path = join(pair.source, 'file');
  writeFileSync(path, 'one');
  setTime('@1700000000.100000000', path);
  await inSync(pair);
  writeFileSync(path, 'two');
  setTime('@1700000000.100000001', path);
  await inSync(pair);
  expect(readFileSync(join(pair.target, 'file'), 'utf8')).toBe('two');
});

rsyncTest('A11 touch and chmod of 10 bytes and of 3 MiB: the metadata arrives, 0 bytes of content sent', async () => {
  const pair = makePair();
  const paths = [10, 3 * MIB].map((size) => join(pair.source, `${size}`));
  for (const path of paths) writeFileSync(path, new Random(11).bytes(Number(path.split('/').at(-1))));
  await inSync(pair);
  for (const path of paths) setTime('@1600000000.123456789', path);
  expect((await inSync(pair)).result.stats).toMatchObject({contentBytes: 0, filesSent: 0});
  for (const path of paths) chmodSync(path, 0o4751);
  expect((await inSync(pair)).result.stats).toMatchObject({contentBytes: 0, filesSent: 0});
});

needsRoot(rsyncTest)('A11 chown of 10 bytes and of 3 MiB: the owner arrives, 0 bytes of content sent', async () => {
  const pair = makePair();
  for (const size of [10, 3 * MIB]) writeFileSync(join(pair.source, `${size}`), new Random(11).bytes(size));
  await inSync(pair);
  for (const size of [10, 3 * MIB]) chownSync(join(pair.source, `${size}`), 12_345, 54_321);
  expect((await inSync(pair)).result.stats).toMatchObject({contentBytes: 0, filesSent: 0});
});

rsyncTest('A12 files of 10 bytes and 3 MiB rewritten with what they held: 0 bytes of content sent', async () => {
  const pair = makePair();
  const paths = [10, 3 * MIB].map((size) => join(pair.source, `${size}`));
  for (const path of paths) writeFileSync(path, new Random(12).bytes(Number(path.split('/').at(-1))));
  await inSync(pair);
  for (const path of paths) {
    writeFileSync(`${path}.new`, readFileSync(path)); // as an editor saves: another inode
    renameSync(`${path}.new`, path);
  }
  expect((await inSync(pair)).result.stats['contentBytes']).toBe(0);
  for (const path of paths) writeFileSync(path, readFileSync(path)); // in place
  expect((await inSync(pair)).result.stats['contentBytes']).toBe(0);
});

rsyncTest.each([
  ['rsync', (pair: Pair) => command('rsync', '-aH', `${pair.source}/`, pair.target)],
  [
    'tar',
    (pair: Pair) =>
      command('sh', '-c', `mkdir "$2"; tar -C "$1" -c . | tar -C "$2" -xp`, 'sh', pair.source, pair.target),
  ],
  ['cp without times and rights', (pair: Pair) => command('cp', '-dr', pair.source, pair.target)],
])('A17 a target of 200 files filled by %s is adopted: 0 bytes of content sent', async (_, fill) => {
  const pair = makePair();
  makeRandomTree(pair.source, 200, new Random(17));
  writeFileSync(join(pair.source, 'large'), new Random(17).bytes(5 * MIB));
  fill(pair);
  const run = await inSync(pair);
  expect(run.result.stats).toMatchObject({contentBytes: 0, created: 0, replaced: 0, deleted: 0});
  expect(run.result.assumedCount).toBe(0);
});

/** A target like the source, but for the bytes of two files of equal size and time. */
async function makeDeceptivePair(): Promise<Pair> {
  const pair = makePair();
  makeRandomTree(pair.source, 50, new Random(18));
  for (const size of [1_000, 3 * MIB]) writeFileSync(join(pair.source, `${size}`), new Random(18).bytes(size));
  await inSync(pair);
  for (const size of [1_000, 3 * MIB]) {
    const path = join(pair.target, `${size}`);
    changeKeepingTime(path, () => writeFileSync(path, otherBytes(path), {flag: 'r+'}));
  }
  return pair;
}

rsyncTest('A18 same size and times but other bytes, with and without the state: found', async () => {
  const pair = await makeDeceptivePair();
  await inSync(pair);
  const other = await makeDeceptivePair();
  rmSync(other.state, {recursive: true});
  const run = await inSync(other);
  expect(
    trashOf(run.result.folders.trash)
      .map(({path}) => path)
      .toSorted(),
  ).toEqual(['1000', `${3 * MIB}`]);
});

rsyncTest(
  '--quick takes 52 files as equal by size and times, says so with exit 1, and the next run verifies',
  async () => {
    const pair = await makeDeceptivePair();
    rmSync(pair.state, {recursive: true});
    const before = command('sh', '-c', 'cd "$1"; find . -type f | sort | xargs -d "\\n" sha256sum', 'sh', pair.target);
    const quick = await syncOnce(pair, ['--quick']);
    expect(quick.exitCode).toBe(1);
    expect(quick.result).toMatchObject({inSync: false, assumedCount: 52, problemCount: 0});
    expect(quick.result.stats).toMatchObject({contentBytes: 0, filesHashed: 0, replaced: 0});
    expect(command('sh', '-c', 'cd "$1"; find . -type f | sort | xargs -d "\\n" sha256sum', 'sh', pair.target)).toBe(
      before,
    );
    expect((await inSync(pair)).result.assumedCount).toBe(0);
  },
);

rsyncTest.each([
  ['3,000 bytes', 3_000],
  ['1 MiB', MIB],
  ['5 MiB', 5 * MIB],
])('B9 a copy of a file of %s that the target has: 0 bytes of content sent', async (_, size) => {
  const pair = makePair();
  writeFileSync(join(pair.source, 'file'), new Random(9).bytes(size));
  await inSync(pair);
  mkdirSync(join(pair.source, 'dir'));
  copyFileSync(join(pair.source, 'file'), join(pair.source, 'dir/copy'));
  const {stats} = (await inSync(pair)).result;
  expect(stats).toMatchObject({contentBytes: 0, copiedBytes: size});
});

/** Names of each group of hard links, the groups in order. */
function linkGroups(root: string): string[][] {
  const lines = command('find', root, '-type', 'f', '-links', '+1', '-printf', '%i %P\\n').trim().split('\n');
  const byInode = Map.groupBy(lines.toSorted(), (line) => line.split(' ')[0]);
  return [...byInode.values()]
    .map((names) => names.map((line) => line.split(' ')[1] ?? ''))
    .toSorted((a, b) => (a.join() < b.join() ? -1 : 1));
}

rsyncTest(
  'G5 hard links across directories stay linked, also after an edit; a name taken out becomes a file',
  async () => {
    const pair = makePair();
    const at = (path: string): string => join(pair.source, path);
    for (const dir of ['a', 'b', 'b/c']) mkdirSync(at(dir));
    for (const [name, size] of Object.entries({small: 500, large: 3 * MIB})) {
      writeFileSync(at(name), new Random(5).bytes(size));
      for (const other of ['a/1', 'b/2', 'b/c/3']) linkSync(at(name), at(`${other} ${name}`));
    }
    const first = await inSync(pair);
    expect(linkGroups(pair.target)).toEqual(linkGroups(pair.source));
    expect(linkGroups(pair.target)).toHaveLength(2);
    expect(first.result.stats['contentBytes']).toBe(500 + 3 * MIB);

    appendFileSync(at('b/c/3 small'), 'edited through one name');
    appendFileSync(at('a/1 large'), 'edited through one name');
    await inSync(pair);
    expect(linkGroups(pair.target)).toEqual(linkGroups(pair.source));

    writeFileSync(at('new'), 'no more one of them');
    renameSync(at('new'), at('b/2 small'));
    rmSync(at('small')); // the first name goes, the others stay linked
    linkSync(at('large'), at('b/4 large'));
    await inSync(pair);
    expect(linkGroups(pair.target)).toEqual(linkGroups(pair.source));
    expect(statSync(join(pair.target, 'b/2 small')).nlink).toBe(1);
  },
);

rsyncTest('a second run over 1,000 files reads and sends 0 bytes of content', async () => {
  const pair = makePair();
  makeRandomTree(pair.source, 1_000, new Random(2));
  await inSync(pair);
  const {stats} = (await inSync(pair)).result;
  expect(stats).toMatchObject({contentBytes: 0, copiedBytes: 0, filesHashed: 0, batches: 0, created: 0, replaced: 0});
  expect(stats['wireBytes']).toBeLessThan(4_096);
});

test('F8 an ignored file keeps its directory from going: reported, everything else is done', async () => {
  const pair = makePair();
  mkdirSync(join(pair.source, 'kept/below'), {recursive: true});
  mkdirSync(join(pair.source, 'gone'));
  for (const path of ['kept/below/a', 'gone/b', 'stays']) writeFileSync(join(pair.source, path), path);
  const rules = ['--ignore', '*.local'];
  await inSync(pair, rules);
  writeFileSync(join(pair.target, 'kept/below/mine.local'), 'of the target alone');
  rmSync(join(pair.source, 'kept'), {recursive: true});
  rmSync(join(pair.source, 'gone'), {recursive: true});
  writeFileSync(join(pair.source, 'new'), 'new');

  const run = await syncOnce(pair, [...rules, '--delete-limit', 'none']);

  expect(run.exitCode, run.stderr).toBe(1);
  expect(run.result.problems.map(({path, code}) => `${path}: ${code}`)).toContain('kept: not-empty');
  expect(readFileSync(join(pair.target, 'kept/below/mine.local'), 'utf8')).toBe('of the target alone');
  expect(() => statSync(join(pair.target, 'kept/below/a'))).toThrow('ENOENT');
  expect(() => statSync(join(pair.target, 'gone'))).toThrow('ENOENT');
  expect(readFileSync(join(pair.target, 'new'), 'utf8')).toBe('new');
});
