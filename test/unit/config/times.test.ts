/** Points in time as they are typed. */
import {expect, test} from 'vitest';
import {parseTime} from '../../../src/config/times.ts';

const NOW = new Date(2026, 10, 20, 14, 2, 11).getTime();

test.each([
  ['2h', NOW - 7_200_000],
  ['1.5d', NOW - 129_600_000],
  ['2026-11-20T13:00:00Z', Date.UTC(2026, 10, 20, 13)],
  ['2026-11-20 13:00:00.5+01:00', Date.UTC(2026, 10, 20, 12, 0, 0, 500)],
  ['2026-11-20t13:00z', Date.UTC(2026, 10, 20, 13)],
  ['2026-11-19', new Date(2026, 10, 19).getTime()],
  ['2026-11-19 08:30', new Date(2026, 10, 19, 8, 30).getTime()],
  ['2026-11-19T08:30:59', new Date(2026, 10, 19, 8, 30, 59).getTime()],
  ['08:30', new Date(2026, 10, 20, 8, 30).getTime()],
])('%s', (typed, ms) => {
  expect(parseTime(typed, NOW)).toBe(ms);
});

test.each(['', 'yesterday', '2026-02-30', '2026-13-01', '25:00', '12:60', '2026-11-20T25:00:00Z', '2', '2y', '1e3'])(
  '"%s" is refused, and what is allowed is said',
  (typed) => {
    expect(() => parseTime(typed, NOW)).toThrow(/2h/);
  },
);
