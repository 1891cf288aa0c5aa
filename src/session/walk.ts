/**
 * Finds where two trees differ: both digests are compared node by node, and only what differs is listed.
 *
 * Says what each differing path needs as steps; performs nothing. Requests run breadth first, several at a time.
 * Invariant: below a directory that is incomplete here, nothing is planned to be deleted, and no metadata of a file that
 * has names which nobody saw.
 */
import type {Digest} from '../model/digest.ts';
import {sameTime, type Entry} from '../model/entry.ts';
import {joinPath, ROOT, type Name, type RelPath} from '../model/path.ts';
import {keyByte, nameKey, treeEntryOf, type OwnTreeEntry, type TreeEntry, type TreeNode} from '../model/tree.ts';
import type {View} from '../model/view.ts';
import {planPath, type Step} from '../reconcile/plan-path.ts';

/** What the walk needs of this side's state. */
export interface SourceTree {
  getRoot(): Entry | undefined;
  node(dirId: number, prefix: Buffer): TreeNode;
  /** Entries whose key lies in a prefix of the directory's trie, streaming, in key order. */
  treeEntries(dirId: number, prefix: Buffer): Iterable<OwnTreeEntry>;
  /** All entries of a directory, streaming, without any digest being made. */
  children(dirId: number): Iterable<Entry>;
  dirIdOf(path: RelPath): number | undefined;
  entryAt(path: RelPath): Entry | undefined;
  /** Of the same inode. */
  namesOf(entry: Entry): RelPath[];
}

/** What the walk needs of the peer. */
export interface PeerTree {
  listNodes(nodes: {path: RelPath; prefix: Buffer}[]): Promise<TreeNode[]>;
}

export interface WalkOptions {
  view: View;
  onCompared?: (entries: number) => void;
}

interface Pending {
  path: RelPath;
  dirId: number;
  prefix: Buffer;
  mayDelete: boolean;
  /** The peer has no such directory: nothing to be listed. */
  isNew: boolean;
}

const REQUEST_NODES = 128;

/** Plans everything that makes the peer's tree below `start` equal to ours. Steps come parents first. */
export async function* walk(options: WalkOptions, parts: {tree: SourceTree; peer: PeerTree}): AsyncGenerator<Step[]> {
  const {tree, peer} = parts;
  const root = tree.getRoot();
  if (root === undefined) return;
  const rootId = tree.dirIdOf(ROOT) as number;
  let level: Pending[] = [
    {path: ROOT, dirId: rootId, prefix: Buffer.alloc(0), mayDelete: !root.isIncomplete, isNew: false},
  ];
  while (level.length > 0) {
    const next: Pending[] = [];
    for (let index = 0; index < level.length; index += REQUEST_NODES) {
      const asked = level.slice(index, index + REQUEST_NODES);
      const listed = asked.filter(({isNew}) => !isNew);
      const nodes = await listNodes(peer, listed);
      for (const pending of asked) {
        const theirs = nodes.get(pending) ?? {kind: 'absent'};
        for (const steps of compareNode(options, tree, pending, theirs, next)) yield steps;
      }
    }
    level = next;
  }
}

async function listNodes(peer: PeerTree, listed: readonly Pending[]): Promise<Map<Pending, TreeNode>> {
  if (listed.length === 0) return new Map();
  const nodes = await peer.listNodes(listed.map(({path, prefix}) => ({path, prefix})));
  return new Map(listed.map((pending, index) => [pending, nodes[index] as TreeNode]));
}

function* compareNode(
  options: WalkOptions,
  tree: SourceTree,
  pending: Pending,
  theirs: TreeNode,
  next: Pending[],
): Generator<Step[]> {
  const isEmpty = theirs.kind === 'absent' || (theirs.kind === 'leaf' && theirs.entries.length === 0);
  if (isEmpty && pending.prefix.length === 0) return yield* createEntries(options, tree, pending, next);
  if (theirs.kind !== 'inner') {
    const entries = theirs.kind === 'leaf' ? theirs.entries : [];
    yield* compareEntries(options, tree, pending, entries, next);
    return;
  }
  const ours = tree.node(pending.dirId, pending.prefix);
  const ourChildren = ours.kind === 'inner' ? ours.children : [];
  const ourDigests = new Map<number, Digest>(ourChildren.map(({index, digest}) => [index, digest]));
  const theirIndexes = new Set(theirs.children.map(({index}) => index));
  const below = (index: number): Pending => ({
    ...pending,
    prefix: Buffer.concat([pending.prefix, Buffer.from([index])]),
  });
  for (const {index, digest} of theirs.children) {
    if (ourDigests.get(index)?.equals(digest) !== true) next.push(below(index));
  }
  // What only we have below this node.
  for (const {index} of ourChildren)
    if (!theirIndexes.has(index)) yield* compareEntries(options, tree, below(index), [], next);
  if (ours.kind !== 'leaf') return;
  const isMissing = (name: Name): boolean => !theirIndexes.has(keyByte(nameKey(name), pending.prefix.length));
  yield* compareEntries(options, tree, pending, [], next, isMissing);
}

