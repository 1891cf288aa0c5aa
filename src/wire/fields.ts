/**
 * Fields that several messages share, each with its writer and its reader side by side.
 */
import {ATTRS_BYTES_MAX, attrsFault} from '../model/attrs.ts';
import {DIGEST_BYTES, type Digest} from '../model/digest.ts';
import type {EntryType, Meta, StatMeta} from '../model/entry.ts';
import type {OpResult} from '../model/op.ts';
import {byCode, PROBLEM_CODE, TYPE_CODE} from './codes.ts';
import {encodeBug} from './fault.ts';
import {
  DEVICE_MAJOR_MAX,
  DEVICE_MINOR_MAX,
  EXTENSIONS_MAX,
  MODE_MAX,
  NS_MAX,
  OWNER_MAX,
  SIZE_BYTES_MAX,
} from './limits.ts';
import type {MessageKind, MessageOf} from './messages.ts';
import type {Reader} from './reader.ts';
import type {Writer} from './writer.ts';

/** How one kind of message is written behind the header, and read back. */
export interface MessageCodec<K extends MessageKind> {
  write: (writer: Writer, message: MessageOf<K>) => void;
  /** @param link from the header. @throws PROTOCOL */
  read: (reader: Reader, link: number) => MessageOf<K>;
}

export const TYPE_OF_CODE = byCode(TYPE_CODE);
export const PROBLEM_OF_CODE = byCode(PROBLEM_CODE);

/** Extensions with this bit may be skipped by a reader that does not know them. */
export const EXTENSION_IGNORABLE = 0x8000;
/** Bytes that a file has allocated on the source. */
const EXTENSION_ALLOCATED = 0x8002;
const EXTENSION_BYTES_MIN = 6;
const SIZE_FIELD_BYTES = 8;

export function writeDigest(writer: Writer, digest: Digest): void {
  writer.fixed(digest, DIGEST_BYTES);
}

export function readDigest(reader: Reader): Digest {
  return reader.bytes(DIGEST_BYTES);
}

/** u8 presence, then 32 bytes if present. */
export function writeOptionalDigest(writer: Writer, digest: Digest | undefined): void {
  writer.flag(digest !== undefined);
  if (digest !== undefined) writeDigest(writer, digest);
}

export function readOptionalDigest(reader: Reader): Digest | undefined {
  return reader.flag('presence of a digest') ? readDigest(reader) : undefined;
}

export function writeSize(writer: Writer, sizeBytes: number): void {
  if (sizeBytes > SIZE_BYTES_MAX) throw encodeBug(`a size of ${sizeBytes} bytes`);
  writer.u64(sizeBytes);
}

export function readSize(reader: Reader): number {
  return reader.within('size', reader.u64('size'), 0, SIZE_BYTES_MAX);
}

/** 22 bytes: u16 mode, u32 uid, u32 gid, i64 seconds, u32 nanoseconds. */
export function writeStatMeta(writer: Writer, meta: StatMeta): void {
  const isSayable = meta.mode <= MODE_MAX && meta.mtime.ns <= NS_MAX && meta.uid <= OWNER_MAX && meta.gid <= OWNER_MAX;
  if (!isSayable) throw encodeBug(`mode ${meta.mode}, owner ${meta.uid}:${meta.gid}, ${meta.mtime.ns} ns`);
  writer.u16(meta.mode);
  writer.u32(meta.uid);
  writer.u32(meta.gid);
  writer.i64(meta.mtime.s);
  writer.u32(meta.mtime.ns);
}

export function readStatMeta(reader: Reader): StatMeta {
  return {
    mode: reader.within('mode', reader.u16(), 0, MODE_MAX),
    uid: reader.within('uid', reader.u32(), 0, OWNER_MAX),
    gid: reader.within('gid', reader.u32(), 0, OWNER_MAX),
    mtime: {s: reader.i64('seconds'), ns: reader.within('nanoseconds', reader.u32(), 0, NS_MAX)},
  };
}

/** 22 bytes as above, u32 length of the attributes, and they in their canonical form (model/attrs.ts). */
export function writeMeta(writer: Writer, meta: Meta): void {
  writeStatMeta(writer, meta);
  if (meta.attrs.length > ATTRS_BYTES_MAX) throw encodeBug(`attributes of ${meta.attrs.length} bytes`);
  writer.u32(meta.attrs.length);
  writer.raw(meta.attrs);
}

export function readMeta(reader: Reader): Meta {
  const meta = readStatMeta(reader);
  const attrs = reader.bytes(reader.within('bytes of attributes', reader.u32(), 0, ATTRS_BYTES_MAX));
  const fault = attrsFault(attrs);
  if (fault !== undefined) throw reader.fault('attributes', fault, 'sorted attributes that travel');
  return {...meta, attrs};
}

/** u32 major, u32 minor; both 0 for what is no device. */
export function writeDevice(writer: Writer, rdev: number): void {
  writer.u32(Math.floor(rdev / 2 ** 32));
  writer.u32(rdev % 2 ** 32);
}

export function readDevice(reader: Reader, type: EntryType): number {
  const isDevice = type === 'block' || type === 'char';
  const major = reader.within('major number', reader.u32(), 0, isDevice ? DEVICE_MAJOR_MAX : 0);
  const minor = reader.within('minor number', reader.u32(), 0, isDevice ? DEVICE_MINOR_MAX : 0);
  return major * 2 ** 32 + minor;
}

/** @param allocatedBytes what a file has allocated, where that is to be said */
export function writeExtensions(writer: Writer, allocatedBytes?: number): void {
  writer.u16(allocatedBytes === undefined ? 0 : 1);
  if (allocatedBytes === undefined) return;
  writer.u16(EXTENSION_ALLOCATED);
  writer.u32(SIZE_FIELD_BYTES);
  writeSize(writer, allocatedBytes);
}

/**
 * Skips what may be ignored and refuses the rest: an attribute must not be lost in silence.
 * @returns the allocated bytes where they are said
 */
export function readExtensions(reader: Reader): number | undefined {
  const count = reader.count('extensions', EXTENSIONS_MAX, EXTENSION_BYTES_MIN);
  let allocatedBytes: number | undefined;
  for (let index = 0; index < count; index++) {
    const tag = reader.u16();
    if ((tag & EXTENSION_IGNORABLE) === 0) throw reader.fault('extension', tag, 'none that must be understood');
    const sizeBytes = reader.u32();
    if (tag !== EXTENSION_ALLOCATED) reader.bytes(sizeBytes);
    else {
      reader.within('length of allocated bytes', sizeBytes, SIZE_FIELD_BYTES, SIZE_FIELD_BYTES);
      allocatedBytes = readSize(reader);
    }
  }
  return allocatedBytes;
}

/** u8 0 done; u8 1 failed, u8 problem code, text. */
export function writeResult(writer: Writer, result: OpResult, textBytesMax: number): void {
  writer.flag(result.status === 'failed');
  if (result.status === 'done') return;
  writer.u8(PROBLEM_CODE[result.code]);
  writer.text(result.message, textBytesMax);
}

export function readResult(reader: Reader, textBytesMax: number): OpResult {
  if (!reader.flag('status of a result')) return {status: 'done'};
  const code = reader.kind('problem code', PROBLEM_OF_CODE);
  return {status: 'failed', code, message: reader.text('problem text', textBytesMax)};
}
