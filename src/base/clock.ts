/**
 * Time and sleep, passed in so that tests need not wait. Not a source of file times: those come from the filesystem.
 */

export interface Clock {
  /** Milliseconds since the epoch; may jump. Only for people and for stored times. */
  nowMs(): number;
  /** Milliseconds of a clock that never goes back; for deadlines and intervals. */
  monotonicMs(): number;
  /** Resolves after `delayMs`, or rejects with the signal's reason. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (delayMs, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, delayMs);
      signal?.addEventListener('abort', onAbort, {once: true});
    }),
};

/** Calls `work` after `delayMs`. @returns takes that back, if it is not too late */
export function later(clock: Clock, delayMs: number, work: () => void): () => void {
  const waker = new AbortController();
  clock.sleep(delayMs, waker.signal).then(work, () => undefined);
  return () => waker.abort();
}

/** Resolves after `delayMs`, when the signal is aborted, or as soon as `woken` does; leaves no timer behind. */
export async function sleepUnless(
  clock: Clock,
  delayMs: number,
  {signal, woken}: {signal: AbortSignal; woken: Promise<void>},
): Promise<void> {
  const waker = new AbortController();
  const timer = clock.sleep(delayMs, AbortSignal.any([signal, waker.signal])).catch(() => undefined);
  await Promise.race([timer, woken]);
  waker.abort();
}
