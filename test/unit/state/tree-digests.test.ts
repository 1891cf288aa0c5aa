import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {sha256} from '../../../src/model/digest.ts';
import {EMPTY_TREE, innerNodeDigest, keyByte, leafNodeDigest, nameKey} from '../../../src/model/tree.ts';
import {PLAIN_VIEW, type View} from '../../../src/model/view.ts';
import type {VolumeStore} from '../../../src/state/volume-store.ts';
import {directory, entry, newFolder, openStore, unreadIn} from './state-fixture.ts';
import {modelNode, naiveRootDigest, naiveTrie, type ModelNode} from './tree-model.ts';

/** The store under test and the model beside it, driven by the same numbers. */
class Twins {
  readonly root = modelNode(directory('', {mode: 0o750}));
  store: VolumeStore;

  constructor(store: VolumeStore) {
    this.store = store;
    store.putRoot(this.root.entry);
  }

  /** Directories as [path, node], parents first. */
  dirs(): [string, ModelNode][] {
    const found: [string, ModelNode][] = [['', this.root]];
    for (const [path, node] of found) {
      for (const child of node.children.values()) {
        if (child.entry.type === 'dir')
          found.push([path === '' ? child.entry.name : `${path}/${child.entry.name}`, child]);
      }
    }
    return found;
  }

  pick(at: number): {path: string; id: number; node: ModelNode} {
    const dirs = this.dirs();
    const [path, node] = dirs[at % dirs.length] as [string, ModelNode];
    const id = this.store.dirIdOf(path);
    if (id === undefined) throw new Error(`no id for ${path}`);
    return {path, id, node};
  }

  put(at: number, name: string, what: number): void {
    const {id, node} = this.pick(at);
    const isDir = what % 4 === 0;
    const type = what % 4 === 1 ? 'symlink' : what % 16 === 2 ? 'fifo' : 'file';
    const size = {sizeBytes: what, content: type === 'file' && what % 5 > 0 ? sha256(Buffer.from([what])) : undefined};
    const made = isDir ? directory(name, {mode: what, isIncomplete: what % 64 === 0}) : entry(name, {type, ...size});
    const before = node.children.get(name);
    const children = isDir && before?.entry.type === 'dir' ? before.children : new Map();
    node.children.set(name, {entry: made, children});
    this.store.put(id, made);
  }

  remove(at: number, name: string): void {
    const {id, node} = this.pick(at);
    const before = node.children.get(name);
    node.children.delete(name);
    const count = before === undefined ? 0 : 1 + naiveTrie(before, {...PLAIN_VIEW, special: 'keep'}, 'source').count;
    expect(this.store.remove(id, name)).toBe(count);
  }

  move(at: number, nameAt: number, to: number, toName: string): void {
    const from = this.pick(at);
    const target = this.pick(to);
    const moved = [...from.node.children.values()][nameAt % Math.max(1, from.node.children.size)];
    if (moved === undefined) return;
    const movedPath = from.path === '' ? moved.entry.name : `${from.path}/${moved.entry.name}`;
    const isInside = `${target.path}/`.startsWith(`${movedPath}/`);
    // Over an ancestor of itself a rename is impossible as well.
    const destination = target.path === '' ? toName : `${target.path}/${toName}`;
    if (isInside || `${from.path}/`.startsWith(`${destination}/`) || destination === movedPath) return;
    from.node.children.delete(moved.entry.name);
    target.node.children.set(toName, {entry: {...moved.entry, name: toName, mode: 0o600}, children: moved.children});
    expect(this.store.move(from.id, moved.entry.name, target.id, toName, {mode: 0o600})).toBe(true);
  }

  check(view: View): void {
    expect(this.store.rootDigest()).toEqual(naiveRootDigest(this.root, view, 'source'));
    expect(this.store.countBelow(1)).toBe(naiveTrie(this.root, view, 'source').count);
    expect(this.store.entryCount()).toBe(naiveTrie(this.root, {...view, special: 'keep'}, 'source').count);
    const files = this.dirs().flatMap(([, node]) => [...node.children.values()].map((child) => child.entry));
    expect(this.store.unreadCount()).toBe(files.filter((one) => one.type === 'file' && !one.content).length);
    expect(unreadIn(this.store)).toHaveLength(this.store.unreadCount());
    for (const [path, node] of this.dirs()) {
      const id = this.store.dirIdOf(path);
      expect(this.store.pathOf(id as number)).toBe(path);
      const names = [...this.store.children(id as number)].map((child) => child.name);
      expect(names.toSorted()).toEqual([...node.children.keys()].toSorted());
    }
  }
}

