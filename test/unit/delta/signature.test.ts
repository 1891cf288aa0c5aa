import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {isTowlineError} from '../../../src/base/errors.ts';
import {BLOCK_COUNT_GOAL} from '../../../src/delta/block.ts';
import {loadXxhash, xxh64} from '../../../src/delta/hash.ts';
import {SignatureCollector, signatureParts, type SignatureWanted} from '../../../src/delta/signature-parts.ts';
import {assembleSignature, blockBytesFor, leafRow, SignatureBuilder} from '../../../src/delta/signature.ts';
import {weakLeaving, weakSum} from '../../../src/delta/weak.ts';
import {WeakIndex} from '../../../src/delta/weak-index.ts';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import {noise, SEED} from './delta-run.ts';
import {signatureOf} from './signature-of.ts';

const GIB = 2 ** 30;
const options = {blockBytes: 512, seed: SEED, withWeak: true};

await loadXxhash();

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return isTowlineError(error) ? error.code : 'another error';
  }
  return 'none';
}

test.each([
  [0, 8192],
  [2 * GIB, 8192],
  [2 * GIB + 1, 16_384],
  [4 * GIB, 16_384],
  [64 * GIB, LEAF_BYTES],
  [10_000 * GIB, LEAF_BYTES],
])('a file of %i bytes has blocks of %i', (sizeBytes, blockBytes) => {
  expect(blockBytesFor(sizeBytes)).toBe(blockBytes);
  expect(blockBytes === LEAF_BYTES || sizeBytes / blockBytes <= BLOCK_COUNT_GOAL).toBe(true);
  expect(LEAF_BYTES % blockBytes).toBe(0);
});

test('xxh64 gives the published value of the empty input', () => {
  expect(xxh64(Buffer.alloc(0), 0n)).toBe(0xef46db3751d8e999n);
});

test('strong sums are seeded xxh64 of each block, the short last one included', () => {
  const bytes = noise(1300, 1);
  const {strong} = signatureOf(bytes, options);
  const seed = SEED.readBigUInt64LE();
  const expected = [bytes.subarray(0, 512), bytes.subarray(512, 1024), bytes.subarray(1024)].map((b) => xxh64(b, seed));
  expect([0, 8, 16].map((at) => strong.readBigUInt64LE(at))).toEqual(expected);
});

test('another seed gives other strong sums and the same weak sums', () => {
  const one = signatureOf(noise(5000, 1), options);
  const other = signatureOf(noise(5000, 1), {...options, seed: Buffer.from('b fixed ')});
  expect(one.strong.equals(other.strong)).toBe(false);
  expect(one.weak.equals(other.weak)).toBe(true);
});

test('a signature does not depend on the pieces it was made from', () => {
  const bytes = noise(70_000, 2);
  const whole = signatureOf(bytes, options);
  fc.assert(
    fc.property(fc.array(fc.integer({min: 0, max: 3000}), {maxLength: 60}), fc.boolean(), (sizes, withWeak) => {
      const builder = new SignatureBuilder({...options, withWeak});
      let at = 0;
      for (const size of sizes) {
        builder.update(bytes.subarray(at, at + size));
        at = Math.min(bytes.length, at + size);
      }
      builder.update(bytes.subarray(at));
      expect(builder.finish()).toEqual(withWeak ? whole : {...whole, weak: Buffer.alloc(0)});
    }),
    {numRuns: 50},
  );
});

test('rolling over 5,000 bytes meets exactly the windows whose weak sum is listed', () => {
  const bytes = noise(5000, 3);
  const blockBytes = 64;
  const listed = [5, 6, 130, 131, 132, 133, 1000, 2047, 4936];
  const weak = Int32Array.from(listed, (at) => weakSum(bytes.subarray(at, at + blockBytes)));
  const strong = Uint32Array.from({length: listed.length * 2}, (_, index) => index);
  const index = new WeakIndex({blockBytes, count: listed.length}, {weak, strong});
  const met: number[] = [];
  const last = bytes.length - blockBytes;
  let sum = weakSum(bytes.subarray(0, blockBytes));
  for (let at = 0; at < last;) {
    const count = Math.min(last - at, 1 + (at % 301));
    at += index.roll(bytes.subarray(at), bytes.subarray(at + blockBytes), count, sum);
    sum = index.weak;
    expect(sum).toBe(weakSum(bytes.subarray(at, at + blockBytes)));
    if (index.first(sum) >= 0) met.push(at);
  }
  expect(met).toEqual(listed);
});

