/** Runs of zeros pass a differ and a signature without their bytes, and the rest is as if they had been there. */
import fc from 'fast-check';
import {beforeAll, expect, test} from 'vitest';
import {Differ} from '../../../src/delta/differ.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {buildLeaf} from '../../../src/delta/patch.ts';
import {SignatureBuilder} from '../../../src/delta/signature.ts';
import {noise, readerOf, runDelta, SEED} from './delta-run.ts';
import {signatureOf} from './signature-of.ts';

beforeAll(loadXxhash);

const LEAF = 2_048;
const BLOCK = 128;

type Weak = 'there' | 'asked' | 'refused';

/** What a differ makes of a file whose leaves of zeros are passed over. */
function passed(base: Buffer, next: Buffer, weak: Weak): {patched: Buffer; literalBytes: number} {
  const whole = signatureOf(base, {blockBytes: BLOCK, seed: SEED, withWeak: true});
  const signature = weak === 'there' ? whole : {...whole, weak: Buffer.alloc(0)};
  const differ = new Differ({base: signature, seed: SEED, leafBytes: LEAF});
  const patched = Buffer.alloc(next.length);
  let [at, literalBytes] = [0, 0];
  const settle = (): void => {
    if (differ.needsWeak) differ.provideWeak(weak === 'asked' ? whole.weak : undefined);
    for (const {ops} of differ.take()) {
      const sizeBytes = Math.min(LEAF, next.length - at);
      buildLeaf(ops, sizeBytes, patched.subarray(at), readerOf(base));
      for (const op of ops) literalBytes += op.kind === 'literal' ? op.bytes.length : 0;
      at += sizeBytes;
    }
  };
  for (let from = 0; from < next.length; from += LEAF) {
    const leaf = next.subarray(from, from + LEAF);
    if (leaf.some((byte) => byte !== 0)) differ.push(leaf);
    else {
      differ.skip(leaf.length);
      settle();
      expect(at, 'all before the run is decided').toBe(from);
      at += leaf.length;
    }
    settle();
  }
  differ.finish();
  settle();
  expect(at).toBe(next.length);
  return {patched, literalBytes};
}

const leaf = fc.constantFrom<'zeros' | 'base' | 'shifted' | 'new'>('zeros', 'base', 'shifted', 'new');

test('the file comes out as it is, wherever its zeros are, and however it was searched', () => {
  const base = Buffer.concat([noise(10 * LEAF, 1), Buffer.alloc(LEAF), noise(2 * LEAF + 77, 2)]);
  const weak = fc.constantFrom<Weak>('there', 'asked', 'refused');
  fc.assert(
    fc.property(fc.array(leaf, {maxLength: 14}), fc.nat(LEAF - 1), weak, (leaves, tailBytes, itsWeak) => {
      const parts = leaves.map((kind, index) => {
        if (kind === 'zeros') return Buffer.alloc(LEAF);
        if (kind === 'new') return noise(LEAF, index + 9);
        return base.subarray(index * LEAF + (kind === 'shifted' ? 5 : 0)).subarray(0, LEAF);
      });
      const whole = Buffer.concat(parts);
      const next = whole.subarray(0, Math.max(0, whole.length - tailBytes));
      expect(passed(base, next, itsWeak).patched.equals(next)).toBe(true);
    }),
    {numRuns: 300},
  );
});

test('20 leaves between runs of zeros that the base has are copied whole, and one edit costs its block', () => {
  const data = noise(20 * LEAF, 3);
  const between = (edited: Buffer): Buffer =>
    Buffer.concat([Buffer.alloc(4 * LEAF), edited, Buffer.alloc(3 * LEAF + 9)]);
  const base = between(data);
  const next = between(Buffer.from(data).fill(1, 5_000, 5_010));
  for (const weak of ['there', 'asked'] as const) {
    expect(passed(base, base, weak).literalBytes).toBe(0);
    expect(passed(base, next, weak).literalBytes).toBe(BLOCK);
  }
  expect(runDelta(base, next, {blockBytes: BLOCK, leafBytes: LEAF}).literalBytes).toBe(BLOCK);
});

test.each([true, false])('a signature of zeros is that of their bytes, with weak sums %s', (withWeak) => {
  const options = {blockBytes: BLOCK, seed: SEED, withWeak};
  const [first, last] = [noise(3 * BLOCK, 5), noise(2 * BLOCK + 3, 6)];
  for (const zeroBytes of [0, 1, BLOCK, 70 * BLOCK, 70 * BLOCK + 5]) {
    const builder = new SignatureBuilder(options);
    builder.update(first);
    builder.zeros(zeroBytes);
    builder.update(last);
    const bytes = Buffer.concat([first, Buffer.alloc(zeroBytes), last]);
    expect(builder.finish()).toEqual(signatureOf(bytes, options));
  }
});
