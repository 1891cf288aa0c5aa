/** Which operations of a batch are staged at once. */
import {expect, test} from 'vitest';
import {stretchEnd} from '../../../src/apply/batch-frame.ts';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import type {Op} from '../../../src/model/op.ts';

const meta = {mode: 0o755, uid: 0, gid: 0, mtime: {s: 1, ns: 0}, attrs: NO_ATTRS};
const move = (path: string, to: string): Op => ({kind: 'rename', path, to, type: 'dir', content: undefined});
const make = (path: string): Op => ({kind: 'make-dir', path, meta});
const set = (path: string): Op => ({kind: 'set-meta', path, type: 'dir', meta});
const link = (path: string, to: string): Op => ({kind: 'link', path, to});

test.each<[what: string, ops: Op[], ends: number[]]>([
  ['neighbours: at once', [make('a'), make('b'), move('c', 'd')], [3]],
  ['in a folder that is made: after it', [make('a'), make('a/b'), make('a/b/c')], [1, 2, 3]],
  ['where something is moved to, or from: after it', [move('a', 'b'), make('b/c'), make('a')], [1, 3]],
  ['in a folder of which only the metadata is set: at once', [set('a'), make('a/b')], [2]],
  ['another name of what is made: after it', [make('a'), link('b', 'a/c')], [1, 2]],
  ['chains: one by one', [move('a', 'b'), move('b', 'c'), move('c', 'd')], [1, 2, 3]],
])('%s', (_what, ops, ends) => {
  const found: number[] = [];
  for (let from = 0; from < ops.length; from = found.at(-1)!) found.push(stretchEnd(ops, from, new Map()));
  expect(found).toEqual(ends);
});

test('what is refused is built on by nothing', () => {
  expect(stretchEnd([make('a'), make('a/b')], 0, new Map([[0, 'refused']]))).toBe(2);
});
