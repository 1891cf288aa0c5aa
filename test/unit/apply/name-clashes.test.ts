import {expect, test} from 'vitest';
import {nameClashes, type NameStore} from '../../../src/apply/name-clashes.ts';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import type {Op} from '../../../src/model/op.ts';
import {fromText} from '../../../src/model/path.ts';

const META = {mode: 0o644, uid: 0, gid: 0, mtime: {s: 1, ns: 0}, attrs: NO_ATTRS};

/** A state with these names in these directories; their numbers are their places in the list. */
function storeOf(dirs: Record<string, string[]>): NameStore {
  const paths = Object.keys(dirs);
  return {
    dirIdOf: (path) => (paths.includes(path) ? paths.indexOf(path) + 1 : undefined),
    children: (id) => (dirs[paths[id - 1]!] ?? []).map((name) => ({name: fromText(name)})),
  };
}

const put = (path: string): Op => ({kind: 'put-symlink', path: fromText(path), meta: META, target: 'x'});
const dir = (path: string): Op => ({kind: 'make-dir', path: fromText(path), meta: META});
const gone = (path: string): Op => ({kind: 'delete', path, type: 'file'});
const rename = (path: string, to: string, type: 'file' | 'dir' = 'file'): Op => ({
  kind: 'rename',
  path,
  to,
  type,
  content: undefined,
});

const STORE = storeOf({'': ['File', 'Dir', 'strasse', 'é'], Dir: ['x']});

test.each<[what: string, ops: Op[], refused: [number, string][]]>([
  ['a new name', [put('new')], []],
  ['the very name that is there', [put('File'), put('Dir/x')], []],
  [
    'another spelling of it',
    [put('file'), dir('DIR'), put('Dir/X')],
    [
      [0, 'not-carried'],
      [1, 'not-carried'],
      [2, 'not-carried'],
    ],
  ],
  [
    'other letters of one',
    [put('STRASSE'), put('straße'), put('É'), put('e\u0301')],
    [
      [0, 'not-carried'],
      [1, 'not-carried'],
      [2, 'not-carried'],
      [3, 'not-carried'],
    ],
  ],
  ['two new ones', [put('a'), put('A')], [[1, 'not-carried']]],
  [
    'what is below a refused folder',
    [dir('dir'), put('dir/y'), dir('dir/z'), put('dir/z/a')],
    [
      [0, 'not-carried'],
      [1, 'parent-missing'],
      [2, 'parent-missing'],
      [3, 'parent-missing'],
    ],
  ],
  ['a new folder and what is in it', [dir('new'), put('new/a'), put('new/A')], [[2, 'not-carried']]],
  ['its own other spelling', [rename('File', 'FILE'), put('File')], [[1, 'not-carried']]],
  ['a rename onto another’s spelling', [rename('Dir/x', 'FILE')], [[0, 'not-carried']]],
  ['a name that was given up before', [gone('File'), put('file')], []],
  ['a name that moved away before', [rename('File', 'other'), put('FILE')], []],
  ['what comes with a moved folder', [rename('Dir', 'moved', 'dir'), put('moved/new')], []],
  ['the root itself', [{kind: 'set-meta', path: '', type: 'dir', meta: META}], []],
])('of %s', (_, ops, refused) => {
  const found = [...nameClashes(ops, STORE)].map(([index, {code}]) => [index, code]);
  expect(found).toEqual(refused);
});

test('the reason names what is there', () => {
  expect(nameClashes([put('file')], STORE).get(0)?.message).toBe(
    "file: the target's filesystem takes it for File, which is there: they differ in case alone; rename one of them on the source",
  );
});

test('names that are no UTF-8 are compared byte by byte, but for plain letters', () => {
  const store = {dirIdOf: () => 1, children: () => [{name: '\xff\xfea'}]};
  const clashes = (path: string): number => nameClashes([{...put('x'), path}], store).size;
  expect([clashes('\xff\xfea'), clashes('\xff\xfeA'), clashes('\xfe\xfea')]).toEqual([0, 1, 0]);
});
