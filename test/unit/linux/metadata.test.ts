import {constants, mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {makeSpecialAt} from '../../../src/linux/files.ts';
import {chmodFd, chmodHeld, chownFd, chownHeld, setTimeFd, setTimeHeld} from '../../../src/linux/metadata.ts';
import {holdAt, openAt} from '../../../src/linux/open-fd.ts';
import {startWriteback, syncFd, syncFilesystem} from '../../../src/linux/sync.ts';
import {statAt} from '../../../src/linux/stat.ts';
import {codeOf} from './code-of.ts';
import {held, makeFolder, type Folder} from './folder.ts';
import {needsRoot} from '../../needs.ts';

const rootTest = needsRoot(test);

function folderWithLink(): Folder {
  const folder = makeFolder();
  writeFileSync(join(folder.path, 'file'), 'x', {mode: 0o600});
  symlinkSync('file', join(folder.path, 'link'));
  return folder;
}

test.each([
  ['now', {s: 1_790_000_000, ns: 123_456_789}],
  ['one ns before 1970', {s: -1, ns: 999_999_999}],
  ['in 1901', {s: -(2 ** 31), ns: 0}],
  ['in 2242', {s: 2 ** 33, ns: 1}],
])('sets a modification time to the nanosecond: %s', (_, mtime) => {
  const {fd} = folderWithLink();
  setTimeHeld(held(holdAt(fd, 'file')), mtime);
  expect(statAt(fd, 'file').mtime).toEqual(mtime);
  setTimeHeld(held(holdAt(fd, 'file')), {s: 5, ns: 5});
  setTimeFd(held(openAt(fd, 'file', constants.O_RDONLY)), mtime);
  expect(statAt(fd, 'file').mtime).toEqual(mtime);
});

test('the time of a symlink is its own', () => {
  const {fd} = folderWithLink();
  const before = statAt(fd, 'file').mtime;
  setTimeHeld(held(holdAt(fd, 'link')), {s: 1, ns: 2});
  expect([statAt(fd, 'link').mtime, statAt(fd, 'file').mtime]).toEqual([{s: 1, ns: 2}, before]);
});

test('permissions of a file, a directory and a FIFO are set without opening them; those of a symlink are not its target’s', () => {
  const {path, fd} = folderWithLink();
  mkdirSync(join(path, 'dir'));
  makeSpecialAt(fd, 'fifo', 'fifo', 0o600, 0);
  for (const name of ['file', 'dir', 'fifo']) {
    chmodHeld(held(holdAt(fd, name)), 0o2750);
    expect(statAt(fd, name).mode).toBe(0o2750);
  }
  chmodFd(held(openAt(fd, 'file', constants.O_RDONLY)), 0o4711);
  expect(codeOf(() => chmodHeld(held(holdAt(fd, 'link')), 0o777))).toBe('ENOTSUP');
  expect(statAt(fd, 'file').mode).toBe(0o4711);
});

rootTest('owners are set to any number, of a symlink itself', () => {
  const {fd} = folderWithLink();
  chownHeld(held(holdAt(fd, 'link')), 4_000_000_000, 70_000);
  expect(statAt(fd, 'link')).toMatchObject({uid: 4_000_000_000, gid: 70_000});
  expect(statAt(fd, 'file')).toMatchObject({uid: 0});
  chownFd(held(openAt(fd, 'file', constants.O_RDONLY)), 5, 6);
  expect(statAt(fd, 'file')).toMatchObject({uid: 5, gid: 6});
});

test('files, directories and filesystems are synced; a closed descriptor is told', () => {
  const {fd} = folderWithLink();
  const file = held(openAt(fd, 'file', constants.O_RDWR));
  startWriteback(file, 0, 1);
  syncFd(file);
  syncFd(fd);
  syncFilesystem(held(openAt(fd, '.', constants.O_RDONLY)));
  for (const sync of [syncFd, syncFilesystem]) expect(codeOf(() => sync(-1))).toBe('EBADF');
});
