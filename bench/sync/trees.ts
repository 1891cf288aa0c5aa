/**
 * What is copied and how it changes: a gibibyte of random bytes in one file, or many small files. Every call is
 * synchronous and outside of what is timed.
 */
import {randomFillSync} from 'node:crypto';
import {closeSync, mkdirSync, openSync, readSync, renameSync, statSync, writeFileSync, writeSync} from 'node:fs';
import {dirname, join} from 'node:path';

export const LARGE_BYTES = 1 << 30;
export const SMALL_FILES = 100_000;
export const SMALL_FILE_BYTES = 4096;
const FILES_PER_DIR = 100;
const PAGE_BYTES = 8192;
const PAGES = 100;
const APPENDED_BYTES = 10 << 20;
const PIECE_BYTES = 8 << 20;

export const LARGE_NAME = 'large';
const piece = Buffer.alloc(PIECE_BYTES);

export function fillLarge(root: string): void {
  writeRandom(join(root, LARGE_NAME), 'w', LARGE_BYTES);
}

export function fillSmall(root: string, count = SMALL_FILES): void {
  for (let index = 0; index < count; index++) {
    const path = join(root, smallPath(index));
    if (index % FILES_PER_DIR === 0) mkdirSync(dirname(path), {recursive: true});
    writeFileSync(path, randomFillSync(piece, 0, SMALL_FILE_BYTES).subarray(0, SMALL_FILE_BYTES));
  }
}

/** Below the root that `fillSmall` fills. */
export function smallPath(index: number): string {
  return `d${Math.floor(index / FILES_PER_DIR)}/file-${index % FILES_PER_DIR}.dat`;
}

/** Writes aligned pages in place, evenly scattered. */
export function changePages(root: string): void {
  const path = join(root, LARGE_NAME);
  const stride = Math.floor(statSync(path).size / PAGES);
  const fd = openSync(path, 'r+');
  for (let page = 0; page < PAGES; page++) {
    const offset = page * stride - ((page * stride) % PAGE_BYTES);
    writeSync(fd, randomFillSync(piece, 0, PAGE_BYTES), 0, PAGE_BYTES, offset);
  }
  closeSync(fd);
}

export function append(root: string): void {
  writeRandom(join(root, LARGE_NAME), 'a', APPENDED_BYTES);
}

/** As an editor saves: a new file that replaces the old one. */
export function prepend(root: string): void {
  const path = join(root, LARGE_NAME);
  const from = openSync(path, 'r');
  const to = openSync(`${path}.new`, 'w');
  writeSync(to, Buffer.from('!'));
  for (let read = 0; (read = readSync(from, piece, 0, PIECE_BYTES, null)) > 0;) writeSync(to, piece, 0, read);
  closeSync(from);
  closeSync(to);
  renameSync(`${path}.new`, path);
}

function writeRandom(path: string, flags: string, sizeBytes: number): void {
  const fd = openSync(path, flags);
  for (let done = 0; done < sizeBytes; done += PIECE_BYTES) {
    const size = Math.min(PIECE_BYTES, sizeBytes - done);
    writeSync(fd, randomFillSync(piece, 0, size), 0, size);
  }
  closeSync(fd);
}
