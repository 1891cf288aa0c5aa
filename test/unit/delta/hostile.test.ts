/** Content that was made to be expensive. Limits of time are many times what it takes, and far below an unbounded run. */
import {beforeAll, expect, test} from 'vitest';
import {Differ} from '../../../src/delta/differ.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {weakSum} from '../../../src/delta/weak.ts';
import {noise, runDelta, SEED} from './delta-run.ts';
import {signatureOf} from './signature-of.ts';

const MIB = 1 << 20;

beforeAll(loadXxhash);

/** Runs of two letters that a polynomial modulo 2^32 cannot tell apart: Thue-Morse and its complement. */
function collidingPair(length: number): [Buffer, Buffer] {
  const bit = (index: number): number => {
    let ones = 0;
    for (let rest = index; rest > 0; rest >>>= 1) ones ^= rest & 1;
    return ones;
  };
  const one = Buffer.from(Array.from({length}, (_, index) => 0x41 + bit(index)));
  const other = Buffer.from(Array.from({length}, (_, index) => 0x42 - bit(index)));
  return [one, other];
}

/** Blocks that all have one weak sum: each is another sequence of two pieces that collide. */
function collidingBlocks(count: number, blockBytes: number, first: number): Buffer {
  const [one, other] = collidingPair(1024);
  const bytes = Buffer.alloc(count * blockBytes);
  for (let block = 0; block < count; block++) {
    for (let piece = 0; piece * 1024 < blockBytes; piece++) {
      const isOther = piece < 30 && (((first + block) >>> (piece % 24)) & 1) === 1;
      (isOther ? other : one).copy(bytes, block * blockBytes + piece * 1024);
    }
  }
  return bytes;
}

test('the pieces do collide', () => {
  const blocks = collidingBlocks(3, 32_768, 5);
  const sums = [0, 1, 2].map((block) => weakSum(blocks.subarray(block * 32_768, (block + 1) * 32_768)));
  expect(new Set(sums).size).toBe(1);
  expect(blocks.subarray(0, 32_768).equals(blocks.subarray(32_768, 65_536))).toBe(false);
});

test('40,000 blocks that share one weak sum are searched in under 2 s', () => {
  const blockBytes = 512;
  const pair = collidingPair(512);
  const one = weakSum(pair[0]);
  const next = noise(20 * MIB, 7);
  for (let at = 0; at < next.length; at += 1024) pair[0].copy(next, at + 3);
  const base = signatureOf(noise(40_000 * blockBytes, 8), {blockBytes, seed: SEED, withWeak: true});
  for (let block = 0; block < 40_000; block++) base.weak.writeInt32LE(one, block * 4);
  const startedMs = performance.now();
  const differ = new Differ({base, seed: SEED});
  differ.push(next);
  differ.finish();
  expect(performance.now() - startedMs).toBeLessThan(2000);
  expect(differ.take()).toHaveLength(80);
});

test('500 real blocks of 32 KiB with one weak sum, in another order, are searched in under 2 s', () => {
  const blockBytes = 32_768;
  const base = collidingBlocks(500, blockBytes, 0);
  const next = Buffer.concat([Buffer.from('x'), collidingBlocks(500, blockBytes, 250)]);
  const startedMs = performance.now();
  const run = runDelta(base, next, {blockBytes, weak: 'there'});
  expect(performance.now() - startedMs).toBeLessThan(2000);
  expect(run.patched.equals(next)).toBe(true);
});

test('8 MiB of one letter whose weak sum is listed, but not its content, take under 1 s', () => {
  const blockBytes = 8192;
  const letters = Buffer.alloc(8 * MIB, 'A');
  const base = signatureOf(noise(MIB, 9), {blockBytes, seed: SEED, withWeak: true});
  base.weak.writeInt32LE(weakSum(letters.subarray(0, blockBytes)), 0);
  const startedMs = performance.now();
  const differ = new Differ({base, seed: SEED});
  differ.push(letters);
  differ.finish();
  expect(performance.now() - startedMs).toBeLessThan(1000);
  expect(differ.isDone).toBe(true);
});

test('a base of 16 MiB of zeros is one candidate, not 2,048', () => {
  const zeros = Buffer.alloc(16 * MIB);
  const next = Buffer.concat([noise(5, 1), zeros]);
  const startedMs = performance.now();
  const run = runDelta(zeros, next, {weak: 'there'});
  expect(performance.now() - startedMs).toBeLessThan(1000);
  expect(run.patched.equals(next)).toBe(true);
  expect(run.literalBytes).toBeLessThanOrEqual(8192 + 5);
});
