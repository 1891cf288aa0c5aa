/**
 * Reads front-coded paths of one message: each shares its first bytes with the one before. The hot path of a batch.
 *
 * Invariant: a path it gives passes `relPathFault`, and all paths of a message together stay within a budget, so that
 * a few bytes on the wire cannot become gigabytes of strings.
 */
import {NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX, relPathFault, type RelPath} from '../model/path.ts';
import type {Reader} from './reader.ts';

const SLASH = 0x2f;
const DOT = 0x2e;
const CAPACITY_BYTES_FIRST = 512;

export class PathReader {
  readonly #reader: Reader;
  readonly #budgetBytes: number;
  #usedBytes = 0;
  #bytes = Buffer.allocUnsafe(CAPACITY_BYTES_FIRST);
  #sizeBytes = 0;

  /** @param budgetBytes what all paths of the message may have together */
  constructor(reader: Reader, budgetBytes: number) {
    this.#reader = reader;
    this.#budgetBytes = budgetBytes;
  }

  /** A path below the root, front-coded against the last one that this method or `nextOrRoot` gave. */
  next(): RelPath {
    const path = this.nextOrRoot();
    if (path === '') throw this.#reader.fault('path', 'the root', 'a path below it');
    return path;
  }

  nextOrRoot(): RelPath {
    this.#sizeBytes = this.#fill(this.#sizeBytes);
    return this.#checked(this.#bytes, this.#sizeBytes);
  }

  /** The second path of an operation, front-coded against its first; the next `next` does not see it. */
  beside(): RelPath {
    const first = Buffer.from(this.#bytes.subarray(0, this.#sizeBytes));
    const sizeBytes = this.#fill(this.#sizeBytes);
    const path = this.#checked(this.#bytes, sizeBytes);
    if (path === '') throw this.#reader.fault('path', 'the root', 'a path below it');
    first.copy(this.#bytes);
    return path;
  }

  /** Puts the next path's bytes into place. @returns its length */
  #fill(previousBytes: number): number {
    const reader = this.#reader;
    const shared = reader.within('bytes shared with the path before', reader.u16(), 0, previousBytes);
    const rest = reader.u16();
    const sizeBytes = reader.within('path length', shared + rest, 0, PATH_BYTES_MAX);
    this.#usedBytes = reader.within('bytes of all paths', this.#usedBytes + sizeBytes, 0, this.#budgetBytes);
    if (sizeBytes > this.#bytes.length) this.#grow(sizeBytes);
    reader.copyTo(this.#bytes, shared, rest);
    return sizeBytes;
  }

  #checked(bytes: Buffer, sizeBytes: number): RelPath {
    const path = bytes.toString('latin1', 0, sizeBytes);
    if (isRelPath(bytes, sizeBytes)) return path;
    throw this.#reader.fault('path', path, `a path below the root, and this one ${relPathFault(path) ?? 'is not'}`);
  }

  #grow(sizeBytes: number): void {
    const larger = Buffer.allocUnsafe(Math.min(Math.max(sizeBytes, 2 * this.#bytes.length), PATH_BYTES_MAX));
    this.#bytes.copy(larger);
    this.#bytes = larger;
  }
}

/** What `relPathFault` says, on bytes and without splitting; the length was checked before. */
export function isRelPath(bytes: Buffer, sizeBytes: number): boolean {
  if (sizeBytes === 0) return true;
  let depth = 1;
  let nameStart = 0;
  for (let at = 0; at < sizeBytes; at++) {
    const byte = bytes[at];
    if (byte === 0) return false;
    if (byte !== SLASH) continue;
    if (!isName(bytes, nameStart, at)) return false;
    nameStart = at + 1;
    depth++;
  }
  return depth <= PATH_DEPTH_MAX && isName(bytes, nameStart, sizeBytes);
}

function isName(bytes: Buffer, start: number, end: number): boolean {
  const sizeBytes = end - start;
  if (sizeBytes < 1 || sizeBytes > NAME_BYTES_MAX) return false;
  if (bytes[start] !== DOT) return true;
  return sizeBytes > 1 && !(sizeBytes === 2 && bytes[start + 1] === DOT);
}
