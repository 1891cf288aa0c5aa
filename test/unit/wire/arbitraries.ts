/**
 * Random messages of every kind, within the limits of the protocol; byte strings hold every byte that Linux allows.
 */
import {ACCESS_ACL, CAPABILITY, encodeAttrs} from '../../../src/model/attrs.ts';
import fc from 'fast-check';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import {ENTRY_TYPES, type Meta, type StatMeta} from '../../../src/model/entry.ts';
import type {Op, OpResult} from '../../../src/model/op.ts';
import {relPathFault} from '../../../src/model/path.ts';
import {PROBLEM_CODES} from '../../../src/model/problem.ts';
import type {TreeEntry, TreeNode} from '../../../src/model/tree.ts';
import {LIMIT_CAUSES, LIMIT_KINDS} from '../../../src/model/view.ts';
import {SIZE_BYTES_MAX} from '../../../src/wire/limits.ts';
import {
  SOURCE_STATE_NAMES,
  type LeafDelta,
  type LeafOp,
  type Message,
  type MessageKind,
  type MessageOf,
  type SignatureRows,
} from '../../../src/wire/messages.ts';

const u32 = fc.integer({min: 0, max: 0xffff_ffff});
const u64 = fc.maxSafeNat();
const link = u32;
const request = u32;
const bytesOf = (min: number, max: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({minLength: min, maxLength: max}).map((bytes) => Buffer.from(bytes));
const digest = bytesOf(32, 32);
const token = bytesOf(1, 32);
const text = fc.string({unit: 'grapheme', maxLength: 40}).map((value) => value.replace(/[\p{C}\u2028\u2029]/gu, '_'));
const patterns = fc.array(
  fc.string({unit: 'binary', maxLength: 12}).map((value) => value.replaceAll('\0', '_')),
  {
    maxLength: 8,
  },
);

const byteString = (min: number, max: number): fc.Arbitrary<string> =>
  fc
    .array(fc.integer({min: 1, max: 255}), {minLength: min, maxLength: max})
    .map((codes) => String.fromCharCode(...codes));
const name = fc
  .oneof(byteString(1, 12), fc.constantFrom('a', 'b', '...', '.hidden', 'x'.repeat(255)))
  .map((value) => value.replaceAll('/', '|'))
  .filter((value) => value !== '.' && value !== '..');
export const relPath = fc
  .array(name, {minLength: 1, maxLength: 5})
  .map((names) => names.join('/'))
  .filter((path) => relPathFault(path) === undefined);
const pathOrRoot = fc.oneof({weight: 9, arbitrary: relPath}, {weight: 1, arbitrary: fc.constant('')});
const target = byteString(1, 60);
const size = fc.integer({min: 0, max: SIZE_BYTES_MAX});

const statMeta: fc.Arbitrary<StatMeta> = fc.record({
  mode: fc.integer({min: 0, max: 0o7777}),
  uid: fc.integer({min: 0, max: 0xffff_fffe}),
  gid: fc.integer({min: 0, max: 0xffff_fffe}),
  mtime: fc.record({s: fc.maxSafeInteger(), ns: fc.integer({min: 0, max: 999_999_999})}),
});
const attrName = fc
  .tuple(fc.constantFrom('user.', 'trusted.'), byteString(1, 20))
  .map(([prefix, rest]) => prefix + rest);
const attrs = fc
  .uniqueArray(fc.record({name: fc.oneof(attrName, fc.constantFrom(ACCESS_ACL, CAPABILITY)), value: bytesOf(0, 40)}), {
    selector: (attr) => attr.name,
    maxLength: 4,
  })
  .map(encodeAttrs);
export const meta: fc.Arbitrary<Meta> = fc.tuple(statMeta, attrs).map(([stat, its]) => ({...stat, attrs: its}));
const type = fc.constantFrom(...ENTRY_TYPES);
const rdev = fc.tuple(fc.nat(4_095), fc.nat(2 ** 20 - 1)).map(([major, minor]) => major * 2 ** 32 + minor);
const inline = bytesOf(0, 200);

const put = (path: string, itsMeta: Meta, content: Buffer) => ({
  kind: 'put-file' as const,
  path,
  meta: itsMeta,
  content,
});
export const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({kind: fc.constant('make-dir' as const), path: relPath, meta}),
  fc
    .tuple(relPath, meta, digest, inline, fc.option(size, {nil: undefined}))
    .map(([path, m, d, bytes, allocatedBytes]): Op => ({
      ...put(path, m, d),
      sizeBytes: bytes.length,
      source: {from: 'inline', bytes},
      allocatedBytes,
    })),
  fc.tuple(relPath, meta, digest, size, u64).map(([path, m, d, sizeBytes, transfer]): Op => ({
    ...put(path, m, d),
    sizeBytes,
    source: {from: 'staged', transfer},
  })),
  fc
    .tuple(relPath, meta, digest, size, relPath)
    .map(([path, m, d, sizeBytes, from]): Op => ({...put(path, m, d), sizeBytes, source: {from: 'copy', path: from}})),
  fc.record({kind: fc.constant('put-symlink' as const), path: relPath, meta, target}),
  fc.record({
    kind: fc.constant('put-special' as const),
    path: relPath,
    meta,
    type: fc.constantFrom('fifo', 'socket'),
    rdev: fc.constant(0),
  }),
  fc.record({
    kind: fc.constant('put-special' as const),
    path: relPath,
    meta,
    type: fc.constantFrom('block', 'char'),
    rdev,
  }),
  fc.record({kind: fc.constantFrom('link' as const, 'exchange' as const), path: relPath, to: relPath}),
  fc.record({
    kind: fc.constant('set-meta' as const),
    path: relPath,
    type,
    meta,
    allocatedBytes: fc.option(size, {nil: undefined}),
  }),
  fc.record({kind: fc.constant('set-meta' as const), path: fc.constant(''), type: fc.constant('dir' as const), meta}),
  fc.record({
    kind: fc.constant('rename' as const),
    path: relPath,
    to: relPath,
    type,
    content: fc.option(digest, {nil: undefined}),
  }),
  fc.record({kind: fc.constant('delete' as const), path: relPath, type}),
);

