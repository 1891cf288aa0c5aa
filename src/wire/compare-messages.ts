/**
 * Layouts of the messages by which two trees are compared and signatures fetched.
 */
import type {RelPath} from '../model/path.ts';
import type {TreeEntry, TreeNode, TrieChild} from '../model/tree.ts';
import {byCode, NODE_CODE, PROBLEM_CODE, TYPE_CODE} from './codes.ts';
import {encodeBug} from './fault.ts';
import * as fields from './fields.ts';
import type {MessageCodec} from './fields.ts';
import * as limits from './limits.ts';
import type {SignatureRows} from './messages.ts';
import {PathReader} from './path-reader.ts';
import type {Reader} from './reader.ts';
import type {Writer} from './writer.ts';

const NODE_OF_CODE = byCode(NODE_CODE);
const PATH_BYTES_MIN = 4;
const CHILD_BYTES = 41;
const ENTRY_BYTES_MIN = 1 + 1 + 2 + 22 + 2;

/** Which optional fields of an entry follow. */
const ENTRY_BITS = {
  content: 1,
  subtree: 2,
  incomplete: 4,
  size: 8,
  count: 16,
  target: 32,
  attrs: 64,
  device: 128,
} as const;
const ENTRY_BITS_ALL = 255;

type CompareKind =
  | 'list-nodes'
  | 'node-listing'
  | 'hash-files'
  | 'verify-files'
  | 'file-digests'
  | 'list-groups'
  | 'group-listing'
  | 'ask-signature'
  | 'signature'
  | 'no-signature';

