/**
 * Random trees in a source's and a target's store, and a target that carries out steps: the model that the walk is
 * held to. The target refuses what a real one would refuse.
 */
import {strict as assert} from 'node:assert';
import fc from 'fast-check';
import {sourceState} from '../../../src/daemon/source-state.ts';
import {sha256} from '../../../src/model/digest.ts';
import type {Entry} from '../../../src/model/entry.ts';
import type {Op} from '../../../src/model/op.ts';
import {isWithin, joinPath, nameOf, parentOf, ROOT, type Name, type RelPath} from '../../../src/model/path.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import type {Step} from '../../../src/reconcile/plan-path.ts';
import {walk, type PeerTree, type SourceTree} from '../../../src/session/walk.ts';
import {openVolumeStore, type VolumeStore} from '../../../src/state/volume-store.ts';
import {directory, entry} from '../state/state-fixture.ts';

export type Node =
  | {type: 'file'; size: number; mode: number}
  | {type: 'symlink'; to: string}
  | {type: 'dir'; mode: number; isIncomplete: boolean; below: Record<Name, Node>; many: {from: number; count: number}};

export type Directory = Extract<Node, {type: 'dir'}>;

const names = fc.constantFrom('a', 'b', 'c', 'd e', '\xff', '.hidden');
const modes = fc.constantFrom(0o600, 0o755);
const few = {weight: 30, arbitrary: fc.constant({from: 0, count: 0})};
/** More siblings than a node of the trie holds, and not quite the same ones on both sides. */
const crowd = fc.record({from: fc.integer({min: 0, max: 40}), count: fc.constantFrom(240, 300)});

/** A directory; `isIncomplete` appears only where it is asked for. */
export function trees(options: {withIncomplete: boolean}): fc.Arbitrary<Directory> {
  const {dir} = fc.letrec<{node: Node; dir: Directory}>((tie) => ({
    node: fc.oneof(
      {depthSize: 'small', withCrossShrink: true},
      fc.record({type: fc.constant('file' as const), size: fc.integer({min: 0, max: 3}), mode: modes}),
      fc.record({type: fc.constant('symlink' as const), to: fc.constantFrom('a', '../b')}),
      tie('dir'),
    ),
    dir: fc.record({
      type: fc.constant('dir' as const),
      mode: modes,
      isIncomplete: options.withIncomplete ? fc.boolean() : fc.constant(false),
      below: fc.dictionary(names, tie('node'), {maxKeys: 5}),
      many: fc.oneof(few, {weight: 1, arbitrary: crowd}),
    }),
  }));
  return dir;
}

/** Two trees that have much in common: what the target has is the source's tree with some names gone and others laid over. */
export function pairs(options: {withIncomplete: boolean}): fc.Arbitrary<{ours: Directory; theirs: Directory}> {
  const dropped = fc.uniqueArray(names, {maxLength: 2});
  return fc
    .record({ours: trees(options), over: trees({withIncomplete: false}), dropped})
    .map(({ours, over, dropped: gone}) => ({ours, theirs: {...laidOver(ours, over, gone), mode: ours.mode}}));
}

function laidOver(under: Directory, over: Directory, gone: readonly Name[]): Directory {
  const below: Record<Name, Node> = {};
  for (const [name, node] of Object.entries(under.below)) {
    if (gone.includes(name)) continue;
    const upper = over.below[name] ?? node;
    if (node.type === 'dir')
      below[name] = upper.type === 'dir' && upper !== node ? laidOver(node, upper, gone) : whole(node);
    else below[name] = upper;
  }
  for (const [name, node] of Object.entries(over.below)) below[name] ??= node;
  return {...over, below};
}

function whole(dir: Directory): Directory {
  const below = Object.entries(dir.below).map(([name, node]) => [name, node.type === 'dir' ? whole(node) : node]);
  return {...dir, isIncomplete: false, below: Object.fromEntries(below) as Record<Name, Node>};
}

export function fill(tree: Directory, side: 'source' | 'target'): VolumeStore {
  const store = openVolumeStore({place: ':memory:', side, view: PLAIN_VIEW, bootId: 'boot'});
  const {mode, isIncomplete} = tree;
  store.putRoot(directory(ROOT, {mode, isIncomplete}));
  putBelow(store, store.dirIdOf(ROOT) as number, tree);
  return store;
}

