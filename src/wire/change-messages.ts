/**
 * Layouts of the messages that carry changes: batches, and large files that are staged outside them.
 */
import type {Op, OpResult} from '../model/op.ts';
import {DIGEST_BYTES, LEAF_BYTES} from '../model/digest.ts';
import type {RelPath} from '../model/path.ts';
import {byCode, LEAF_OP_CODE} from './codes.ts';
import {encodeBug} from './fault.ts';
import * as fields from './fields.ts';
import type {MessageCodec} from './fields.ts';
import * as limits from './limits.ts';
import type {LeafDelta, LeafOp, MessageOf} from './messages.ts';
import {OP_BYTES_MIN, readOp} from './operations.ts';
import {PathReader} from './path-reader.ts';
import type {Reader} from './reader.ts';
import type {Writer} from './writer.ts';

const LEAF_OP_OF_CODE = byCode(LEAF_OP_CODE);
const LEAF_OP_BYTES_MIN = 5;
const LEAF_BYTES_MIN = 34;
const PATH_BYTES_MIN = 4;

type FileKind =
  | 'partial-files'
  | 'file-start'
  | 'file-leaves'
  | 'file-holes'
  | 'file-same'
  | 'ask-leaves'
  | 'leaves-held'
  | 'file-end'
  | 'file-abort'
  | 'leaf-rejected'
  | 'file-staged';

/** The other half of `BatchWriter`. */
export function readBatch(reader: Reader, link: number): MessageOf<'batch'> {
  const batch = reader.u64('batch');
  const seq = reader.u64('sequence');
  const count = reader.count('operations', limits.BATCH_OPS_MAX, OP_BYTES_MIN);
  const paths = new PathReader(reader, limits.BATCH_PATH_BYTES_MAX);
  const ops: Op[] = [];
  let inlineBytes = 0;
  for (let index = 0; index < count; index++) {
    const op = readOp(reader, paths);
    if (op.kind === 'put-file' && op.source.from === 'inline') inlineBytes += op.sizeBytes;
    ops.push(op);
  }
  reader.within('inline bytes of a batch', inlineBytes, 0, limits.BATCH_INLINE_BYTES_MAX);
  return {kind: 'batch', link, batch, seq, ops};
}

export const BATCH_RESULT_CODEC: MessageCodec<'batch-result'> = {
  write(writer, message) {
    writer.u64(message.batch);
    writer.count(message.results.length, limits.BATCH_OPS_MAX);
    for (const result of message.results) fields.writeResult(writer, result, limits.RESULT_TEXT_BYTES_MAX);
  },
  read(reader, link) {
    const batch = reader.u64('batch');
    const count = reader.count('results', limits.BATCH_OPS_MAX, 1);
    const results: OpResult[] = [];
    for (let index = 0; index < count; index++) results.push(fields.readResult(reader, limits.RESULT_TEXT_BYTES_MAX));
    return {kind: 'batch-result', link, batch, results};
  },
};

