import {constants, statfsSync} from 'node:fs';
import {expect, test} from 'vitest';
import {filesystemOf} from '../../../src/linux/filesystem.ts';
import {Handle} from '../../../src/linux/handle.ts';
import {tryLock} from '../../../src/linux/lock.ts';
import {closeFd, openAt, openDirPath} from '../../../src/linux/open-fd.ts';
import {statFd} from '../../../src/linux/stat.ts';
import {codeOf} from './code-of.ts';
import {held, makeFolder} from './folder.ts';

test('a filesystem tells its type, identity and space as statfs does', () => {
  const {path, fd} = makeFolder();
  const node = statfsSync(path);
  const found = filesystemOf(fd);
  expect(found).toMatchObject({
    type: node.type,
    blockBytes: node.bsize,
    totalBytes: node.blocks * node.bsize,
    isReadOnly: false,
  });
  expect(Math.abs(found.freeBytes - node.bavail * node.bsize)).toBeLessThan(1 << 30);
  expect(found.freeInodes).toBeGreaterThan(0);
  expect(found.fsid).toMatch(/^[0-9a-f]{16}$/);
  expect(found.uuid ?? '0'.repeat(32)).toMatch(/^[0-9a-f]{32}$/);
  expect(filesystemOf(held(openAt(fd, '.', constants.O_RDONLY)))).toMatchObject({fsid: found.fsid, uuid: found.uuid});
  expect(filesystemOf(held(openDirPath('/proc'))).uuid).toBeUndefined();
});

test('a lock is held by one open file and free again when that is closed', () => {
  const {fd} = makeFolder();
  const flags = constants.O_RDWR | constants.O_CREAT;
  const first = openAt(fd, 'lock', flags, 0o600);
  const second = held(openAt(fd, 'lock', flags, 0o600));
  expect([tryLock(first), tryLock(first), tryLock(second)]).toEqual([true, true, false]);
  closeFd(first);
  expect(tryLock(second)).toBe(true);
});

test('a handle is closed by its last holder of three, and not usable after', () => {
  const {fd} = makeFolder();
  const number = openAt(fd, '.', constants.O_RDONLY);
  const handle = Handle.of(number);
  handle.retain().retain();
  {
    using holder = handle;
    expect(holder.fd).toBe(number);
  }
  handle.release();
  expect([handle.isOpen, statFd(handle.fd).type]).toEqual([true, 'dir']);
  handle.release();
  expect(handle.isOpen).toBe(false);
  expect(codeOf(() => statFd(number))).toBe('EBADF');
  for (const use of [() => handle.fd, () => handle.retain(), () => handle.release()]) expect(codeOf(use)).toBe('BUG');
});
