import {expect, test} from 'vitest';
import type {Clock} from '../../../src/base/clock.ts';
import {Pace, pacerOf} from '../../../src/base/pace.ts';

/** A clock whose sleeps take no time but move it on. */
function quickClock(): Clock & {atMs: number} {
  const clock = {
    atMs: 0,
    nowMs: () => clock.atMs,
    monotonicMs: () => clock.atMs,
    sleep: (delayMs: number) => {
      clock.atMs += delayMs;
      return Promise.resolve();
    },
  };
  return clock;
}

test('100 frames of 64 KiB at 1 MiB a second take 6.25 s, within 3 %', async () => {
  const clock = quickClock();
  const pace = new Pace(1 << 20, clock);
  for (let count = 0; count < 100; count++) await pace.take(64 * 1024, false);
  expect(clock.atMs).toBeGreaterThan(6_250 * 0.97 - 62);
  expect(clock.atMs).toBeLessThan(6_250 * 1.03);
});

test('what is urgent goes before what waits, each in its own order', async () => {
  const pace = new Pace(1_000, quickClock());
  const order: string[] = [];
  const take = (name: string, isUrgent: boolean): Promise<void> =>
    pace.take(1_000, isUrgent).then(() => void order.push(name));
  await Promise.all([take('first', false), take('a', false), take('b', false), take('X', true), take('Y', true)]);
  expect(order).toEqual(['first', 'X', 'Y', 'a', 'b']);
});

test('a link waits for its own limit and for that of all links; without any there is nothing to wait for', async () => {
  const clock = quickClock();
  await pacerOf(0, () => undefined, clock)(1 << 30, false);
  expect(clock.atMs).toBe(0);
  const shared = new Pace(1_000, clock);
  const pacer = pacerOf(0, () => shared, clock);
  for (let count = 0; count < 5; count++) await pacer(1_000, false);
  expect(clock.atMs).toBeGreaterThan(3_800);
});
