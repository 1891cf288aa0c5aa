/**
 * Writes fields, big-endian, into one growing Buffer. Not a validator of content: it refuses only what the field
 * cannot hold, and that is a bug of ours.
 *
 * Invariant: no field allocates; only growth does, by doubling, never beyond the frame limit.
 */
import {PATH_BYTES_MAX, type RelPath} from '../model/path.ts';
import {encodeBug} from './fault.ts';
import {FRAME_BYTES_MAX} from './limits.ts';
import {cleanText} from './text.ts';

const TWO_32 = 2 ** 32;
const CAPACITY_BYTES_MIN = 64;

export class Writer {
  readonly #allocate: (sizeBytes: number) => Buffer;
  #bytes: Buffer;
  #at = 0;

  /**
   * @param capacityBytes what will probably be needed
   * @param allocate `Buffer.allocUnsafeSlow` gives memory of its own, which can be transferred to another thread; up to
   * 32 KiB the default shares Node's pool (64 KiB, Node 24.21), which cannot
   */
  constructor(
    capacityBytes: number,
    allocate: (sizeBytes: number) => Buffer = (sizeBytes) => Buffer.allocUnsafe(sizeBytes),
  ) {
    this.#allocate = allocate;
    this.#bytes = allocate(Math.min(Math.max(capacityBytes, CAPACITY_BYTES_MIN), FRAME_BYTES_MAX));
  }

  /** Bytes written so far. */
  get sizeBytes(): number {
    return this.#at;
  }

  /** What was written, without a copy; the writer must not be used any more. */
  finish(): Buffer {
    if (this.#at > FRAME_BYTES_MAX) throw encodeBug(`a frame of ${this.#at} bytes, the limit is ${FRAME_BYTES_MAX}`);
    return this.#bytes.subarray(0, this.#at);
  }

  /** Forgets what was written from `sizeBytes` on. */
  rewind(sizeBytes: number): void {
    this.#at = sizeBytes;
  }

  u8(value: number): void {
    const at = this.#claim(1);
    if ((value & 0xff) !== value) throw encodeBug(`${value} as u8`);
    this.#bytes[at] = value;
  }

  u16(value: number): void {
    const at = this.#claim(2);
    if ((value & 0xffff) !== value) throw encodeBug(`${value} as u16`);
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
  }

  u32(value: number): void {
    const at = this.#claim(4);
    if (value >>> 0 !== value) throw encodeBug(`${value} as u32`);
    put32(this.#bytes, at, value);
  }

  /** 0 .. 2^53-1 in eight bytes. */
  u64(value: number): void {
    const at = this.#claim(8);
    if (value < 0 || !Number.isSafeInteger(value)) throw encodeBug(`${value} as u64`);
    put32(this.#bytes, at, value / TWO_32);
    put32(this.#bytes, at + 4, value);
  }

  /** -(2^53-1) .. 2^53-1 in eight bytes, two's complement. */
  i64(value: number): void {
    const at = this.#claim(8);
    if (!Number.isSafeInteger(value)) throw encodeBug(`${value} as i64`);
    put32(this.#bytes, at, Math.floor(value / TWO_32));
    put32(this.#bytes, at + 4, value);
  }

  flag(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  /** A count that a list in front of its items has; `countMax` is what the reader accepts. */
  count(count: number, countMax: number): void {
    if (count > countMax) throw encodeBug(`a list of ${count}, the limit is ${countMax}`);
    this.u16(count);
  }

  /** Bytes without a length. */
  raw(bytes: Uint8Array): void {
    const at = this.#claim(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Exactly `sizeBytes` bytes: a digest. */
  fixed(bytes: Uint8Array, sizeBytes: number): void {
    if (bytes.length !== sizeBytes) throw encodeBug(`${bytes.length} bytes where ${sizeBytes} must be`);
    this.raw(bytes);
  }

  /** u8 length and 1 .. `sizeBytesMax` bytes. */
  token(bytes: Uint8Array, sizeBytesMax: number): void {
    if (bytes.length < 1 || bytes.length > sizeBytesMax) throw encodeBug(`a token of ${bytes.length} bytes`);
    this.u8(bytes.length);
    this.raw(bytes);
  }

  /** u16 length and text for people: control characters are escaped, what is too long is cut. */
  text(text: string, bytesMax: number): void {
    const bytes = cleanText(text, bytesMax);
    this.u16(bytes.length);
    this.raw(bytes);
  }

  /** u16 length and UTF-8 that must arrive exactly. */
  exact(text: string, bytesMax: number): void {
    const bytes = Buffer.from(text, 'utf8');
    const isSayable = bytes.length <= bytesMax && text.isWellFormed() && !text.includes('\0');
    if (!isSayable) throw encodeBug(`a string of ${bytes.length} bytes that is too long or not text`);
    this.u16(bytes.length);
    this.raw(bytes);
  }

  /** A byte string from `from` on, without a length. */
  byteString(text: string, from: number): void {
    let at = this.#claim(text.length - from);
    const bytes = this.#bytes;
    for (let index = from; index < text.length; index++) {
      const byte = text.charCodeAt(index);
      if (byte > 0xff) throw encodeBug('a name that is not a byte string');
      bytes[at++] = byte;
    }
  }

  /** A path against the one before it: u16 bytes shared with it, u16 length of the rest, the rest. */
  path(path: RelPath, previous: RelPath): void {
    if (path.length > PATH_BYTES_MAX) throw encodeBug(`a path of ${path.length} bytes`);
    const sharedMax = Math.min(path.length, previous.length);
    let shared = 0;
    while (shared < sharedMax && path.charCodeAt(shared) === previous.charCodeAt(shared)) shared++;
    this.u16(shared);
    this.u16(path.length - shared);
    this.byteString(path, shared);
  }

  /** Room for `sizeBytes` that somebody else fills; counts as written. Lost when the writer grows. */
  claim(sizeBytes: number): Buffer {
    const at = this.#claim(sizeBytes);
    return this.#bytes.subarray(at, at + sizeBytes);
  }

  /** Overwrites earlier bytes: `write` runs with the writer set back to `at`. */
  patch(at: number, write: () => void): void {
    const end = this.#at;
    this.#at = at;
    write();
    this.#at = end;
  }

  #claim(sizeBytes: number): number {
    const at = this.#at;
    const end = at + sizeBytes;
    if (end > this.#bytes.length) this.#grow(end);
    this.#at = end;
    return at;
  }

  #grow(sizeBytes: number): void {
    if (sizeBytes > FRAME_BYTES_MAX) throw encodeBug(`a frame above ${FRAME_BYTES_MAX} bytes`);
    const larger = this.#allocate(Math.max(sizeBytes, Math.min(2 * this.#bytes.length, FRAME_BYTES_MAX)));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

/** The low 32 bits of a whole number (or of a quotient's whole part), big-endian. */
function put32(bytes: Buffer, at: number, value: number): void {
  const word = value >>> 0;
  bytes[at] = word >>> 24;
  bytes[at + 1] = word >>> 16;
  bytes[at + 2] = word >>> 8;
  bytes[at + 3] = word;
}
