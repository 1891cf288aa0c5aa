/**
 * A limit of bytes a second: who sends waits for its turn. A token bucket that may go into debt for one frame.
 *
 * Invariants: over any stretch longer than the burst no more than the rate is let through; urgent senders go first.
 */
import type {Clock} from './clock.ts';

const BURST_MS = 100; // so much may go at once after a rest

interface Waiter {
  bytes: number;
  isUrgent: boolean;
  resolve: () => void;
}

export class Pace {
  readonly #rateBytes: number;
  readonly #clock: Clock;
  readonly #waiting: Waiter[] = [];
  #tokens: number;
  #atMs: number;
  #isServing = false;

  /** @param rateBytes bytes a second, above 0 */
  constructor(rateBytes: number, clock: Clock) {
    this.#rateBytes = rateBytes;
    this.#clock = clock;
    this.#tokens = (rateBytes * BURST_MS) / 1_000;
    this.#atMs = clock.monotonicMs();
  }

  /** Resolves when so many bytes may be sent. */
  take(bytes: number, isUrgent: boolean): Promise<void> {
    return new Promise((resolve) => {
      const waiter = {bytes, isUrgent, resolve};
      const firstPatient = isUrgent ? this.#waiting.findIndex((other) => !other.isUrgent) : -1;
      if (firstPatient >= 0) this.#waiting.splice(firstPatient, 0, waiter);
      else this.#waiting.push(waiter);
      void this.#serve();
    });
  }

  async #serve(): Promise<void> {
    if (this.#isServing) return;
    this.#isServing = true;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      this.#refill();
      if (this.#tokens <= 0) {
        await this.#clock.sleep(Math.ceil((-this.#tokens / this.#rateBytes) * 1_000) + 1);
        continue;
      }
      this.#waiting.shift();
      this.#tokens -= next.bytes; // into debt: a frame is not divided, the next one waits for it
      next.resolve();
    }
    this.#isServing = false;
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    const most = (this.#rateBytes * BURST_MS) / 1_000;
    this.#tokens = Math.min(most, this.#tokens + ((nowMs - this.#atMs) * this.#rateBytes) / 1_000);
    this.#atMs = nowMs;
  }
}

/** A link's own limit, and then the one of all links as it is at that time. @param rateBytes 0 for no limit */
export function pacerOf(
  rateBytes: number,
  shared: () => Pace | undefined,
  clock: Clock,
): (bytes: number, isUrgent: boolean) => Promise<void> {
  const own = rateBytes > 0 ? new Pace(rateBytes, clock) : undefined;
  return async (bytes, isUrgent) => {
    await own?.take(bytes, isUrgent);
    await shared()?.take(bytes, isUrgent);
  };
}
