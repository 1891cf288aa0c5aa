import type {MessageKind, MessageOf} from '../../../src/wire/messages.ts';
import {encodeAttrs, NO_ATTRS} from '../../../src/model/attrs.ts';
import type {Meta, StatMeta} from '../../../src/model/entry.ts';

const digest = (fill: number): Buffer => Buffer.alloc(32, fill);
const statMeta: StatMeta = {mode: 0o4755, uid: 1000, gid: 100, mtime: {s: -1, ns: 999_999_999}};
const meta: Meta = {...statMeta, attrs: NO_ATTRS};
const attrs = encodeAttrs([{name: 'user.x', value: Buffer.of(7)}]);

/** One message of each kind and its bytes; a change here is a new version of the protocol. */
export const GOLDEN: {[K in MessageKind]: {message: MessageOf<K>; hex: string}} = {
  hello: {
    message: {
      kind: 'hello',
      versionMin: 1,
      versionMax: 2,
      features: ['zstd', 'x'],
      name: 'wëb',
      instance: Buffer.from('0123456789abcdef', 'hex'),
    },
    hex: '0100000000000000 54574c4e00010002080123456789abcdef000477c3ab62000200047a737464000178',
  },
  ping: {message: {kind: 'ping', nonce: 2 ** 53 - 1}, hex: '0200000000000000 001fffffffffffff'},
  pong: {message: {kind: 'pong', nonce: 5}, hex: '0300000000000000 0000000000000005'},
  credit: {
    message: {kind: 'credit', bytes: 2_097_152, of: 7, isOurs: true},
    hex: '0400000000000000 002000000000000701',
  },
  fault: {
    message: {kind: 'fault', code: 'PROTOCOL', message: 'no'},
    hex: '0500000000000000 000850524f544f434f4c00026e6f',
  },
  bye: {message: {kind: 'bye', reason: 'done'}, hex: '0600000000000000 0004646f6e65'},
  'identity-next': {
    message: {kind: 'identity-next', publicKey: Buffer.of(1, 2), signature: Buffer.of(3)},
    hex: '0700000000000000 0201020103',
  },
  'identity-pinned': {
    message: {kind: 'identity-pinned', id: digest(0xcc)},
    hex: '0800000000000000 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',
  },
  'volume-ready': {
    message: {kind: 'volume-ready', volume: 'pgdata'},
    hex: '0900000000000000 0006706764617461',
  },
  'follow-volume': {
    message: {
      kind: 'follow-volume',
      request: 9,
      volume: 'pgdata',
      as: 'copy',
      isFollowing: true,
      epoch: 2 ** 33 + 5,
      confirmedDeletes: 3,
    },
    hex: '0a00000000000000 00000009 0006706764617461 0004636f7079 01 0000000200000005 0000000000000003',
  },
  'volume-source': {
    message: {kind: 'volume-source', request: 9, isSource: true, epoch: 2 ** 33 + 5, sinceMs: 1_000, reason: 'no'},
    hex: '0b00000000000000 00000009 01 0000000200000005 00000000000003e8 00026e6f',
  },
  'close-link': {
    message: {kind: 'close-link', link: 7, reason: 'done'},
    hex: '1300000000000007 0004646f6e65',
  },
  'link-state': {
    message: {kind: 'link-state', link: 7, state: 'settled', cut: 3, problemCount: 2, reason: 'x'},
    hex: '1400000000000007 0300000000000000030000000000000002000178',
  },
  'target-changed': {message: {kind: 'target-changed', link: 7}, hex: '1500000000000007'},
  'partial-files': {
    message: {kind: 'partial-files', link: 7, paths: ['dir/a', 'dir/b']},
    hex: '1600000000000007 000200000005 6469722f61 0004000162',
  },
  'open-link': {
    message: {
      kind: 'open-link',
      link: 7,
      volume: 'pgdata',
      mode: 'mirror',
      epoch: 3,
      ackedSeq: 258,
      view: {
        ignore: ['*.tmp', '!keep'],
        timePrecisionNs: 1,
        xattrs: ['user'],
        special: 'skip',
        devices: false,
        owners: true,
        modes: true,
        setuid: true,
        ids: ['0-9:100'],
      },
      viewDigest: digest(0xaa),
      isDryRun: false,
      isDurable: true,
      confirmedDeletes: 9,
    },
    hex: '1000000000000007 00067067646174610102000000000000000300000000000001020000000000000009aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa00000001010d0001000475736572000200052a2e746d700005216b65657000010007302d393a313030',
  },
  'link-opened': {
    message: {
      kind: 'link-opened',
      link: 7,
      epoch: 3,
      limits: {
        timePrecisionNs: 1_000_000_000,
        xattrs: ['acl'],
        special: 'keep',
        devices: true,
        owners: false,
        modes: false,
        setuid: false,
      },
      causes: {owners: 'privilege'},
      owner: {uid: 1_000, gid: 33},
      groupsDigest: digest(0xba),
      rootDigest: digest(0xbb),
      entryCount: 4,
      stateId: Buffer.of(1, 2, 3),
    },
    hex: '1100000000000007 00000000000000033b9aca0002020001000361636c000100106f776e6572733a70726976696c656765000003e800000021bababababababababababababababababababababababababababababababababbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb000000000000000403010203',
  },
  'link-refused': {
    message: {kind: 'link-refused', link: 7, code: 'HALTED', message: 'root moved', count: 2, limit: 1},
    hex: '1200000000000007 000648414c544544000a726f6f74206d6f76656400000000000000020000000000000001',
  },
  'list-nodes': {
    message: {
      kind: 'list-nodes',
      link: 7,
      request: 1,
      nodes: [
        {path: '', prefix: Buffer.alloc(0)},
        {path: 'dir/a', prefix: Buffer.of(1)},
        {path: 'dir/b', prefix: Buffer.of(2, 3)},
      ],
    },
    hex: '2000000000000007 0000000100030000000000000000056469722f6101010004000162020203',
  },
  'node-listing': {
    message: {
      kind: 'node-listing',
      link: 7,
      request: 1,
      nodes: [
        {kind: 'absent'},
        {kind: 'inner', digest: digest(0xc0), count: 3, children: [{index: 0xfe, digest: digest(0xc1), count: 3}]},
        {
          kind: 'leaf',
          digest: digest(0xd0),
          count: 6,
          entries: [
            {...entry('f'), type: 'file', sizeBytes: 5, content: digest(0xd1)},
            {...entry('d'), type: 'dir', subtree: digest(0xd2), count: 3, isIncomplete: true},
            {...entry('\xff'), type: 'symlink', linkTarget: '../f'},
            {...entry('n'), type: 'char', attrs: digest(0xd3), rdev: 2 ** 32 + 3},
          ],
        },
      ],
    },
    hex: '2100000000000007 0000000100030001c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c000000000000000030001fec1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1000000000000000302d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0000000000000000600040166010909ed000003e800000064ffffffffffffffff3b9ac9ffd1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1000000000000000500000164021609ed000003e800000064ffffffffffffffff3b9ac9ffd2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d20000000000000003000001ff032009ed000003e800000064ffffffffffffffff3b9ac9ff00042e2e2f660000016e07c009ed000003e800000064ffffffffffffffff3b9ac9ffd3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d300000001000000030000',
  },
  'hash-files': {
    message: {kind: 'hash-files', link: 7, request: 2, paths: ['a/one', 'a/other']},
    hex: '2200000000000007 00000002000200000005612f6f6e650003000474686572',
  },
  'verify-files': {
    message: {kind: 'verify-files', link: 7, request: 2, paths: ['a/one', 'a/other']},
    hex: '2600000000000007 00000002000200000005612f6f6e650003000474686572',
  },
  'file-digests': {
    message: {kind: 'file-digests', link: 7, request: 2, digests: [undefined, digest(0xe0)]},
    hex: '2300000000000007 0000000200020001e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0',
  },
  'list-groups': {
    message: {kind: 'list-groups', link: 7, request: 3, after: 12},
    hex: '2400000000000007 00000003000000000000000c',
  },
  'group-listing': {
    message: {
      kind: 'group-listing',
      link: 7,
      request: 3,
      groups: [
        ['a', 'ab'],
        ['abc', 'b'],
      ],
      next: 0,
    },
    hex: '2500000000000007 0000000300000000000000000002000200000001610001000162000200020001630000000162',
  },
  'ask-signature': {
    message: {
      kind: 'ask-signature',
      link: 7,
      request: 4,
      path: 'big',
      content: digest(0xe1),
      blockBytes: 8192,
      seed: Buffer.alloc(8, 0x5e),
    },
    hex: '3000000000000007 0000000400000003626967e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1000020005e5e5e5e5e5e5e5e',
  },
  signature: {
    message: {
      kind: 'signature',
      link: 7,
      request: 4,
      rows: {
        blockBytes: 8192,
        sizeBytes: 20_000,
        blockIndexFirst: 1,
        weak: Buffer.from('1111111122222222', 'hex'),
        strong: Buffer.from('33333333333333334444444444444444', 'hex'),
        isLast: true,
      },
    },
    hex: '3100000000000007 00000004000020000000000000004e200000000000000001000000020101111111112222222233333333333333334444444444444444',
  },
  'no-signature': {
    message: {kind: 'no-signature', link: 7, request: 4, code: 'base-changed', message: 'gone'},
    hex: '3200000000000007 00000004090004676f6e65',
  },
  batch: {
    message: {
      kind: 'batch',
      link: 7,
      batch: 5,
      seq: 6,
      ops: [
        {kind: 'make-dir', path: 'dir', meta},
        {
          kind: 'put-file',
          path: 'dir/in',
          meta,
          sizeBytes: 3,
          content: digest(0xf1),
          source: {from: 'inline', bytes: Buffer.from('abc')},
        },
        {
          kind: 'put-file',
          path: 'dir/staged',
          meta,
          sizeBytes: 2 ** 40,
          content: digest(0xf2),
          source: {from: 'staged', transfer: 8},
        },
        {
          kind: 'put-file',
          path: 'dir/copy',
          meta,
          sizeBytes: 9,
          content: digest(0xf3),
          source: {from: 'copy', path: 'dir/cold'},
          allocatedBytes: 4,
        },
        {kind: 'put-symlink', path: 'dir/sym', meta, target: '/t'},
        {kind: 'link', path: 'dir/hard', to: 'dir/in'},
        {kind: 'set-meta', path: '', type: 'dir', meta},
        {kind: 'set-meta', path: 'z', type: 'file', meta, allocatedBytes: 4096},
        {kind: 'rename', path: 'old', to: 'older', type: 'file', content: digest(0xf4)},
        {kind: 'rename', path: 'x', to: 'y', type: 'dir', content: undefined},
        {kind: 'delete', path: 'x', type: 'fifo'},
        {kind: 'exchange', path: 'x', to: 'xx'},
        {kind: 'put-special', path: 'null', meta: {...meta, attrs}, type: 'char', rdev: 2 ** 32 + 3},
      ],
    },
    hex: '4000000000000007 00000000000000050000000000000006000d01000000000364697209ed000003e800000064ffffffffffffffff3b9ac9ff0000000000000201000300032f696e09ed000003e800000064ffffffffffffffff3b9ac9ff000000000000000000000003f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1000061626302020004000673746167656409ed000003e800000064ffffffffffffffff3b9ac9ff000000000000010000000000f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f200000000000000000008020300040004636f707909ed000003e800000064ffffffffffffffff3b9ac9ff000000000000000000000009f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f300018002000000080000000000000004000600026c6403000004000373796d09ed000003e800000064ffffffffffffffff3b9ac9ff0000000000022f7400000400000400046861726400040002696e05020000000009ed000003e800000064ffffffffffffffff3b9ac9ff0000000000000501000000017a09ed000003e800000064ffffffffffffffff3b9ac9ff00000000000180020000000800000000000010000601000000036f6c6400030002657201f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f40602000000017800000001790007040001000008000001000000010001780907000000046e756c6c09ed000003e800000064ffffffffffffffff3b9ac9ff0000000c06757365722e78010000000700000001000000030000',
  },
  'batch-result': {
    message: {
      kind: 'batch-result',
      link: 7,
      batch: 5,
      results: [{status: 'done'}, {status: 'failed', code: 'no-space', message: 'full'}],
    },
    hex: '4100000000000007 00000000000000050002000106000466756c6c',
  },
  'file-start': {
    message: {
      kind: 'file-start',
      link: 7,
      transfer: 8,
      path: 'dir/big',
      sizeBytes: 2 ** 46,
      base: {path: 'dir/bag', content: digest(0xe2)},
      allocatedBytes: 2 ** 20,
    },
    hex: '5000000000000007 0000000000000008000000076469722f626967000040000000000001000500026167e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2010000000000100000',
  },
  'file-leaves': {
    message: {
      kind: 'file-leaves',
      link: 7,
      transfer: 8,
      leafIndexFirst: 2,
      leaves: [
        {
          digest: digest(0xe3),
          ops: [
            {kind: 'copy', baseOffset: 2 ** 33, sizeBytes: 8192},
            {kind: 'literal', bytes: Buffer.from('xyz')},
            {kind: 'zeros', sizeBytes: 4096},
          ],
        },
        {digest: digest(0xe4), ops: [{kind: 'kept', sizeBytes: 262_144}]},
      ],
    },
    hex: '5100000000000007 0000000000000008000000020002e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3000301000000020000000000002000020000000378797a0300001000 e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4 00010400040000',
  },
  'file-holes': {
    message: {kind: 'file-holes', link: 7, transfer: 8, leafIndexFirst: 3, leafCount: 2 ** 22},
    hex: '5600000000000007 00000000000000080000000300400000',
  },
  'file-same': {
    message: {
      kind: 'file-same',
      link: 7,
      transfer: 8,
      leafIndexFirst: 3,
      digests: Buffer.concat([digest(0x21), digest(0x22)]),
    },
    hex: '5900000000000007 0000000000000008 00000003 0002 2121212121212121212121212121212121212121212121212121212121212121 2222222222222222222222222222222222222222222222222222222222222222',
  },
  'ask-leaves': {
    message: {kind: 'ask-leaves', link: 7, request: 3, transfer: 9, leafIndexFirst: 258, leafCount: 64},
    hex: '5700000000000007 00000003 0000000000000009 00000102 0040',
  },
  'leaves-held': {
    message: {kind: 'leaves-held', link: 7, request: 3, digests: [digest(0x11)]},
    hex: '5800000000000007 00000003 0001 1111111111111111111111111111111111111111111111111111111111111111',
  },
  'file-end': {
    message: {kind: 'file-end', link: 7, transfer: 8, content: digest(0xe4)},
    hex: '5200000000000007 0000000000000008e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4',
  },
  'file-abort': {message: {kind: 'file-abort', link: 7, transfer: 8}, hex: '5300000000000007 0000000000000008'},
  'leaf-rejected': {
    message: {kind: 'leaf-rejected', link: 7, transfer: 8, leafIndex: 3, isBaseChanged: true},
    hex: '5400000000000007 00000000000000080000000301',
  },
  'file-staged': {
    message: {kind: 'file-staged', link: 7, transfer: 8, result: {status: 'failed', code: 'corrupt', message: 'bad'}},
    hex: '5500000000000007 0000000000000008010b0003626164',
  },
  cut: {
    message: {kind: 'cut', link: 7, cut: 1, seq: 6, rootDigest: digest(0xe5), groupsDigest: digest(0xe6)},
    hex: '6000000000000007 00000000000000010000000000000006e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6',
  },
  'cut-result': {
    message: {
      kind: 'cut-result',
      link: 7,
      cut: 1,
      rootDigest: digest(0xe5),
      groupsDigest: digest(0xe6),
      entryCount: 4,
      isDurable: true,
    },
    hex: '6100000000000007 0000000000000001e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6000000000000000401',
  },
};

function entry(name: string) {
  return {
    name,
    meta: statMeta,
    attrs: undefined,
    rdev: 0,
    sizeBytes: 0,
    content: undefined,
    linkTarget: '',
    subtree: undefined,
    count: 0,
    isIncomplete: false,
  };
}
