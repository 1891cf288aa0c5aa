/**
 * The content digest of a file whose leaves come one after the other, in constant memory.
 *
 * Invariant: it is what `contentDigest` makes of all digests of the leaves in a row.
 */
import {createHash, type Hash} from 'node:crypto';
import {DIGEST_BYTES, LEAF_BYTES, sha256, type Digest} from './digest.ts';

const RUN_LEAVES = 4_096; // 1 GiB of zeros in one update

let zeroRun: Buffer | undefined;

/** Digest of a leaf of zeros, of a whole one or a short last one. */
export function zeroLeafDigest(sizeBytes: number): Digest {
  return sizeBytes === LEAF_BYTES ? zeroDigests(1) : sha256(Buffer.alloc(sizeBytes));
}

/** Digests of so many whole leaves of zeros, up to RUN_LEAVES, as a view. */
function zeroDigests(count: number): Buffer {
  if (zeroRun === undefined) {
    const digest = sha256(Buffer.alloc(LEAF_BYTES));
    zeroRun = Buffer.concat(Array.from({length: RUN_LEAVES}, () => digest));
  }
  return zeroRun.subarray(0, count * DIGEST_BYTES);
}

export class ContentHash {
  readonly #sum: Hash = createHash('sha256');

  /** The digest of the next leaf. */
  leaf(digest: Digest): void {
    this.#sum.update(digest);
  }

  /** A run of zeros from the beginning of a leaf to the end of one: 128 KiB are hashed for each GiB. */
  zeros(sizeBytes: number): void {
    let left = Math.floor(sizeBytes / LEAF_BYTES);
    for (; left > 0; left -= RUN_LEAVES) this.#sum.update(zeroDigests(Math.min(left, RUN_LEAVES)));
    const tailBytes = sizeBytes % LEAF_BYTES;
    if (tailBytes > 0) this.#sum.update(zeroLeafDigest(tailBytes));
  }

  /** The content digest; used up afterwards. */
  finish(): Digest {
    return this.#sum.digest();
  }
}