const STEPS_AT_ONCE = 512;

function* compareEntries(
  options: WalkOptions,
  tree: SourceTree,
  pending: Pending,
  theirs: readonly TreeEntry[],
  next: Pending[],
  isCompared: (name: Name) => boolean = () => true,
): Generator<Step[]> {
  const left = new Map(theirs.map((entry) => [entry.name, entry]));
  let steps: Step[] = [];
  let compared = 0;
  for (const ours of tree.treeEntries(pending.dirId, pending.prefix)) {
    if (!isCompared(ours.name)) continue;
    compared++;
    const path = joinPath(pending.path, ours.name);
    const have = left.get(ours.name);
    left.delete(ours.name);
    const step = planPath(path, ours, have, options.view);
    if (step !== undefined && (pending.mayDelete || !isOfUnseenNames(step, tree))) steps.push(step);
    if (ours.type === 'dir') descend(tree, {ours, have, path, pending}, next);
    if (steps.length >= STEPS_AT_ONCE) {
      yield steps;
      steps = [];
    }
  }
  if (pending.mayDelete) {
    for (const [name, have] of left) {
      const step = planPath(joinPath(pending.path, name), undefined, have, options.view);
      if (step !== undefined) steps.push(step);
    }
  }
  options.onCompared?.(compared);
  if (steps.length > 0) yield steps;
}

/**
 * Metadata of a file that has names which were not seen with the same times, or not at all. Where a directory is incomplete
 * they may stay so: what one of them tells would be taken back for another, for ever.
 */
function isOfUnseenNames(step: Step, tree: SourceTree): boolean {
  if (step.kind !== 'op' || step.op.kind !== 'set-meta' || step.op.type === 'dir') return false;
  const entry = tree.entryAt(step.path);
  if (entry === undefined || entry.nlink < 2) return false;
  const names = tree.namesOf(entry).map((path) => tree.entryAt(path));
  return names.length < entry.nlink || names.some((name) => name === undefined || !sameTime(name.ctime, entry.ctime));
}

/** The peer has nothing in this directory: everything is created, and nothing needs to be compared. */
function* createEntries(options: WalkOptions, tree: SourceTree, pending: Pending, next: Pending[]): Generator<Step[]> {
  let steps: Step[] = [];
  for (const entry of tree.children(pending.dirId)) {
    const path = joinPath(pending.path, entry.name);
    const step = planPath(path, treeEntryOf(entry, options.view), undefined, options.view);
    if (step !== undefined) steps.push(step.kind === 'file' ? {...step, entry} : step);
    const dirId = entry.type === 'dir' ? tree.dirIdOf(path) : undefined;
    if (dirId !== undefined) next.push({...pending, path, dirId, isNew: true});
    if (steps.length >= STEPS_AT_ONCE) {
      options.onCompared?.(steps.length);
      yield steps;
      steps = [];
    }
  }
  options.onCompared?.(steps.length);
  if (steps.length > 0) yield steps;
}

function descend(
  tree: SourceTree,
  at: {
    ours: TreeEntry;
    have: TreeEntry | undefined;
    path: RelPath;
    pending: Pending;
  },
  next: Pending[],
): void {
  const {ours, have, path, pending} = at;
  if (
    have?.type === 'dir' &&
    ours.subtree !== undefined &&
    have.subtree?.equals(ours.subtree) === true &&
    !ours.isIncomplete
  )
    return;
  const dirId = tree.dirIdOf(path);
  if (dirId === undefined) return;
  // A directory that is new on the peer has nothing to be listed: its entries are all ours.
  const isNew = have?.type !== 'dir';
  if (isNew && ours.count === 0) return;
  next.push({
    path,
    dirId,
    prefix: Buffer.alloc(0),
    mayDelete: pending.mayDelete && !ours.isIncomplete,
    isNew,
  });
}

/**
 * Steps that create everything below a directory that the peer does not have. Parents first.
 * @param moved paths that come there by other steps, with all below them
 * @param types which entries
 */
export function* createSteps(
  tree: SourceTree,
  path: RelPath,
  view: View,
  moved: ReadonlySet<RelPath> = new Set(),
  types: 'all' | 'dirs' | 'others' = 'all',
): Generator<Step> {
  const dirs = [path];
  for (let dir = dirs.pop(); dir !== undefined; dir = dirs.pop()) {
    const dirId = tree.dirIdOf(dir);
    if (dirId === undefined) continue;
    for (const entry of tree.treeEntries(dirId, Buffer.alloc(0))) {
      const child = joinPath(dir, entry.name);
      if (moved.has(child)) continue;
      if (entry.type === 'dir') dirs.push(child);
      if (types !== 'all' && (types === 'dirs') !== (entry.type === 'dir')) continue;
      const step = planPath(child, entry, undefined, view);
      if (step !== undefined) yield step;
    }
  }
}
