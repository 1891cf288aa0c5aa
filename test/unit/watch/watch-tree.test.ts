import {describe, expect, test} from 'vitest';
import {nodesOf, UNWATCHED, WatchTree} from '../../../src/watch/watch-tree.ts';

describe('the tree of watched directories', () => {
  test('keeps the paths of everything below a directory that is hung elsewhere', () => {
    const tree = new WatchTree(1, 0);
    const a = tree.add(tree.root, 'a', 2, 0);
    const b = tree.add(tree.root, 'b', 3, 0);
    const leaf = tree.add(tree.add(a, 'sub', 4, 0), 'leaf', 5, 0);
    expect(tree.pathOf(leaf)).toBe('a/sub/leaf');
    tree.detach(a);
    expect(tree.pathOf(leaf)).toBeUndefined();
    tree.hang(a, b, 'moved');
    expect(tree.pathOf(leaf)).toBe('b/moved/sub/leaf');
    expect(tree.isWithin(leaf, b)).toBe(true);
    expect(tree.isWithin(b, a)).toBe(false);
  });

  test('forgets a subtree whole, and names the watches to end', () => {
    const tree = new WatchTree(1, 0);
    const a = tree.add(tree.root, 'a', 2, 0);
    tree.add(tree.add(a, 'x', 3, 0), 'y', UNWATCHED, 0);
    expect(tree.unwatched.size).toBe(1);
    expect(tree.remove(a)).toEqual([2, 3]);
    expect([tree.watchedCount, tree.unwatched.size, [...nodesOf(tree.root)].length]).toEqual([1, 0, 1]);
    expect(tree.find(3)).toBeUndefined();
  });

  test('takes less than 5 MB for 10,101 directories', () => {
    const before = heapBytes();
    const tree = new WatchTree(0, 0);
    let watch = 0;
    for (let outer = 0; outer < 100; outer++) {
      const dir = tree.add(tree.root, `directory-${outer}`, ++watch, 0);
      for (let inner = 0; inner < 100; inner++) tree.add(dir, `directory-${outer}-${inner}`, ++watch, 0);
    }
    expect(heapBytes() - before).toBeLessThan(5e6);
    expect(tree.watchedCount).toBe(10_101);
  });
});

function heapBytes(): number {
  return process.memoryUsage().heapUsed;
}
