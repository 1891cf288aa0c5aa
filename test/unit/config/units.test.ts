/** Durations, sizes, shares and counts, there and back. */
import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {isTowlineError} from '../../../src/base/errors.ts';
import {
  formatBytes,
  formatCount,
  formatDuration,
  parseCount,
  parseDuration,
  parseShare,
  parseInPlaceSize,
  parseSize,
} from '../../../src/config/units.ts';

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'nothing thrown';
  } catch (error) {
    return isTowlineError(error) ? error.code : String(error);
  }
}

test.each([
  ['500ms', 500],
  ['2s', 2_000],
  ['1.5s', 1_500],
  ['15m', 900_000],
  ['1h', 3_600_000],
  ['7d', 604_800_000],
  ['0', 0],
  ['0.0001ms', 0],
])('%s is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each([
  ['1024', 1_024],
  ['64MiB', 67_108_864],
  ['1GiB', 1_073_741_824],
  ['10kB', 10_000],
  ['1.5 KiB', 1_536],
  ['1tb', 1_000_000_000_000],
  ['0', 0],
])('%s is %d bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes));

test('what is changed in place has 1 MiB at least', () => {
  expect(['1MiB', '1048576', '4GiB'].map(parseInPlaceSize)).toEqual([1 << 20, 1 << 20, 2 ** 32]);
  expect(() => parseInPlaceSize('1048575')).toThrow(
    '"1048575" is not a size from 1MiB on, like 4GiB: write at least 1MiB',
  );
});

test.each([
  ['50%', 0.5],
  ['0%', 0],
  ['100%', 1],
  ['12.5%', 0.125],
])('%s is a share of %d', (text, share) => expect(parseShare(text)).toBe(share));

test.each([
  ['500', 500],
  ['12,345', 12_345],
])('%s is a count of %d', (text, count) => expect(parseCount(text)).toBe(count));

describe('refuses as a usage error', () => {
  const parsers = {parseDuration, parseSize, parseShare, parseCount};
  test.each([
    ['parseDuration', ['', '5', '-1s', '1 year', 'NaN', 'Infinity', '1e9s', '4000d', '1s1s', '.5s', '٥s']],
    ['parseSize', ['', '-1', '64M', '1KB/s', '0.5', '9000TiB', '1e3', '0x10', 'NaN']],
    ['parseShare', ['', '50', '101%', '-1%', '1000%', '%', '0.5']],
    ['parseCount', ['', '-1', '1.5', '1e3', '12,34', '9999999999999999', 'ten']],
  ] as const)('%s: %j', (name, texts) => {
    for (const text of texts) expect([text, codeOf(() => parsers[name](text))]).toEqual([text, 'USAGE']);
  });
});

test.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [1_024, '1.0 KiB'],
  [1_536, '1.5 KiB'],
  [12_897_485, '12.3 MiB'],
  [1_048_575, '1.0 MiB'],
  [2 ** 40, '1.0 TiB'],
])('%d bytes are shown as %s', (bytes, shown) => expect(formatBytes(bytes)).toBe(shown));

test.each([
  [0.01, '0 ms'],
  [0.34, '0.3 ms'],
  [3, '3 ms'],
  [999.6, '1.00 s'],
  [1_250, '1.25 s'],
  [59_940, '59.9 s'],
  [59_960, '1 m 00 s'],
  [125_000, '2 m 05 s'],
  [11_220_000, '3 h 07 m'],
  [187_200_000, '2 d 04 h'],
])('%d ms are shown as %s', (ms, shown) => expect(formatDuration(ms)).toBe(shown));

test('counts are shown in groups of three and read back', () => {
  expect([0, 999, 1_000, 1_234_567].map(formatCount)).toEqual(['0', '999', '1,000', '1,234,567']);
  fc.assert(fc.property(fc.nat(), (count) => parseCount(formatCount(count)) === count));
});

test('whatever is typed gives a finite number or a usage error', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[-+.\d]{0,6}[a-zA-Z%]{0,3}$/)), (text) => {
      for (const parse of [parseDuration, parseSize, parseShare, parseCount]) {
        let value = 0;
        const code = codeOf(() => (value = parse(text)));
        if (code === 'nothing thrown') expect(Number.isFinite(value) && value >= 0).toBe(true);
        else expect(code).toBe('USAGE');
      }
    }),
  );
});
