import {mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {Worker} from 'node:worker_threads';
import {describe, expect, test} from 'vitest';
import {openBeneath, walk, type Mounts} from '../../../src/linux/beneath.ts';
import {DirCache} from '../../../src/linux/dir-cache.ts';
import {listNames, mkdirAt, openDirAt} from '../../../src/linux/directories.ts';
import {renameAt, symlinkAt} from '../../../src/linux/files.ts';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';
import {statAtIfAny, statFd} from '../../../src/linux/stat.ts';
import {codeOf} from './code-of.ts';
import {held, makeFolder} from './folder.ts';

const WAYS: [string, (rootFd: number, path: string, mounts?: Mounts) => number][] = [
  ['in one call', openBeneath],
  ['one component at a time', (rootFd, path, mounts = 'stay') => walk(rootFd, path, mounts)],
];

describe.each(WAYS)('a directory beneath a root, %s', (_, open) => {
  test('is opened at any depth, also the root itself, also with names that are not UTF-8', () => {
    const {path, fd} = makeFolder();
    const name = 'a/\xff\xfe/c';
    mkdirSync(Buffer.from(`${path}/${name}`, 'latin1'), {recursive: true});
    expect(listNames(held(open(fd, 'a/\xff\xfe')))).toEqual(['c']);
    expect(listNames(held(open(fd, name)))).toEqual([]);
    expect(statFd(held(open(fd, '')))).toEqual(statFd(fd));
  });

  test('is not reached through a symlink, relative or absolute, last or on the way, nor through a file', () => {
    const {path, fd} = makeFolder();
    mkdirSync(join(path, 'd/e'), {recursive: true});
    symlinkSync('d', join(path, 'relative'));
    symlinkSync('/etc', join(path, 'absolute'));
    writeFileSync(join(path, 'file'), '');
    for (const refused of ['relative', 'relative/e', 'absolute', 'absolute/apt', 'file', 'file/x']) {
      expect([refused, codeOf(() => open(fd, refused))]).toEqual([refused, 'ENOTDIR']);
    }
    expect(codeOf(() => open(fd, 'd/missing'))).toBe('ENOENT');
    expect(codeOf(() => open(fd, 'missing/e'))).toBe('ENOENT');
  });

  test('is never outside: dots and absolute paths lead nowhere', () => {
    const {path} = makeFolder();
    mkdirSync(join(path, 'root/d'), {recursive: true});
    const root = held(openDirPath(join(path, 'root')));
    for (const outward of ['..', 'd/../..', '/etc', '//']) {
      expect(['EXDEV', 'BUG', 'ENOENT']).toContain(codeOf(() => closeFd(open(root, outward))));
    }
  });

  test('on another mount is EXDEV unless mounts are entered', () => {
    const root = held(openDirPath('/'));
    expect(codeOf(() => open(root, 'proc/sys'))).toBe('EXDEV');
    expect(codeOf(() => open(root, 'proc/self/task', 'enter'))).toBe('ENOTDIR'); // self is a symlink
    expect(statFd(held(open(root, 'proc/sys', 'enter'))).type).toBe('dir');
  });

  test('no descriptor is left behind by 500 refusals', () => {
    const {path, fd} = makeFolder();
    mkdirSync(join(path, 'd'));
    const ownFds = held(openDirPath('/proc/self/fd'));
    const before = listNames(ownFds).length;
    for (let round = 0; round < 500; round++) codeOf(() => open(fd, 'd/missing'));
    expect(listNames(ownFds).length).toBe(before);
  });

  test('while a thread swaps it for a symlink: 20,000 openings, none of them outside', async () => {
    const {path, fd} = makeFolder();
    mkdirSync(join(path, 'outside/d'), {recursive: true});
    writeFileSync(join(path, 'outside/d/outside'), '');
    mkdirSync(join(path, 'root/a/d'), {recursive: true});
    symlinkSync('../outside', join(path, 'root/b')); // an absolute one the kernel refuses for the mount rule alone
    const root = held(openDirAt(fd, 'root'));
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const swapper = new Worker(new URL('./swap.worker.ts', import.meta.url), {workerData: {dirFd: root, stop}});
    const ended = new Promise((resolve) => swapper.once('exit', resolve));
    const count = {inside: 0, refused: 0, outside: 0};
    await new Promise((resolve) => swapper.once('online', resolve));
    // Both outcomes must have been seen, or nothing was tried.
    for (let round = 0; round < 20_000 || (Math.min(count.inside, count.refused) < 100 && round < 2_000_000); round++) {
      count[outcomeOf(open, root)]++;
    }
    Atomics.store(stop, 0, 1);
    await ended;
    expect(count.outside).toBe(0);
    expect(Math.min(count.inside, count.refused)).toBeGreaterThanOrEqual(100);
  });
});

function outcomeOf(open: (rootFd: number, path: string) => number, root: number): 'inside' | 'refused' | 'outside' {
  let fd;
  try {
    fd = open(root, 'a/d');
  } catch {
    return 'refused';
  }
  const isOutside = statAtIfAny(fd, 'outside') !== undefined;
  closeFd(fd);
  return isOutside ? 'outside' : 'inside';
}

test('a path of 5,019 bytes, longer than any single call takes, is reached; a symlink in it is not followed', () => {
  const {fd} = makeFolder();
  const names = Array.from({length: 20}, (_, index) => String.fromCharCode(97 + index).repeat(250));
  let parent = held(openDirAt(fd, '.'));
  for (const name of names) {
    mkdirAt(parent, name, 0o755);
    parent = held(openDirAt(parent, name));
  }
  const path = names.join('/');
  expect(path).toHaveLength(5019);
  expect(statFd(held(openBeneath(fd, path)))).toEqual(statFd(parent));
  symlinkAt('.', parent, 'link');
  expect(codeOf(() => openBeneath(fd, `${path}/link`))).toBe('ENOTDIR');
});

test('a cache of 2 keeps what was used last, closes the rest, and forgets what was moved', () => {
  const {path, fd} = makeFolder();
  for (const name of ['a/x', 'b', 'c']) mkdirSync(join(path, name), {recursive: true});
  using cache = new DirCache({rootFd: fd, countMax: 2});
  const a = cache.open('a');
  cache.open('b');
  expect(cache.open('a')).toBe(a);
  const c = cache.open('c'); // pushes b out
  expect([cache.open('a'), cache.open('c')]).toEqual([a, c]);
  const inode = statFd(cache.open('a/x')).ino;
  renameAt(fd, 'a', fd, 'd', 'replace');
  cache.drop('a');
  expect(codeOf(() => cache.open('a/x'))).toBe('ENOENT');
  expect(statFd(cache.open('d/x')).ino).toBe(inode);
  const last = cache.open('d/x');
  cache.dropAll();
  expect(codeOf(() => statFd(last))).toBe('EBADF');
});

test('a cache holds at most 8 descriptors after 100 directories', () => {
  const {fd} = makeFolder();
  for (let index = 0; index < 100; index++) mkdirAt(fd, `d${index}`, 0o755);
  const ownFds = held(openDirPath('/proc/self/fd'));
  const before = listNames(ownFds).length;
  using cache = new DirCache({rootFd: fd, countMax: 8});
  for (let index = 0; index < 100; index++) cache.open(`d${index}`);
  expect(listNames(ownFds).length).toBe(before + 8);
});
