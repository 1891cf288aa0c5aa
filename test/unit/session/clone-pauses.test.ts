import {expect, test} from 'vitest';
import {ClonePauses} from '../../../src/session/clone-pauses.ts';

/** A clock whose time the test sets, and whose sleepers it wakes. */
class Clock {
  ms = 0;
  readonly sleeps: number[] = [];
  #sleepers: (() => void)[] = [];

  nowMs(): number {
    return this.ms;
  }

  monotonicMs(): number {
    return this.ms;
  }

  sleep(delayMs: number): Promise<void> {
    this.sleeps.push(delayMs);
    return new Promise((resolve) => this.#sleepers.push(resolve));
  }

  async wake(): Promise<void> {
    for (const resolve of this.#sleepers.splice(0)) resolve();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('a file that was cloned at 1,000 ms is due 2,000 ms later, others are due at once', () => {
  const clock = new Clock();
  const pauses = new ClonePauses({pauseMs: 2_000}, {clock});
  clock.ms = 1_000;
  pauses.taken('a');
  expect([pauses.isDue('a'), pauses.isDue('b')]).toEqual([false, true]);
  clock.ms = 3_000;
  expect(pauses.isDue('a')).toBe(true);
});

test('who waits is called once, when the first is due, and again for the next', async () => {
  const clock = new Clock();
  const pauses = new ClonePauses({pauseMs: 2_000}, {clock});
  let calls = 0;
  const ask = (): void => pauses.wake(() => void calls++);
  ask();
  expect(clock.sleeps).toEqual([]);
  pauses.taken('a');
  clock.ms = 500;
  pauses.taken('b');
  ask();
  ask();
  expect(clock.sleeps).toEqual([1_500]);
  clock.ms = 2_000;
  await clock.wake();
  ask();
  expect([calls, clock.sleeps]).toEqual([1, [1_500, 500]]);
});

test('one that becomes due between the look at it and the wait for it is not forgotten', async () => {
  const clock = new Clock();
  const pauses = new ClonePauses({pauseMs: 2_000}, {clock});
  let calls = 0;
  pauses.taken('a');
  clock.ms = 1_999.9;
  expect(pauses.isDue('a')).toBe(false);
  clock.ms = 2_000.1;
  pauses.wake(() => void calls++);
  await clock.wake();
  expect([calls, pauses.isDue('a')]).toEqual([1, true]);
});