const result: fc.Arbitrary<OpResult> = fc.oneof(
  fc.constant<OpResult>({status: 'done'}),
  fc.record({status: fc.constant('failed' as const), code: fc.constantFrom(...PROBLEM_CODES), message: text}),
);

const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, {nil: undefined});
const plain = {content: fc.constant(undefined), subtree: fc.constant(undefined), count: fc.constant(0)};
const seen = {name, meta: statMeta, attrs: optional(digest), rdev: fc.constant(0), isIncomplete: fc.boolean()};
const noTarget = fc.constant('');
export const treeEntry: fc.Arbitrary<TreeEntry> = fc.oneof(
  fc.record({
    ...seen,
    ...plain,
    type: fc.constant('file' as const),
    sizeBytes: size,
    content: optional(digest),
    linkTarget: noTarget,
  }),
  fc.record({
    ...seen,
    type: fc.constant('dir' as const),
    sizeBytes: size,
    content: plain.content,
    subtree: optional(digest),
    count: u64,
    linkTarget: noTarget,
  }),
  fc.record({...seen, ...plain, type: fc.constant('symlink' as const), sizeBytes: size, linkTarget: target}),
  fc.record({...seen, ...plain, type: fc.constant('fifo' as const), sizeBytes: size, linkTarget: noTarget}),
  fc.record({...seen, ...plain, type: fc.constant('char' as const), rdev, sizeBytes: size, linkTarget: noTarget}),
);

export const treeNode: fc.Arbitrary<TreeNode> = fc.oneof(
  fc.constant<TreeNode>({kind: 'absent'}),
  fc.record({
    kind: fc.constant('inner' as const),
    digest,
    count: u64,
    children: fc
      .uniqueArray(fc.record({index: fc.integer({min: 0, max: 255}), digest, count: u64}), {
        selector: (child) => child.index,
        maxLength: 9,
      })
      .map((children) => children.sort((a, b) => a.index - b.index)),
  }),
  fc.record({kind: fc.constant('leaf' as const), digest, count: u64, entries: fc.array(treeEntry, {maxLength: 6})}),
);

const leafOp: fc.Arbitrary<LeafOp> = fc.oneof(
  fc.record({
    kind: fc.constant('copy' as const),
    baseOffset: fc.integer({min: 0, max: SIZE_BYTES_MAX - LEAF_BYTES}),
    sizeBytes: fc.integer({min: 1, max: LEAF_BYTES / 8}),
  }),
  fc.record({kind: fc.constant('literal' as const), bytes: bytesOf(1, 50)}),
  fc.record({kind: fc.constant('zeros' as const), sizeBytes: fc.integer({min: 1, max: LEAF_BYTES / 8})}),
);
const kept = fc.record({kind: fc.constant('kept' as const), sizeBytes: fc.integer({min: 1, max: LEAF_BYTES})});
export const leafDelta: fc.Arbitrary<LeafDelta> = fc.record({
  digest,
  ops: fc.oneof({weight: 4, arbitrary: fc.array(leafOp, {maxLength: 8})}, {weight: 1, arbitrary: fc.tuple(kept)}),
});

