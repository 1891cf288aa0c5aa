/**
 * Who waits for the next proof of a link, or for the news that there will be none. Both directions use it.
 *
 * Invariant: who waits is never answered with a cut that was taken before the question.
 */
import type {LinkOutcome} from '../control/agent-api.ts';

interface Waiter {
  /** Of this connection's cuts those up to `afterCut` are too old; another connection's are all new. */
  connection: object | undefined;
  afterCut: number;
  resolve: (outcome: LinkOutcome) => void;
}

export class ProofWaiters {
  readonly #waiters = new Set<Waiter>();

  next(after: {connection: object | undefined; cut: number}): Promise<LinkOutcome> {
    const {promise, resolve} = Promise.withResolvers<LinkOutcome>();
    this.#waiters.add({connection: after.connection, afterCut: after.cut, resolve});
    return promise;
  }

  /** @param of the cut that the outcome is about; undefined where it holds whatever was asked for */
  settle(outcome: LinkOutcome, of?: {connection: object | undefined; cut: number}): void {
    for (const waiter of [...this.#waiters]) {
      const isTooOld = of !== undefined && waiter.connection === of.connection && of.cut <= waiter.afterCut;
      if (isTooOld) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(outcome);
    }
  }
}
