/**
 * What goes was counted: where the disk holds more than the guard was asked about, because something failed before or
 * somebody else put it there, the path stays and is compared again.
 */
import {mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import type {Op} from '../../../src/model/op.ts';
import {makeDir, META, putFile, remove, TargetFolder} from './target-folder.ts';

const DONE = {status: 'done'};
const BASE_CHANGED = {status: 'failed', code: 'base-changed'};

function renameDir(path: string, to: string): Op {
  return {kind: 'rename', path, to, type: 'dir', content: undefined};
}

/** With a folder `d` of three files. */
async function withFolder(options: {ignore?: string[]} = {}): Promise<TargetFolder> {
  const target = new TargetFolder(options);
  await target.apply(makeDir('d'), ...['1', '2', '3'].map((name) => putFile(`d/${name}`, name)));
  return target;
}

const expectFolder = (target: TargetFolder): void =>
  expect(readdirSync(join(target.root, 'd')).toSorted()).toEqual(['1', '2', '3']);

test('a folder stays that was to be moved away to where nothing is, when a file is to take its place', async () => {
  const target = await withFolder();
  await target.apply(makeDir('e'));
  rmSync(join(target.root, 'e'), {recursive: true});
  const {count, results} = await target.applyJudged(renameDir('d', 'e/d'), putFile('d', 'new'));
  expect(count).toBe(0);
  expect(results).toMatchObject([BASE_CHANGED, BASE_CHANGED]);
  expectFolder(target);
  expect(readdirSync(target.staging)).toEqual([]);
});

test('a folder stays that was to change places with a file that is not whole, when it is deleted then', async () => {
  const target = await withFolder();
  const broken = {...putFile('x', 'text'), content: Buffer.alloc(32)} as Op;
  const {count, results} = await target.applyJudged(broken, {kind: 'exchange', path: 'd', to: 'x'}, remove('d', 'dir'));
  expect(count).toBe(0);
  expect(results).toMatchObject([{code: 'corrupt'}, BASE_CHANGED, BASE_CHANGED]);
  expectFolder(target);
});

const REPLACING: [string, Op][] = [
  ['deleted', remove('e', 'dir')],
  ['replaced by a file', putFile('e', 'new')],
  ['replaced by a symlink', {kind: 'put-symlink', path: 'e', target: 'to', meta: META}],
  ['replaced by a hard link', {kind: 'link', path: 'e', to: 'd/1'}],
  ['replaced by a folder that is moved', renameDir('d', 'e')],
];

test.each(REPLACING)(
  'a folder into which somebody has put something stays, and one with ignored entries: %s',
  async (_, op) => {
    const target = await withFolder();
    await target.apply(makeDir('e'));
    writeFileSync(join(target.root, 'e/theirs'), 'theirs');
    expect(await target.applyJudged(op)).toMatchObject({results: [BASE_CHANGED]});
    expect(readFileSync(join(target.root, 'e/theirs'), 'utf8')).toBe('theirs');
    expectFolder(target);
    rmSync(join(target.root, 'e/theirs'));
    expect(await target.applyJudged(op)).toMatchObject({results: [DONE]});
  },
);

test('a folder with ignored entries alone is one entry', async () => {
  const target = await withFolder({ignore: ['*.tmp']});
  await target.apply(makeDir('e'));
  mkdirSync(join(target.root, 'e/cache.tmp'));
  expect(await target.applyJudged(putFile('e', 'new'))).toMatchObject({count: 1, results: [DONE]});
  expect(readFileSync(join(target.root, 'e'), 'utf8')).toBe('new');
});

test('what was counted goes, and what the batch itself emptied or made before', async () => {
  const target = await withFolder();
  await target.apply(makeDir('a'), putFile('a/1', '1'), putFile('a/2', '2'));
  const move: Op = {
    ...renameDir('a/1', 'b'),
    type: 'file',
    content: (putFile('b', '1') as {content: Buffer}).content,
  } as Op;
  const ops = [move, remove('a/2'), remove('a', 'dir'), makeDir('n'), putFile('n/1', '1'), remove('n', 'dir')];
  expect(await target.applyJudged(...ops)).toEqual({count: 2, results: ops.map(() => DONE)});
  expect(await target.applyJudged(putFile('d', 'new'))).toEqual({count: 4, results: [DONE]});
  expect(readdirSync(target.root).toSorted()).toEqual(['b', 'd']);
});