const blockBytes = fc.integer({min: 9, max: 18}).map((power) => 2 ** power);
const rows: fc.Arbitrary<SignatureRows> = fc
  .record({
    blockBytes,
    blockIndexFirst: fc.nat(1000),
    count: fc.nat(20),
    hasWeak: fc.boolean(),
    isLast: fc.boolean(),
    fill: fc.nat(255),
  })
  .map(({blockBytes: block, blockIndexFirst, count, hasWeak, isLast, fill}) => ({
    blockBytes: block,
    blockIndexFirst,
    isLast,
    sizeBytes: (blockIndexFirst + count) * block,
    weak: Buffer.alloc(hasWeak ? 4 * count : 0, fill),
    strong: Buffer.alloc(8 * count, fill),
  }));

const kindOf = <K extends MessageKind>(kind: K): {kind: fc.Arbitrary<K>} => ({kind: fc.constant(kind)});
const limits = {
  timePrecisionNs: fc.integer({min: 1, max: 2_000_000_000}),
  xattrs: patterns,
  special: fc.constantFrom('skip' as const, 'keep' as const),
  devices: fc.boolean(),
  owners: fc.boolean(),
  modes: fc.boolean(),
  setuid: fc.boolean(),
};
const view = fc.record({...limits, ignore: patterns, ids: patterns});

