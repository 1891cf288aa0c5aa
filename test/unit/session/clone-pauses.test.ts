import {expect, test} from 'vitest';
import type {Clock} from '../../../src/base/clock.ts';
import {ClonePauses} from '../../../src/session/clone-pauses.ts';

/** A clock whose time the test sets, and whose sleepers it wakes. */
function clockAt(start: number): {clock: Clock; set(ms: number): void; wake(): Promise<void>; sleeps: number[]} {
  let nowMs = start;
  const sleeps: number[] = [];
  let sleepers: (() => void)[] = [];
  const clock = {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    sleep: (delayMs: number) => {
      sleeps.push(delayMs);
      return new Promise<void>((resolve) => sleepers.push(resolve));
    },
  } as unknown as Clock;
  return {
    clock,
    sleeps,
    set: (ms) => void (nowMs = ms),
    wake: async () => {
      for (const resolve of sleepers) resolve();
      sleepers = [];
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

test('a file that was cloned at 1,000 ms is due 2,000 ms later, others are due at once', () => {
  const {clock, set} = clockAt(1_000);
  const pauses = new ClonePauses({pauseMs: 2_000}, {clock});
  pauses.taken('a');
  expect([pauses.isDue('a'), pauses.isDue('b')]).toEqual([false, true]);
  set(3_000);
  expect(pauses.isDue('a')).toBe(true);
});

test('who waits is called once, when the first is due, and again for the next', async () => {
  const {clock, set, wake, sleeps} = clockAt(0);
  const pauses = new ClonePauses({pauseMs: 2_000}, {clock});
  let calls = 0;
  const ask = (): void => pauses.wake(() => void calls++);
  ask();
  expect(sleeps).toEqual([]);
  pauses.taken('a');
  set(500);
  pauses.taken('b');
  ask();
  ask();
  expect(sleeps).toEqual([1_500]);
  set(2_000);
  await wake();
  ask();
  expect([calls, sleeps]).toEqual([1, [1_500, 500]]);
});

test('one that becomes due between the look at it and the wait for it is not forgotten', async () => {
  const {clock, set, wake} = clockAt(0);
  const pauses = new ClonePauses({pauseMs: 2_000}, {clock});
  let calls = 0;
  pauses.taken('a');
  set(1_999.9);
  expect(pauses.isDue('a')).toBe(false);
  set(2_000.1);
  pauses.wake(() => void calls++);
  await wake();
  expect([calls, pauses.isDue('a')]).toEqual([1, true]);
});
