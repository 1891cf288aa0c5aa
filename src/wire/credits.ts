/**
 * Byte credits: what one side may send before the other has taken it in. Pure: counts, no queue and no socket.
 *
 * A connection has one window in each direction. The sender takes the size of a frame from its window before it sends
 * one of the kinds below; the receiver gives back what it has applied, in pieces of a quarter of the window, link by
 * link. So that a link whose receiver is stuck does not keep the others from sending, none of several may have more on
 * its way than three times what it leaves. Source: Choudhury and Hahne, "Dynamic queue length thresholds", 1998.
 * Invariant: given credit + what is in flight + what waits at the receiver = the initial window.
 */
import assert from 'node:assert/strict';
import {encodeBug, protocolFault} from './fault.ts';
import {FRAME_BYTES_MAX} from './limits.ts';
import type {MessageKind} from './messages.ts';

/** Enough for 100 ms at 600 Mbit/s; both sides start with it, no message is needed. */
export const CREDIT_BYTES_INITIAL = 8 * 1024 * 1024;
/** No side may ever hold more, whatever window a later version negotiates. */
export const CREDIT_BYTES_MAX = 64 * 1024 * 1024;
const GRANT_SHARE = 1 / 4;
const SHARE_FACTOR = 3;

assert.ok(CREDIT_BYTES_INITIAL <= CREDIT_BYTES_MAX);
assert.ok(
  CREDIT_BYTES_INITIAL * (1 - GRANT_SHARE) >= 2 * FRAME_BYTES_MAX,
  'while the receiver saves up a grant, one frame can be in flight and one be queued: nobody waits for ever',
);

/** The kinds that carry data. All others are small or answer something; PROTOCOL.md says how many may be open. */
export const COSTS_CREDIT: Record<MessageKind, boolean> = {
  hello: false,
  ping: false,
  pong: false,
  credit: false,
  fault: false,
  bye: false,
  'identity-next': false,
  'identity-pinned': false,
  'volume-ready': false,
  'follow-volume': false,
  'volume-source': false,
  'open-link': false,
  'link-opened': false,
  'link-refused': false,
  'close-link': false,
  'link-state': false,
  'target-changed': false,
  'partial-files': false,
  'list-nodes': false,
  'node-listing': true,
  'hash-files': false,
  'verify-files': false,
  'file-digests': false,
  'list-groups': false,
  'group-listing': true,
  'ask-signature': false,
  signature: true,
  'no-signature': false,
  batch: true,
  'batch-result': false,
  'file-start': false,
  'file-leaves': true,
  'file-end': false,
  'file-abort': false,
  'leaf-rejected': false,
  'file-staged': false,
  'file-holes': true,
  'ask-leaves': false,
  'leaves-held': false,
  'file-same': true,
  cut: false,
  'cut-result': false,
};

/** Whose frames a credit is about: the number of a link, and whether this side numbered it. */
export interface LinkOfCredit {
  link: number;
  isOurs: boolean;
}

const ONLY_LINK: LinkOfCredit = {link: 0, isOurs: true};

/** One key for a link of either direction. */
export function creditKey({link, isOurs}: LinkOfCredit): number {
  return isOurs ? link : -1 - link;
}

/** The sender's side of one direction. */
export class CreditWindow {
  readonly #windowBytes: number;
  readonly #isShared: boolean;
  readonly #onTheWay = new Map<number, number>();
  #availableBytes: number;

  /** @param options `isShared`: several links send, and none may take it all */
  constructor(windowBytes: number = CREDIT_BYTES_INITIAL, options: {isShared: boolean} = {isShared: false}) {
    this.#windowBytes = windowBytes;
    this.#isShared = options.isShared;
    this.#availableBytes = windowBytes;
  }

  get availableBytes(): number {
    return this.#availableBytes;
  }

  /**
   * Takes the credit for one frame if it is there.
   * @throws BUG for a frame that no window will ever cover
   */
  take(bytes: number, of: LinkOfCredit = ONLY_LINK): boolean {
    if (bytes > this.#windowBytes) throw encodeBug(`a frame of ${bytes} bytes beyond the whole window`);
    if (bytes > this.#availableBytes) return false;
    const key = creditKey(of);
    const takenBytes = this.#onTheWay.get(key) ?? 0;
    const shareBytes = SHARE_FACTOR * (this.#availableBytes - bytes);
    if (this.#isShared && takenBytes > 0 && takenBytes + bytes > shareBytes) return false;
    this.#availableBytes -= bytes;
    this.#onTheWay.set(key, takenBytes + bytes);
    return true;
  }

  /** Whether the credit is there, and only the share of its link keeps a frame back. */
  isHeldBack(bytes: number, of: LinkOfCredit): boolean {
    const takenBytes = this.#onTheWay.get(creditKey(of)) ?? 0;
    return bytes <= this.#availableBytes && this.#isShared && takenBytes > 0;
  }

  /** Adds what the peer gave back. @throws PROTOCOL when that is more than was taken */
  give(bytes: number, of: LinkOfCredit = ONLY_LINK): void {
    const key = creditKey(of);
    const takenBytes = this.#onTheWay.get(key) ?? 0;
    if (!(bytes >= 1 && bytes <= takenBytes)) throw protocolFault('a credit', 'credit', bytes, `1 to ${takenBytes}`);
    this.#availableBytes += bytes;
    if (takenBytes === bytes) this.#onTheWay.delete(key);
    else this.#onTheWay.set(key, takenBytes - bytes);
  }
}

/** The receiver's side of one direction. */
export class CreditGrant {
  readonly #windowBytes: number;
  #receivedBytes = 0;
  #consumedBytes = 0;

  constructor(windowBytes: number = CREDIT_BYTES_INITIAL) {
    this.#windowBytes = windowBytes;
  }

  /** Bytes received and not yet consumed: what this side holds in memory for the peer. */
  get waitingBytes(): number {
    return this.#receivedBytes - this.#consumedBytes;
  }

  /** A frame that costs credit came in. @throws PROTOCOL when the peer had no credit for it */
  received(bytes: number): void {
    const leftBytes = this.#windowBytes - this.#receivedBytes;
    if (bytes > leftBytes) throw protocolFault('a frame', 'bytes beyond the credit given', bytes, leftBytes);
    this.#receivedBytes += bytes;
  }

  /**
   * A frame was worked off and its memory is free.
   * @returns what to give back in a `credit` message now; 0 while it is less than a quarter of the window
   */
  consumed(bytes: number): number {
    this.#consumedBytes += bytes;
    if (this.#consumedBytes > this.#receivedBytes) throw encodeBug('the giving back of bytes that never came');
    return this.#consumedBytes < this.#windowBytes * GRANT_SHARE ? 0 : this.takeSaved();
  }

  /** What was saved up, to be given back now. */
  takeSaved(): number {
    const grantBytes = this.#consumedBytes;
    this.#receivedBytes -= grantBytes;
    this.#consumedBytes = 0;
    return grantBytes;
  }
}