test('the leaving factor is minus the multiplier to the power of the window', () => {
  const first = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const rolled = Math.imul(weakSum(first), 0xadb4a92d) + Math.imul(1, weakLeaving(9)) + 200;
  expect(rolled | 0).toBe(weakSum(Buffer.from([2, 3, 4, 5, 6, 7, 8, 9, 200])));
});

test('a signature of 3 leaves is stored as 3 rows and assembled from them', () => {
  const signature = signatureOf(noise(2 * LEAF_BYTES + 777, 4), {...options, blockBytes: 8192, withWeak: false});
  const rows = [0, 1, 2].map((leaf) => Buffer.from(leafRow(signature, leaf)));
  expect(rows.map((row) => row.length)).toEqual([256, 256, 8]);
  expect(assembleSignature(8192, signature.sizeBytes, rows)).toEqual(signature);
  for (const damaged of [rows.slice(1), [...rows, rows[2]!], [rows[0]!.subarray(1), rows[1]!, rows[2]!]])
    expect(assembleSignature(8192, signature.sizeBytes, damaged)).toBeUndefined();
  expect(assembleSignature(8191, signature.sizeBytes, rows)).toBeUndefined();
});

describe('a signature from a peer', () => {
  const good = signatureOf(noise(3000, 5), options);
  const wanted = {blockBytes: 512, sizeBytes: 3000, withWeak: true};

  test.each([
    ['as it is', {}, 'none'],
    ['with blocks of 1000 bytes', {blockBytes: 1000}, 'PROTOCOL'],
    ['with blocks of 256 bytes', {blockBytes: 256}, 'PROTOCOL'],
    ['with blocks of 512 KiB', {blockBytes: 2 * LEAF_BYTES}, 'PROTOCOL'],
    ['with blocks of no size', {blockBytes: 0}, 'PROTOCOL'],
    ['with blocks of NaN', {blockBytes: Number.NaN}, 'PROTOCOL'],
    ['of a file of -1 bytes', {sizeBytes: -1}, 'PROTOCOL'],
    ['of a file of 2^53 bytes', {sizeBytes: 2 ** 53}, 'PROTOCOL'],
    ['of a file of 2^45 bytes', {sizeBytes: 2 ** 45}, 'PROTOCOL'],
  ] as [string, Partial<SignatureWanted>, string][])('is not waited for %s', (_name, change, code) => {
    expect(codeOf(() => new SignatureCollector({...wanted, ...change}))).toBe(code);
  });

  test.each([1, 4, 6, 100])('travels in parts of at most %i blocks', (countMax) => {
    const collector = new SignatureCollector(wanted);
    const results = [...signatureParts(good, countMax)].map((part) => collector.add(part));
    expect(results.at(-1)).toEqual(good);
    expect(results.slice(0, -1).every((result) => result === undefined)).toBe(true);
  });

  test('of an empty file travels in one empty part', () => {
    const empty = signatureOf(Buffer.alloc(0), options);
    const [part, ...more] = [...signatureParts(empty, 10)];
    expect(more).toEqual([]);
    expect(new SignatureCollector({...wanted, sizeBytes: 0}).add(part!)).toEqual(empty);
  });

  test.each([
    ['of another file size', {sizeBytes: 3001}],
    ['of another block size', {blockBytes: 1024}],
    ['out of order', {blockIndexFirst: 1}],
    ['that says it is the last too early', {isLast: true}],
    ['with no block', {strong: Buffer.alloc(0), weak: Buffer.alloc(0)}],
    ['with more blocks than the file', {strong: Buffer.alloc(56), weak: Buffer.alloc(28)}],
    ['with half a sum', {strong: Buffer.alloc(12)}],
    ['without the weak sums that were asked for', {weak: Buffer.alloc(0)}],
  ])('is refused when a part comes %s', (_name, change) => {
    const [part] = signatureParts(good, 2);
    expect(codeOf(() => new SignatureCollector(wanted).add({...part!, ...change}))).toBe('PROTOCOL');
  });

  test('is refused when the last block does not say so', () => {
    const [part] = signatureParts(good, 6);
    expect(codeOf(() => new SignatureCollector(wanted).add({...part!, isLast: false}))).toBe('PROTOCOL');
  });
});
