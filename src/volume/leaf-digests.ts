/**
 * The content digest of a file whose leaves come one after the other, and where it is asked for the digests of all leaves.
 *
 * Invariant: what is given out as the digests is what the content digest was made of.
 */
import {ContentHash, zeroLeafDigest} from '../model/content-hash.ts';
import {DIGEST_BYTES, LEAF_BYTES, leafCountOf, type Digest} from '../model/digest.ts';

export class LeafDigests {
  readonly #content = new ContentHash();
  /** 32 bytes for each leaf of the file; undefined where they are not kept. */
  readonly kept: Buffer | undefined;
  #count = 0;

  /** @param options `keepOf`: the size of the file, if they are to be kept */
  constructor(options: {keepOf: number | undefined}) {
    const {keepOf} = options;
    this.kept = keepOf === undefined ? undefined : Buffer.alloc(leafCountOf(keepOf) * DIGEST_BYTES);
  }

  /** The digests of the next leaves, in a row. */
  leaves(digests: Buffer): void {
    this.#content.leaf(digests);
    if (this.kept !== undefined) digests.copy(this.kept, this.#count * DIGEST_BYTES);
    this.#count += digests.length / DIGEST_BYTES;
  }

  /** A run of zeros from the beginning of a leaf to the end of one. */
  zeros(sizeBytes: number): void {
    this.#content.zeros(sizeBytes);
    const count = leafCountOf(sizeBytes);
    if (this.kept !== undefined) {
      const tailBytes = sizeBytes % LEAF_BYTES;
      this.kept.fill(zeroLeafDigest(LEAF_BYTES), this.#count * DIGEST_BYTES, (this.#count + count) * DIGEST_BYTES);
      if (tailBytes > 0) zeroLeafDigest(tailBytes).copy(this.kept, (this.#count + count - 1) * DIGEST_BYTES);
    }
    this.#count += count;
  }

  /** The content digest; used up afterwards. */
  finish(): Digest {
    return this.#content.finish();
  }
}
