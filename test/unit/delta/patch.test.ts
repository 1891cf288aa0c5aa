import {describe, expect, test} from 'vitest';
import {isTowlineError} from '../../../src/base/errors.ts';
import type {LeafOp} from '../../../src/delta/leaf-op.ts';
import {buildLeaf, LEAF_OP_COUNT_MAX, NO_BASE} from '../../../src/delta/patch.ts';
import {readerOf} from './delta-run.ts';

const base = Buffer.from('0123456789');
const copy = (baseOffset: number, sizeBytes: number): LeafOp => ({kind: 'copy', baseOffset, sizeBytes});
const literal = (text: string): LeafOp => ({kind: 'literal', bytes: Buffer.from(text)});

function codeOf(act: () => void): string {
  try {
    act();
  } catch (error) {
    return isTowlineError(error) ? error.code : 'another error';
  }
  return 'none';
}

test('builds 8 bytes from a literal, a copy and a literal', () => {
  const into = Buffer.alloc(8);
  buildLeaf([literal('ab'), copy(3, 4), literal('z')], 7, into, readerOf(base));
  expect(into.toString('latin1')).toBe('ab3456z\0');
});

test('copies up to the last byte of the base', () => {
  const into = Buffer.alloc(10);
  buildLeaf([copy(0, 10)], 10, into, readerOf(base));
  expect(into.equals(base)).toBe(true);
});

describe('refuses ops from a peer without writing a byte', () => {
  const cases: [string, LeafOp[], number][] = [
    ['that make less than the leaf', [literal('abc')], 4],
    ['that make more than the leaf', [literal('abc'), copy(0, 2)], 4],
    ['for no leaf at all', [literal('a')], 0],
    ['with no op for a leaf of 4', [], 4],
    ['that copy from beyond the base', [literal('ab'), copy(9, 2)], 4],
    ['that copy from before the base', [literal('ab'), copy(-1, 2)], 4],
    ['that copy from a fraction', [literal('ab'), copy(0.5, 2)], 4],
    ['that copy from NaN', [literal('ab'), copy(Number.NaN, 2)], 4],
    ['that copy from 2^60', [literal('ab'), copy(2 ** 60, 2)], 4],
    ['that copy a negative size', [literal('abcd'), copy(4, -2), literal('ab')], 4],
    ['that copy a fraction', [literal('ab'), copy(0, 1.5)], 4],
    ['that copy nothing', [literal('abcd'), copy(0, 0)], 4],
    ['that overflow', [copy(0, 2 ** 53), literal('ab')], 4],
    ['too many', Array.from({length: LEAF_OP_COUNT_MAX + 1}, () => literal('a')), LEAF_OP_COUNT_MAX + 1],
  ];
  test.each(cases)('%s', (_name, ops, sizeBytes) => {
    const into = Buffer.alloc(LEAF_OP_COUNT_MAX + 1, 0xee);
    expect(codeOf(() => buildLeaf(ops, sizeBytes, into, readerOf(base)))).toBe('PROTOCOL');
    expect(into.every((byte) => byte === 0xee)).toBe(true);
  });

  test('for a leaf larger than the buffer', () => {
    expect(codeOf(() => buildLeaf([copy(0, 8)], 8, Buffer.alloc(7), readerOf(base)))).toBe('PROTOCOL');
  });

  test('that copy where there is no base', () => {
    expect(codeOf(() => buildLeaf([copy(0, 1)], 1, Buffer.alloc(1), NO_BASE))).toBe('PROTOCOL');
  });
});
