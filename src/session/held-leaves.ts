/**
 * What the target has of a large file from an earlier transfer, asked piece by piece while the file is read.
 *
 * Invariant: one piece is at hand and the next is asked for ahead, so that memory does not grow with the file.
 */
import {DIGEST_BYTES} from '../model/digest.ts';
import {HELD_LEAVES_MAX} from '../wire/limits.ts';
import type {LinkSession} from './link-port.ts';

/** Digests of leaves in a row. */
export interface HeldWindow {
  leafIndexFirst: number;
  digests: Uint8Array;
  /** The target has nothing behind them. */
  isLast: boolean;
}

export class HeldLeaves {
  readonly #transfer: {link: number; transfer: number};
  readonly #session: LinkSession;
  /** By the first leaf, a multiple of HELD_LEAVES_MAX. */
  readonly #pieces = new Map<number, Promise<HeldWindow>>();
  /** From here on the target has nothing. */
  #end = Infinity;

  constructor(transfer: {link: number; transfer: number}, parts: {session: LinkSession}) {
    this.#transfer = transfer;
    this.#session = parts.session;
  }

  /**
   * What the target has around a leaf and behind it.
   * @returns undefined when it has nothing from there on
   * @throws the reason why the session ended
   */
  async from(leafIndex: number): Promise<HeldWindow | undefined> {
    const first = leafIndex - (leafIndex % HELD_LEAVES_MAX);
    for (const before of this.#pieces.keys()) if (before < first) this.#pieces.delete(before);
    if (leafIndex >= this.#end) return undefined;
    const piece = await this.#piece(first);
    if (piece.isLast) this.#end = Math.min(this.#end, first + piece.digests.length / DIGEST_BYTES);
    else this.#piece(first + HELD_LEAVES_MAX).catch(() => undefined);
    return leafIndex >= this.#end ? undefined : piece;
  }

  #piece(leafIndexFirst: number): Promise<HeldWindow> {
    let piece = this.#pieces.get(leafIndexFirst);
    if (piece === undefined) this.#pieces.set(leafIndexFirst, (piece = this.#ask(leafIndexFirst)));
    return piece;
  }

  async #ask(leafIndexFirst: number): Promise<HeldWindow> {
    let digests: Buffer[] = [];
    await this.#session.ask(
      (request) => ({kind: 'ask-leaves', ...this.#transfer, request, leafIndexFirst, leafCount: HELD_LEAVES_MAX}),
      (answer) => {
        if (answer.kind === 'leaves-held') ({digests} = answer);
        return true;
      },
    );
    return {leafIndexFirst, digests: Buffer.concat(digests), isLast: digests.length < HELD_LEAVES_MAX};
  }
}
