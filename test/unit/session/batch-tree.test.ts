/** What a batch takes away is counted once, wherever the batch itself moved it. */
import {beforeEach, describe, expect, test} from 'vitest';
import {isWithin, type RelPath} from '../../../src/model/path.ts';
import {BatchTree} from '../../../src/session/batch-tree.ts';

const PATHS: RelPath[] = ['a', 'a/b', 'a/b/1', 'a/b/2', 'a/c', 'd', 'd/e', 'f'];
let batch: BatchTree;

beforeEach(() => {
  batch = new BatchTree((path) => PATHS.filter((each) => isWithin(each, path)).length);
});

describe('entries at a path within a batch', () => {
  test('what was moved out of a directory does not go with it', () => {
    batch.rename('a/b', 'g');
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
    batch.rename('a', 'd/e/a');
    expect(batch.countAt('d')).toBe(7);
    expect(batch.countAt('d/e/a/b/2')).toBe(1);
    batch.remove('d');
    expect(batch.countAt('')).toBe(1);
  });

  test('what lies in a directory that was moved twice is still found', () => {
    batch.rename('a', 'g');
    batch.rename('g/b', 'd/b');
    expect([batch.countAt('g'), batch.countAt('d'), batch.countAt('d/b/1')]).toEqual([2, 5, 1]);
  });

  test('what was moved into a directory that is moved itself is there, and what was deleted in it is not', () => {
    batch.rename('d', 'a/b/d');
    batch.remove('a/b/1');
    batch.rename('a', 'g');
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
    batch.rename('d', 'nothing/d');
    batch.rename('nothing', 'f');
    expect([batch.countAt('a'), batch.countAt('d'), batch.countAt('f')]).toEqual([5, 2, 1]);
  });

  test('what the batch made can change places and be moved into', () => {
    batch.make('new');
    batch.rename('d', 'new/d');
    batch.make('file');
    batch.exchange('a', 'file');
    expect([batch.countAt('d'), batch.countAt('new/d'), batch.countAt('a'), batch.countAt('file')]).toEqual([
      0, 2, 0, 5,
    ]);
  });
});
