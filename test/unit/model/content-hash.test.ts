import {createHash} from 'node:crypto';
import fc from 'fast-check';
import {expect, test} from 'vitest';
import {ContentHash, zeroLeafDigest} from '../../../src/model/content-hash.ts';
import {contentDigest, LEAF_BYTES, sha256} from '../../../src/model/digest.ts';

const ZERO_LEAF = sha256(Buffer.alloc(LEAF_BYTES));

test('leaves and runs of zeros make the digest of all their digests in a row', () => {
  const part = fc.oneof(fc.uint8Array({minLength: 32, maxLength: 32}), fc.integer({min: 1, max: 9_000}));
  fc.assert(
    fc.property(fc.array(part, {maxLength: 6}), fc.nat(LEAF_BYTES - 1), (parts, tailBytes) => {
      const hash = new ContentHash();
      const digests: Uint8Array[] = [];
      for (const run of parts) {
        if (typeof run !== 'number') hash.leaf(Buffer.from(run));
        else hash.zeros(run * LEAF_BYTES);
        digests.push(...(typeof run === 'number' ? Array<Buffer>(run).fill(ZERO_LEAF) : [run]));
      }
      hash.zeros(tailBytes);
      if (tailBytes > 0) digests.push(sha256(Buffer.alloc(tailBytes)));
      expect(hash.finish().equals(contentDigest(Buffer.concat(digests)))).toBe(true);
    }),
    {numRuns: 50},
  );
});

test('10 GiB and a byte of zeros have the digest that is made of 40,961 digests', () => {
  const hash = new ContentHash();
  hash.zeros(10 * 2 ** 30 + 1);
  const wanted = createHash('sha256');
  for (let leaf = 0; leaf < 40_960; leaf++) wanted.update(ZERO_LEAF);
  wanted.update(sha256(Buffer.alloc(1)));
  expect(hash.finish().equals(wanted.digest())).toBe(true);
  expect([zeroLeafDigest(LEAF_BYTES), zeroLeafDigest(1)]).toEqual([ZERO_LEAF, sha256(Buffer.alloc(1))]);
});