export const COMPARE_CODECS: {[K in CompareKind]: MessageCodec<K>} = {
  'list-nodes': {
    write(writer, message) {
      writer.u32(message.request);
      writer.count(message.nodes.length, limits.NODES_MAX);
      let previous = '';
      for (const node of message.nodes) {
        writer.path(node.path, previous);
        if (node.prefix.length > limits.TRIE_PREFIX_BYTES_MAX) throw encodeBug('a trie prefix that is too long');
        writer.u8(node.prefix.length);
        writer.raw(node.prefix);
        previous = node.path;
      }
    },
    read(reader, link) {
      const request = reader.u32();
      const count = reader.count('nodes', limits.NODES_MAX, PATH_BYTES_MIN + 1);
      const paths = new PathReader(reader, limits.REQUEST_PATH_BYTES_MAX);
      const nodes: {path: RelPath; prefix: Buffer}[] = [];
      for (let index = 0; index < count; index++) {
        const path = paths.nextOrRoot();
        const prefixBytes = reader.within('trie prefix length', reader.u8(), 0, limits.TRIE_PREFIX_BYTES_MAX);
        nodes.push({path, prefix: reader.bytes(prefixBytes)});
      }
      return {kind: 'list-nodes', link, request, nodes};
    },
  },
  'node-listing': {
    write(writer, message) {
      writer.u32(message.request);
      writer.count(message.nodes.length, limits.NODES_MAX);
      for (const node of message.nodes) writeNode(writer, node);
    },
    read(reader, link) {
      const request = reader.u32();
      const count = reader.count('nodes', limits.NODES_MAX, 1);
      const nodes: TreeNode[] = [];
      for (let index = 0; index < count; index++) nodes.push(readNode(reader));
      return {kind: 'node-listing', link, request, nodes};
    },
  },
  'hash-files': {
    write: writeHashRequest,
    read: (reader, link) => ({kind: 'hash-files', link, ...readHashRequest(reader)}),
  },
  'verify-files': {
    write: writeHashRequest,
    read: (reader, link) => ({kind: 'verify-files', link, ...readHashRequest(reader)}),
  },
  'file-digests': {
    write(writer, message) {
      writer.u32(message.request);
      writer.count(message.digests.length, limits.HASH_PATHS_MAX);
      for (const digest of message.digests) fields.writeOptionalDigest(writer, digest);
    },
    read(reader, link) {
      const request = reader.u32();
      const count = reader.count('digests', limits.HASH_PATHS_MAX, 1);
      const digests: (Buffer | undefined)[] = [];
      for (let index = 0; index < count; index++) digests.push(fields.readOptionalDigest(reader));
      return {kind: 'file-digests', link, request, digests};
    },
  },
  'list-groups': {
    write(writer, message) {
      writer.u32(message.request);
      writer.u64(message.after);
    },
    read: (reader, link) => ({kind: 'list-groups', link, request: reader.u32(), after: reader.u64('cursor')}),
  },
  'group-listing': {
    write(writer, message) {
      writer.u32(message.request);
      writer.u64(message.next);
      writer.count(message.groups.length, limits.GROUPS_MAX);
      let previous = '';
      for (const group of message.groups) {
        writePaths(writer, group, limits.GROUP_PATHS_MAX, previous);
        previous = group.at(-1) ?? previous;
      }
    },
    read(reader, link) {
      const request = reader.u32();
      const next = reader.u64('cursor');
      const count = reader.count('groups', limits.GROUPS_MAX, 2);
      const paths = new PathReader(reader, limits.BATCH_PATH_BYTES_MAX);
      const groups: RelPath[][] = [];
      let leftCount = limits.GROUP_PATHS_MAX;
      for (let index = 0; index < count; index++) {
        const pathCount = reader.count('paths of all groups', leftCount, PATH_BYTES_MIN);
        leftCount -= pathCount;
        groups.push(readPaths(paths, pathCount));
      }
      return {kind: 'group-listing', link, request, groups, next};
    },
  },
  'ask-signature': {
    write(writer, message) {
      writer.u32(message.request);
      writer.path(message.path, '');
      fields.writeDigest(writer, message.content);
      writer.u32(message.blockBytes);
      writer.fixed(message.seed, limits.SEED_BYTES);
    },
    read: (reader, link) => ({
      kind: 'ask-signature',
      link,
      request: reader.u32(),
      path: new PathReader(reader, limits.REQUEST_PATH_BYTES_MAX).next(),
      content: fields.readDigest(reader),
      blockBytes: readBlockBytes(reader),
      seed: reader.bytes(limits.SEED_BYTES),
    }),
  },
  signature: {
    write(writer, message) {
      writer.u32(message.request);
      writeRows(writer, message.rows);
    },
    read: (reader, link) => ({kind: 'signature', link, request: reader.u32(), rows: readRows(reader)}),
  },
  'no-signature': {
    write(writer, message) {
      writer.u32(message.request);
      writer.u8(PROBLEM_CODE[message.code]);
      writer.text(message.message, limits.MESSAGE_TEXT_BYTES_MAX);
    },
    read: (reader, link) => ({
      kind: 'no-signature',
      link,
      request: reader.u32(),
      code: reader.kind('problem code', fields.PROBLEM_OF_CODE),
      message: reader.text('problem text', limits.MESSAGE_TEXT_BYTES_MAX),
    }),
  },
};

function writePaths(writer: Writer, paths: readonly RelPath[], countMax: number, before: RelPath = ''): void {
  writer.count(paths.length, countMax);
  let previous = before;
  for (const path of paths) {
    writer.path(path, previous);
    previous = path;
  }
}

function readPaths(reader: PathReader, count: number): RelPath[] {
  const paths: RelPath[] = [];
  for (let index = 0; index < count; index++) paths.push(reader.next());
  return paths;
}

function writeNode(writer: Writer, node: TreeNode): void {
  writer.u8(NODE_CODE[node.kind]);
  if (node.kind === 'absent') return;
  fields.writeDigest(writer, node.digest);
  writer.u64(node.count);
  if (node.kind === 'leaf') {
    writer.count(node.entries.length, limits.TRIE_ENTRIES_MAX_DEEPEST);
    for (const entry of node.entries) writeEntry(writer, entry);
    return;
  }
  writer.count(node.children.length, limits.TRIE_CHILDREN_MAX);
  for (const child of node.children) {
    writer.u8(child.index);
    fields.writeDigest(writer, child.digest);
    writer.u64(child.count);
  }
}

