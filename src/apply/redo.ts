/**
 * A redo file: the ranges of a large file that change, staged beside it until they are written into it, in place.
 *
 * Invariant: the file is touched only when every record of the redo file is whole and has its digest, and space for all of
 * it is reserved; writing them twice is the same as once, so that a crash in the middle is mended by doing it again.
 */
import {hasHole, reserve} from '../linux/extents.ts';
import {readInto, truncate, writeFrom} from '../linux/files.ts';
import {statFd} from '../linux/stat.ts';
import {startWriteback} from '../linux/sync.ts';
import {LEAF_BYTES, sha256} from '../model/digest.ts';
import type {RelPath} from '../model/path.ts';
import type {LeafDelta} from '../wire/messages.ts';
import {clearRange, writeZeros} from './partial-file.ts';

/** Of a record: u64 offset in the file, u64 length, u32 kind, 4 bytes of nothing, SHA-256 of the data, which follows. */
const HEADER_BYTES = 56;
const DIGEST_AT = 24;
const DATA = 1;
const ZEROS = 2;

interface RedoRecord {
  kind: number;
  /** Of the range in the file. */
  offset: number;
  length: number;
  /** Where its data lies in the redo file. */
  dataAt: number;
  digest: Buffer;
}

const header = Buffer.alloc(HEADER_BYTES);
const data = Buffer.allocUnsafeSlow(LEAF_BYTES);
const NO_DATA = Buffer.alloc(0);

/** Writes a redo file from its start. */
export class RedoWriter {
  readonly #fd: number;
  #sizeBytes = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * What of a leaf is not in its place already.
   * @param bytes of the whole leaf, which were verified
   */
  leaf(offset: number, bytes: Buffer, ops: LeafDelta['ops']): void {
    let at = 0;
    for (const op of ops) {
      const length = op.kind === 'literal' ? op.bytes.length : op.sizeBytes;
      if (op.kind !== 'copy' || op.baseOffset !== offset + at)
        this.#put(DATA, {offset: offset + at, length}, bytes.subarray(at, at + length));
      at += length;
    }
  }

  zeros(offset: number, length: number): void {
    this.#put(ZEROS, {offset, length}, NO_DATA);
  }

  #put(kind: number, {offset, length}: {offset: number; length: number}, bytes: Buffer): void {
    header.fill(0);
    header.writeBigUInt64BE(BigInt(offset), 0);
    header.writeBigUInt64BE(BigInt(length), 8);
    header.writeUInt32BE(kind, 16);
    sha256(bytes).copy(header, DIGEST_AT);
    const from = this.#sizeBytes;
    writeFrom(this.#fd, header, 0, HEADER_BYTES, from);
    writeFrom(this.#fd, bytes, 0, bytes.length, from + HEADER_BYTES);
    this.#sizeBytes += HEADER_BYTES + bytes.length;
    if (bytes.length > 0) startWriteback(this.#fd, from, HEADER_BYTES + bytes.length);
  }
}

/** A redo file that is not as it was written. */
export class BadRedo extends Error {}

/**
 * Looks through a redo file and reserves what it needs in the file, which stays as it is.
 * @param sizeBytes of the file once it is done
 * @throws BadRedo; LinuxError ENOSPC
 */
export function prepareRedo(redoFd: number, fd: number, sizeBytes: number): void {
  const now = statFd(fd);
  const hasHoles = hasHole(fd, now);
  for (const record of recordsOf(redoFd, sizeBytes)) {
    const {kind, offset, length, digest} = record;
    if (kind === ZEROS) continue;
    if (!sha256(dataOf(redoFd, record)).equals(digest))
      throw new BadRedo(`its data for byte ${offset} has another digest`);
    // Only where something is missing: it counts as a change of the file, also where the rest then has no room.
    if (hasHoles || offset + length > now.sizeBytes) reserve(fd, offset, length);
  }
}

/** Writes what a prepared redo file has into the file, and gives the file its size. */
export function applyRedo(redoFd: number, fd: number, sizeBytes: number): void {
  if (statFd(fd).sizeBytes !== sizeBytes) truncate(fd, sizeBytes);
  const held = {fd, heldBytes: sizeBytes, sizeBytes};
  for (const record of recordsOf(redoFd, sizeBytes)) {
    const {kind, offset, length} = record;
    if (kind === DATA) writeFrom(fd, dataOf(redoFd, record), 0, length, offset);
    else if (!clearRange(held, offset, offset + length)) writeZeros(held, offset, offset + length);
  }
}

/**
 * Whether a file may be changed where it is, or in a clone of it: one of that size which has no other names.
 * @param file `base`: what its delta refers to
 */
export function mayStayInPlace(
  file: {path: RelPath; sizeBytes: number; base: {path: RelPath} | undefined; inPlaceAbove: number | undefined},
  baseFd: number,
): boolean {
  const {path, sizeBytes, base, inPlaceAbove = Infinity} = file;
  return sizeBytes >= inPlaceAbove && base?.path === path && baseFd >= 0 && statFd(baseFd).nlink === 1;
}

/** Whether a leaf has the bytes that the file has at its place: they stay there, and only their digest is compared. */
export function isInPlace(ops: LeafDelta['ops'], offset: number): boolean {
  let at = offset;
  for (const op of ops) {
    if (op.kind !== 'copy' || op.baseOffset !== at) return false;
    at += op.sizeBytes;
  }
  return true;
}

function* recordsOf(redoFd: number, sizeBytes: number): Generator<RedoRecord> {
  const redoBytes = statFd(redoFd).sizeBytes;
  for (let at = 0; at < redoBytes;) {
    if (readInto(redoFd, header, 0, HEADER_BYTES, at) !== HEADER_BYTES) throw new BadRedo('its end is missing');
    const [offset, length] = [Number(header.readBigUInt64BE(0)), Number(header.readBigUInt64BE(8))];
    const kind = header.readUInt32BE(16);
    const isIn = offset + length <= sizeBytes && (kind === ZEROS || (kind === DATA && length <= LEAF_BYTES));
    if (!isIn) throw new BadRedo(`its record at ${at} is none`);
    const digest = Buffer.from(header.subarray(DIGEST_AT));
    yield {kind, offset, length, dataAt: at + HEADER_BYTES, digest};
    at += HEADER_BYTES + (kind === DATA ? length : 0);
  }
}

function dataOf(redoFd: number, {dataAt, length}: RedoRecord): Buffer {
  if (readInto(redoFd, data, 0, length, dataAt) !== length) throw new BadRedo('its end is missing');
  return data.subarray(0, length);
}
