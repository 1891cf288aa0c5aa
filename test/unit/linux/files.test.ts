import {constants, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {listNames} from '../../../src/linux/directories.ts';
import {
  linkAt,
  linkFdAt,
  makeSpecialAt,
  openRegular,
  openRegularToWrite,
  openTmp,
  readInto,
  readlinkAt,
  renameAt,
  symlinkAt,
  truncate,
  unlinkAt,
  writeFrom,
} from '../../../src/linux/files.ts';
import {closeFd, openAt, openDirPath, reopen} from '../../../src/linux/open-fd.ts';
import {statAt, statFd} from '../../../src/linux/stat.ts';
import {codeOf} from './code-of.ts';
import {held, makeFolder, type Folder} from './folder.ts';

const NEW = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;

function write(folder: Folder, name: string, text: string): void {
  writeFileSync(join(folder.path, name), text);
}

function read(folder: Folder, name: string): string {
  return readFileSync(join(folder.path, name), 'latin1');
}

test('a regular file is opened to read, with what it was at that moment', () => {
  const folder = makeFolder();
  write(folder, 'f', 'content');
  for (const options of [undefined, {noatime: true}]) {
    const {fd, stat} = openRegular(folder.fd, 'f', options);
    const buffer = Buffer.alloc(7);
    expect(stat).toEqual(statFd(held(fd)));
    expect(readInto(fd, buffer, 0, 7, 0)).toBe(7);
    expect(buffer.toString()).toBe('content');
  }
});

test('a FIFO, a device, a directory and a symlink are refused without being opened, and nothing waits', () => {
  const folder = makeFolder();
  makeSpecialAt(folder.fd, 'fifo', 'fifo', 0o600, 0);
  mkdirSync(join(folder.path, 'dir'));
  write(folder, 'file', 'x');
  symlinkSync('file', join(folder.path, 'link'));
  expect(codeOf(() => openRegular(folder.fd, 'fifo'))).toBe('EINVAL');
  expect(codeOf(() => openRegular(folder.fd, 'dir'))).toBe('EINVAL');
  expect(codeOf(() => openRegular(folder.fd, 'link'))).toBe('ELOOP');
  expect(codeOf(() => openRegular(folder.fd, 'missing'))).toBe('ENOENT');
  expect(codeOf(() => openRegular(held(openDirPath('/dev')), 'zero'))).toBe('EINVAL');
  // A FIFO opened to write has no reader yet: the kernel would tell by ENXIO if any of the above had opened it to read.
  expect(codeOf(() => openAt(folder.fd, 'fifo', constants.O_WRONLY))).toBe('ENXIO');
  expect(codeOf(() => openAt(folder.fd, 'link', constants.O_RDONLY))).toBe('ELOOP');
});

test('a regular file is opened to write or made; a FIFO, a device, a directory and a symlink are left alone', () => {
  const folder = makeFolder();
  const append = (name: string, text: string, mode?: number): void => {
    const fd = held(openRegularToWrite(folder.fd, name, constants.O_WRONLY | constants.O_APPEND, mode));
    writeFrom(fd, Buffer.from(text), 0, text.length, 0);
  };
  append('file', 'one', 0o640);
  append('file', 'two', 0o600);
  append('file', 'three');
  expect([read(folder, 'file'), statAt(folder.fd, 'file').mode & 0o077]).toEqual(['onetwothree', 0o040]);
  expect(codeOf(() => append('missing', 'x'))).toBe('ENOENT');
  makeSpecialAt(folder.fd, 'fifo', 'fifo', 0o600, 0);
  held(openAt(folder.fd, 'fifo', constants.O_RDONLY)); // so that it could be opened
  mkdirSync(join(folder.path, 'dir'));
  symlinkSync('file', join(folder.path, 'link'));
  for (const name of ['fifo', 'dir']) expect([name, codeOf(() => append(name, 'x', 0o600))]).toEqual([name, 'EINVAL']);
  expect(codeOf(() => append('link', 'x', 0o600))).toBe('ELOOP');
  expect(codeOf(() => held(openRegularToWrite(held(openDirPath('/dev')), 'null', constants.O_WRONLY)))).toBe('EINVAL');
});

test('no descriptor is left behind by 1,000 refused and 1,000 granted openings', () => {
  const folder = makeFolder();
  write(folder, 'f', '');
  makeSpecialAt(folder.fd, 'fifo', 'fifo', 0o600, 0);
  const ownFds = held(openDirPath('/proc/self/fd'));
  const before = listNames(ownFds).length;
  for (let round = 0; round < 1000; round++) {
    codeOf(() => openRegular(folder.fd, 'fifo'));
    closeFd(openRegular(folder.fd, 'f').fd);
  }
  expect(listNames(ownFds).length).toBe(before);
});

test('a file without a name gets its name with its content, and does not replace another', () => {
  const folder = makeFolder();
  const fd = held(openTmp(folder.fd, 0o600));
  writeFrom(fd, Buffer.from('whole'), 0, 5, 0);
  expect(listNames(folder.fd)).toEqual([]);
  linkFdAt(fd, folder.fd, 'final\xff');
  expect(listNames(folder.fd)).toEqual(['final\xff']);
  expect(statAt(folder.fd, 'final\xff')).toMatchObject({type: 'file', sizeBytes: 5, nlink: 1});
  expect(codeOf(() => linkFdAt(fd, folder.fd, 'final\xff'))).toBe('EEXIST');
});

test('reads and writes 3 MiB at any offset of buffer and file, and stops at the end', () => {
  const folder = makeFolder();
  const fd = held(openAt(folder.fd, 'f', NEW, 0o600));
  const bytes = Buffer.alloc(3 << 20, 'towline');
  writeFrom(fd, bytes, 5, bytes.length - 5, 10);
  const back = Buffer.alloc(bytes.length + 100);
  expect(readInto(fd, back, 7, back.length - 7, 10)).toBe(bytes.length - 5);
  expect(back.subarray(7, 7 + bytes.length - 5).equals(bytes.subarray(5))).toBe(true);
  expect(readInto(fd, back, 0, 10, 4 << 20)).toBe(0);
  expect(codeOf(() => readInto(fd, back, back.length - 1, 2, 0))).toBe('BUG');
  expect(codeOf(() => writeFrom(fd, bytes, -1, 2, 0))).toBe('BUG');
});

test('an offset beyond 4 GiB is exact', () => {
  const folder = makeFolder();
  const fd = held(openAt(folder.fd, 'f', NEW, 0o600));
  const position = 5 * 2 ** 30 + 3;
  writeFrom(fd, Buffer.from('far'), 0, 3, position);
  expect(statFd(fd).sizeBytes).toBe(position + 3);
  truncate(fd, 2 ** 33);
  expect(statFd(fd).sizeBytes).toBe(2 ** 33);
});

test('rename replaces, refuses to replace, or swaps a file with a directory', () => {
  const folder = makeFolder();
  write(folder, 'a', 'A');
  write(folder, 'b', 'B');
  expect(codeOf(() => renameAt(folder.fd, 'a', folder.fd, 'b', 'no-replace'))).toBe('EEXIST');
  renameAt(folder.fd, 'a', folder.fd, 'b', 'replace');
  expect([read(folder, 'b'), existsSync(join(folder.path, 'a'))]).toEqual(['A', false]);
  mkdirSync(join(folder.path, 'dir'));
  write(folder, 'dir/child', 'C');
  expect(codeOf(() => renameAt(folder.fd, 'b', folder.fd, 'dir', 'replace'))).toBe('EISDIR');
  renameAt(folder.fd, 'b', folder.fd, 'dir', 'exchange');
  expect([read(folder, 'dir'), read(folder, 'b/child')]).toEqual(['A', 'C']);
});

test('names of symlinks are linked and removed themselves, never what they point at', () => {
  const folder = makeFolder();
  write(folder, 'f', 'kept');
  symlinkSync('f', join(folder.path, 'link'));
  linkAt(folder.fd, 'link', folder.fd, 'second');
  expect(statAt(folder.fd, 'second')).toMatchObject({type: 'symlink', nlink: 2});
  unlinkAt(folder.fd, 'link');
  unlinkAt(folder.fd, 'second');
  expect([listNames(folder.fd), read(folder, 'f')]).toEqual([['f'], 'kept']);
  expect(codeOf(() => linkAt(folder.fd, 'f', folder.fd, 'f'))).toBe('EEXIST');
});

test.each([
  ['one of 1,001 bytes', 'x/'.repeat(500) + 'y'],
  ['one that is not UTF-8', '../\xff\xc3(/..'],
])('a symlink keeps its target: %s', (_, target) => {
  const folder = makeFolder();
  symlinkAt(target, folder.fd, 'link');
  expect(readlinkAt(folder.fd, 'link')).toBe(target);
  expect(codeOf(() => readlinkAt(folder.fd, 'missing'))).toBe('ENOENT');
});

test('a target of 4,096 bytes is too long, an empty one is refused', () => {
  const folder = makeFolder();
  expect(codeOf(() => symlinkAt('t'.repeat(4096), folder.fd, 'link'))).toBe('ENAMETOOLONG');
  expect(codeOf(() => symlinkAt('', folder.fd, 'link'))).toBe('ENOENT');
});

test('a descriptor is reopened after its file lost its name', () => {
  const folder = makeFolder();
  const fd = held(openAt(folder.fd, 'f', NEW, 0o600));
  writeFrom(fd, Buffer.from('abc'), 0, 3, 0);
  unlinkAt(folder.fd, 'f');
  const again = held(reopen(fd, constants.O_RDONLY));
  expect(readInto(again, Buffer.alloc(3), 0, 3, 0)).toBe(3);
  expect(codeOf(() => writeFrom(again, Buffer.from('x'), 0, 1, 0))).toBe('EBADF');
});
