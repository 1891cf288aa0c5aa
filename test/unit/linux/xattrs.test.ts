import {randomBytes} from 'node:crypto';
import {constants, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {openAt, openDirPath} from '../../../src/linux/open-fd.ts';
import {getXattr, removeXattr, setXattr} from '../../../src/linux/xattrs.ts';
import {codeOf} from './code-of.ts';
import {held, makeFolder} from './folder.ts';
import {needsRoot} from '../../needs.ts';

const rootTest = needsRoot(test);

function makeFile(): number {
  const folder = makeFolder();
  writeFileSync(join(folder.path, 'f'), '');
  return held(openAt(folder.fd, 'f', constants.O_RDONLY));
}

test('attributes of 0, 7 and 2,000 random bytes come back, also under a name that is not UTF-8', () => {
  const fd = makeFile();
  const values = new Map([
    ['user.empty', Buffer.alloc(0)],
    ['user.\xfe\xff', randomBytes(7)],
    ['user.large', randomBytes(2000)],
  ]);
  for (const [name, value] of values) setXattr(fd, name, value);
  for (const [name, value] of values) expect(getXattr(fd, name, 2000)).toEqual(value);
});

test('one that is not there is undefined, one above the limit is ERANGE, and removing is done twice', () => {
  const fd = makeFile();
  setXattr(fd, 'user.a', Buffer.from('12345'));
  expect(codeOf(() => getXattr(fd, 'user.a', 4))).toBe('ERANGE');
  removeXattr(fd, 'user.a');
  removeXattr(fd, 'user.a');
  expect([getXattr(fd, 'user.a', 100), getXattr(fd, 'user.a', 0)]).toEqual([undefined, undefined]);
  expect(codeOf(() => getXattr(-1, 'user.a', 10))).toBe('EBADF');
});

test('a limit of 0 bytes holds: a value of 5 is ERANGE, not its size', () => {
  const fd = makeFile();
  setXattr(fd, 'user.a', Buffer.from('12345'));
  expect(codeOf(() => getXattr(fd, 'user.a', 0))).toBe('ERANGE');
});

test('a filesystem without attributes has none and refuses to set one', () => {
  const fd = held(openDirPath('/proc/self'));
  expect(getXattr(fd, 'user.a', 10)).toBeUndefined();
  expect(['ENOTSUP', 'EPERM', 'EACCES']).toContain(codeOf(() => setXattr(fd, 'user.a', Buffer.from('1'))));
});

rootTest("trusted attributes are root's own", () => {
  const fd = makeFile();
  setXattr(fd, 'trusted.towline.test', Buffer.from([1]));
  expect(getXattr(fd, 'trusted.towline.test', 1)).toEqual(Buffer.from([1]));
});
