/** Large files for measurements, made as fast as the disk takes them. Every call is synchronous. */
import {randomFillSync} from 'node:crypto';
import {closeSync, ftruncateSync, openSync, readSync, writeSync} from 'node:fs';

const PIECE_BYTES = 8 << 20;
const PAGE_BYTES = 4_096;

/** Bytes that no program makes smaller, and no page of them twice: random ones, with a number at the head of each page. */
export function writePattern(path: string, sizeBytes: number): void {
  const piece = randomFillSync(Buffer.alloc(PIECE_BYTES));
  const fd = openSync(path, 'w');
  for (let done = 0; done < sizeBytes; done += PIECE_BYTES) {
    for (let page = 0; page < PIECE_BYTES; page += PAGE_BYTES) piece.writeDoubleLE((done + page) / PAGE_BYTES, page);
    writeSync(fd, piece, 0, Math.min(PIECE_BYTES, sizeBytes - done));
  }
  closeSync(fd);
}

/** Where the data of a sparse file is: so many ranges, evenly scattered, the first at its beginning. */
export interface Scattered {
  sizeBytes: number;
  ranges: number;
  rangeBytes: number;
}

/** Holes between ranges of random bytes. */
export function writeSparse(path: string, {sizeBytes, ranges, rangeBytes}: Scattered): void {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, sizeBytes);
  for (let range = 0; range < ranges; range++)
    writeSync(fd, randomFillSync(Buffer.alloc(rangeBytes)), 0, rangeBytes, offsetOf(range, {sizeBytes, ranges}));
  closeSync(fd);
}

/** The ranges of both files in which they differ. */
export function differingRanges(path: string, copy: string, scattered: Scattered): number[] {
  const [a, b] = [path, copy].map((file) => openSync(file, 'r')) as [number, number];
  const [left, right] = [a, b].map(() => Buffer.alloc(scattered.rangeBytes)) as [Buffer, Buffer];
  const found: number[] = [];
  for (let range = 0; range < scattered.ranges; range++) {
    const offset = offsetOf(range, scattered);
    readSync(a, left, 0, left.length, offset);
    if (readSync(b, right, 0, right.length, offset) !== right.length || !left.equals(right)) found.push(range);
  }
  closeSync(a);
  closeSync(b);
  return found;
}

function offsetOf(range: number, {sizeBytes, ranges}: Pick<Scattered, 'sizeBytes' | 'ranges'>): number {
  const offset = Math.floor((sizeBytes / ranges) * range);
  return offset - (offset % PAGE_BYTES);
}
