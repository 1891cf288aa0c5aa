/**
 * `sync --dry-run`: it says what the run does afterwards, no more and no less, and leaves no trace anywhere.
 */
import {existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {expect, onTestFinished, test, vi} from 'vitest';
import {needsCommands, needsRoot} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';
import {command, compareByRsync, makePair, type Run, syncOnce, towline} from '../../sync/harness.ts';
import {CHANGE_NAMES, changeRandomly, makeRandomTree, Random} from '../../sync/random-tree.ts';

vi.setConfig({testTimeout: 120_000}); // seconds on a quiet machine
const rsyncTest = needsCommands('rsync')(test);

/** The changes of one kind of event, in any order. */
function changesOf(run: Run, kind: 'planned' | 'applied'): string[] {
  return run.events
    .filter(({event}) => event === kind)
    .map(({op, path, to}) =>
      to === null ? `${String(op)} ${String(path)}` : `${String(op)} ${String(path)} → ${to as string}`,
    )
    .toSorted();
}

/** Everything below a folder that a write would change: ctime, inode and digest of contents too. */
function traceOf(folder: string): string {
  const found = command('find', folder, '-printf', '%p %y %i %m %U:%G %s %T@ %C@ %l\\n');
  const sums = command('sh', '-c', 'find "$1" -type f -print0 | xargs -0r sha256sum', 'sh', folder);
  return `${found}${sums}`.split('\n').toSorted().join('\n');
}

const [FROM = 1, TO = 7] = (process.env['TOWLINE_TEST_SEEDS'] ?? '').split('-').filter(Boolean).map(Number);

rsyncTest.each(Array.from({length: TO - FROM}, (_, index) => FROM + index))(
  'J1 a dry run lists exactly what the run then does, for 60 random changes in a tree of 120 (%i)',
  async (seed) => {
    const pair = makePair();
    const random = new Random(seed);
    makeRandomTree(pair.source, 120, random);
    // What empties the tree hides the rest from half of the seeds.
    const names = seed % 2 === 0 ? CHANGE_NAMES : CHANGE_NAMES.filter((name) => !/anew|becomes a file/.test(name));
    expect((await syncOnce(pair)).exitCode).toBe(0);
    const done = changeRandomly(pair.source, 60, random, names);
    const before = traceOf(dirname(pair.source));
    const dry = await syncOnce(pair, ['-n', '--delete-limit', 'none']);
    expect(dry.exitCode, `${dry.stderr}${JSON.stringify(dry.result.problems)}`).toBe(0);
    expect(traceOf(dirname(pair.source))).toBe(before);
    expect(changesOf(dry, 'applied')).toEqual([]);
    const run = await syncOnce(pair, ['--delete-limit', 'none']);
    expect(run.exitCode, `${run.stderr}${JSON.stringify(run.result.problems)}`).toBe(0);
    expect(compareByRsync(pair.source, pair.target), done.join('\n')).toBe('');
    expect(changesOf(dry, 'planned'), done.join('\n')).toEqual(changesOf(run, 'applied'));
  },
);

rsyncTest('J1 a dry run of each kind of change says the same as the run, in JSON and in text', async () => {
  const pair = makePair();
  const at = (path: string): string => join(pair.source, path);
  for (const dir of ['dir', 'moves', 'goes/deep']) mkdirSync(at(dir), {recursive: true});
  for (const path of ['kept', 'edited', 'renamed', 'deleted', 'flipped', 'moves/in', 'goes/deep/file']) {
    writeFileSync(at(path), `text of ${path}`);
  }
  symlinkSync('kept', at('link'));
  expect((await syncOnce(pair)).exitCode).toBe(0);
  writeFileSync(at('edited'), 'another text');
  writeFileSync(at('new'), 'a new text');
  renameSync(at('renamed'), at('dir/renamed'));
  renameSync(at('moves'), at('dir/moved'));
  for (const path of ['deleted', 'goes', 'flipped', 'link']) rmSync(at(path), {recursive: true});
  mkdirSync(at('flipped'));
  writeFileSync(at('flipped/inside'), 'inside');
  symlinkSync('edited', at('link'));
  const text = await towline(['sync', '-n', pair.source, pair.target, '--state', pair.state]);
  expect(text.exitCode).toBe(0);
  for (const line of [
    '~ edited (12 B)',
    '+ new (10 B)',
    '> renamed → dir/renamed',
    '> moves → dir/moved',
    '- deleted',
    '- goes',
  ]) {
    expect(text.stdout.split('\n')).toContain(line);
  }
  expect(text.stdout).toContain('nothing was changed');
  const dry = await syncOnce(pair, ['-n']);
  const run = await syncOnce(pair);
  expect(run.exitCode).toBe(0);
  expect(changesOf(dry, 'planned')).toEqual(changesOf(run, 'applied'));
});

needsRoot(rsyncTest)(
  'a dry run that has no room for its copy of the state says so with 1 and leaves nothing there',
  async () => {
    const pair = makePair();
    for (let index = 0; index < 2_000; index++) writeFileSync(join(pair.source, `file ${index}`), '');
    expect((await syncOnce(pair)).exitCode).toBe(0);
    const small = makeTmpDir();
    command('mount', '-t', 'tmpfs', '-o', 'size=256k', 'none', small);
    onTestFinished(() => void command('umount', small));
    const run = await towline(['sync', '-n', pair.source, pair.target, '--state', pair.state], {env: {TMPDIR: small}});
    expect(run.exitCode, run.stderr).toBe(1);
    expect(run.stderr).toMatch(
      /^Error: the dry run cannot copy the state .* name a folder with more room in TMPDIR\n$/,
    );
    expect(readdirSync(small)).toEqual([]);
  },
);

rsyncTest('J1 a dry run before the first run makes neither the target nor any state', async () => {
  const pair = makePair();
  makeRandomTree(pair.source, 100, new Random(1));
  const before = traceOf(pair.source);
  const dry = await syncOnce(pair, ['--dry-run']);
  expect(dry.exitCode, dry.stderr).toBe(0);
  expect(traceOf(pair.source)).toBe(before);
  expect([existsSync(pair.target), existsSync(pair.state)]).toEqual([false, false]);
  const run = await syncOnce(pair);
  expect(run.exitCode).toBe(0);
  expect(changesOf(dry, 'planned')).toEqual(changesOf(run, 'applied'));
});
