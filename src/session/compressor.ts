/**
 * Decides whether a frame is worth compressing before it is sent: by how fast the connection was, and by what the frames
 * before it gave.
 *
 * Invariant: on a fast connection, and for content that is random, next to no time is spent.
 */
import type {Clock} from '../base/clock.ts';
import {compressed} from '../wire/zstd.ts';

/** Above this the processors are what a transfer waits for, and not the connection. */
const FAST_BYTES_PER_S = 60e6;
/** Below it there is time for a better level. */
const SLOW_BYTES_PER_S = 15e6;
const LEVEL_QUICK = 1;
const LEVEL_BETTER = 3;
const FRAME_BYTES_MIN = 512;
/** So many frames go as they are after one that became hardly smaller. */
const SKIPPED_AFTER_RANDOM = 15;
/** Less says nothing: the kernel takes it at once, however slow the connection is. */
const MEASURED_BYTES_MIN = 1 << 20;
const MEASURED_MS_MIN = 100;
const BUFFERED_AT_ONCE_BYTES = 16 << 20;

/** Bytes a second while something waited to be written; undefined until enough was. */
export class ConnectionSpeed {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #openBytes = 0;
  #busySinceMs = 0;
  #busyMs = 0;
  #writtenBytes = 0;
  #bytesPerS: number | undefined;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  get bytesPerS(): number | undefined {
    return this.#bytesPerS;
  }

  /** So many bytes were handed over. */
  sent(bytes: number): void {
    if (this.#openBytes === 0) this.#busySinceMs = this.#clock.monotonicMs();
    this.#openBytes += bytes;
  }

  /** So many of them have left this process. */
  written(bytes: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#openBytes -= bytes;
    this.#writtenBytes += bytes;
    this.#busyMs += nowMs - this.#busySinceMs;
    this.#busySinceMs = nowMs;
    const isEnough = this.#writtenBytes >= MEASURED_BYTES_MIN && this.#busyMs >= MEASURED_MS_MIN;
    if (!isEnough && this.#writtenBytes < BUFFERED_AT_ONCE_BYTES) return;
    this.#bytesPerS = (this.#writtenBytes * 1_000) / Math.max(1, this.#busyMs);
    this.#writtenBytes = 0;
    this.#busyMs = 0;
  }
}

export class Compressor {
  /** Told of all that is sent. */
  readonly speed: ConnectionSpeed;
  #skip = 0;

  constructor(speed: ConnectionSpeed) {
    this.speed = speed;
  }

  /**
   * @param isPaced a limit of the operator makes the connection slow
   * @returns another frame with the same contents, or the same one
   */
  compressed(frame: Buffer, isPaced: boolean): Buffer {
    const bytesPerS = isPaced ? 0 : (this.speed.bytesPerS ?? Number.POSITIVE_INFINITY);
    if (bytesPerS > FAST_BYTES_PER_S || frame.length < FRAME_BYTES_MIN) return frame;
    if (this.#skip > 0) {
      this.#skip--;
      return frame;
    }
    const smaller = compressed(frame, bytesPerS < SLOW_BYTES_PER_S ? LEVEL_BETTER : LEVEL_QUICK);
    if (smaller === undefined) this.#skip = SKIPPED_AFTER_RANDOM;
    return smaller ?? frame;
  }
}
