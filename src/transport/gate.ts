/**
 * Sockets that must get somewhere within a deadline, at most so many at once: a new one drops the oldest.
 *
 * Invariant: every socket in here is gone, or has been let out, when its deadline is over.
 */

interface Droppable {
  destroy(): unknown;
}

export class Gate<S extends Droppable> {
  readonly #countMax: number;
  readonly #deadlineMs: number;
  /** In the order they came. */
  readonly #timers = new Map<S, NodeJS.Timeout>();

  constructor(options: {countMax: number; deadlineMs: number}) {
    this.#countMax = options.countMax;
    this.#deadlineMs = options.deadlineMs;
  }

  get count(): number {
    return this.#timers.size;
  }

  /** Lets a socket in. The caller calls `letOut` also when the socket closed by itself. */
  letIn(socket: S): void {
    if (this.#timers.size >= this.#countMax) {
      const [oldest] = this.#timers.keys();
      this.#drop(oldest!);
    }
    this.#timers.set(
      socket,
      setTimeout(() => this.#drop(socket), this.#deadlineMs),
    );
  }

  /** @returns false when the socket was not in here */
  letOut(socket: S): boolean {
    clearTimeout(this.#timers.get(socket));
    return this.#timers.delete(socket);
  }

  dropAll(): void {
    for (const socket of this.#timers.keys()) this.#drop(socket);
  }

  #drop(socket: S): void {
    this.letOut(socket);
    socket.destroy();
  }
}
