/**
 * Two ends of a connection inside one process: frames arrive in order, on a later turn, as over a socket.
 */
import {TowlineError} from '../../../src/base/errors.ts';
import type {FrameChannel} from '../../../src/session/session.ts';

class PairedChannel implements FrameChannel {
  readonly peerId = 'the other end';
  bytesSent = 0;
  bytesReceived = 0;
  onFrame: ((frame: Buffer) => void) | undefined;
  onClose: ((reason: TowlineError) => void) | undefined;
  other: PairedChannel | undefined;
  #isOpen = true;

  send(frame: Buffer, onSent?: () => void): void {
    if (!this.#isOpen) return;
    this.bytesSent += frame.length;
    const copy = Buffer.allocUnsafeSlow(frame.length);
    frame.copy(copy);
    onSent?.();
    setImmediate(() => this.other?.take(copy));
  }

  take(frame: Buffer): void {
    if (!this.#isOpen) return;
    this.bytesReceived += frame.length;
    this.onFrame?.(frame);
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    setImmediate(() => this.other?.lose());
  }

  lose(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.onClose?.(new TowlineError('PEER_LOST', 'the connection ended', {peer: this.peerId, idleMs: 0}));
  }
}

export function channelPair(): [FrameChannel, FrameChannel] {
  const [left, right] = [new PairedChannel(), new PairedChannel()];
  [left.other, right.other] = [right, left];
  return [left, right];
}
