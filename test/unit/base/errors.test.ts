import {describe, expect, test} from 'vitest';
import {readFileSync} from 'node:fs';
import {
  EXIT_CODE,
  isTowlineError,
  messageOf,
  REACTION,
  systemErrorOf,
  TowlineError,
  worstExitCode,
} from '../../../src/base/errors.ts';
import {LinuxError} from '../../../src/linux/linux-error.ts';
import {plainError, revivedError} from '../../../src/base/jobs.ts';

describe('the worst of several exit codes', () => {
  test.each([
    {codes: [], worst: 0},
    {codes: [0, 0], worst: 0},
    {codes: [0, 1], worst: 1},
    {codes: [1, 8], worst: 8},
    {codes: [8, 5, 1], worst: 5},
    {codes: [5, 4], worst: 4},
    {codes: [4, 6], worst: 6},
    {codes: [6, 3], worst: 3},
    {codes: [3, 7], worst: 7},
    {codes: [7, 70, 3], worst: 70},
    {codes: [1, 2], worst: 2},
  ])('$codes: $worst', ({codes, worst}) => {
    expect(worstExitCode(codes)).toBe(worst);
    expect(worstExitCode(codes.toReversed())).toBe(worst);
  });

  test('the order is 70, 7, 3, 6, 4, 5, 8, 1', () => {
    const order = [70, 7, 3, 6, 4, 5, 8, 1];
    expect(order.map((_, index) => worstExitCode(order.slice(index).toReversed()))).toEqual(order);
  });
});

test('an error that is tried again does not end with a usage or a bug code', () => {
  for (const [code, reaction] of Object.entries(REACTION)) {
    const exitCode = EXIT_CODE[code as keyof typeof EXIT_CODE];
    expect(exitCode, code).not.toBe(0);
    if (reaction === 'retry') expect([2, 70], code).not.toContain(exitCode);
  }
});

test('an error crosses threads with its code, its details and its stack', () => {
  const error = new TowlineError('HALTED', 'halted: 51 of 100', {
    kind: 'delete-share',
    volume: 'v',
    count: 51,
    limit: 50,
  });
  const plain = structuredClone(plainError(error));
  const revived = revivedError(plain);
  expect(isTowlineError(revived)).toBe(true);
  expect(revived).toMatchObject({code: 'HALTED', details: error.details, message: error.message, stack: error.stack});
});

test('what is no error of ours crosses with its message, and a thrown text is its own message', () => {
  const revived = revivedError(plainError(new TypeError('x is not a function')));
  expect([isTowlineError(revived), revived.message]).toEqual([false, 'x is not a function']);
  expect([revivedError(plainError('text')).message, messageOf('text')]).toEqual(['text', 'text']);
});

describe('a failed system call that nobody gave a meaning', () => {
  test('is trouble with the system, of libc or of Node', () => {
    const ofLibc = systemErrorOf(new LinuxError('statx', 5));
    expect(ofLibc).toMatchObject({code: 'SYSTEM', details: {syscall: 'statx', errno: 'EIO'}});
    expect(ofLibc?.message).toMatch(/^a system call failed: statx: EIO .*; look at the disk/);
    const ofNode = caught(() => readFileSync('/nowhere/at/all'));
    expect(systemErrorOf(ofNode)).toMatchObject({details: {syscall: 'open', errno: 'ENOENT', path: '/nowhere/at/all'}});
  });

  test('no other error is one', () => {
    for (const error of [new Error('x'), new TypeError('y'), 'text', undefined])
      expect(systemErrorOf(error)).toBe(undefined);
  });
});

function caught(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}
