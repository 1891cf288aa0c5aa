import {beforeAll, describe, expect, test} from 'vitest';
import {Differ} from '../../../src/delta/differ.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import type {LeafOp} from '../../../src/delta/leaf-op.ts';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import type {LeafOp as WireLeafOp} from '../../../src/wire/messages.ts';
import {noise, runDelta, SEED} from './delta-run.ts';
import {signatureOf} from './signature-of.ts';

const MIB = 1 << 20;
const BLOCK = 8192;

beforeAll(loadXxhash);

/** The whole file comes back, byte for byte; compared without vitest's walk over millions of elements. */
function expectPatched(run: {patched: Buffer}, next: Buffer): void {
  expect(run.patched.equals(next)).toBe(true);
}

describe('literals sent', () => {
  const base = noise(16 * MIB + 1000, 1);

  test('none for an equal file of 16 MiB, and weak sums are not asked for', () => {
    const run = runDelta(base, base);
    expectPatched(run, base);
    expect(run).toMatchObject({literalBytes: 0, wasAsked: false});
  });

  test('1 byte when 1 byte is prepended to 16 MiB', () => {
    const next = Buffer.concat([Buffer.from('x'), base]);
    const run = runDelta(base, next);
    expectPatched(run, next);
    expect(run).toMatchObject({literalBytes: 1, wasAsked: true});
  });

  test('everything when 1 byte is prepended and weak sums are refused', () => {
    const next = Buffer.concat([Buffer.from('x'), base]);
    const run = runDelta(base, next, {weak: 'refused'});
    expectPatched(run, next);
    expect(run.literalBytes).toBeGreaterThanOrEqual(next.length - BLOCK);
  });

  test('at most 10 MiB and one block when 10 MiB are appended, and weak sums are not asked for', () => {
    const next = Buffer.concat([base, noise(10 * MIB, 2)]);
    const run = runDelta(base, next);
    expectPatched(run, next);
    expect(run.literalBytes).toBeLessThanOrEqual(10 * MIB + BLOCK);
    expect(run.wasAsked).toBe(false);
  });

  test.each(['asked', 'there'] as const)('40 pages of 8 KiB when a byte of each changed (weak sums %s)', (weak) => {
    const next = Buffer.from(base);
    for (let page = 0; page < 40; page++) next[page * 50 * BLOCK + 17]! ^= 0xff;
    const run = runDelta(base, next, {weak});
    expectPatched(run, next);
    expect(run).toMatchObject({literalBytes: 40 * BLOCK, wasAsked: false});
  });

  test.each([
    ['on a block boundary', 9 * MIB, 0],
    ['513 bytes into a block', 9 * MIB + 513, 513],
    ['to nothing', 0, 0],
  ])('less than a block when the file is truncated %s', (_name, sizeBytes, literalBytes) => {
    const next = base.subarray(0, sizeBytes);
    const run = runDelta(base, next);
    expectPatched(run, next);
    expect(run.literalBytes).toBe(literalBytes);
  });

  test('under 1 % when the 2048 blocks of the file are reversed', () => {
    const next = Buffer.alloc(16 * MIB);
    for (let at = 0; at < next.length; at += BLOCK) base.copy(next, next.length - at - BLOCK, at, at + BLOCK);
    const run = runDelta(base, next);
    expectPatched(run, next);
    expect(run.literalBytes).toBeLessThan(next.length / 100);
  });

  test('under 3 blocks when 100 KiB are cut out of the middle', () => {
    const next = Buffer.concat([base.subarray(0, 7 * MIB + 3), base.subarray(7 * MIB + 100 * 1024)]);
    const run = runDelta(base, next);
    expectPatched(run, next);
    expect(run.literalBytes).toBeLessThan(3 * BLOCK);
  });

  test('only the inserted 5 bytes and one block when an insertion is undone 4 MiB later', () => {
    const next = Buffer.from(base);
    base.copy(next, 5 * MIB + 5, 5 * MIB, 9 * MIB);
    next.write('added', 5 * MIB);
    const run = runDelta(base, next);
    expectPatched(run, next);
    expect(run.literalBytes).toBeLessThan(2 * BLOCK);
  });

  test('all of an unrelated file', () => {
    const next = noise(2 * MIB + 5, 9);
    const run = runDelta(base, next, {weak: 'there'});
    expectPatched(run, next);
    expect(run.literalBytes).toBe(next.length);
  });

  test('everything against an empty base', () => {
    const next = noise(MIB, 3);
    const run = runDelta(Buffer.alloc(0), next, {weak: 'there'});
    expectPatched(run, next);
    expect(run).toMatchObject({literalBytes: MIB, wasAsked: false});
  });

  test('one block when one byte changes in 16 MiB of zeros, whatever is known', () => {
    const zeros = Buffer.alloc(16 * MIB);
    const next = Buffer.from(zeros);
    next[5_000_000] = 1;
    for (const weak of ['there', 'asked'] as const) {
      const run = runDelta(zeros, next, {weak});
      expectPatched(run, next);
      expect(run.literalBytes).toBe(BLOCK);
    }
  });
});

