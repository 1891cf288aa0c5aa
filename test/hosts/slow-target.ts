/**
 * One source and several targets, one of them far away: what the others reach without it, and beside it.
 *
 * Not for tests alone: a measurement uses it too.
 */
import type {TestAgent} from './agent.ts';

export const FAST_BITS = 20_000_000; // of each of the others: their lines are the limit, not the cores of this machine
export const SLOW_BITS = 64_000;
const CONNECTED_MS_MAX = 60_000;

/** All run and are connected; the slow one is stopped for the first run, and comes back behind its line for the second. */
export async function besideSlow<T>(
  {source, slow}: {source: TestAgent; slow: TestAgent},
  run: (name: 'without' | 'with') => Promise<T>,
): Promise<{without: T; withSlow: T; peakGrowthBytes: number}> {
  await slow.stop();
  const without = await run('without');
  const before = source.memory();
  slow.host.limitRate(SLOW_BITS);
  await slow.start();
  const isConnected = async (): Promise<boolean> =>
    (await source.report()).peers.find(({name}) => name === slow.name)!.isConnected;
  await source.until('the slow one is connected', isConnected, CONNECTED_MS_MAX);
  const withSlow = await run('with');
  return {without, withSlow, peakGrowthBytes: source.memory().peakBytes - before.peakBytes};
}
