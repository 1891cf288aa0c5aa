/** Runs a differ as a session does, and builds the new file from what it says. */
import {Differ} from '../../../src/delta/differ.ts';
import type {LeafOp} from '../../../src/delta/leaf-op.ts';
import {buildLeaf, type BaseReader} from '../../../src/delta/patch.ts';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import {signatureOf} from './signature-of.ts';

export const SEED = Buffer.from('a fixed ', 'latin1');

export interface RunOptions {
  blockBytes: number;
  leafBytes: number;
  /** Weak sums are in the base signature, given when asked for, or refused. */
  weak: 'there' | 'asked' | 'refused';
  pieceBytes: number;
}

export interface Run {
  patched: Buffer;
  leaves: LeafOp[][];
  literalBytes: number;
  /** Whether weak sums were asked for. */
  wasAsked: boolean;
}

export function runDelta(base: Buffer, next: Buffer, options: Partial<RunOptions> = {}): Run {
  const {blockBytes = 8192, leafBytes = LEAF_BYTES, weak = 'asked', pieceBytes = 4 * LEAF_BYTES} = options;
  const whole = signatureOf(base, {blockBytes, seed: SEED, withWeak: true});
  const signature = weak === 'there' ? whole : {...whole, weak: Buffer.alloc(0)};
  const differ = new Differ({base: signature, seed: SEED, leafBytes});
  const leaves: LeafOp[][] = [];
  let wasAsked = false;
  const settle = (): void => {
    if (differ.needsWeak) {
      wasAsked = true;
      differ.provideWeak(weak === 'asked' ? whole.weak : undefined);
    }
    leaves.push(...differ.take().map(({ops}) => ops));
  };
  for (let at = 0; at < next.length; at += pieceBytes) {
    differ.push(next.subarray(at, at + pieceBytes));
    settle();
  }
  differ.finish();
  settle();
  return {
    patched: patch(leaves, base, {leafBytes, sizeBytes: next.length}),
    leaves,
    literalBytes: literalOf(leaves),
    wasAsked,
  };
}

export function readerOf(base: Buffer): BaseReader {
  return {
    sizeBytes: base.length,
    read(baseOffset, sizeBytes, into, at) {
      base.copy(into, at, baseOffset, baseOffset + sizeBytes);
    },
  };
}

function patch(leaves: LeafOp[][], base: Buffer, file: {leafBytes: number; sizeBytes: number}): Buffer {
  const patched = Buffer.alloc(file.sizeBytes);
  const reader = readerOf(base);
  let at = 0;
  for (const ops of leaves) {
    const sizeBytes = Math.min(file.leafBytes, file.sizeBytes - at);
    buildLeaf(ops, sizeBytes, patched.subarray(at), reader);
    at += sizeBytes;
  }
  return patched.subarray(0, at);
}

function literalOf(leaves: LeafOp[][]): number {
  return leaves.flat().reduce((sum, op) => sum + (op.kind === 'literal' ? op.bytes.length : 0), 0);
}

/** Bytes that repeat nowhere and are the same in every run (xorshift32). */
export function noise(sizeBytes: number, seed: number): Buffer {
  const words = new Int32Array(Math.ceil(sizeBytes / 4));
  let state = (seed * 2_654_435_761) | 1;
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return Buffer.from(words.buffer, 0, sizeBytes);
}
