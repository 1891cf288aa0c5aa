/**
 * The end of something that much is waited for meanwhile: whoever waits for work gets the reason when the end comes first.
 *
 * Not `Promise.race` with a promise that lives on: that keeps every result until the end. Invariant: a wait that is over
 * leaves nothing behind.
 */
export class Ending {
  readonly #waiting = new Set<(reason: Error) => void>();
  #reason: Error | undefined;

  get isOver(): boolean {
    return this.#reason !== undefined;
  }

  /** Rejects every wait, now and from now on. */
  end(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    for (const reject of this.#waiting) reject(reason);
    this.#waiting.clear();
  }

  /** Tells of the end, also when it has come. @returns forgets it */
  whenOver(tell: (reason: Error) => void): () => void {
    if (this.#reason !== undefined) tell(this.#reason);
    else this.#waiting.add(tell);
    return () => this.#waiting.delete(tell);
  }

  /** @returns what the work gives @throws the work's error, or the reason of the end */
  async orEnd<T>(work: Promise<T>): Promise<T> {
    if (this.#reason !== undefined) {
      work.catch(() => undefined); // nobody waits for it any more
      throw this.#reason;
    }
    const {promise, resolve, reject} = Promise.withResolvers<T>();
    this.#waiting.add(reject);
    work.then(resolve, reject);
    try {
      return await promise;
    } finally {
      this.#waiting.delete(reject);
    }
  }
}
