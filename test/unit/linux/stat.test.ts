import {linkSync, mkdirSync, statSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {holdAt, openDirPath} from '../../../src/linux/open-fd.ts';
import {makeSpecialAt} from '../../../src/linux/files.ts';
import {RAW_STAT_BYTES, readStat, statAt, statAtIfAny, statAtRaw, statFd} from '../../../src/linux/stat.ts';
import {codeOf} from './code-of.ts';
import {held, makeFolder} from './folder.ts';

const NOT_UTF8 = 'caf\xe9\xff\x01';

test('a file is what lstat says it is, with times in nanoseconds', () => {
  const {path, fd} = makeFolder();
  writeFileSync(join(path, 'f'), 'x'.repeat(5000), {mode: 0o640});
  linkSync(join(path, 'f'), join(path, 'g'));
  const node = statSync(join(path, 'f'), {bigint: true});
  const stat = statAt(fd, 'f');
  expect(stat).toMatchObject({
    type: 'file',
    mode: Number(node.mode) & 0o7777,
    uid: Number(node.uid),
    gid: Number(node.gid),
    sizeBytes: 5000,
    allocatedBytes: Number(node.blocks) * 512,
    ino: Number(node.ino),
    nlink: 2,
    rdev: 0,
  });
  const ns = (time: {s: number; ns: number}): bigint => BigInt(time.s) * 1_000_000_000n + BigInt(time.ns);
  expect([ns(stat.mtime), ns(stat.ctime)]).toEqual([node.mtimeNs, node.ctimeNs]);
  expect(stat.mountId).toBeGreaterThan(0);
});

test('types are told without following or opening: file, dir, symlink, fifo, char', () => {
  const {path, fd} = makeFolder();
  writeFileSync(join(path, 'file'), '');
  mkdirSync(join(path, 'dir'));
  symlinkSync('/etc/passwd', join(path, 'symlink'));
  makeSpecialAt(fd, 'fifo', 'fifo', 0o600, 0);
  for (const type of ['file', 'dir', 'symlink', 'fifo']) expect(statAt(fd, type).type).toBe(type);
  const zero = statAt(held(openDirPath('/dev')), 'zero');
  expect(zero).toMatchObject({type: 'char', rdev: 2 ** 32 + 5});
});

test('a name of 255 bytes and one that is not UTF-8 are found', () => {
  const {path, fd} = makeFolder();
  for (const name of ['n'.repeat(255), NOT_UTF8]) {
    writeFileSync(Buffer.from(`${path}/${name}`, 'latin1'), name, 'latin1');
    expect(statAt(fd, name).sizeBytes).toBe(name.length);
  }
  expect(codeOf(() => statAt(fd, 'n'.repeat(256)))).toBe('ENAMETOOLONG');
  expect(codeOf(() => statAt(fd, 'n'.repeat(5000)))).toBe('ENAMETOOLONG');
});

test.each(['', '..', 'a/b', '/etc/passwd', '../x', 'a\0b', 'ж'])('%j is no component: a bug, not a path', (name) => {
  const {fd} = makeFolder();
  expect(codeOf(() => statAt(fd, name))).toBe('BUG');
});

test('what is missing is ENOENT, or undefined where it was asked for', () => {
  const {fd} = makeFolder();
  expect(codeOf(() => statAt(fd, 'missing'))).toBe('ENOENT');
  expect(statAtIfAny(fd, 'missing')).toBeUndefined();
  expect(statAtIfAny(fd, '.')?.type).toBe('dir');
  expect(codeOf(() => statAtIfAny(-1, 'x'))).toBe('EBADF');
});

test('a held symlink is statted itself', () => {
  const {path, fd} = makeFolder();
  symlinkSync('/etc', join(path, 'link'));
  expect(statFd(held(holdAt(fd, 'link')))).toEqual(statAt(fd, 'link'));
});

test('raw: writes at the offset, reads the name at its offset, answers the negative errno', () => {
  const {path, fd} = makeFolder();
  writeFileSync(join(path, 'f'), 'abc');
  const names = Buffer.from('xx\0f\0missing\0\0');
  const into = Buffer.alloc(3 * RAW_STAT_BYTES);
  expect(statAtRaw(fd, names, into, RAW_STAT_BYTES, 3)).toBe(0);
  expect(readStat(into, RAW_STAT_BYTES)).toEqual(statAt(fd, 'f'));
  expect(statAtRaw(fd, names.subarray(3), into, 2 * RAW_STAT_BYTES)).toBe(0);
  expect(readStat(into, 2 * RAW_STAT_BYTES)).toEqual(statAt(fd, 'f'));
  expect(into.subarray(0, RAW_STAT_BYTES).every((byte) => byte === 0)).toBe(true);
  expect(statAtRaw(fd, names, into, 0, 5)).toBe(-2);
  expect(statAtRaw(fd, names, into, 0, names.length - 1)).toBe(0); // an empty name: the directory itself
  expect(readStat(into, 0)).toEqual(statFd(fd));
});

test('raw: no byte is written outside the buffer, also after it was transferred away', () => {
  const {fd} = makeFolder();
  const names = Buffer.from('.\0');
  const into = Buffer.from(new ArrayBuffer(RAW_STAT_BYTES));
  expect(statAtRaw(fd, names, into, 0)).toBe(0);
  expect(codeOf(() => statAtRaw(fd, names, into, 8))).toBe('BUG');
  structuredClone(into.buffer, {transfer: [into.buffer]});
  expect(codeOf(() => statAtRaw(fd, names, into, 0))).toBe('BUG');
});

test('what is mounted has another mount ID than where it is mounted', () => {
  const root = held(openDirPath('/'));
  expect(statAt(root, 'proc').mountId).not.toBe(statFd(root).mountId);
});
