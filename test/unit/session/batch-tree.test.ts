/** What a batch takes away is counted once, wherever the batch itself moved it. */
import {beforeEach, describe, expect, test} from 'vitest';
import {isWithin, type RelPath} from '../../../src/model/path.ts';
import {BatchTree} from '../../../src/session/batch-tree.ts';

const PATHS: RelPath[] = ['a', 'a/b', 'a/b/1', 'a/b/2', 'a/c', 'd', 'd/e', 'f'];
const DIRS: RelPath[] = ['', 'a', 'a/b', 'd', 'd/e'];
let batch: BatchTree;

beforeEach(() => {
  batch = new BatchTree({
    countAt: (path) => PATHS.filter((each) => isWithin(each, path)).length,
    typeAt: (path) => (DIRS.includes(path) ? 'dir' : PATHS.includes(path) ? 'file' : undefined),
  });
});

describe('entries at a path within a batch', () => {
  test('what was moved out of a directory does not go with it', () => {
    batch.rename('a/b', 'g', 'dir');
    expect(batch.countAt('a')).toBe(2);
    expect(batch.countAt('g')).toBe(3);
    batch.remove('a');
    expect(batch.countAt('')).toBe(6);
  });

  test('what was deleted before its directory goes once', () => {
    batch.remove('a/b/1');
    batch.remove('a/b');
    expect(batch.countAt('a')).toBe(2);
  });

  test('what was moved into a directory goes with it', () => {
    batch.rename('a', 'd/e/a', 'dir');
    expect(batch.countAt('d')).toBe(7);
    expect(batch.countAt('d/e/a/b/2')).toBe(1);
    batch.remove('d');
    expect(batch.countAt('')).toBe(1);
  });

  test('what lies in a directory that was moved twice is still found', () => {
    batch.rename('a', 'g', 'dir');
    batch.rename('g/b', 'd/b', 'dir');
    expect([batch.countAt('g'), batch.countAt('d'), batch.countAt('d/b/1')]).toEqual([2, 5, 1]);
  });

  test('what was moved into a directory that is moved itself is there, and what was deleted in it is not', () => {
    batch.rename('d', 'a/b/d', 'dir');
    batch.remove('a/b/1');
    batch.rename('a', 'g', 'dir');
    expect([batch.countAt('g/b'), batch.countAt('g/b/1'), batch.countAt('g/b/d/e'), batch.countAt('')]).toEqual([
      4, 0, 1, 7,
    ]);
  });

  test('names that change places keep what each had', () => {
    batch.exchange('a', 'f');
    expect([batch.countAt('a'), batch.countAt('f'), batch.countAt('f/b')]).toEqual([1, 5, 3]);
  });

  test('what cannot change places or be moved stays: nothing at the other name, or no folder to move it into', () => {
    batch.exchange('a', 'nothing');
    batch.rename('d', 'nothing/d', 'dir');
    batch.rename('nothing', 'f', 'dir');
    expect([batch.countAt('a'), batch.countAt('d'), batch.countAt('f')]).toEqual([5, 2, 1]);
  });

  test('what the batch made can change places and be moved into', () => {
    batch.make('new', 'dir');
    batch.rename('d', 'new/d', 'dir');
    batch.make('file', 'file');
    batch.exchange('a', 'file');
    expect([batch.countAt('d'), batch.countAt('new/d'), batch.countAt('a'), batch.countAt('file')]).toEqual([
      0, 2, 0, 5,
    ]);
  });

  test('what is moved has the type that was named, and a folder to go to', () => {
    batch.rename('a', 'g', 'file');
    batch.rename('a', 'f/a', 'dir');
    batch.make('new', 'file');
    batch.rename('a', 'new/a', 'dir');
    batch.make('nothing/new', 'dir');
    batch.rename('a', 'nothing/new/a', 'dir');
    expect([batch.countAt('a'), batch.countAt('d')]).toEqual([5, 2]);
    batch.rename('f', 'g', 'file');
    expect([batch.countAt('f'), batch.countAt('g')]).toEqual([0, 1]);
  });

  test('what the batch made is there, and is none of the entries that the state holds', () => {
    batch.make('d/new', 'dir');
    batch.make('d/new/1', 'file');
    batch.make('d/e', 'dir');
    expect([batch.countAt('d'), batch.allAt('d')]).toEqual([2, 4]);
    batch.rename('d/new', 'a/new', 'dir');
    expect([batch.allAt('d'), batch.allAt('a'), batch.allAt('a/new')]).toEqual([2, 7, 2]);
    batch.remove('a/new');
    expect([batch.allAt('a'), batch.countAt('a')]).toEqual([5, 5]);
  });

  test('500 paths of 2,048 levels at which nothing is take no memory, whatever is to be done there', () => {
    const collect = globalThis.gc ?? (() => undefined);
    collect();
    const before = process.memoryUsage().heapUsed;
    for (let index = 0; index < 500; index++) {
      const path = `${index}/`.padEnd(4_095, 'x/') + 'x';
      batch.make(path, 'file');
      batch.rename(path, `to/${path}`, 'file');
      batch.exchange(path, 'a');
      batch.remove(path);
      expect(batch.allAt(path)).toBe(0);
    }
    collect();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 << 20); // 1,024,000 nodes are more than 100 MiB
  });
});
