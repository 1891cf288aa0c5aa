/** What waits for several links at once: it leaves nothing behind. */
import {expect, test} from 'vitest';
import {systemClock, type Clock} from '../../../src/base/clock.ts';
import {together, type Waited} from '../../../src/daemon/flush-links.ts';

test('a link that fails leaves no timer of an hour behind', async () => {
  const signals: (AbortSignal | undefined)[] = [];
  const clock: Clock = {
    ...systemClock,
    sleep: (delayMs, signal) => {
      signals.push(signal);
      return systemClock.sleep(delayMs, signal);
    },
  };
  const link = {lateOutcome: () => expect.unreachable()} as unknown as Waited['link'];
  const failing = together(clock, 3_600_000, [{link, run: () => Promise.reject(new Error('over'))}]);
  await expect(failing).rejects.toThrow('over');
  expect(signals.map((signal) => signal?.aborted)).toEqual([true]);
});
