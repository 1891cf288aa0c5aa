import fc from 'fast-check';
import {expect, test} from 'vitest';
import {dueAfterRead, dueFrom, isStillChanging, QUIET_MS} from '../../../src/reconcile/fresh-read.ts';

const NOW_MS = 1_800_000_000_000;
const changedMsAgo = (ms: number): {s: number; ns: number} => ({s: (NOW_MS - ms) / 1_000, ns: 0});

test('a file that had changed 59 s before it was read is read again after 60 s; one at rest for 60 s is not', () => {
  const dueMs = dueAfterRead(changedMsAgo(59_000), NOW_MS, QUIET_MS);
  expect(dueMs).toBeGreaterThanOrEqual(NOW_MS + 60_000);
  expect(dueMs).toBeLessThan(NOW_MS + 64_000);
  expect(dueAfterRead(changedMsAgo(60_000), NOW_MS, QUIET_MS)).toBeUndefined();
});

test('a change that lies ahead, because the clock was set back, counts as one of this moment', () => {
  expect(dueAfterRead(changedMsAgo(-3_600_000), NOW_MS, QUIET_MS)).toBe(dueFrom(NOW_MS, QUIET_MS));
  expect(isStillChanging(changedMsAgo(-3_600_000), NOW_MS, QUIET_MS)).toBe(false);
});

test('what is due is at rest then, unless it has changed again', () => {
  fc.assert(
    fc.property(fc.integer({min: 0, max: 59_999}), fc.integer({min: 0, max: 200_000}), (ageMs, againMs) => {
      const dueMs = dueAfterRead(changedMsAgo(ageMs), NOW_MS, QUIET_MS) ?? 0;
      expect(isStillChanging(changedMsAgo(ageMs), dueMs, QUIET_MS)).toBe(false);
      const changed = changedMsAgo(-againMs); // after it was read
      expect(isStillChanging(changed, dueMs, QUIET_MS)).toBe(
        NOW_MS + againMs <= dueMs && dueMs - NOW_MS - againMs < QUIET_MS,
      );
    }),
  );
});

test('files that were read within 3 s of each other are due at no more than two moments', () => {
  const moments = new Set(Array.from({length: 30}, (_, index) => dueFrom(NOW_MS + index * 100, QUIET_MS)));
  expect(moments.size).toBeLessThanOrEqual(2);
});
