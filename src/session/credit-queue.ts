/**
 * Frames that wait for credit: who goes next when some comes. Holds no frame, only turns.
 *
 * Invariants: what is urgent goes before what is not; within one urgency links take turns, and a link keeps its own order.
 */
import {creditKey, type CreditWindow, type LinkOfCredit} from '../wire/credits.ts';

interface Waiter {
  bytes: number;
  isUrgent: boolean;
  of: LinkOfCredit;
  resolve: () => void;
  reject: (error: Error) => void;
}

export class CreditQueue {
  readonly #window: CreditWindow;
  readonly #waiting: Waiter[] = [];
  /** When a link last had its turn, as a count of turns. */
  readonly #served = new Map<number, number>();
  #turn = 0;

  constructor(window: CreditWindow) {
    this.#window = window;
  }

  /** Resolves when the frame may be sent; the order of calls of one link and urgency is kept. */
  async take(bytes: number, of: LinkOfCredit, isUrgent: boolean): Promise<void> {
    if (this.#waiting.length === 0 && this.#window.take(bytes, of)) return;
    const {promise, resolve, reject} = Promise.withResolvers<void>();
    this.#waiting.push({bytes, isUrgent, of, resolve, reject});
    this.serve(); // what waits may be a link's that is held back, and this is another
    await promise;
  }

  /** Gives turns as long as there is credit. */
  serve(): void {
    for (;;) {
      const index = this.#next();
      if (index < 0) return;
      const [waiter] = this.#waiting.splice(index, 1) as [Waiter];
      this.#served.set(creditKey(waiter.of), ++this.#turn);
      waiter.resolve();
    }
  }

  /** Takes the credit for the frame whose turn it is. @returns its index, -1 when nothing can go */
  #next(): number {
    for (const isUrgent of [true, false]) {
      const heads = new Map<number, number>();
      for (const [index, waiter] of this.#waiting.entries()) {
        const key = creditKey(waiter.of);
        if (waiter.isUrgent === isUrgent && !heads.has(key)) heads.set(key, index);
      }
      const turns = [...heads].sort(([a], [b]) => (this.#served.get(a) ?? 0) - (this.#served.get(b) ?? 0));
      for (const [, index] of turns) {
        const {bytes, of} = this.#waiting[index] as Waiter;
        if (this.#window.take(bytes, of)) return index;
      }
      // A large urgent frame must not wait for ever behind small ones that are not; one whose link is stuck may.
      const waits = turns.some(([, index]) => {
        const {bytes, of} = this.#waiting[index] as Waiter;
        return !this.#window.isHeldBack(bytes, of);
      });
      if (waits) return -1;
    }
    return -1;
  }

  /** A link is over: its turns are gone. */
  forget(of: LinkOfCredit): void {
    this.#served.delete(creditKey(of));
  }

  rejectAll(reason: Error): void {
    for (const waiter of this.#waiting.splice(0)) waiter.reject(reason);
  }
}
