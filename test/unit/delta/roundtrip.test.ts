/** For all edits, block sizes and pieces: the patched base is the new file, and leaves have their exact size. */
import fc from 'fast-check';
import {beforeAll, expect, test} from 'vitest';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {noise, runDelta, type RunOptions} from './delta-run.ts';

beforeAll(loadXxhash);

type Edit =
  | {kind: 'insert' | 'overwrite'; at: number; sizeBytes: number; fill: number | undefined}
  | {kind: 'remove'; at: number; sizeBytes: number}
  | {kind: 'move'; at: number; sizeBytes: number; to: number};

const place = fc.double({min: 0, max: 1, noNaN: true});
const size = fc.integer({min: 0, max: 700});
const fill = fc.option(fc.constantFrom(0, 0x41), {nil: undefined});
const anyEdit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({kind: fc.constantFrom('insert' as const, 'overwrite' as const), at: place, sizeBytes: size, fill}),
  fc.record({kind: fc.constant('remove' as const), at: place, sizeBytes: size}),
  fc.record({kind: fc.constant('move' as const), at: place, sizeBytes: size, to: place}),
);

function edited(bytes: Buffer, edit: Edit): Buffer {
  const at = Math.floor(edit.at * bytes.length);
  const end = Math.min(bytes.length, at + edit.sizeBytes);
  const without = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
  if (edit.kind === 'remove') return without;
  if (edit.kind === 'move') {
    const to = Math.floor(edit.to * without.length);
    return Buffer.concat([without.subarray(0, to), bytes.subarray(at, end), without.subarray(to)]);
  }
  const added = edit.fill === undefined ? noise(edit.sizeBytes, at + 77) : Buffer.alloc(edit.sizeBytes, edit.fill);
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(edit.kind === 'insert' ? at : end)]);
}

const anyOptions: fc.Arbitrary<RunOptions> = fc
  .record({
    blockBits: fc.integer({min: 3, max: 8}),
    leafBlockBits: fc.integer({min: 0, max: 5}),
    weak: fc.constantFrom('there' as const, 'asked' as const, 'refused' as const),
    pieceBytes: fc.oneof(fc.integer({min: 1, max: 300}), fc.integer({min: 300, max: 9000})),
  })
  .map(({blockBits, leafBlockBits, weak, pieceBytes}) => ({
    blockBytes: 2 ** blockBits,
    leafBytes: 2 ** (blockBits + leafBlockBits),
    weak,
    pieceBytes,
  }));

/** Noise, few different bytes, or zeros: the last two match everywhere. */
const anyBase = fc.record({
  sizeBytes: fc.oneof(
    fc.integer({min: 0, max: 9000}),
    fc.integer({min: 0, max: 35}).map((blocks) => blocks * 256),
  ),
  kind: fc.constantFrom('noise', 'pairs', 'zeros'),
});

function baseOf({sizeBytes, kind}: {sizeBytes: number; kind: string}): Buffer {
  const bytes = noise(sizeBytes, sizeBytes + 1);
  if (kind === 'zeros') return Buffer.alloc(sizeBytes);
  return kind === 'noise' ? bytes : Buffer.from(bytes.map((byte) => byte & 1));
}

test('the patched base is the new file after up to 6 edits, in every mode', () => {
  fc.assert(
    fc.property(anyBase, fc.array(anyEdit, {maxLength: 6}), anyOptions, (shape, edits, options) => {
      const base = baseOf(shape);
      const next = edits.reduce(edited, base);
      const run = runDelta(base, next, options);
      expect(run.patched.equals(next)).toBe(true);
      expect(run.leaves).toHaveLength(Math.ceil(next.length / options.leafBytes));
    }),
    {numRuns: 600},
  );
});

test('noise with one edit costs the edit and 2 blocks where weak sums are there', () => {
  fc.assert(
    fc.property(fc.integer({min: 0, max: 9000}), anyEdit, anyOptions, (sizeBytes, edit, options) => {
      const base = noise(sizeBytes, 5);
      const next = edited(base, edit);
      const blockBytes = Math.max(64, options.blockBytes);
      const run = runDelta(base, next, {...options, blockBytes, leafBytes: blockBytes * 4, weak: 'there'});
      expect(run.patched.equals(next)).toBe(true);
      // A move has three seams, the others one; each costs less than 2 blocks, the tail of the file one more.
      const seams = edit.kind === 'move' ? 3 : 1;
      const movedBytes = edit.kind === 'remove' ? 0 : edit.sizeBytes;
      expect(run.literalBytes).toBeLessThanOrEqual(movedBytes + (2 * seams + 1) * blockBytes);
    }),
    {numRuns: 300},
  );
});
