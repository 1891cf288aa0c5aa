/** What a link that follows waits for when there is nothing to do. */
import type {Clock} from '../base/clock.ts';

export interface Wakers {
  clock: Clock;
  /** At most so long. */
  ms: number;
  woken: Promise<unknown>;
  /** While answers are outstanding, the proof waits for them. */
  sender: {readonly pendingCount: number; flush(): Promise<unknown>};
}

/** @throws the reason why the sender has failed: nothing that is outstanding will be answered */
export async function untilWoken({clock, ms, woken, sender}: Wakers): Promise<void> {
  const over = new AbortController();
  const timer = clock.sleep(Math.max(0, ms), over.signal).catch(() => undefined);
  const answered = sender.pendingCount > 0 ? [sender.flush()] : [];
  try {
    await Promise.race([timer, woken, ...answered]);
  } finally {
    over.abort();
  }
}