/** One arbitrary for each kind: a forgotten one does not compile. */
export const MESSAGE: {[K in MessageKind]: fc.Arbitrary<MessageOf<K>>} = {
  hello: fc.record({
    ...kindOf('hello'),
    versionMin: fc.integer({min: 0, max: 5}),
    versionMax: fc.integer({min: 5, max: 0xffff}),
    features: fc.array(fc.stringMatching(/^[a-z0-9-]{1,32}$/), {maxLength: 8}),
    name: text,
    instance: token,
  }),
  ping: fc.record({...kindOf('ping'), nonce: u64}),
  pong: fc.record({...kindOf('pong'), nonce: u64}),
  credit: fc.record({...kindOf('credit'), bytes: fc.integer({min: 1, max: 2 ** 26}), of: u32, isOurs: fc.boolean()}),
  fault: fc.record({...kindOf('fault'), code: text, message: text}),
  bye: fc.record({...kindOf('bye'), reason: text}),
  'identity-next': fc.record({...kindOf('identity-next'), publicKey: bytesOf(1, 255), signature: bytesOf(1, 255)}),
  'identity-pinned': fc.record({...kindOf('identity-pinned'), id: digest}),
  'volume-ready': fc.record({...kindOf('volume-ready'), volume: text}),
  'follow-volume': fc.record({
    ...kindOf('follow-volume'),
    request: u32,
    volume: text,
    as: text,
    isFollowing: fc.boolean(),
    epoch: u64,
    confirmedDeletes: u64,
  }),
  'volume-source': fc.record({
    ...kindOf('volume-source'),
    request: u32,
    isSource: fc.boolean(),
    epoch: u64,
    sinceMs: u64,
    reason: text,
  }),
  'close-link': fc.record({...kindOf('close-link'), link, reason: text}),
  'link-state': fc.record({
    ...kindOf('link-state'),
    link,
    state: fc.constantFrom(...SOURCE_STATE_NAMES),
    cut: u64,
    problemCount: u64,
    reason: text,
  }),
  'target-changed': fc.record({...kindOf('target-changed'), link}),
  'partial-files': fc.record({...kindOf('partial-files'), link, paths: fc.array(relPath, {maxLength: 12})}),
  'open-link': fc.record({
    ...kindOf('open-link'),
    link,
    volume: text,
    mode: fc.constant('mirror' as const),
    epoch: u64,
    ackedSeq: u64,
    view,
    viewDigest: digest,
    isDryRun: fc.boolean(),
    isDurable: fc.boolean(),
    confirmedDeletes: u64,
  }),
  'link-opened': fc.record({
    ...kindOf('link-opened'),
    link,
    epoch: u64,
    limits: fc.record(limits),
    causes: fc.dictionary(fc.constantFrom(...LIMIT_KINDS), fc.constantFrom(...LIMIT_CAUSES)),
    owner: fc.record({uid: u32, gid: u32}),
    groupsDigest: digest,
    rootDigest: digest,
    entryCount: u64,
    stateId: token,
  }),
  'link-refused': fc.record({...kindOf('link-refused'), link, code: text, message: text, count: u64, limit: u64}),
  'list-nodes': fc.record({
    ...kindOf('list-nodes'),
    link,
    request,
    nodes: fc.array(fc.record({path: pathOrRoot, prefix: bytesOf(0, 6)}), {maxLength: 12}),
  }),
  'node-listing': fc.record({...kindOf('node-listing'), link, request, nodes: fc.array(treeNode, {maxLength: 6})}),
  'hash-files': fc.record({...kindOf('hash-files'), link, request, paths: fc.array(relPath, {maxLength: 12})}),
  'verify-files': fc.record({...kindOf('verify-files'), link, request, paths: fc.array(relPath, {maxLength: 12})}),
  'file-digests': fc.record({
    ...kindOf('file-digests'),
    link,
    request,
    digests: fc.array(optional(digest), {maxLength: 12}),
  }),
  'list-groups': fc.record({...kindOf('list-groups'), link, request, after: u64}),
  'group-listing': fc.record({
    ...kindOf('group-listing'),
    link,
    request,
    groups: fc.array(fc.array(relPath, {maxLength: 4}), {maxLength: 6}),
    next: u64,
  }),
  'ask-signature': fc.record({
    ...kindOf('ask-signature'),
    link,
    request,
    path: relPath,
    content: digest,
    blockBytes,
    seed: bytesOf(8, 8),
  }),
  signature: fc.record({...kindOf('signature'), link, request, rows}),
  'no-signature': fc.record({
    ...kindOf('no-signature'),
    link,
    request,
    code: fc.constantFrom(...PROBLEM_CODES),
    message: text,
  }),
  batch: fc.record({...kindOf('batch'), link, batch: u64, seq: u64, ops: fc.array(op, {maxLength: 30})}),
  'batch-result': fc.record({
    ...kindOf('batch-result'),
    link,
    batch: u64,
    results: fc.array(result, {maxLength: 20}),
  }),
  'file-start': fc.record({
    ...kindOf('file-start'),
    link,
    transfer: u64,
    path: relPath,
    sizeBytes: size,
    base: optional(fc.record({path: relPath, content: digest})),
    allocatedBytes: optional(size),
  }),
  'file-leaves': fc.record({
    ...kindOf('file-leaves'),
    link,
    transfer: u64,
    leafIndexFirst: fc.nat(2 ** 28 - 1),
    leaves: fc.array(leafDelta, {maxLength: 5}),
  }),
  'file-holes': fc.record({
    ...kindOf('file-holes'),
    link,
    transfer: u64,
    leafIndexFirst: fc.nat(2 ** 28 - 2 ** 22),
    leafCount: fc.integer({min: 1, max: 2 ** 22}),
  }),
  'file-same': fc.record({
    ...kindOf('file-same'),
    link,
    transfer: u64,
    leafIndexFirst: fc.nat(2 ** 28 - 12),
    digests: fc.array(digest, {minLength: 1, maxLength: 12}).map((digests) => Buffer.concat(digests)),
  }),
  'ask-leaves': fc.record({
    ...kindOf('ask-leaves'),
    link,
    request,
    transfer: u64,
    leafIndexFirst: fc.nat(2 ** 28 - 1),
    leafCount: fc.integer({min: 1, max: 128}),
  }),
  'leaves-held': fc.record({...kindOf('leaves-held'), link, request, digests: fc.array(digest, {maxLength: 12})}),
  'file-end': fc.record({...kindOf('file-end'), link, transfer: u64, content: digest}),
  'file-abort': fc.record({...kindOf('file-abort'), link, transfer: u64}),
  'leaf-rejected': fc.record({
    ...kindOf('leaf-rejected'),
    link,
    transfer: u64,
    leafIndex: fc.nat(2 ** 28 - 1),
    isBaseChanged: fc.boolean(),
  }),
  'file-staged': fc.record({...kindOf('file-staged'), link, transfer: u64, result}),
  cut: fc.record({...kindOf('cut'), link, cut: u64, seq: u64, rootDigest: digest, groupsDigest: digest}),
  'cut-result': fc.record({
    ...kindOf('cut-result'),
    link,
    cut: u64,
    rootDigest: digest,
    groupsDigest: digest,
    entryCount: u64,
    isDurable: fc.boolean(),
  }),
};

export const KINDS = Object.keys(MESSAGE) as MessageKind[];
export const anyMessage: fc.Arbitrary<Message> = fc.oneof(...(Object.values(MESSAGE) as fc.Arbitrary<Message>[]));

/** Same seed, same run; `TOWLINE_LAB_FACTOR` multiplies the runs. */
export const LAB_SEED = Number(process.env['TOWLINE_LAB_SEED'] ?? 20_260_101);
export const LAB_FACTOR = Math.max(1, Number(process.env['TOWLINE_LAB_FACTOR'] ?? 1));
