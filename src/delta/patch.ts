/**
 * Builds a leaf of the new file from its ops. The base is read through a port; nothing else is touched.
 *
 * Not a verification: the caller compares the leaf's SHA-256 afterwards.
 * Invariant: ops come from a peer, so all of them are checked before the first byte is written.
 */
import {TowlineError} from '../base/errors.ts';
import type {LeafOp} from './leaf-op.ts';

/** The base file that copy ops refer to. */
export interface BaseReader {
  sizeBytes: number;
  /** Fills `into` from `at` with `sizeBytes` of the base from `baseOffset`; throws when it cannot read all of them. */
  read(baseOffset: number, sizeBytes: number, into: Buffer, at: number): void;
}

export const LEAF_OP_COUNT_MAX = 4096; // 64 bytes of a leaf each on average; a differ with 8 KiB blocks makes at most 65

/** A base for files without one: every copy is refused. */
export const NO_BASE: BaseReader = {
  sizeBytes: 0,
  read() {},
};

function refuse(rule: string, value: string, limit: string): never {
  const message = `the peer sent a leaf whose ${rule} is ${value}, allowed is ${limit}`;
  throw new TowlineError('PROTOCOL', message, {rule: `leaf ${rule}`, value, limit});
}

/**
 * Checks a leaf's ops against the leaf's and the base's size.
 * @throws PROTOCOL when they do not make exactly `sizeBytes`, or a copy lies outside the base
 */
export function checkLeafOps(ops: readonly LeafOp[], sizeBytes: number, baseSizeBytes: number): void {
  if (ops.length > LEAF_OP_COUNT_MAX) refuse('count of ops', String(ops.length), `up to ${LEAF_OP_COUNT_MAX}`);
  let total = 0;
  for (const op of ops) {
    const opBytes = op.kind === 'literal' ? op.bytes.length : op.sizeBytes;
    if (!Number.isSafeInteger(opBytes) || opBytes < 1 || opBytes > sizeBytes - total) {
      refuse('op size', String(opBytes), `1 to ${sizeBytes - total} bytes`);
    }
    total += opBytes;
    if (op.kind !== 'copy') continue;
    if (!Number.isSafeInteger(op.baseOffset) || op.baseOffset < 0 || op.baseOffset > baseSizeBytes - opBytes) {
      refuse('copy', `${opBytes} bytes at ${op.baseOffset}`, `a range within ${baseSizeBytes} bytes`);
    }
  }
  if (total !== sizeBytes) refuse('size', String(total), `${sizeBytes} bytes`);
}

/**
 * Writes a leaf's bytes to the start of `into`.
 * @param sizeBytes of the leaf; at most `into.length`
 * @throws PROTOCOL as `checkLeafOps` does (then `into` is untouched), and what `base.read` throws
 */
export function buildLeaf(ops: readonly LeafOp[], sizeBytes: number, into: Buffer, base: BaseReader): void {
  if (sizeBytes > into.length) refuse('size', String(sizeBytes), `up to ${into.length} bytes`);
  checkLeafOps(ops, sizeBytes, base.sizeBytes);
  let at = 0;
  for (const op of ops) {
    if (op.kind === 'literal') {
      at += op.bytes.copy(into, at);
      continue;
    }
    if (op.kind === 'copy') base.read(op.baseOffset, op.sizeBytes, into, at);
    else into.fill(0, at, at + op.sizeBytes);
    at += op.sizeBytes;
  }
}