function readNode(reader: Reader): TreeNode {
  const kind = reader.kind('kind of node', NODE_OF_CODE);
  if (kind === 'absent') return {kind};
  const digest = fields.readDigest(reader);
  const count = reader.u64('count of entries');
  if (kind === 'inner') return {kind, digest, count, children: readChildren(reader)};
  const entryCount = reader.count('entries of a leaf', limits.TRIE_ENTRIES_MAX_DEEPEST, ENTRY_BYTES_MIN);
  const entries: TreeEntry[] = [];
  for (let index = 0; index < entryCount; index++) entries.push(readEntry(reader));
  return {kind, digest, count, entries};
}

function readChildren(reader: Reader): TrieChild[] {
  const childCount = reader.count('children of a node', limits.TRIE_CHILDREN_MAX, CHILD_BYTES);
  const children: TrieChild[] = [];
  let indexMin = 0;
  for (let position = 0; position < childCount; position++) {
    const index = reader.within('index of a child', reader.u8(), indexMin, limits.TRIE_CHILDREN_MAX - 1);
    children.push({index, digest: fields.readDigest(reader), count: reader.u64('count of entries')});
    indexMin = index + 1;
  }
  return children;
}

/** u8 name length, name, u8 type, u8 bits, meta, then what the bits announce, then extensions. */
function writeEntry(writer: Writer, entry: TreeEntry): void {
  writer.u8(entry.name.length);
  writer.byteString(entry.name, 0);
  writer.u8(TYPE_CODE[entry.type]);
  writer.u8(entryBits(entry));
  fields.writeStatMeta(writer, entry.meta);
  if (entry.content !== undefined) fields.writeDigest(writer, entry.content);
  if (entry.subtree !== undefined) fields.writeDigest(writer, entry.subtree);
  if (entry.sizeBytes !== 0) fields.writeSize(writer, entry.sizeBytes);
  if (entry.count !== 0) writer.u64(entry.count);
  if (entry.linkTarget !== '') writeTarget(writer, entry.linkTarget);
  if (entry.attrs !== undefined) fields.writeDigest(writer, entry.attrs);
  if (entry.rdev !== 0) fields.writeDevice(writer, entry.rdev);
  fields.writeExtensions(writer);
}

function entryBits(entry: TreeEntry): number {
  return (
    (entry.content === undefined ? 0 : ENTRY_BITS.content) |
    (entry.subtree === undefined ? 0 : ENTRY_BITS.subtree) |
    (entry.isIncomplete ? ENTRY_BITS.incomplete : 0) |
    (entry.sizeBytes === 0 ? 0 : ENTRY_BITS.size) |
    (entry.count === 0 ? 0 : ENTRY_BITS.count) |
    (entry.linkTarget === '' ? 0 : ENTRY_BITS.target) |
    (entry.attrs === undefined ? 0 : ENTRY_BITS.attrs) |
    (entry.rdev === 0 ? 0 : ENTRY_BITS.device)
  );
}

function readEntry(reader: Reader): TreeEntry {
  const name = reader.name();
  const type = reader.kind('type of an entry', fields.TYPE_OF_CODE);
  const bits = reader.within('bits of an entry', reader.u8(), 0, ENTRY_BITS_ALL);
  const has = (bit: number): boolean => (bits & bit) !== 0;
  if (has(ENTRY_BITS.content) && type !== 'file') throw reader.fault('content digest', `one of a ${type}`, 'a file');
  if (has(ENTRY_BITS.subtree) && type !== 'dir') throw reader.fault('subtree digest', `one of a ${type}`, 'a dir');
  if (has(ENTRY_BITS.count) && type !== 'dir') throw reader.fault('count of entries', `one of a ${type}`, 'a dir');
  if (has(ENTRY_BITS.target) !== (type === 'symlink'))
    throw reader.fault('link target', `that of a ${type}`, 'a symlink');
  const entry: TreeEntry = {
    name,
    type,
    meta: fields.readStatMeta(reader),
    content: has(ENTRY_BITS.content) ? fields.readDigest(reader) : undefined,
    subtree: has(ENTRY_BITS.subtree) ? fields.readDigest(reader) : undefined,
    sizeBytes: has(ENTRY_BITS.size) ? fields.readSize(reader) : 0,
    count: has(ENTRY_BITS.count) ? reader.u64('count of entries') : 0,
    linkTarget: has(ENTRY_BITS.target) ? readTarget(reader) : '',
    attrs: has(ENTRY_BITS.attrs) ? fields.readDigest(reader) : undefined,
    rdev: has(ENTRY_BITS.device) ? fields.readDevice(reader, type) : 0,
    isIncomplete: has(ENTRY_BITS.incomplete),
  };
  fields.readExtensions(reader);
  return entry;
}

