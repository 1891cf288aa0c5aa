import {expect, test} from 'vitest';
import {errnoName, isLinuxError, LinuxError} from '../../../src/linux/linux-error.ts';

test('an error tells its call, its code and what it means, and carries no stack', () => {
  const limit = Error.stackTraceLimit;
  const error = new LinuxError('renameat2', 18);
  expect(error).toMatchObject({code: 'EXDEV', errno: 18, syscall: 'renameat2', name: 'LinuxError'});
  expect(error.message).toMatch(/^renameat2: EXDEV .*link/);
  expect(error.stack?.split('\n')).toHaveLength(1);
  expect(Error.stackTraceLimit).toBe(limit);
});

test.each([
  [2, 'ENOENT'],
  [11, 'EAGAIN'],
  [95, 'ENOTSUP'],
  [117, 'EUCLEAN'],
  [4000, 'E4000'],
])('errno %i is %s', (errno, name) => {
  expect(errnoName(errno)).toBe(name);
});

test('errors are told apart by their codes', () => {
  const error: unknown = new LinuxError('statx', 2);
  expect([isLinuxError(error), isLinuxError(error, 'EIO', 'ENOENT'), isLinuxError(error, 'EIO')]).toEqual([
    true,
    true,
    false,
  ]);
  expect(isLinuxError(Object.assign(new Error('x'), {code: 'ENOENT'}))).toBe(false);
});
