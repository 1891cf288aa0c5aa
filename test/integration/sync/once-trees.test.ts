/**
 * `sync --once` of whole trees: what stands on the target afterwards, as rsync and find see it.
 */
import {execFileSync} from 'node:child_process';
import {mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test, vi} from 'vitest';
import {needsCommands, needsRoot} from '../../needs.ts';
import {compareByRsync, command, makePair, mountInside, syncOnce, towline} from '../../sync/harness.ts';
import {changeRandomly, makeRandomTree, Random} from '../../sync/random-tree.ts';
import {makeTmpDir} from '../../tmp.ts';

vi.setConfig({testTimeout: 120_000}); // seconds on a quiet machine
const rsyncTest = needsCommands('rsync')(test);

/** Every entry with type, size, mode, owner, ns mtime, link target and number of names. */
function listing(root: string): string {
  const common = '%m %U:%G %T@';
  const find = `find . -type d -printf '%p d ${common}\\n' -o -printf '%p %y %s ${common} %n %l\\n' | LC_ALL=C sort`;
  return execFileSync('sh', ['-c', find], {cwd: root, encoding: 'latin1', maxBuffer: 1 << 26});
}

needsRoot(rsyncTest)(
  'A1 a random tree of 1,000 files, 100 directories and 100 symlinks: bytes, modes, owners and ns times are equal',
  async () => {
    const pair = makePair();
    makeRandomTree(pair.source, 1_000, new Random(1));
    const run = await syncOnce(pair);
    expect(run.stderr).toBe('');
    expect(run.exitCode).toBe(0);
    expect(listing(pair.target)).toBe(listing(pair.source));
    expect(compareByRsync(pair.source, pair.target)).toBe('');
    const again = await syncOnce(pair);
    expect(again.exitCode).toBe(0);
    expect(again.result.stats).toMatchObject({contentBytes: 0, filesSent: 0, batches: 0});
  },
);

rsyncTest('A2 empty file and directory, files of 64 KiB and 1 MiB, one byte less and one more are equal', async () => {
  const pair = makePair();
  mkdirSync(join(pair.source, 'empty directory'));
  const random = new Random(2);
  let total = 0;
  for (const unit of [4_096, 8_192, 65_536, 131_072, 1 << 20]) {
    for (const size of [0, unit - 1, unit, unit + 1, 3 * unit, 3 * unit + 1]) {
      writeFileSync(join(pair.source, `${unit} ${size}`), random.bytes(size));
      total += size;
    }
  }
  const run = await syncOnce(pair);
  expect(run.exitCode).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  expect(run.result.stats['contentBytes']).toBe(total);
});

const ODD_NAMES = [
  ' leading and trailing ',
  'quote\'s "and" `ticks` $HOME',
  'new\nline',
  '\x1b[31mred\x1b]0;title\x07',
  '-rf',
  '*?[a]{b}\\c',
  'n'.repeat(255),
  '\xff\xfe not UTF-8',
  '\xc3', // the first half of a character
  '\x01\x7f\r\t',
  '\xe2\x80\xae reversed', // U+202E turns a terminal's line round
  '...',
  '.hidden',
  '~',
].map((name) => Buffer.from(name, 'latin1'));

function inside(folder: string, ...names: Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(folder), ...names.flatMap((name) => [Buffer.from('/'), name])]);
}

const namesIn = (folder: Buffer | string): string[] =>
  readdirSync(folder, {encoding: 'buffer'})
    .map((name) => name.toString('latin1'))
    .toSorted();

/** No control character but the newlines between lines, no lone byte, nothing that reorders. */
const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\ufffd]/u;