const name = fc.integer({min: 0, max: 11}).map((n) => `n${n}\u00ff`);
const number = fc.nat({max: 255});
const step = fc.oneof(
  {weight: 6, arbitrary: fc.record({kind: fc.constant('put' as const), at: number, name, what: number})},
  {weight: 2, arbitrary: fc.record({kind: fc.constant('remove' as const), at: number, name})},
  {
    weight: 3,
    arbitrary: fc.record({kind: fc.constant('move' as const), at: number, nameAt: number, to: number, name}),
  },
  {weight: 2, arbitrary: fc.record({kind: fc.constant('digest' as const)})},
  {weight: 1, arbitrary: fc.record({kind: fc.constant('reopen' as const)})},
);

describe('tree digests', () => {
  test('60 random histories of puts, removes, moves and reopenings give the digests of a from-scratch model', () => {
    fc.assert(
      fc.property(fc.array(step, {minLength: 10, maxLength: 60}), (steps) => {
        const place = {folder: newFolder()};
        const twins = new Twins(openStore({place}));
        for (const one of steps) {
          if (one.kind === 'put') twins.put(one.at, one.name, one.what);
          else if (one.kind === 'remove') twins.remove(one.at, one.name);
          else if (one.kind === 'move') twins.move(one.at, one.nameAt, one.to, one.name);
          else if (one.kind === 'digest') twins.check(PLAIN_VIEW);
          else {
            twins.store.close();
            twins.store = openStore({place});
          }
        }
        twins.check(PLAIN_VIEW);
        const view: View = {...PLAIN_VIEW, special: 'keep', owners: false, timePrecisionNs: 1_000_000_000};
        twins.store.setView(view);
        twins.check(view);
      }),
      {numRuns: 60, endOnFailure: true},
    );
  });

  test('300 random names among 200 to 700 siblings keep the digest while nodes split and join', () => {
    const twins = new Twins(openStore());
    const sub = twins.store.put(1, directory('sub'));
    const node = modelNode(directory('sub', {ino: 1}));
    twins.root.children.set('sub', node);
    const put = (index: number): void => {
      const made = index % 50 === 0 ? directory(`f${index}`) : entry(`f${index}`);
      node.children.set(made.name, modelNode(made));
      twins.store.put(sub, made);
    };
    for (let index = 0; index < 700; index++) put(index);
    twins.check(PLAIN_VIEW);
    for (let index = 0; index < 700; index++) {
      if (index % 7 > 1) twins.store.remove(sub, `f${index}`);
      if (index % 7 > 1) node.children.delete(`f${index}`);
      if (index % 100 === 0) twins.check(PLAIN_VIEW);
    }
    twins.check(PLAIN_VIEW);
    expect(twins.store.node(sub, Buffer.alloc(0)).kind).toBe('leaf');
    for (let index = 0; index < 300; index++) put(index);
    twins.check(PLAIN_VIEW);
    expect(twins.store.node(sub, Buffer.alloc(0)).kind).toBe('inner');
  });

  test('one change among 70,000 siblings makes 3 nodes again and gives the from-scratch digest', () => {
    const store = openStore();
    const root = modelNode(directory(''));
    store.putRoot(root.entry);
    for (let index = 0; index < 70_000; index++) {
      const made = entry(`file-${index}`);
      root.children.set(made.name, modelNode(made));
      store.put(1, made);
    }
    expect(store.rootDigest()).toEqual(naiveRootDigest(root, PLAIN_VIEW, 'source'));
    const changed = entry('file-4711', {mode: 0o600});
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      store.put(1, {...changed, mode: 0o600 + round});
      const from = performance.now();
      store.rootDigest();
      times.push(performance.now() - from);
    }
    root.children.set(changed.name, modelNode({...changed, mode: 0o604}));
    expect(store.rootDigest()).toEqual(naiveRootDigest(root, PLAIN_VIEW, 'source'));
    // All 70,000 anew take 150 ms and more.
    expect(Math.min(...times)).toBeLessThan(15);
    expect(store.countBelow(1)).toBe(70_000);
  });

  test('a chain of 2,048 directories is digested without a stack per level', () => {
    const store = openStore();
    store.putRoot(directory(''));
    let parent = 1;
    for (let depth = 0; depth < 2_048; depth++) parent = store.put(parent, directory('d'));
    const before = store.rootDigest();
    store.put(parent, entry('deep'));
    expect(store.rootDigest()).not.toEqual(before);
    expect(store.countBelow(1)).toBe(2_049);
    store.remove(parent, 'deep');
    expect(store.rootDigest()).toEqual(before);
    expect(store.remove(1, 'd')).toBe(2_048);
    expect(store.entryCount()).toBe(0);
  });
});