export const FILE_CODECS: {[K in FileKind]: MessageCodec<K>} = {
  'partial-files': {
    write(writer, message) {
      writer.count(message.paths.length, limits.PARTIAL_FILES_MAX);
      let previous = '';
      for (const path of message.paths) {
        writer.path(path, previous);
        previous = path;
      }
    },
    read(reader, link) {
      const count = reader.count('paths', limits.PARTIAL_FILES_MAX, PATH_BYTES_MIN);
      const reading = new PathReader(reader, limits.REQUEST_PATH_BYTES_MAX);
      const paths: RelPath[] = [];
      for (let index = 0; index < count; index++) paths.push(reading.next());
      return {kind: 'partial-files', link, paths};
    },
  },
  'file-start': {
    write(writer, message) {
      writer.u64(message.transfer);
      writer.path(message.path, '');
      fields.writeSize(writer, message.sizeBytes);
      writer.flag(message.base !== undefined);
      if (message.base !== undefined) {
        writer.path(message.base.path, message.path);
        fields.writeDigest(writer, message.base.content);
      }
      writer.flag(message.allocatedBytes !== undefined);
      if (message.allocatedBytes !== undefined) fields.writeSize(writer, message.allocatedBytes);
    },
    read(reader, link) {
      const transfer = reader.u64('transfer');
      const paths = new PathReader(reader, limits.REQUEST_PATH_BYTES_MAX);
      const path = paths.next();
      const sizeBytes = fields.readSize(reader);
      const hasBase = reader.flag('presence of a base');
      const base = hasBase ? {path: paths.beside(), content: fields.readDigest(reader)} : undefined;
      const allocatedBytes = reader.flag('presence of holes') ? fields.readSize(reader) : undefined;
      return {kind: 'file-start', link, transfer, path, sizeBytes, base, allocatedBytes};
    },
  },
  'file-leaves': {
    write(writer, message) {
      writer.u64(message.transfer);
      writer.u32(message.leafIndexFirst);
      writer.count(message.leaves.length, limits.LEAVES_MAX);
      const opCount = message.leaves.reduce((count, leaf) => count + leaf.ops.length, 0);
      if (opCount > limits.LEAF_OPS_MAX_PER_FRAME) throw encodeBug(`${opCount} leaf ops in one frame`);
      for (const leaf of message.leaves) writeLeaf(writer, leaf);
    },
    read(reader, link) {
      const transfer = reader.u64('transfer');
      const leafIndexFirst = reader.within('index of a leaf', reader.u32(), 0, limits.LEAF_INDEX_MAX);
      const count = reader.count('leaves', limits.LEAVES_MAX, LEAF_BYTES_MIN);
      const leaves: LeafDelta[] = [];
      let opsLeft = limits.LEAF_OPS_MAX_PER_FRAME;
      for (let index = 0; index < count; index++) {
        const leaf = readLeaf(reader, Math.min(opsLeft, limits.LEAF_OPS_MAX));
        opsLeft -= leaf.ops.length;
        leaves.push(leaf);
      }
      return {kind: 'file-leaves', link, transfer, leafIndexFirst, leaves};
    },
  },
  'file-holes': {
    write(writer, message) {
      writer.u64(message.transfer);
      writer.u32(message.leafIndexFirst);
      writer.u32(message.leafCount);
    },
    read(reader, link) {
      const transfer = reader.u64('transfer');
      const leafIndexFirst = reader.within('index of a leaf', reader.u32(), 0, limits.LEAF_INDEX_MAX);
      const leafCount = reader.within('leaves of a run', reader.u32(), 1, limits.HOLE_LEAVES_MAX);
      reader.within('end of a run', leafIndexFirst + leafCount, 1, limits.LEAF_INDEX_MAX + 1);
      return {kind: 'file-holes', link, transfer, leafIndexFirst, leafCount};
    },
  },
  'file-same': {
    write(writer, message) {
      writer.u64(message.transfer);
      writer.u32(message.leafIndexFirst);
      if (message.digests.length % DIGEST_BYTES > 0) throw encodeBug(`${message.digests.length} bytes of digests`);
      writer.count(message.digests.length / DIGEST_BYTES, limits.SAME_LEAVES_MAX);
      writer.raw(message.digests);
    },
    read(reader, link) {
      const transfer = reader.u64('transfer');
      const leafIndexFirst = reader.within('index of a leaf', reader.u32(), 0, limits.LEAF_INDEX_MAX);
      const count = reader.within('leaves of a run', reader.u16(), 1, limits.SAME_LEAVES_MAX);
      reader.within('end of a run', leafIndexFirst + count, 1, limits.LEAF_INDEX_MAX + 1);
      return {kind: 'file-same', link, transfer, leafIndexFirst, digests: reader.bytes(count * DIGEST_BYTES)};
    },
  },
  'ask-leaves': {
    write(writer, message) {
      writer.u32(message.request);
      writer.u64(message.transfer);
      writer.u32(message.leafIndexFirst);
      writer.u16(message.leafCount);
    },
    read(reader, link) {
      const request = reader.u32();
      const transfer = reader.u64('transfer');
      const leafIndexFirst = reader.within('index of a leaf', reader.u32(), 0, limits.LEAF_INDEX_MAX);
      const leafCount = reader.within('leaves asked for', reader.u16(), 1, limits.HELD_LEAVES_MAX);
      return {kind: 'ask-leaves', link, request, transfer, leafIndexFirst, leafCount};
    },
  },
  'leaves-held': {
    write(writer, message) {
      writer.u32(message.request);
      writer.count(message.digests.length, limits.HELD_LEAVES_MAX);
      for (const digest of message.digests) fields.writeDigest(writer, digest);
    },
    read(reader, link) {
      const request = reader.u32();
      const count = reader.count('digests', limits.HELD_LEAVES_MAX, DIGEST_BYTES);
      const digests: Buffer[] = [];
      for (let index = 0; index < count; index++) digests.push(fields.readDigest(reader));
      return {kind: 'leaves-held', link, request, digests};
    },
  },
  'file-end': {
    write(writer, message) {
      writer.u64(message.transfer);
      fields.writeDigest(writer, message.content);
    },
    read: (reader, link) => ({
      kind: 'file-end',
      link,
      transfer: reader.u64('transfer'),
      content: fields.readDigest(reader),
    }),
  },
  'file-abort': {
    write: (writer, message) => writer.u64(message.transfer),
    read: (reader, link) => ({kind: 'file-abort', link, transfer: reader.u64('transfer')}),
  },
  'leaf-rejected': {
    write(writer, message) {
      writer.u64(message.transfer);
      writer.u32(message.leafIndex);
      writer.flag(message.isBaseChanged);
    },
    read: (reader, link) => ({
      kind: 'leaf-rejected',
      link,
      transfer: reader.u64('transfer'),
      leafIndex: reader.within('index of a leaf', reader.u32(), 0, limits.LEAF_INDEX_MAX),
      isBaseChanged: reader.flag('change of the base'),
    }),
  },
  'file-staged': {
    write(writer, message) {
      writer.u64(message.transfer);
      fields.writeResult(writer, message.result, limits.MESSAGE_TEXT_BYTES_MAX);
    },
    read: (reader, link) => ({
      kind: 'file-staged',
      link,
      transfer: reader.u64('transfer'),
      result: fields.readResult(reader, limits.MESSAGE_TEXT_BYTES_MAX),
    }),
  },
};

