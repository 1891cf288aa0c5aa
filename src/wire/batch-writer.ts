/**
 * Builds the frame of a batch one operation at a time, so that a file's bytes can be read straight into it. Knows no
 * files: whoever reads fills the slice.
 *
 * Invariant: what it finishes, `decode` accepts; an operation that does not fit leaves no trace.
 */
import {DIGEST_BYTES, type Digest} from '../model/digest.ts';
import {inlineBytesOf, type Op} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import {MESSAGE_CODE} from './codes.ts';
import {encodeBug} from './fault.ts';
import {
  BATCH_INLINE_BYTES_MAX,
  BATCH_OPS_MAX,
  BATCH_PATH_BYTES_MAX,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  INLINE_BYTES_MAX,
} from './limits.ts';
import {opBytesMax, opPathBytes, writeOp, writePutFileHead, type PutFileHead} from './operations.ts';
import {Writer} from './writer.ts';

const HEAD_BYTES = FRAME_HEADER_BYTES + 18;
const CAPACITY_BYTES_DEFAULT = 16 * 1024;
const PUT_FILE_FIXED_BYTES = 112;

interface OpenFile {
  path: RelPath;
  startAt: number;
  sizeAt: number;
  sizeBytesMax: number;
}

export class BatchWriter {
  readonly #writer: Writer;
  #previous: RelPath = '';
  #open: OpenFile | undefined;
  #opCount = 0;
  #inlineBytes = 0;
  #pathBytes = 0;

  /**
   * One writer makes one frame.
   * @param options.capacityBytes expected size of the frame; it grows by doubling
   */
  constructor(options: {capacityBytes?: number} = {}) {
    const capacityBytes = options.capacityBytes ?? CAPACITY_BYTES_DEFAULT;
    this.#writer = new Writer(capacityBytes, (sizeBytes) => Buffer.allocUnsafeSlow(sizeBytes));
    this.#writer.claim(HEAD_BYTES);
  }

  get opCount(): number {
    return this.#opCount;
  }

  /** Bytes of contents so far. */
  get inlineBytes(): number {
    return this.#inlineBytes;
  }

  /** Size of the frame if it were finished now. */
  get frameBytes(): number {
    return this.#writer.sizeBytes;
  }

  /**
   * @returns false when the operation does not fit any more: finish, and put it into the next batch
   * @throws BUG when no batch can hold it: more than one leaf inline, a path or link target that is too long
   */
  append(op: Op): boolean {
    const inlineBytes = inlineBytesOf(op);
    if (!this.#fits(opBytesMax(op), inlineBytes, opPathBytes(op))) return this.#full();
    writeOp(this.#writer, op, this.#previous);
    this.#count(op.path, inlineBytes, opPathBytes(op));
    return true;
  }

  /**
   * Starts a put-file whose bytes are read into the slice that is returned; `endPutFile` or `cancelPutFile` must
   * follow before anything else.
   * @param sizeBytesMax at most one leaf; the file may turn out shorter
   * @returns undefined when it does not fit any more
   */
  beginPutFile(file: PutFileHead, sizeBytesMax: number): Buffer | undefined {
    if (sizeBytesMax > INLINE_BYTES_MAX) throw encodeBug(`${sizeBytesMax} inline bytes of one file`);
    const needBytes = PUT_FILE_FIXED_BYTES + file.path.length + sizeBytesMax;
    if (!this.#fits(needBytes, sizeBytesMax, file.path.length)) {
      this.#full();
      return undefined;
    }
    const startAt = this.#writer.sizeBytes;
    const sizeAt = writePutFileHead(this.#writer, file, this.#previous);
    this.#open = {path: file.path, startAt, sizeAt, sizeBytesMax};
    return this.#writer.claim(sizeBytesMax);
  }

  /** @param sizeBytes what was read, from the start of the slice, @param content its content digest */
  endPutFile(sizeBytes: number, content: Digest): void {
    const open = this.#open;
    if (open === undefined || sizeBytes > open.sizeBytesMax || content.length !== DIGEST_BYTES) {
      throw encodeBug(`the end of a put-file of ${sizeBytes} bytes`);
    }
    this.#writer.patch(open.sizeAt, () => {
      this.#writer.u64(sizeBytes);
      this.#writer.raw(content);
    });
    this.#writer.rewind(this.#writer.sizeBytes - open.sizeBytesMax + sizeBytes);
    this.#open = undefined;
    this.#count(open.path, sizeBytes, open.path.length);
  }

  /** The file could not be read: the batch is as it was before `beginPutFile`. */
  cancelPutFile(): void {
    if (this.#open === undefined) throw encodeBug('the cancelling of no put-file');
    this.#writer.rewind(this.#open.startAt);
    this.#open = undefined;
  }

  /** The frame: a slice from the start of memory of its own, which a worker can transfer. The writer is used up. */
  finish(link: number, batch: number, seq: number): Buffer {
    if (this.#open !== undefined) throw encodeBug('a batch with an open put-file');
    const writer = this.#writer;
    writer.patch(0, () => {
      writer.u8(MESSAGE_CODE.batch);
      writer.u8(0);
      writer.u16(0);
      writer.u32(link);
      writer.u64(batch);
      writer.u64(seq);
      writer.u16(this.#opCount);
    });
    return writer.finish();
  }

  #fits(needBytes: number, inlineBytes: number, pathBytes: number): boolean {
    if (this.#open !== undefined) throw encodeBug('an operation while a put-file is open');
    return (
      this.#opCount < BATCH_OPS_MAX &&
      this.#inlineBytes + inlineBytes <= BATCH_INLINE_BYTES_MAX &&
      this.#pathBytes + pathBytes <= BATCH_PATH_BYTES_MAX &&
      this.#writer.sizeBytes + needBytes <= FRAME_BYTES_MAX
    );
  }

  #full(): false {
    if (this.#opCount === 0) throw encodeBug('an operation that fits into no batch');
    return false;
  }

  #count(path: RelPath, inlineBytes: number, pathBytes: number): void {
    this.#previous = path;
    this.#opCount++;
    this.#inlineBytes += inlineBytes;
    this.#pathBytes += pathBytes;
  }
}
