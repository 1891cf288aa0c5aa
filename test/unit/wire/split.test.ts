import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import type {TreeEntry, TreeNode} from '../../../src/model/tree.ts';
import {decode, encode} from '../../../src/wire/codec.ts';
import {FRAME_BYTES_MAX} from '../../../src/wire/limits.ts';
import * as split from '../../../src/wire/split.ts';
import {LAB_SEED, leafDelta, treeNode} from './arbitraries.ts';

const digest = Buffer.alloc(32, 1);
const at = {link: 1, request: 1};

function worstEntry(index: number): TreeEntry {
  return {
    name: String(index).padStart(255, 'n'),
    type: 'symlink',
    meta: {mode: 0o7777, uid: 1, gid: 1, mtime: {s: 1, ns: 1}},
    sizeBytes: 4_095,
    content: undefined,
    linkTarget: 't'.repeat(4_095),
    attrs: digest,
    rdev: 0,
    subtree: undefined,
    count: 0,
    isIncomplete: false,
  };
}

const worstLeaf: TreeNode = {
  kind: 'leaf',
  digest,
  count: 256,
  entries: Array.from({length: 256}, (_, i) => worstEntry(i)),
};
const fullInner: TreeNode = {
  kind: 'inner',
  digest,
  count: 9,
  children: Array.from({length: 256}, (_, index) => ({index, digest, count: 9})),
};

describe('node listings', () => {
  test('one trie leaf of 256 entries with names of 255 and link targets of 4,095 bytes fits one frame', () => {
    const frame = encode({kind: 'node-listing', ...at, nodes: [worstLeaf]});
    expect(frame.length).toBeGreaterThan(1_100_000);
    expect(frame.length).toBeLessThan(FRAME_BYTES_MAX);
    expect(decode(frame)).toEqual({kind: 'node-listing', ...at, nodes: [worstLeaf]});
  });

  test('256 full inner nodes (2.7 MB) take two messages, three worst leaves three, and order is kept', () => {
    for (const [nodes, count] of [
      [Array.from({length: 256}, () => fullInner), 2],
      [[worstLeaf, worstLeaf, worstLeaf], 3],
      [[], 1],
    ] as const) {
      const parts = split.splitNodes(nodes);
      expect(parts.length).toBe(count);
      expect(parts.flat()).toEqual(nodes);
      for (const part of parts) decode(encode({kind: 'node-listing', ...at, nodes: part}));
    }
  });

  test('sizes of nodes and leaves are exact over 200 random ones', () => {
    const nodeEmpty = encode({kind: 'node-listing', ...at, nodes: []}).length;
    const leafEmpty = encode({kind: 'file-leaves', link: 1, transfer: 1, leafIndexFirst: 0, leaves: []}).length;
    fc.assert(
      fc.property(treeNode, leafDelta, (node, leaf) => {
        const nodeFrame = encode({kind: 'node-listing', ...at, nodes: [node]});
        expect(split.nodeListingBytes(node)).toBe(nodeFrame.length - nodeEmpty);
        const leafFrame = encode({kind: 'file-leaves', link: 1, transfer: 1, leafIndexFirst: 0, leaves: [leaf]});
        expect(split.leafDeltaBytes(leaf)).toBe(leafFrame.length - leafEmpty);
      }),
      {numRuns: 200, seed: LAB_SEED},
    );
  });
});

describe('lists of paths', () => {
  const longPath = (index: number): string => `${`${'p'.repeat(240)}/`.repeat(250)}${index}`;

  test('2,500 short paths take three requests, ten of 60 KiB also three, and each is accepted', () => {
    const many = Array.from({length: 2_500}, (_, index) => `dir/${index}`);
    const long = Array.from({length: 10}, (_, index) => longPath(index));
    for (const paths of [many, long]) {
      const parts = split.splitPaths(paths);
      expect(parts.length).toBe(3);
      expect(parts.flat()).toEqual(paths);
      for (const part of parts) decode(encode({kind: 'hash-files', ...at, paths: part}));
      const requests = split.splitNodeRequests(paths.map((path) => ({path, prefix: Buffer.alloc(6)})));
      expect(requests.flat().map((node) => node.path)).toEqual(paths);
      for (const nodes of requests) decode(encode({kind: 'list-nodes', ...at, nodes}));
    }
  });

  test('a group of 65,000 links becomes lists that begin with its first path, and no path is lost', () => {
    const big = Array.from({length: 65_000}, (_, index) => `some/folder/name-${String(index).padStart(6, '0')}`);
    const groups = [['a', 'b'], big, ['y', 'z']];
    const messages = split.splitGroups(groups);
    for (const part of messages) decode(encode({kind: 'group-listing', ...at, groups: part, next: 0}));
    const merged = new Map<string, Set<string>>();
    for (const [first = '', ...rest] of messages.flat()) {
      merged.set(first, new Set([...(merged.get(first) ?? [first]), ...rest]));
    }
    expect([...merged.values()].map((paths) => [...paths])).toEqual(groups);
  });
});
