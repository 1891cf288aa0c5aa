/**
 * Decides when a silent peer is asked for a sign of life and when it is lost. Pure: the channel keeps the timer.
 *
 * Any received byte is a sign of life. Time in which we ourselves could not hear (reading paused, our own event loop
 * at a standstill, the machine asleep) is not the peer's silence.
 *
 * Invariant: a peer is only called lost after `peerDeadMs` in which we listened and nothing came.
 */

export interface HeartbeatLimits {
  heartbeatMs: number;
  peerDeadMs: number;
}

export type HeartbeatStep = {kind: 'wait'; delayMs: number} | {kind: 'lost'; idleMs: number};

export class Heartbeat {
  readonly #limits: HeartbeatLimits;
  #lastSignMs: number;
  #dueMs: number;

  /** @param nowMs of a clock that never goes back, as in all methods */
  constructor(limits: HeartbeatLimits, nowMs: number) {
    this.#limits = limits;
    this.#lastSignMs = nowMs;
    this.#dueMs = nowMs;
  }

  /** Bytes came. On the hot path: once per TLS record. */
  heard(nowMs: number): void {
    this.#lastSignMs = nowMs;
  }

  /** To be called when the last step's delay is over: the next delay, or that the peer is lost. */
  step(nowMs: number, isListening: boolean): HeartbeatStep {
    const lateMs = nowMs - this.#dueMs;
    // Late by a whole heartbeat: our loop stood still, and what came meanwhile is still unread behind this timer.
    if (!isListening || lateMs > this.#limits.heartbeatMs) this.#lastSignMs = nowMs;
    const idleMs = nowMs - this.#lastSignMs;
    if (idleMs >= this.#limits.peerDeadMs) return {kind: 'lost', idleMs};
    const delayMs = Math.min(this.#limits.heartbeatMs, this.#limits.peerDeadMs - idleMs);
    this.#dueMs = nowMs + delayMs;
    return {kind: 'wait', delayMs};
  }
}
