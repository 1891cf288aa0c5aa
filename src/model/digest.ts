/**
 * Digests and the sizes they are built from. SHA-256 everywhere that equality is claimed.
 *
 * Invariant: LEAF_BYTES is part of the protocol; changing it makes a new protocol version.
 */
import {hash} from 'node:crypto';

/** 32 bytes of SHA-256. */
export type Digest = Buffer;
export const DIGEST_BYTES = 32;
/** Size of a leaf of a content digest: a range that can be verified, resumed and patched alone. One frame holds one. */
export const LEAF_BYTES = 256 * 1024;
export const TREE_DIGEST_VERSION = 2;

export function sha256(bytes: Uint8Array): Digest {
  return hash('sha256', bytes, 'buffer');
}

/** Count of leaves of a file; an empty file has none. */
export function leafCountOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / LEAF_BYTES);
}

/** Content digest of a file from the digests of its leaves, in order. */
export function contentDigest(leafDigests: Uint8Array): Digest {
  return sha256(leafDigests);
}

/** Content digest of bytes that are at most one leaf long. */
export function smallContentDigest(bytes: Uint8Array): Digest {
  return contentDigest(bytes.length === 0 ? bytes : sha256(bytes));
}

/** One of many digests in a row, as a view: nothing is copied. */
export function digestAt(digests: Uint8Array, index: number): Digest {
  return Buffer.from(digests.buffer, digests.byteOffset + index * DIGEST_BYTES, DIGEST_BYTES);
}

export function sameDigest(a: Digest | undefined, b: Digest | undefined): boolean {
  return a !== undefined && b !== undefined && a.equals(b);
}

/** Whether both are known to be nothing, or are equal. */
export function equalOrNone(a: Digest | undefined, b: Digest | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b);
}
