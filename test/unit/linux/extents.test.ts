import {constants, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {clone, copyRange, hasHole, nextData, nextHole, punchHole, reserve} from '../../../src/linux/extents.ts';
import {truncate, writeFrom} from '../../../src/linux/files.ts';
import {openAt} from '../../../src/linux/open-fd.ts';
import {statFd} from '../../../src/linux/stat.ts';
import {codeOf} from './code-of.ts';
import {held, makeFolder} from './folder.ts';

const NEW = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;

test.each([
  ['in one filesystem', undefined],
  ['between two filesystems', '/dev/shm'],
])('copies ranges %s: 1 MiB + 3 bytes to another offset, less where the source ends', (_, parent) => {
  const from = makeFolder();
  const to = makeFolder(parent);
  const fromFd = held(openAt(from.fd, 'f', NEW, 0o600));
  const toFd = held(openAt(to.fd, 'f', NEW, 0o600));
  const bytes = Buffer.alloc((1 << 20) + 3, 'range');
  writeFrom(fromFd, bytes, 0, bytes.length, 0);
  expect(copyRange(fromFd, 3, toFd, 8, bytes.length)).toBe(bytes.length - 3);
  expect(readFileSync(join(to.path, 'f')).subarray(8).equals(bytes.subarray(3))).toBe(true);
  expect(statFd(toFd).sizeBytes).toBe(bytes.length + 5);
  expect(copyRange(fromFd, bytes.length, toFd, 0, 10)).toBe(0);
  expect(codeOf(() => copyRange(-1, 0, toFd, 0, 10))).toBe('EBADF');
});

test('a clone holds the same bytes, or is refused and holds none', () => {
  const {path, fd} = makeFolder();
  writeFileSync(join(path, 'from'), 'x'.repeat(8192));
  const fromFd = held(openAt(fd, 'from', constants.O_RDONLY));
  const toFd = held(openAt(fd, 'to', NEW, 0o600));
  const isCloned = clone(toFd, fromFd);
  expect(statFd(toFd).sizeBytes).toBe(isCloned ? 8192 : 0);
  expect(readFileSync(join(path, 'to'), 'latin1')).toBe(isCloned ? 'x'.repeat(8192) : '');
  expect(codeOf(() => clone(-1, fromFd))).toBe('EBADF');
});

test('finds the data between two holes: 4 KiB in the middle of 1 MiB', () => {
  const folder = makeFolder();
  const fd = held(openAt(folder.fd, 'f', NEW, 0o600));
  truncate(fd, 1 << 20);
  writeFrom(fd, Buffer.alloc(4096, 1), 0, 4096, 1 << 19);
  expect([nextHole(fd, 0), nextData(fd, 0)]).toEqual([0, 1 << 19]);
  expect([nextHole(fd, 1 << 19), nextData(fd, (1 << 19) + 4096)]).toEqual([(1 << 19) + 4096, -1]);
  expect([nextHole(fd, 1 << 20), nextData(fd, 1 << 20)]).toEqual([-1, -1]);
  expect(punchHole(fd, 1 << 19, 4096)).toBe(true);
  expect(nextData(fd, 0)).toBe(-1);
  expect(reserve(fd, 0, 65536)).toBe(true);
  expect(hasHole(fd, statFd(fd))).toBe(true);
  expect(statFd(fd)).toMatchObject({sizeBytes: 1 << 20});
  expect(statFd(fd).allocatedBytes).toBeGreaterThanOrEqual(65536);
});

test('holes are looked for only where less is allocated than the size, preallocated space counts as data', () => {
  const folder = makeFolder();
  const fd = held(openAt(folder.fd, 'f', NEW, 0o600));
  truncate(fd, 1 << 20);
  expect(hasHole(fd, statFd(fd))).toBe(true);
  expect(hasHole(-1, {sizeBytes: 4096, allocatedBytes: 4096}), 'without a system call').toBe(false);
  expect(codeOf(() => hasHole(-1, {sizeBytes: 4097, allocatedBytes: 4096}))).toBe('EBADF');
  expect(reserve(fd, 0, 1 << 20)).toBe(true);
  expect(hasHole(fd, statFd(fd))).toBe(false);
  truncate(fd, 0);
  expect(hasHole(fd, {sizeBytes: 4096, allocatedBytes: 0}), 'cut meanwhile').toBe(false);
});