function putBelow(store: VolumeStore, dirId: number, {below, many}: Directory): void {
  for (let index = many.from; index < many.from + many.count; index++)
    store.put(dirId, fileEntry(`n${index}`, 1, 0o600));
  for (const [name, node] of Object.entries(below)) {
    if (node.type === 'file') store.put(dirId, fileEntry(name, node.size, node.mode));
    if (node.type === 'symlink')
      store.put(dirId, entry(name, {type: 'symlink', linkTarget: node.to, content: undefined}));
    if (node.type !== 'dir') continue;
    const {mode, isIncomplete} = node;
    putBelow(store, store.put(dirId, directory(name, {mode, isIncomplete})), node);
  }
}

function fileEntry(name: Name, sizeBytes: number, mode: number): Entry {
  return entry(name, {sizeBytes, mode, content: sha256(Buffer.from([sizeBytes]))});
}

/** All steps that the walk plans. */
export async function stepsFor(source: VolumeStore, target: VolumeStore): Promise<Step[]> {
  const steps: Step[] = [];
  for await (const some of walk({view: PLAIN_VIEW}, {tree: sourceState(source), peer: peerOf(target)}))
    steps.push(...some);
  return steps;
}

export function peerOf(target: VolumeStore): PeerTree {
  return {
    listNodes: async (nodes) =>
      nodes.map(({path, prefix}) => {
        const dirId = target.dirIdOf(path);
        return dirId === undefined ? {kind: 'absent' as const} : target.node(dirId, prefix);
      }),
  };
}

/** Carries steps out, what destroys last, as a link does. @returns paths that were deleted or replaced by another type */
export function perform(steps: readonly Step[], source: VolumeStore, target: VolumeStore): RelPath[] {
  const ordered = [...steps.filter(({destroys}) => destroys === 0), ...steps.filter(({destroys}) => destroys > 0)];
  return ordered.flatMap((step) => performOne(step, source, target));
}

function performOne(step: Step, source: VolumeStore, target: VolumeStore): RelPath[] {
  if (step.path === ROOT) return [];
  const parentId = target.dirIdOf(parentOf(step.path));
  assert(parentId !== undefined, `${step.path}: its parent is not there`);
  const before = target.get(parentId, nameOf(step.path));
  const wanted = source.resolve(step.path)?.entry;
  if (step.kind === 'op' && step.op.kind === 'delete') {
    assert.equal(before?.type, step.op.type, `${step.path} is deleted and is not what it is said to be`);
    target.remove(parentId, nameOf(step.path));
    return [step.path];
  }
  assert(wanted !== undefined, `${step.path}: the source has nothing there`);
  if (step.kind === 'op') assertMatches(step.op, wanted);
  target.put(parentId, {...wanted, isIncomplete: false});
  return before !== undefined && before.type !== wanted.type ? [step.path] : [];
}

function assertMatches(op: Op, wanted: Entry): void {
  if (op.kind === 'make-dir' || op.kind === 'put-symlink' || op.kind === 'set-meta')
    assert.equal(op.meta.mode, wanted.mode);
  else assert.fail(`a walk plans no ${op.kind}`);
}

/** Paths of everything that a store holds. */
export function pathsOf(store: VolumeStore): RelPath[] {
  const found: RelPath[] = [];
  const dirs: RelPath[] = [ROOT];
  for (let dir = dirs.pop(); dir !== undefined; dir = dirs.pop()) {
    for (const {name, type} of store.children(store.dirIdOf(dir) as number)) {
      found.push(joinPath(dir, name));
      if (type === 'dir') dirs.push(joinPath(dir, name));
    }
  }
  return found;
}

/** Whether a path lies below a directory that the source could not read whole. */
export function isBelowIncomplete(path: RelPath, source: VolumeStore): boolean {
  for (let dir = parentOf(path); ; dir = parentOf(dir)) {
    const found = dir === ROOT ? source.getRoot() : source.resolve(dir)?.entry;
    if (found?.isIncomplete === true) return true;
    if (dir === ROOT) return false;
  }
}

/** Whether another path of the list holds this one. */
export function isGoneWith(path: RelPath, destroyed: readonly RelPath[]): boolean {
  return destroyed.some((gone) => isWithin(path, gone));
}

/** Counts what a tree is asked for. */
export function counted(tree: SourceTree): {tree: SourceTree; listed: () => number} {
  let listed = 0;
  return {
    listed: () => listed,
    tree: {
      getRoot: () => tree.getRoot(),
      node: (dirId, prefix) => tree.node(dirId, prefix),
      dirIdOf: (path) => tree.dirIdOf(path),
      entryAt: (path) => tree.entryAt(path),
      namesOf: (entry) => tree.namesOf(entry),
      *children(dirId) {
        for (const found of tree.children(dirId)) {
          listed++;
          yield found;
        }
      },
      *treeEntries(dirId, prefix) {
        for (const found of tree.treeEntries(dirId, prefix)) {
          listed++;
          yield found;
        }
      },
    },
  };
}
