/**
 * A plain in-memory tree and its digests made from scratch, written without a look at how the state makes them.
 */
import {sha256} from '../../../src/model/digest.ts';
import type {Entry} from '../../../src/model/entry.ts';
import {
  EMPTY_TREE,
  entryDigestBytes,
  innerNodeDigest,
  keyByte,
  leafNodeDigest,
  nameKey,
  type Side,
} from '../../../src/model/tree.ts';
import type {View} from '../../../src/model/view.ts';

export interface ModelNode {
  entry: Entry;
  children: Map<string, ModelNode>;
}

export function modelNode(entry: Entry): ModelNode {
  return {entry, children: new Map()};
}

interface Digested {
  digest: Buffer;
  count: number;
}

/** Digest and count of what is below a node. */
export function naiveTrie(node: ModelNode, view: View, side: Side): Digested {
  const carried = [...node.children.values()].filter(
    ({entry}) =>
      ['file', 'dir', 'symlink'].includes(entry.type) ||
      (view.special === 'keep' && (view.devices || ['fifo', 'socket'].includes(entry.type))),
  );
  const all = carried.map((child) => {
    const below = child.entry.type === 'dir' ? naiveTrie(child, view, side) : undefined;
    const {name, type, sizeBytes, content, linkTarget, isIncomplete, mode, uid, gid, mtime} = child.entry;
    const count = below?.count ?? 0;
    const meta = {mode, uid, gid, mtime};
    const attrs = child.entry.attrs.length === 0 ? undefined : sha256(child.entry.attrs);
    const rdev = ['block', 'char'].includes(type) ? child.entry.rdev : 0;
    const own = {name, type, meta, attrs, sizeBytes, content, linkTarget, rdev, isIncomplete};
    const tree = {...own, subtree: below?.digest, count};
    return {key: nameKey(name), name, bytes: entryDigestBytes(tree, view, side), count: 1 + count};
  });
  all.sort((a, b) => a.key - b.key || (a.name < b.name ? -1 : 1));
  return naiveNode(all, 0);
}

function naiveNode(all: {key: number; bytes: Buffer; count: number}[], depth: number): Digested {
  const count = all.reduce((sum, one) => sum + one.count, 0);
  if (all.length === 0) return {digest: EMPTY_TREE, count};
  if (all.length <= 256) return {digest: leafNodeDigest(all.map((one) => one.bytes)), count};
  const buckets = new Map<number, typeof all>();
  for (const one of all) {
    const index = keyByte(one.key, depth);
    const bucket = buckets.get(index);
    if (bucket === undefined) buckets.set(index, [one]);
    else bucket.push(one);
  }
  const children = [...buckets.keys()]
    .toSorted((a, b) => a - b)
    .map((index) => ({index, ...naiveNode(buckets.get(index) as typeof all, depth + 1)}));
  return {digest: innerNodeDigest(children), count};
}

/** Digest of a whole volume with its root's own metadata. */
export function naiveRootDigest(root: ModelNode, view: View, side: Side): Buffer {
  const {digest, count} = naiveTrie(root, view, side);
  const {mode, uid, gid, mtime, isIncomplete} = root.entry;
  const tree = {
    name: '',
    type: 'dir' as const,
    meta: {mode, uid, gid, mtime},
    attrs: undefined,
    rdev: 0,
    sizeBytes: 0,
    content: undefined,
    linkTarget: '',
    subtree: digest,
    count,
    isIncomplete,
  };
  return leafNodeDigest([entryDigestBytes(tree, view, side)]);
}