describe('nodes', () => {
  test('a walk over the nodes of 600 entries meets every entry once, under digests that follow from them', () => {
    const store = openStore();
    for (let index = 0; index < 600; index++) store.put(1, entry(`f${index}`));
    const names: string[] = [];
    const walk = (prefix: number[]): {digest: Buffer; count: number} => {
      const node = store.node(1, Buffer.from(prefix));
      if (node.kind === 'absent') throw new Error('a listed child is not absent');
      if (node.kind === 'leaf') {
        for (const one of node.entries) {
          expect(prefix).toEqual(prefix.map((_, depth) => keyByte(nameKey(one.name), depth)));
          names.push(one.name);
        }
        return node;
      }
      const children = node.children.map(({index}) => ({index, ...walk([...prefix, index])}));
      expect(node.digest).toEqual(innerNodeDigest(children));
      expect(node.count).toBe(children.reduce((sum, child) => sum + child.count, 0));
      return node;
    };
    expect(walk([]).count).toBe(600);
    expect(names).toHaveLength(600);
    expect(new Set(names).size).toBe(600);
  });

  test('an empty directory is a leaf with no entries; unknown directories and empty ranges are absent', () => {
    const store = openStore();
    const dir = store.put(1, directory('d'));
    expect(store.node(dir, Buffer.alloc(0))).toEqual({kind: 'leaf', digest: EMPTY_TREE, count: 0, entries: []});
    expect(store.node(dir, Buffer.from([1]))).toEqual({kind: 'absent'});
    expect(store.node(99, Buffer.alloc(0))).toEqual({kind: 'absent'});
    expect(store.node(1, Buffer.alloc(7))).toEqual({kind: 'absent'});
  });

  test('a prefix below a leaf gives the part of it that lies there', () => {
    const store = openStore();
    store.put(1, entry('one'));
    store.put(1, entry('two'));
    const key = nameKey('one');
    const part = store.node(1, Buffer.from([keyByte(key, 0), keyByte(key, 1)]));
    expect(part).toMatchObject({kind: 'leaf', count: 1, entries: [{name: 'one'}]});
  });

  test('what was not read, and what could not be listed, is equal on no two sides', () => {
    const source = openStore();
    const target = openStore({side: 'target'});
    for (const store of [source, target]) store.putRoot(directory('', {ino: 1}));
    expect(source.rootDigest()).toEqual(target.rootDigest());
    for (const store of [source, target]) store.put(1, entry('f', {content: undefined}));
    expect(source.rootDigest()).not.toEqual(target.rootDigest());
    for (const store of [source, target]) store.setContent(1, 'f', sha256(Buffer.from('x')));
    expect(source.rootDigest()).toEqual(target.rootDigest());
    for (const store of [source, target]) store.put(1, directory('d', {isIncomplete: true}));
    expect(source.rootDigest()).not.toEqual(target.rootDigest());
  });

  test('sizes and times at the ends of 64 bits are digested like any other', () => {
    const store = openStore();
    store.putRoot(directory(''));
    const digests = new Set<string>();
    for (const [sizeBytes, s] of [
      [2 ** 48, 0],
      [2 ** 48 + 1, 0],
      [2 ** 63, 0],
      [0, 2 ** 63],
      [0, -(2 ** 63)],
    ] as const) {
      store.put(1, entry('f', {sizeBytes, mtime: {s, ns: 0}}));
      digests.add(store.rootDigest().toString('hex'));
    }
    expect(digests.size).toBe(5);
  });

  test('a directory that becomes incomplete changes the digest, and changes it back', () => {
    const store = openStore();
    store.putRoot(directory(''));
    store.put(1, directory('d', {ino: 5}));
    const before = store.rootDigest();
    store.put(1, directory('d', {ino: 5, isIncomplete: true}));
    expect(store.rootDigest()).not.toEqual(before);
    store.put(1, directory('d', {ino: 5}));
    expect(store.rootDigest()).toEqual(before);
  });

  test('a volume whose root was never put equals nothing', () => {
    expect(openStore().rootDigest()).not.toEqual(openStore({side: 'target'}).rootDigest());
    expect(leafNodeDigest([])).toEqual(EMPTY_TREE);
  });
});