describe('a stream', () => {
  const base = noise(2 * MIB, 4);
  const next = Buffer.concat([noise(777, 5), base]);

  test.each([100, 4096, 65_529, 3 * MIB])('gives the same literals in pieces of %i bytes', (pieceBytes) => {
    const run = runDelta(base, next, {pieceBytes});
    expectPatched(run, next);
    expect(run.literalBytes).toBe(777);
  });

  test('holds back the suspicious run of 16 blocks until weak sums come, and gives leaves of 256 KiB then', () => {
    const options = {blockBytes: BLOCK, seed: SEED, withWeak: true};
    const whole = signatureOf(base, options);
    const differ = new Differ({base: {...whole, weak: Buffer.alloc(0)}, seed: SEED});
    differ.push(next.subarray(0, 15 * BLOCK));
    expect(differ.needsWeak).toBe(false);
    differ.push(next.subarray(15 * BLOCK, MIB));
    expect(differ.needsWeak).toBe(true);
    expect(differ.take()).toEqual([]);
    differ.push(next.subarray(MIB));
    differ.finish();
    expect(differ.isDone).toBe(false);
    differ.provideWeak(whole.weak);
    expect(differ.isDone).toBe(true);
    const sizes = differ.take().map(({ops}) => ops.reduce((sum, op) => sum + sizeOf(op), 0));
    expect(sizes).toEqual([...Array<number>(8).fill(LEAF_BYTES), 777]);
  });

  test('decides all but the last 2 blocks of what was pushed while it rolls', () => {
    const differ = new Differ({base: signatureOf(base, {blockBytes: BLOCK, seed: SEED, withWeak: true}), seed: SEED});
    differ.push(noise(LEAF_BYTES + 2 * BLOCK, 6));
    expect(differ.take()).toHaveLength(1);
  });

  test('holds less than 2 pieces of 256 KiB though the last block of every piece changed', () => {
    const changed = Buffer.from(base);
    for (let end = LEAF_BYTES; end <= changed.length; end += LEAF_BYTES) changed[end - 1]! ^= 1;
    const differ = new Differ({base: signatureOf(base, {blockBytes: BLOCK, seed: SEED, withWeak: false}), seed: SEED});
    for (let at = 0; at < changed.length; at += LEAF_BYTES) {
      differ.push(changed.subarray(at, at + LEAF_BYTES));
      expect(differ.heldBytes).toBeLessThan(2 * LEAF_BYTES);
    }
    differ.finish();
    expect(differ.heldBytes).toBe(0);
    expect(differ.take()).toHaveLength(8);
  });

  test('shares the memory of pushed bytes for literals, and joins neighbours to one op', () => {
    const run = runDelta(Buffer.alloc(0), next, {pieceBytes: LEAF_BYTES});
    for (const ops of run.leaves) expect(ops).toHaveLength(1);
    const [first] = run.leaves[0] as [LeafOp];
    expect(first.kind === 'literal' && first.bytes.buffer === next.buffer).toBe(true);
  });

  test('makes one copy op a leaf for an equal file', () => {
    const run = runDelta(base, base);
    const wire: WireLeafOp[] = run.leaves.flat();
    const expected = Array.from({length: 8}, (_, leaf) => [leaf * LEAF_BYTES, LEAF_BYTES]);
    expect(wire.map((op) => (op.kind === 'copy' ? [op.baseOffset, op.sizeBytes] : []))).toEqual(expected);
  });
});

function sizeOf(op: LeafOp): number {
  return op.kind === 'literal' ? op.bytes.length : op.sizeBytes;
}
