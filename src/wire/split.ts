/**
 * Cuts what is too much for one message into runs that each fit one. Pure.
 *
 * Invariant: the runs joined are what went in, in order (of groups: see `splitGroups`).
 */
import type {RelPath} from '../model/path.ts';
import type {TreeEntry, TreeNode} from '../model/tree.ts';
import {encodeBug} from './fault.ts';
import * as limits from './limits.ts';
import type {LeafDelta, LeafOp} from './messages.ts';

const ROOM_BYTES = limits.FRAME_BYTES_MAX - limits.FRAME_HEADER_BYTES - limits.FIXED_BYTES_MAX;
const META_BYTES = 22;
const CHILD_BYTES = 41;
const NODE_FIXED_BYTES = 1 + 32 + 8 + 2;

/** What an item takes of each limit. */
type Cost = readonly number[];

/** Runs of `node-listing`; the asker's request is answered when all nodes came. Empty in, one empty run out. */
export function splitNodes(nodes: readonly TreeNode[]): TreeNode[][] {
  return runs(nodes, [limits.NODES_MAX, ROOM_BYTES], (node) => [1, nodeListingBytes(node)]);
}

/** Runs of `list-nodes`. */
export function splitNodeRequests<N extends {path: RelPath}>(nodes: readonly N[]): N[][] {
  return runs(nodes, [limits.NODES_MAX, limits.REQUEST_PATH_BYTES_MAX], (node) => [1, node.path.length]);
}

/** Runs of `hash-files`. */
export function splitPaths(paths: readonly RelPath[]): RelPath[][] {
  return runs(paths, [limits.HASH_PATHS_MAX, limits.REQUEST_PATH_BYTES_MAX], (path) => [1, path.length]);
}

/**
 * Runs of `group-listing`. A group too large for one message becomes several lists that all begin with the group's
 * first path: lists that share a path are one group.
 */
export function splitGroups(groups: readonly RelPath[][]): RelPath[][][] {
  const max = [limits.GROUPS_MAX, limits.GROUP_PATHS_MAX, GROUP_ROOM_BYTES];
  return runs(groups.flatMap(groupParts), max, (group) => [1, group.length, groupBytes(group)]);
}

const GROUP_ROOM_BYTES = ROOM_BYTES;
const GROUP_PART_BYTES_MAX = GROUP_ROOM_BYTES / 4;

/** Upper bound, without front coding. */
function groupBytes(group: readonly RelPath[]): number {
  return group.reduce((bytes, path) => bytes + 4 + path.length, 2);
}

function groupParts(group: RelPath[]): RelPath[][] {
  const [first, ...rest] = group;
  if (first === undefined) return [];
  const max = [limits.GROUP_PATHS_MAX / 4, GROUP_PART_BYTES_MAX - 4 - first.length];
  return runs(rest, max, (path) => [1, 4 + path.length]).map((part) => [first, ...part]);
}

/** Exact size of a node inside a `node-listing`. */
export function nodeListingBytes(node: TreeNode): number {
  if (node.kind === 'absent') return 1;
  if (node.kind === 'inner') return NODE_FIXED_BYTES + CHILD_BYTES * node.children.length;
  return node.entries.reduce((bytes, entry) => bytes + entryBytes(entry), NODE_FIXED_BYTES);
}

function entryBytes(entry: TreeEntry): number {
  return (
    3 +
    entry.name.length +
    META_BYTES +
    (entry.content === undefined ? 0 : 32) +
    (entry.subtree === undefined ? 0 : 32) +
    (entry.sizeBytes === 0 ? 0 : 8) +
    (entry.count === 0 ? 0 : 8) +
    (entry.linkTarget === '' ? 0 : 2 + entry.linkTarget.length) +
    (entry.attrs === undefined ? 0 : 32) +
    (entry.rdev === 0 ? 0 : 8) +
    2
  );
}

/** Exact size of a leaf inside a `file-leaves`. */
export function leafDeltaBytes(leaf: LeafDelta): number {
  return leaf.ops.reduce((bytes, op) => bytes + leafOpBytes(op), 34);
}

function leafOpBytes(op: LeafOp): number {
  return op.kind === 'copy' ? 13 : op.kind === 'literal' ? 5 + op.bytes.length : 5;
}

function runs<T>(items: readonly T[], max: Cost, costOf: (item: T) => Cost): T[][] {
  const all: T[][] = [];
  let run: T[] = [];
  let used = max.map(() => 0);
  for (const item of items) {
    const cost = costOf(item);
    if (isAbove(cost, max)) throw encodeBug(`one item of ${cost.join(', ')} where ${max.join(', ')} fit`);
    const next = used.map((sum, index) => sum + (cost[index] ?? 0));
    if (isAbove(next, max)) {
      all.push(run);
      run = [];
      used = [...cost];
    } else {
      used = next;
    }
    run.push(item);
  }
  all.push(run);
  return all;
}

function isAbove(cost: Cost, max: Cost): boolean {
  return cost.some((value, index) => value > (max[index] ?? 0));
}