/** 32 digest, u16 count of ops, ops: u8 1, u64 offset, u32 size; u8 2, u32 size, bytes; u8 3 or 4, u32 size. */
function writeLeaf(writer: Writer, leaf: LeafDelta): void {
  fields.writeDigest(writer, leaf.digest);
  writer.count(leaf.ops.length, limits.LEAF_OPS_MAX);
  for (const op of leaf.ops) {
    writer.u8(LEAF_OP_CODE[op.kind]);
    if (op.kind === 'copy') writer.u64(op.baseOffset);
    writer.u32(op.kind === 'literal' ? op.bytes.length : op.sizeBytes);
    if (op.kind === 'literal') writer.raw(op.bytes);
  }
}

function readLeaf(reader: Reader, opCountMax: number): LeafDelta {
  const digest = fields.readDigest(reader);
  const count = reader.count('ops of leaves', opCountMax, LEAF_OP_BYTES_MIN);
  const ops: LeafOp[] = [];
  let leftBytes = LEAF_BYTES;
  for (let index = 0; index < count; index++) {
    const kind = reader.kind('kind of leaf op', LEAF_OP_OF_CODE);
    const baseOffset = kind === 'copy' ? reader.u64('offset in the base') : 0;
    const sizeBytes = reader.within('size of a leaf op', reader.u32(), 1, leftBytes);
    leftBytes -= sizeBytes;
    reader.within('end of a copy', baseOffset + sizeBytes, 0, limits.SIZE_BYTES_MAX);
    if (kind === 'copy') ops.push({kind, baseOffset, sizeBytes});
    else if (kind === 'zeros') ops.push({kind, sizeBytes});
    else if (kind === 'kept') {
      reader.within('ops beside one that keeps the leaf', count - 1, 0, 0);
      ops.push({kind, sizeBytes});
    } else ops.push({kind, bytes: reader.bytes(sizeBytes)});
  }
  return {digest, ops};
}
