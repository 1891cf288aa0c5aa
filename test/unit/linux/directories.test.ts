import {mkdirSync, rmdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {
  DIRENT_TYPE,
  Dirents,
  listNames,
  mkdirAt,
  openDirAt,
  readDirEntries,
  readDirRaw,
  rewindDir,
  rmdirAt,
} from '../../../src/linux/directories.ts';
import {makeSpecialAt} from '../../../src/linux/files.ts';
import {statAt} from '../../../src/linux/stat.ts';
import {codeOf} from './code-of.ts';
import {held, makeFolder} from './folder.ts';

test('lists 3,000 names through a buffer of 4 KiB, each once, and again after a rewind', () => {
  const {path, fd} = makeFolder();
  const names = Array.from({length: 3000}, (_, index) => `name-${index}`);
  for (const name of names) writeFileSync(join(path, name), '');
  const dirents = new Dirents(Buffer.alloc(4096));
  for (let round = 0; round < 2; round++) {
    rewindDir(fd);
    const seen: string[] = [];
    for (let sizeBytes; (sizeBytes = readDirRaw(fd, dirents.bytes)) > 0;) {
      dirents.reset(sizeBytes);
      while (dirents.next()) {
        expect(dirents.bytes[dirents.nameAt + dirents.nameLength]).toBe(0);
        seen.push(dirents.name());
      }
    }
    expect(seen.sort()).toEqual([...names].sort());
  }
  expect(listNames(fd)).toHaveLength(3000);
});

test('names keep their bytes: 255 of them, not UTF-8, with leading dots, a newline', () => {
  const {path, fd} = makeFolder();
  const names = ['\xff\xfe', 'b'.repeat(255), '...', '..a', '.a', 'c\n'];
  for (const name of names) writeFileSync(Buffer.from(`${path}/${name}`, 'latin1'), '');
  expect(listNames(fd).sort()).toEqual(names.sort());
});

test('an empty directory lists nothing, a removed one too', () => {
  const {path, fd} = makeFolder();
  expect(listNames(fd)).toEqual([]);
  mkdirSync(join(path, 'gone'));
  const gone = held(openDirAt(fd, 'gone'));
  rmdirSync(join(path, 'gone'));
  expect(['none', 'ENOENT']).toContain(codeOf(() => listNames(gone)));
});

test('types come with the listing where the filesystem tells them', () => {
  const {path, fd} = makeFolder();
  writeFileSync(join(path, 'file'), '');
  mkdirSync(join(path, 'dir'));
  symlinkSync('x', join(path, 'symlink'));
  makeSpecialAt(fd, 'fifo', 'fifo', 0o600, 0);
  const types = new Map<string, string>();
  for (const entry of readDirEntries(fd)) types.set(entry.name(), DIRENT_TYPE[entry.type] ?? entry.name());
  expect(types.size).toBe(4);
  for (const [name, type] of types) expect(type).toBe(name);
});

test('listings may be nested and left early', () => {
  const {fd} = makeFolder();
  for (const name of ['a', 'b', 'c']) mkdirAt(fd, name, 0o755);
  for (const name of ['1', '2']) mkdirAt(held(openDirAt(fd, 'b')), name, 0o755);
  const seen: string[] = [];
  for (const entry of readDirEntries(fd)) {
    const name = entry.name();
    const childFd = held(openDirAt(fd, name));
    for (const child of readDirEntries(childFd)) {
      seen.push(`${name}/${child.name()}`);
      break;
    }
    seen.push(entry.name());
  }
  expect(seen.filter((name) => name.length === 1).sort()).toEqual(['a', 'b', 'c']);
  expect(seen).toHaveLength(4);
});

test('makes, opens and removes directories; never a symlink in their place', () => {
  const {path, fd} = makeFolder();
  mkdirAt(fd, 'd', 0o700);
  mkdirAt(held(openDirAt(fd, 'd')), 'e', 0o700);
  expect(statAt(fd, 'd')).toMatchObject({type: 'dir', mode: 0o700});
  symlinkSync('d', join(path, 'link'));
  writeFileSync(join(path, 'file'), '');
  makeSpecialAt(fd, 'fifo', 'fifo', 0o600, 0);
  expect(codeOf(() => mkdirAt(fd, 'd', 0o700))).toBe('EEXIST');
  for (const name of ['link', 'file', 'fifo']) {
    expect(codeOf(() => openDirAt(fd, name))).toBe('ENOTDIR');
    expect(codeOf(() => rmdirAt(fd, name))).toBe('ENOTDIR');
  }
  expect(codeOf(() => rmdirAt(fd, 'd'))).toBe('ENOTEMPTY');
  rmdirAt(held(openDirAt(fd, 'd')), 'e');
  rmdirAt(fd, 'd');
  expect(listNames(fd).sort()).toEqual(['fifo', 'file', 'link']);
});
