import {expect, test} from 'vitest';
import {isAsWritten, rowSum, SUMMED} from '../../../src/state/row-sum.ts';

const AT = SUMMED.map((_, index) => index);
const ROW = [
  7,
  2 ** 47 + 3,
  'name\xff',
  0,
  0,
  0o644,
  1_000,
  2 ** 31,
  2 ** 53,
  -5,
  999_999_999,
  4_095 * 2 ** 32 + 7,
  null,
  0,
  Buffer.from([1, 2, 255]),
];

test('H8 each flipped bit of each summed column is found; a row without a sum passes', () => {
  const sum = rowSum(ROW, AT);
  expect([sum, 0].map((stored) => isAsWritten([...ROW, stored], AT, ROW.length))).toEqual([true, true]);
  let count = 0;
  for (const [index, value] of ROW.entries())
    for (const other of flipped(value)) {
      count++;
      const row = ROW.with(index, other);
      expect(isAsWritten([...row, sum], AT, ROW.length), `${SUMMED[index]}: ${String(other)}`).toBe(false);
    }
  expect(count).toBeGreaterThan(400);
});

function flipped(value: (typeof ROW)[number]): (typeof ROW)[number][] {
  if (value === null) return ['', 'x', 0];
  if (typeof value === 'number')
    return Array.from({length: 53}, (_, bit) =>
      Math.floor(value / 2 ** bit) % 2 === 0 ? value + 2 ** bit : value - 2 ** bit,
    ).filter((other) => other !== value);
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  return Array.from({length: bytes.length * 8}, (_, bit) => {
    const other = Buffer.from(bytes);
    other[bit >> 3]! ^= 1 << (bit & 7);
    return typeof value === 'string' ? other.toString('latin1') : other;
  });
}
