/**
 * Sizes of delta blocks, and the bounds of everything that is derived from them.
 *
 * Not the leaf of a content digest: that one is fixed by the protocol, a block is chosen per file.
 * Invariant: a block is a power of two and divides a leaf, so that a leaf is a whole number of blocks.
 */
import {LEAF_BYTES} from '../model/digest.ts';

export const BLOCK_BYTES_DEFAULT = 8 * 1024; // the page of most databases: an in-place write of one page costs one page
export const BLOCK_BYTES_MIN = 512; // below it a signature weighs more than 2 % of its file
export const BLOCK_COUNT_GOAL = 262_144; // 3 MiB of sums a file; larger files get larger blocks
export const BLOCK_COUNT_MAX = 1 << 23; // 96 MiB of sums, a file of 2 TiB: beyond it a file goes without a delta
/** Smaller files go whole: they fit one leaf, which one frame carries, so asking and comparing would cost more. */
export const DELTA_BYTES_MIN = LEAF_BYTES;
export const DELTA_BYTES_MAX = BLOCK_COUNT_MAX * LEAF_BYTES;

/** Count of blocks of a file, the short last one included; an empty file has none. */
export function blockCountOf(sizeBytes: number, blockBytes: number): number {
  return Math.ceil(sizeBytes / blockBytes);
}
