import {expect, test} from 'vitest';
import {Births} from '../../../src/reconcile/births.ts';

const FILE = {isDir: false, isOver: false};
const DIR = {isDir: true, isOver: false};

test('what was born counts as young, with all below it, from that time on and until it is forgotten', () => {
  const births = new Births();
  births.born('dir', 100);
  expect(births.isBornSince('dir', 100)).toBe(true);
  expect(births.isBornSince('dir/below/deep', 100)).toBe(true);
  expect(births.isBornSince('dir', 101)).toBe(false);
  expect(births.isBornSince('dir2', 0)).toBe(false);
  births.forget('dir', true);
  expect(births.isBornSince('dir/below/deep', 0)).toBe(false);
});

test('a rename keeps the age; something old makes every new directory above its new place old', () => {
  const births = new Births();
  births.born('new', 100);
  births.born('tmp', 50);
  births.renamed('tmp', 'new/file', FILE);
  expect(births.isBornSince('new/file', 50)).toBe(true);
  expect(births.isBornSince('new/file', 51)).toBe(false);
  expect(births.isBornSince('tmp', 0)).toBe(false);
  expect(births.isBornSince('new', 100)).toBe(true);
  births.renamed('old', 'new/old', DIR);
  expect(births.isBornSince('new', 0)).toBe(false);
  expect(births.isBornSince('new/old/below', 0)).toBe(false);
});

test('names that change places are old, and so is what is above them', () => {
  const births = new Births();
  births.born('new', 100);
  births.exchanged('new/one', 'old');
  expect(births.isBornSince('new', 0)).toBe(false);
  expect(births.isBornSince('old', 0)).toBe(false);
});

test('beyond 10,000 the older half is old', () => {
  const births = new Births();
  for (let count = 0; count < 10_000; count++) births.born(`file${count}`, count);
  expect(births.isBornSince('file0', 0)).toBe(true);
  births.born('file10000', 10_000);
  expect(births.isBornSince('file4999', 0)).toBe(false);
  expect(births.isBornSince('file5000', 0)).toBe(true);
});

test('what is renamed over something old does not become young, over something young it stays so', () => {
  const births = new Births();
  births.born('tmp1', 100);
  births.renamed('tmp1', 'old', {...FILE, isOver: true});
  expect(births.isBornSince('old', 0)).toBe(false);
  births.born('young', 100);
  births.born('tmp2', 200);
  births.renamed('tmp2', 'young', {...FILE, isOver: true});
  expect(births.isBornSince('young', 0)).toBe(true);
});

test('an old directory at the path of a young one that went makes nothing young that is in it', () => {
  const births = new Births();
  births.born('dir', 100);
  births.born('dir/file', 100);
  births.forget('dir', true);
  expect(births.isBornSince('dir/file', 0)).toBe(false);
  births.renamed('elsewhere', 'dir', DIR);
  expect(births.isBornSince('dir/file', 0)).toBe(false);
  births.born('dir/file', 100);
  expect(births.isBornSince('dir/file', 100)).toBe(true);
  expect(births.isBornSince('dir/other', 0)).toBe(false);
});

test('what is asked for no more is dropped after twice that time', () => {
  const births = new Births({keepMs: 1_000});
  births.born('a', 1_000);
  births.born('b', 1_999);
  births.born('c', 2_000);
  expect(births.isBornSince('a', 0)).toBe(true);
  births.born('d', 3_000);
  expect(births.isBornSince('a', 0)).toBe(false);
  expect(births.isBornSince('c', 0)).toBe(true);
});
