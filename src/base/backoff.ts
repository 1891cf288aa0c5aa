/**
 * Exponential backoff with full jitter. Pure: the caller keeps the attempt count and waits.
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */

export interface BackoffOptions {
  delayMsMin: number;
  delayMsMax: number;
}

/**
 * @param attempt 0 for the first retry
 * @param random 0 <= random < 1
 * @returns milliseconds to wait, between half of the step and the step
 */
export function backoffDelayMs(attempt: number, options: BackoffOptions, random: number): number {
  const stepMs = Math.min(options.delayMsMax, options.delayMsMin * 2 ** Math.min(attempt, 30));
  return stepMs / 2 + (stepMs / 2) * random;
}
