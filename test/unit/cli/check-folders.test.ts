/** Which pairs of folders are refused: the same, nested, also behind links and mounts. */
import {spawnSync} from 'node:child_process';
import {mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {checkFolders} from '../../../src/cli/check-folders.ts';
import {needsCommands, needsRoot} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';

/** The sentence a pair is refused with, or 'fine'. */
function verdict(source: string, target: string, state = '/nonexistent/state'): string {
  try {
    checkFolders({source, target, state});
    return 'fine';
  } catch (error) {
    return (error as Error).message;
  }
}

function makeFolders(...names: string[]): string {
  const dir = makeTmpDir();
  for (const name of names) mkdirSync(join(dir, name), {recursive: true});
  return dir;
}

test('takes two folders beside each other, also when one name starts with the other', () => {
  const dir = makeFolders('a', 'ab');
  expect(verdict(`${dir}/a`, `${dir}/ab`)).toBe('fine');
});

test('leaves roots that are missing to the run', () => {
  const dir = makeFolders('a');
  expect(verdict(`${dir}/a`, `${dir}/none/x`)).toBe('fine');
  expect(verdict(`${dir}/none`, `${dir}/a`)).toBe('fine');
});

test.each([
  ['the same folder', 'a', 'a', /are the same folder/],
  ['a target inside', 'a', 'a/b/c', /^DST .* lies inside SRC/],
  ['a target inside that is to be made', 'a', 'a/new', /^DST .* lies inside SRC/],
  ['a source inside', 'a/b', 'a', /^SRC .* lies inside DST/],
  ['the target behind a link', 'a', 'link/b', /^DST .* lies inside SRC/],
  ['the source behind a link', 'link', 'a', /are the same folder/],
  ['a target to be made behind a link', 'a', 'link/new', /^DST .* lies inside SRC/],
  ['a file as source', 'file', 'a', /^SRC .* is not a folder/],
  ['a file as target', 'a', 'file', /^DST .* is not a folder/],
  ['a link to itself', 'loop', 'a', /^SRC .* cannot be used: ELOOP/],
])('refuses %s', (_, source, target, sentence) => {
  const dir = makeFolders('a/b/c');
  symlinkSync(join(dir, 'a'), join(dir, 'link'));
  symlinkSync('loop', join(dir, 'loop'));
  writeFileSync(join(dir, 'file'), '');
  expect(verdict(join(dir, source), join(dir, target))).toMatch(sentence);
});

test('refuses the root folder as either', () => {
  const dir = makeFolders('a');
  expect(verdict('/', `${dir}/a`)).toMatch(/lies inside SRC/);
  expect(verdict(`${dir}/a`, '/')).toMatch(/lies inside DST/);
});

test('refuses state inside the source or the target, and names the option', () => {
  const dir = makeFolders('a', 'b');
  expect(verdict(`${dir}/a`, `${dir}/b`, `${dir}/a/.state`)).toMatch(
    /lies inside SRC; choose another one with --state/,
  );
  expect(verdict(`${dir}/a`, `${dir}/b`, `${dir}/b`)).toMatch(/lies inside DST/);
  expect(verdict(`${dir}/a`, `${dir}/b`, dir)).toBe('fine');
});

needsRoot(needsCommands('mount', 'umount')(test))('bind mounts fool it in neither direction', () => {
  const dir = makeFolders('a/sub', 'bind of a', 'bind of sub', 'other');
  const bind = (from: string, to: string): void => {
    expect(spawnSync('mount', ['--bind', join(dir, from), join(dir, to)]).status).toBe(0);
    onTestFinished(() => void spawnSync('umount', [join(dir, to)]));
  };
  bind('a', 'bind of a');
  bind('a/sub', 'bind of sub');
  expect(verdict(`${dir}/a`, `${dir}/bind of a`)).toMatch(/are the same folder/);
  expect(verdict(`${dir}/a`, `${dir}/bind of a/new`)).toMatch(/^DST .* lies inside SRC/);
  expect(verdict(`${dir}/a`, `${dir}/bind of sub`)).toMatch(/^DST .* lies inside SRC/);
  expect(verdict(`${dir}/bind of sub/new`, `${dir}/a`)).toMatch(/^SRC .* lies inside DST/);
  expect(verdict(`${dir}/bind of a`, `${dir}/bind of sub`)).toMatch(/^DST .* lies inside SRC/);
  expect(verdict(`${dir}/other`, `${dir}/bind of sub`)).toBe('fine');
});
