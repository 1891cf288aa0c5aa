/**
 * Layout of one operation inside a batch: u8 kind, u8 detail (type or source), path, then by kind. The hot path.
 *
 * Invariant: paths are front-coded against the operation before, a second path against the first of its operation.
 */
import {isSpecial, type Meta} from '../model/entry.ts';
import type {ContentSource, Op} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import {byCode, OP_CODE, SOURCE_CODE, TYPE_CODE} from './codes.ts';
import {readTarget, writeTarget} from './compare-messages.ts';
import {encodeBug} from './fault.ts';
import * as fields from './fields.ts';
import * as limits from './limits.ts';
import type {PathReader} from './path-reader.ts';
import type {Reader} from './reader.ts';
import type {Writer} from './writer.ts';

type PutFile = Extract<Op, {kind: 'put-file'}>;
/** What is known of a small file before its bytes are read. */
export type PutFileHead = Pick<PutFile, 'path' | 'meta' | 'allocatedBytes'>;

const OP_OF_CODE = byCode(OP_CODE);
const SOURCE_OF_CODE = byCode(SOURCE_CODE);
export const OP_BYTES_MIN = 6;
const DETAIL_NONE = 0;
const ZERO_DIGEST = Buffer.alloc(32);

/** @param previous path of the operation before, `''` for the first */
export function writeOp(writer: Writer, op: Op, previous: RelPath): void {
  writer.u8(OP_CODE[op.kind]);
  switch (op.kind) {
    case 'put-file':
      return writePutFile(writer, op, previous);
    case 'make-dir':
      writePath(writer, DETAIL_NONE, op.path, previous);
      fields.writeMeta(writer, op.meta);
      return fields.writeExtensions(writer);
    case 'put-symlink':
      writePath(writer, DETAIL_NONE, op.path, previous);
      fields.writeMeta(writer, op.meta);
      writeTarget(writer, op.target);
      return fields.writeExtensions(writer);
    case 'put-special':
      writePath(writer, TYPE_CODE[op.type], op.path, previous);
      fields.writeMeta(writer, op.meta);
      fields.writeDevice(writer, op.rdev);
      return fields.writeExtensions(writer);
    case 'link':
    case 'exchange':
      writePath(writer, DETAIL_NONE, op.path, previous);
      return writer.path(op.to, op.path);
    case 'set-meta':
      writePath(writer, TYPE_CODE[op.type], op.path, previous);
      fields.writeMeta(writer, op.meta);
      return fields.writeExtensions(writer, op.allocatedBytes);
    case 'rename':
      writePath(writer, TYPE_CODE[op.type], op.path, previous);
      writer.path(op.to, op.path);
      return fields.writeOptionalDigest(writer, op.content);
    case 'delete':
      return writePath(writer, TYPE_CODE[op.type], op.path, previous);
  }
}

function writePath(writer: Writer, detail: number, path: RelPath, previous: RelPath): void {
  writer.u8(detail);
  writer.path(path, previous);
}

function writePutFile(writer: Writer, op: PutFile, previous: RelPath): void {
  writePath(writer, SOURCE_CODE[op.source.from], op.path, previous);
  fields.writeMeta(writer, op.meta);
  fields.writeSize(writer, op.sizeBytes);
  fields.writeDigest(writer, op.content);
  fields.writeExtensions(writer, op.allocatedBytes);
  writeSource(writer, op.source, op);
}

function writeSource(writer: Writer, source: ContentSource, op: PutFile): void {
  if (source.from === 'staged') return writer.u64(source.transfer);
  if (source.from === 'copy') return writer.path(source.path, op.path);
  const isSayable = source.bytes.length === op.sizeBytes && op.sizeBytes <= limits.INLINE_BYTES_MAX;
  if (!isSayable) throw encodeBug(`${source.bytes.length} inline bytes of a file of ${op.sizeBytes}`);
  writer.raw(source.bytes);
}

/** Everything of an inline put-file but its bytes, with size and digest empty. @returns offset of the size field */
export function writePutFileHead(writer: Writer, file: PutFileHead, previous: RelPath): number {
  writer.u8(OP_CODE['put-file']);
  writePath(writer, SOURCE_CODE.inline, file.path, previous);
  fields.writeMeta(writer, file.meta);
  const sizeAt = writer.sizeBytes;
  writer.u64(0);
  fields.writeDigest(writer, ZERO_DIGEST);
  fields.writeExtensions(writer, file.allocatedBytes);
  return sizeAt;
}

