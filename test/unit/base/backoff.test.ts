/** When what failed is tried again. */
import {expect, test} from 'vitest';
import {retryDelayMs} from '../../../src/base/backoff.ts';

test('H12 each try comes about as long after the last as that came after the first: about 20 within the first hour', () => {
  for (const random of [0, 0.5, 0.999]) {
    const delays: number[] = [];
    for (let ageMs = 0; ageMs < 3_600_000; ageMs += delays.at(-1)!) delays.push(retryDelayMs(ageMs, random));
    expect(delays.length).toBeGreaterThan(12);
    expect(delays.length).toBeLessThan(30);
    for (const [index, delayMs] of delays.entries()) expect(delayMs).toBeGreaterThanOrEqual(delays[index - 1] ?? 0);
    expect(delays[0]).toBeLessThanOrEqual(500);
    expect(Math.max(...delays)).toBeLessThanOrEqual(600_000);
  }
});

test('H12 a clock that was set back or forward by a year makes it neither at once nor never', () => {
  for (const ageMs of [-3.2e10, 3.2e10, 0])
    for (const random of [0, 0.999]) {
      expect(retryDelayMs(ageMs, random)).toBeGreaterThanOrEqual(375);
      expect(retryDelayMs(ageMs, random)).toBeLessThanOrEqual(600_000);
    }
});
