/**
 * H6: somebody's entry lies where a batch stages, or where the trash is to be. It is not followed, not opened, not
 * overwritten; the path keeps its old version, it is told, and done once the way is free.
 */
import {spawnSync} from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import type {Op} from '../../../src/model/op.ts';
import {makeDir, META, putFile, remove, TargetFolder} from './target-folder.ts';

type Planted = 'file' | 'folder' | 'FIFO' | 'symlink to a file' | 'symlink to a folder';
const PLANTED: readonly Planted[] = ['file', 'folder', 'FIFO', 'symlink to a file', 'symlink to a folder'];

/** A folder and a file that nobody may write to by way of a link. */
function makeOutside(target: TargetFolder): void {
  mkdirSync(join(target.folder, 'outside'));
  writeFileSync(join(target.folder, 'outside/file'), 'outside');
}

function plant(target: TargetFolder, path: string, what: Planted): void {
  if (what === 'file') writeFileSync(path, 'planted');
  else if (what === 'folder') {
    mkdirSync(path);
    writeFileSync(join(path, 'in'), 'planted');
  } else if (what === 'FIFO') expect(spawnSync('mkfifo', [path]).status).toBe(0);
  else symlinkSync(join(target.folder, what === 'symlink to a file' ? 'outside/file' : 'outside'), path);
}

function look(path: string): string {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return readlinkSync(path);
  if (stat.isDirectory())
    return readdirSync(path)
      .map((name) => readFileSync(join(path, name), 'utf8'))
      .join();
  return stat.isFile() ? readFileSync(path, 'utf8') : `special ${stat.ino}`;
}

const expectOutsideUntouched = (target: TargetFolder): void => {
  expect(readdirSync(join(target.folder, 'outside'))).toEqual(['file']);
  expect(readFileSync(join(target.folder, 'outside/file'), 'utf8')).toBe('outside');
};

/** What replaces a file: each is staged by name. */
const STAGED: Record<string, Op> = {
  'a file': putFile('a', 'new'),
  'a folder': makeDir('a'),
  'a symlink': {kind: 'put-symlink', path: 'a', target: 'to', meta: META},
  'a FIFO': {kind: 'put-special', path: 'a', type: 'fifo', rdev: 0, meta: META},
  'a hard link': {kind: 'link', path: 'a', to: 'b'},
  'a rename': {
    kind: 'rename',
    path: 'b',
    to: 'a',
    type: 'file',
    content: (putFile('b', 'of b') as {content: Buffer}).content,
  },
};

describe.each(PLANTED)('H6 a %s that was planted', (planted) => {
  test.each(Object.keys(STAGED))('at the staging name of %s', async (what) => {
    const nowMs = Date.now();
    const target = new TargetFolder();
    makeOutside(target);
    await target.apply(putFile('a', 'of a'), putFile('b', 'of b'));
    target.clock = {...systemClock, nowMs: () => nowMs + 60_000};
    await target.recover(); // from here on the names are known beforehand
    const name = `b${(nowMs + 60_000) * 1_000}-0${what === 'a rename' ? '-old' : ''}`;
    plant(target, join(target.staging, name), planted);
    const before = look(join(target.staging, name));
    const [result] = await target.apply(STAGED[what]!);
    expect(result).toMatchObject({
      status: 'failed',
      message: expect.stringMatching(/^[ab]: .*(staging folder|EEXIST)/) as string,
    });
    expect(look(join(target.staging, name))).toBe(before);
    expect(readFileSync(join(target.root, 'a'), 'utf8')).toBe('of a');
    expectOutsideUntouched(target);
    // What a rename did not find as it was is compared again by the source; the rest is tried again as it is.
    const again = what === 'a rename' ? putFile('a', 'of b') : STAGED[what]!;
    expect(await target.apply(again)).toEqual([{status: 'done'}]);
    expect(look(join(target.staging, name))).toBe(before);
    expectOutsideUntouched(target);
  });

  test('where an hour of the trash, its index or an item is to be', async () => {
    const target = new TargetFolder();
    makeOutside(target);
    await target.apply(putFile('a', 'first'), putFile('b', 'of b'));
    const hour = new Date().toISOString().slice(0, 13);
    if (planted !== 'folder') {
      plant(target, join(target.trash, hour), planted);
      const results = [...(await target.apply(putFile('a', 'second'))), ...(await target.apply(remove('b')))];
      expect(results).toMatchObject([{status: 'failed'}, {status: 'failed'}]);
      expectOutsideUntouched(target);
      rmSync(join(target.trash, hour), {recursive: true});
    }
    mkdirSync(join(target.trash, hour), {recursive: true});
    if (planted !== 'file') {
      plant(target, join(target.trash, hour, 'index.ndjson'), planted);
      const results = [...(await target.apply(putFile('a', 'second'))), ...(await target.apply(remove('b')))];
      expect(results).toMatchObject([{status: 'failed'}, {status: 'failed'}]);
      for (const [path, text] of [
        ['a', 'first'],
        ['b', 'of b'],
      ] as const)
        expect(readFileSync(join(target.root, path), 'utf8')).toBe(text);
      expectOutsideUntouched(target);
      rmSync(join(target.trash, hour, 'index.ndjson'), {recursive: true});
    }
    await target.apply(remove('b'));
    const [item = ''] = target.items();
    // The item that a second file of that name would be.
    renameSync(join(target.trash, item), join(target.folder, 'taken'));
    plant(target, join(target.trash, item), planted);
    const before = look(join(target.trash, item));
    await target.apply(putFile('b', 'of another b'));
    expect(await target.apply(remove('b'))).toEqual([{status: 'done'}]);
    expect(look(join(target.trash, item))).toBe(before);
    expect(target.kept(item.replace(/0$/, '1'))).toBe('of another b');
    expectOutsideUntouched(target);
  });
});