/** u16 length and 1 to 4,095 bytes. */
export function writeTarget(writer: Writer, target: string): void {
  if (target.length < 1 || target.length > limits.LINK_TARGET_BYTES_MAX) throw encodeBug('the length of a link target');
  writer.u16(target.length);
  writer.byteString(target, 0);
}

export function readTarget(reader: Reader): string {
  return reader.byteString('link target', 1, limits.LINK_TARGET_BYTES_MAX);
}

/** Of what asks for the contents of files. */
function writeHashRequest(writer: Writer, {request, paths}: {request: number; paths: readonly RelPath[]}): void {
  writer.u32(request);
  writePaths(writer, paths, limits.HASH_PATHS_MAX);
}

/** Of what asks for the contents of files. */
function readHashRequest(reader: Reader): {request: number; paths: RelPath[]} {
  const request = reader.u32();
  const count = reader.count('paths', limits.HASH_PATHS_MAX, PATH_BYTES_MIN);
  return {request, paths: readPaths(new PathReader(reader, limits.REQUEST_PATH_BYTES_MAX), count)};
}

function readBlockBytes(reader: Reader): number {
  const blockBytes = reader.within('block size', reader.u32(), limits.BLOCK_BYTES_MIN, limits.BLOCK_BYTES_MAX);
  if ((blockBytes & (blockBytes - 1)) !== 0) throw reader.fault('block size', blockBytes, 'a power of two');
  return blockBytes;
}

/** u32 block size, u64 size, u64 first block, u32 count, u8 has weak sums, u8 is last, weak sums, strong sums. */
function writeRows(writer: Writer, rows: SignatureRows): void {
  const blockCount = rows.strong.length / 8;
  const hasWeak = rows.weak.length > 0;
  if (hasWeak && rows.weak.length !== 4 * blockCount) throw encodeBug('weak and strong sums of different counts');
  if (blockCount > limits.SIGNATURE_BLOCKS_MAX) throw encodeBug(`a signature of ${blockCount} blocks in one piece`);
  writer.u32(rows.blockBytes);
  fields.writeSize(writer, rows.sizeBytes);
  writer.u64(rows.blockIndexFirst);
  writer.u32(blockCount);
  writer.flag(hasWeak);
  writer.flag(rows.isLast);
  writer.raw(rows.weak);
  writer.raw(rows.strong);
}

function readRows(reader: Reader): SignatureRows {
  const blockBytes = readBlockBytes(reader);
  const sizeBytes = fields.readSize(reader);
  const blocksOfFile = Math.ceil(sizeBytes / blockBytes);
  const blockIndexFirst = reader.within('first block', reader.u64('first block'), 0, blocksOfFile);
  const leftMax = Math.min(limits.SIGNATURE_BLOCKS_MAX, blocksOfFile - blockIndexFirst);
  const blockCount = reader.within('blocks', reader.u32(), 0, leftMax);
  const hasWeak = reader.flag('presence of weak sums');
  const isLast = reader.flag('end of a signature');
  const weak = reader.bytes(hasWeak ? 4 * blockCount : 0);
  const strong = reader.bytes(8 * blockCount);
  return {blockBytes, sizeBytes, blockIndexFirst, weak, strong, isLast};
}
