/**
 * Reads fields, big-endian, out of one frame. Knows bounds, not messages.
 *
 * Invariant: nothing is read behind the frame's end, and no count is believed before it is checked against its limit
 * and against the bytes that are left; every fault is a `PROTOCOL` error.
 */
import {isUtf8} from 'node:buffer';
import type {TowlineError} from '../base/errors.ts';
import {nameFault, type Name} from '../model/path.ts';
import {protocolFault} from './fault.ts';
import {isCleanText} from './text.ts';

const TWO_32 = 2 ** 32;

export class Reader {
  readonly #bytes: Buffer;
  readonly #where: string;
  #at: number;

  /** @param where names the message in errors */
  constructor(bytes: Buffer, where: string, offset: number) {
    this.#bytes = bytes;
    this.#where = where;
    this.#at = offset;
  }

  get leftBytes(): number {
    return this.#bytes.length - this.#at;
  }

  /** The error for a broken rule; the caller throws it. */
  fault(rule: string, value: string | number, limit: string | number): TowlineError<'PROTOCOL'> {
    return protocolFault(this.#where, rule, value, limit);
  }

  /** All bytes must have been read. */
  end(): void {
    if (this.leftBytes > 0) throw this.fault('bytes after the message', this.leftBytes, 0);
  }

  u8(): number {
    return this.#bytes[this.#claim(1)] ?? 0;
  }

  u16(): number {
    const at = this.#claim(2);
    return ((this.#bytes[at] ?? 0) << 8) | (this.#bytes[at + 1] ?? 0);
  }

  u32(): number {
    return get32(this.#bytes, this.#claim(4));
  }

  /** Eight bytes that hold 0 .. 2^53-1. */
  u64(rule: string): number {
    const at = this.#claim(8);
    const high = get32(this.#bytes, at);
    const value = high * TWO_32 + get32(this.#bytes, at + 4);
    if (high > 0x1f_ffff) throw this.fault(rule, `${value}`, '2^53-1');
    return value;
  }

  /** Eight bytes, two's complement, within ±(2^53-1). */
  i64(rule: string): number {
    const at = this.#claim(8);
    const value = (get32(this.#bytes, at) | 0) * TWO_32 + get32(this.#bytes, at + 4);
    if (!Number.isSafeInteger(value)) throw this.fault(rule, `${value}`, '±(2^53-1)');
    return value;
  }

  flag(rule: string): boolean {
    const value = this.u8();
    if (value > 1) throw this.fault(rule, value, '0 or 1');
    return value === 1;
  }

  /** Refuses a number outside `min .. max`. */
  within(rule: string, value: number, min: number, max: number): number {
    if (value < min || value > max) throw this.fault(rule, value, min === 0 ? max : `${min} to ${max}`);
    return value;
  }

  /** u16 count of a list whose items have at least `itemBytesMin` bytes. */
  count(rule: string, countMax: number, itemBytesMin: number): number {
    const count = this.within(rule, this.u16(), 0, countMax);
    this.#mustHold(rule, count * itemBytesMin);
    return count;
  }

  /** The kind that a number stands for in a table read backwards. */
  kind<K extends string>(rule: string, kinds: readonly (K | undefined)[]): K {
    const code = this.u8();
    const kind = kinds[code];
    if (kind === undefined) throw this.fault(rule, code, 'a known number');
    return kind;
  }

  /** Bytes, not copied: they share memory with the frame. */
  bytes(sizeBytes: number): Buffer {
    const at = this.#claim(sizeBytes);
    return this.#bytes.subarray(at, at + sizeBytes);
  }

  /** u8 length and 1 .. `sizeBytesMax` bytes, not copied. */
  token(rule: string, sizeBytesMax: number): Buffer {
    return this.bytes(this.within(`${rule} length`, this.u8(), 1, sizeBytesMax));
  }

  /** u16 length and text for people, without control characters. */
  text(rule: string, bytesMax: number): string {
    const text = this.exact(rule, bytesMax);
    if (!isCleanText(text)) throw this.fault(rule, 'text with control characters', 'text without');
    return text;
  }

  /** u16 length and valid UTF-8 without NUL. */
  exact(rule: string, bytesMax: number): string {
    const bytes = this.bytes(this.within(`${rule} length`, this.u16(), 0, bytesMax));
    if (!isUtf8(bytes)) throw this.fault(rule, 'not UTF-8', 'UTF-8');
    if (bytes.includes(0)) throw this.fault(rule, 'text with a NUL', 'text without');
    return bytes.toString('utf8');
  }

  /** u16 length and a byte string without NUL: a link target. */
  byteString(rule: string, bytesMin: number, bytesMax: number): string {
    const bytes = this.bytes(this.within(`${rule} length`, this.u16(), bytesMin, bytesMax));
    if (bytes.includes(0)) throw this.fault(rule, 'bytes with a NUL', 'bytes without');
    return bytes.toString('latin1');
  }

  /** u8 length and one path component. */
  name(): Name {
    const name = this.bytes(this.u8()).toString('latin1');
    const fault = nameFault(name);
    if (fault !== undefined) throw this.fault('name', name, `a name, and this one ${fault}`);
    return name;
  }

  /** Copies `sizeBytes` to `target`. */
  copyTo(target: Buffer, targetOffset: number, sizeBytes: number): void {
    const at = this.#claim(sizeBytes);
    this.#bytes.copy(target, targetOffset, at, at + sizeBytes);
  }

  #mustHold(rule: string, sizeBytes: number): void {
    if (sizeBytes > this.leftBytes) throw this.fault(`bytes needed by ${rule}`, sizeBytes, `${this.leftBytes} left`);
  }

  #claim(sizeBytes: number): number {
    const at = this.#at;
    if (sizeBytes > this.#bytes.length - at) this.#mustHold('the next field', sizeBytes);
    this.#at = at + sizeBytes;
    return at;
  }
}

function get32(bytes: Buffer, at: number): number {
  return (
    (bytes[at] ?? 0) * 0x100_0000 + (((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0))
  );
}
