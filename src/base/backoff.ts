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

/** Least time until what a scan could not read is tried again: the whole volume is scanned for it. */
export const UNREAD_RETRY_MS = 30_000;

const RETRY = {delayMsMin: 500, delayMsMax: 600_000};

/**
 * When something that failed is tried again, by its age alone: each try comes about as long after the one before as that
 * came after the first. Needs no count of tries, so that a restart changes nothing.
 * @param ageMs since it failed first; a clock that was set back makes it young
 * @param random 0 <= random < 1
 * @returns milliseconds to wait, half a second to ten minutes
 */
export function retryDelayMs(ageMs: number, random: number): number {
  const {delayMsMin, delayMsMax} = RETRY;
  const stepMs = Math.min(delayMsMax, Math.max(delayMsMin, ageMs));
  return stepMs * (0.75 + random / 4); // apart from what failed with it
}
