/**
 * The strong sum of a block: xxh64 under a secret seed.
 *
 * Not a proof of equality: every rebuilt leaf is verified by its SHA-256. The seed is chosen per installation, so that
 * a container that writes both the old and the new file cannot make two blocks collide.
 * Invariant: a sum is only compared with sums made under the same seed.
 */
import {invariant} from '../base/errors.ts';
import {xxh64} from './hash.ts';

export const STRONG_BYTES = 8;
export const SEED_BYTES = 8;

/** Sums blocks under one seed (8 bytes). The last sum stands in `low` and `high` (u32 each): no object per block. */
export class StrongSum {
  low = 0;
  high = 0;
  readonly #seed: bigint;
  // Both views share one word: the halves of a bigint without shifting it.
  readonly #word = new BigUint64Array(1);
  readonly #halves = new Uint32Array(this.#word.buffer);

  constructor(seed: Buffer) {
    invariant(seed.length === SEED_BYTES, `a seed has ${SEED_BYTES} bytes, not ${seed.length}`);
    this.#seed = seed.readBigUInt64LE();
  }

  sum(bytes: Uint8Array): void {
    this.#word[0] = xxh64(bytes, this.#seed);
    this.low = this.#halves[0] as number;
    this.high = this.#halves[1] as number;
  }
}