rsyncTest('A3 odd names arrive byte for byte, and come escaped in JSON, text and logs', async () => {
  const pair = makePair();
  for (const name of ODD_NAMES) {
    mkdirSync(inside(pair.source, name));
    for (const inner of ODD_NAMES) writeFileSync(inside(pair.source, name, inner), inner);
    symlinkSync(name, inside(pair.source, name, Buffer.from('a link')));
  }
  const odd = Buffer.from('\x1b[2J\nfolder \xff', 'latin1');
  mkdirSync(join(pair.source, 'folder'));
  mountInside(join(pair.source, 'folder/mount')); // not entered: a message with a name
  renameSync(join(pair.source, 'folder'), inside(pair.source, odd));
  onTestFinished(() => renameSync(inside(pair.source, odd), join(pair.source, 'folder'))); // before it is unmounted
  const run = await syncOnce(pair);
  expect(run.exitCode).toBe(1);
  expect(run.result.problems).toMatchObject([{code: 'mount', path: String.raw`\x1b[2J\x0afolder \xff/mount`}]);
  expect(namesIn(pair.target)).toEqual([odd, ...ODD_NAMES].map((name) => name.toString('latin1')).toSorted());
  expect(compareByRsync(pair.source, pair.target, '--exclude=mount')).toBe('');
  expect(run.stdout + run.stderr).not.toMatch(UNSAFE);
  const told = run.events.filter(({event}) => event === 'applied');
  const bytesTold = told.map(({path, pathBytes}) =>
    typeof pathBytes === 'string' ? Buffer.from(pathBytes, 'base64').toString('latin1') : String(path),
  );
  for (const name of ODD_NAMES) expect(bytesTold).toContain(name.toString('latin1'));

  const other = {...makePair(), source: pair.source};
  const text = await towline(['sync', other.source, other.target, '--once', '--state', other.state, '-vvv']);
  expect(text.exitCode).toBe(1);
  expect(text.stdout + text.stderr).toContain(String.raw`\x1b[2J`);
  expect(text.stdout + text.stderr).not.toMatch(UNSAFE);
});

rsyncTest('A5 three rounds of 80 random changes in a tree of 200: no difference after each', async () => {
  const pair = makePair();
  const random = new Random(5);
  makeRandomTree(pair.source, 200, random);
  expect((await syncOnce(pair)).exitCode).toBe(0);
  for (let round = 0; round < 3; round++) {
    const done = changeRandomly(pair.source, 80, random);
    const run = await syncOnce(pair, ['--delete-limit', 'none']);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(compareByRsync(pair.source, pair.target), done.join('\n')).toBe('');
  }
});

type Shape = 'file' | 'dir' | 'link to a directory' | 'link to a file' | 'dangling link' | 'nothing';
const SHAPES: Shape[] = ['file', 'dir', 'link to a directory', 'link to a file', 'dangling link', 'nothing'];

function putShape(path: string, shape: Shape, outside: string): void {
  rmSync(path, {recursive: true, force: true});
  if (shape === 'file') writeFileSync(path, `file ${path}`);
  if (shape === 'link to a directory') symlinkSync(join(outside, 'dir'), path);
  if (shape === 'link to a file') symlinkSync(join(outside, 'file'), path);
  if (shape === 'dangling link') symlinkSync('nowhere', path);
  if (shape !== 'dir') return;
  mkdirSync(path);
  for (const name of ['file', 'kept']) writeFileSync(join(path, name), `new ${path}`);
  mkdirSync(join(path, 'dir'));
}

rsyncTest(
  'A6 every change of type among file, directory and symlinks, there and back: link targets untouched',
  async () => {
    const pair = makePair();
    const outside = makeTmpDir();
    mkdirSync(join(outside, 'dir'));
    for (const path of ['file', 'dir/file', 'dir/kept']) writeFileSync(join(outside, path), 'outside');
    const seen = (): string => command('find', outside, '-printf', '%p %i %m %U %s %T@ %C@\\n');
    const before = seen();
    const changes = SHAPES.flatMap((from) => SHAPES.filter((to) => to !== from).map((to) => ({from, to})));
    const steps: ((change: {from: Shape; to: Shape}) => Shape)[] = [({from}) => from, ({to}) => to, ({from}) => from];
    for (const shapeIn of steps) {
      for (const change of changes)
        putShape(join(pair.source, `${change.from} - ${change.to}`), shapeIn(change), outside);
      const run = await syncOnce(pair, ['--delete-limit', 'none']);
      expect(run.exitCode, run.stderr).toBe(0);
      expect(compareByRsync(pair.source, pair.target)).toBe('');
      expect(seen()).toBe(before);
    }
  },
);

rsyncTest('A7 renames that only change upper and lower case arrive, 0 bytes of content sent', async () => {
  const pair = makePair();
  mkdirSync(join(pair.source, 'docs'));
  for (const path of ['readme', 'docs/Notes']) writeFileSync(join(pair.source, path), `text of ${path}`);
  expect((await syncOnce(pair)).exitCode).toBe(0);
  renameSync(join(pair.source, 'readme'), join(pair.source, 'README'));
  renameSync(join(pair.source, 'docs/Notes'), join(pair.source, 'docs/notes'));
  renameSync(join(pair.source, 'docs'), join(pair.source, 'Docs'));
  const run = await syncOnce(pair);
  expect(run.exitCode).toBe(0);
  expect(run.result.stats['contentBytes']).toBe(0);
  expect(namesIn(pair.target)).toEqual(['Docs', 'README']);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});
