/**
 * Turns: shared ones run side by side, an exclusive one runs alone; in the order in which they were asked for.
 *
 * Invariant: a later turn never starts before an earlier one that it must not overlap has ended.
 */
interface Waiting {
  isExclusive: boolean;
  start: () => void;
}

export class Turns {
  readonly #waiting: Waiting[] = [];
  #sharedCount = 0;
  #isHeld = false;

  shared<T>(work: () => Promise<T>): Promise<T> {
    return this.#run(false, work);
  }

  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#run(true, work);
  }

  async #run<T>(isExclusive: boolean, work: () => Promise<T>): Promise<T> {
    if (this.#waiting.length === 0 && this.#mayStart(isExclusive)) this.#began(isExclusive);
    else await new Promise<void>((start) => this.#waiting.push({isExclusive, start}));
    try {
      return await work();
    } finally {
      if (isExclusive) this.#isHeld = false;
      else this.#sharedCount--;
      this.#next();
    }
  }

  #mayStart(isExclusive: boolean): boolean {
    return !this.#isHeld && (!isExclusive || this.#sharedCount === 0);
  }

  #began(isExclusive: boolean): void {
    if (isExclusive) this.#isHeld = true;
    else this.#sharedCount++;
  }

  #next(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#mayStart(next.isExclusive); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#began(next.isExclusive);
      next.start();
    }
  }
}