/** @throws PROTOCOL */
export function readOp(reader: Reader, paths: PathReader): Op {
  const kind = reader.kind('kind of operation', OP_OF_CODE);
  if (kind === 'put-file') return readPutFile(reader, paths);
  switch (kind) {
    case 'make-dir':
      readNoDetail(reader);
      return {kind, path: paths.next(), meta: readMetaAndExtensions(reader)};
    case 'put-symlink':
      return readPutSymlink(reader, paths);
    case 'put-special':
      return readPutSpecial(reader, paths);
    case 'link':
    case 'exchange':
      readNoDetail(reader);
      return {kind, path: paths.next(), to: paths.beside()};
    case 'set-meta':
      return readSetMeta(reader, paths);
    case 'rename':
      return {kind, type: readType(reader), path: paths.next(), to: paths.beside(), content: readContent(reader)};
    case 'delete':
      return {kind, type: readType(reader), path: paths.next()};
  }
}

function readPutFile(reader: Reader, paths: PathReader): Op {
  const from = reader.kind('source of content', SOURCE_OF_CODE);
  const path = paths.next();
  const meta = fields.readMeta(reader);
  const sizeBytes = fields.readSize(reader);
  const content = fields.readDigest(reader);
  const allocatedBytes = fields.readExtensions(reader);
  const source = readSource(reader, paths, from, sizeBytes);
  return {kind: 'put-file', path, meta, sizeBytes, content, source, allocatedBytes};
}

function readSource(reader: Reader, paths: PathReader, from: ContentSource['from'], sizeBytes: number): ContentSource {
  if (from === 'staged') return {from, transfer: reader.u64('transfer')};
  if (from === 'copy') return {from, path: paths.beside()};
  return {from, bytes: reader.bytes(reader.within('inline bytes of a file', sizeBytes, 0, limits.INLINE_BYTES_MAX))};
}

function readPutSymlink(reader: Reader, paths: PathReader): Op {
  readNoDetail(reader);
  const path = paths.next();
  const meta = fields.readMeta(reader);
  const target = readTarget(reader);
  fields.readExtensions(reader);
  return {kind: 'put-symlink', path, meta, target};
}

function readPutSpecial(reader: Reader, paths: PathReader): Op {
  const type = readType(reader);
  if (!isSpecial(type)) throw reader.fault('type of a special file', type, 'a FIFO, socket or device');
  const path = paths.next();
  const meta = fields.readMeta(reader);
  const rdev = fields.readDevice(reader, type);
  fields.readExtensions(reader);
  return {kind: 'put-special', path, meta, type, rdev};
}

/** The root may be meant: its permissions, owner and time travel like those of any directory. */
function readSetMeta(reader: Reader, paths: PathReader): Op {
  const type = readType(reader);
  const path = type === 'dir' ? paths.nextOrRoot() : paths.next();
  const meta = fields.readMeta(reader);
  return {kind: 'set-meta', type, path, meta, allocatedBytes: fields.readExtensions(reader)};
}

function readMetaAndExtensions(reader: Reader): Meta {
  const meta = fields.readMeta(reader);
  fields.readExtensions(reader);
  return meta;
}

function readContent(reader: Reader): Buffer | undefined {
  return fields.readOptionalDigest(reader);
}

function readType(reader: Reader): Extract<Op, {kind: 'delete'}>['type'] {
  return reader.kind('type of an entry', fields.TYPE_OF_CODE);
}

function readNoDetail(reader: Reader): void {
  const detail = reader.u8();
  if (detail !== DETAIL_NONE) throw reader.fault('detail of an operation', detail, DETAIL_NONE);
}

/** An upper bound of what an operation takes, without looking at what its path shares. */
export function opBytesMax(op: Op): number {
  const fixed = 112 + op.path.length + ('meta' in op ? op.meta.attrs.length : 0);
  switch (op.kind) {
    case 'put-file':
      if (op.source.from === 'inline') return fixed + op.source.bytes.length;
      return op.source.from === 'copy' ? fixed + op.source.path.length : fixed;
    case 'put-symlink':
      return fixed + op.target.length;
    case 'link':
    case 'exchange':
    case 'rename':
      return fixed + op.to.length;
    default:
      return fixed;
  }
}

/** Bytes of the operation's paths, front coding undone: what the reader's budget counts. */
export function opPathBytes(op: Op): number {
  if ('to' in op) return op.path.length + op.to.length;
  if (op.kind === 'put-file' && op.source.from === 'copy') return op.path.length + op.source.path.length;
  return op.path.length;
}
