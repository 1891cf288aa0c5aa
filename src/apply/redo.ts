/**
 * A redo file: the leaves of a large file that change, staged beside it until they are written into it, in place.
 *
 * Invariant: the file is touched only when every record of the redo file is whole and has its digest, and space for all of
 * it is reserved; writing them twice is the same as once, so that a crash in the middle is mended by doing it again.
 */
import {reserve} from '../linux/extents.ts';
import {readInto, truncate, writeFrom} from '../linux/files.ts';
import {statFd} from '../linux/stat.ts';
import {startWriteback} from '../linux/sync.ts';
import {LEAF_BYTES, leafCountOf, sha256, type Digest} from '../model/digest.ts';
import type {RelPath} from '../model/path.ts';
import type {LeafDelta} from '../wire/messages.ts';
import {clearRange} from './partial-file.ts';

/** Of a record: u32 leaf, u32 count of leaves that are zeros (0: data follows), u32 bytes of data, u32 0, digest. */
const HEADER_BYTES = 48;
const DIGEST_AT = 16;

interface RedoRecord {
  leafIndex: number;
  /** Leaves of zeros; 0 for data. */
  zeroCount: number;
  /** Where the data lies in the redo file, and how much it is. */
  dataAt: number;
  dataBytes: number;
  digest: Buffer;
}

const header = Buffer.alloc(HEADER_BYTES);
const leaf = Buffer.allocUnsafeSlow(LEAF_BYTES);

/** Writes a redo file from its start. */
export class RedoWriter {
  readonly #fd: number;
  #sizeBytes = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** @param bytes of the whole leaf, which have that digest */
  data(leafIndex: number, bytes: Buffer, digest: Digest): void {
    this.#put({leafIndex, zeroCount: 0, dataBytes: bytes.length}, digest);
    writeFrom(this.#fd, bytes, 0, bytes.length, this.#sizeBytes);
    this.#sizeBytes += bytes.length;
    startWriteback(this.#fd, this.#sizeBytes - bytes.length, bytes.length);
  }

  zeros(leafIndex: number, zeroCount: number): void {
    this.#put({leafIndex, zeroCount, dataBytes: 0}, undefined);
  }

  #put({leafIndex, zeroCount, dataBytes}: Pick<RedoRecord, 'leafIndex' | 'zeroCount' | 'dataBytes'>, digest?: Digest) {
    header.fill(0);
    header.writeUInt32BE(leafIndex, 0);
    header.writeUInt32BE(zeroCount, 4);
    header.writeUInt32BE(dataBytes, 8);
    digest?.copy(header, DIGEST_AT);
    writeFrom(this.#fd, header, 0, HEADER_BYTES, this.#sizeBytes);
    this.#sizeBytes += HEADER_BYTES;
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
  for (const record of recordsOf(redoFd, sizeBytes)) {
    if (record.zeroCount > 0) continue;
    readData(redoFd, record);
    if (!sha256(leaf.subarray(0, record.dataBytes)).equals(record.digest))
      throw new BadRedo(`leaf ${record.leafIndex} does not have its digest`);
    reserve(fd, record.leafIndex * LEAF_BYTES, record.dataBytes);
  }
}

/** Writes what a prepared redo file has into the file, and gives the file its size. */
export function applyRedo(redoFd: number, fd: number, sizeBytes: number): void {
  if (statFd(fd).sizeBytes !== sizeBytes) truncate(fd, sizeBytes);
  for (const record of recordsOf(redoFd, sizeBytes)) {
    const offset = record.leafIndex * LEAF_BYTES;
    const end = Math.min(sizeBytes, offset + record.zeroCount * LEAF_BYTES);
    if (record.zeroCount > 0) clearRange({fd, heldBytes: sizeBytes, sizeBytes}, offset, end);
    else {
      readData(redoFd, record);
      writeFrom(fd, leaf, 0, record.dataBytes, offset);
    }
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
  const leafCount = leafCountOf(sizeBytes);
  const redoBytes = statFd(redoFd).sizeBytes;
  for (let at = 0; at < redoBytes;) {
    if (readInto(redoFd, header, 0, HEADER_BYTES, at) !== HEADER_BYTES) throw new BadRedo('its end is missing');
    const [leafIndex, zeroCount, dataBytes] = [header.readUInt32BE(0), header.readUInt32BE(4), header.readUInt32BE(8)];
    const leafBytes = Math.min(LEAF_BYTES, sizeBytes - leafIndex * LEAF_BYTES);
    const isIn = leafIndex < leafCount && leafIndex + zeroCount <= leafCount;
    if (!isIn || dataBytes !== (zeroCount > 0 ? 0 : leafBytes)) throw new BadRedo(`its record at ${at} is none`);
    const digest = Buffer.from(header.subarray(DIGEST_AT));
    yield {leafIndex, zeroCount, dataAt: at + HEADER_BYTES, dataBytes, digest};
    at += HEADER_BYTES + dataBytes;
  }
}

function readData(redoFd: number, {dataAt, dataBytes}: RedoRecord): void {
  if (readInto(redoFd, leaf, 0, dataBytes, dataAt) !== dataBytes) throw new BadRedo('its end is missing');
}
