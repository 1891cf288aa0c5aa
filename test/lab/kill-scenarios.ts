/**
 * What happens on the source before the kills: a tree that all scenarios start from, and one change of it each.
 *
 * Small, so that a run is short, and each change by itself, so that what a kill leaves can be told apart.
 */
import {spawnSync} from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';

export interface Scenario {
  name: string;
  change: (at: (path: string) => string) => void;
  /** All that it does is to replace these files. */
  replaces?: readonly string[];
  /** A directory that it renames, and in which something changes then. */
  renamed?: {from: string; to: string};
  /** Nothing was copied before. */
  isFirstCopy?: true;
}

const LARGE_BYTES = 1_200_000; // five leaves
const REPLACED = ['replaced/0', 'replaced/1', 'replaced/2', 'replaced/3'];

/** The first version of everything. */
export function fill(root: string): void {
  const at = (path: string): string => join(root, path);
  const put = (path: string, text = `first ${path}\n`): void => writeFileSync(at(path), text);
  for (const dir of [
    'replaced',
    'gone/deep/er',
    'moved/in',
    'swap/x',
    'swap/y',
    'flip/dir/in',
    'links',
    'meta/dir',
    'over',
  ])
    mkdirSync(at(dir), {recursive: true});
  mkdirSync(at('up/inner'), {recursive: true});
  for (const path of [...REPLACED, 'theirs', 'gone/a', 'gone/deep/b', 'gone/deep/er/c', 'moved/a', 'moved/in/b'])
    put(path);
  for (const path of [
    'swap/a',
    'swap/b',
    'swap/x/in',
    'swap/y/in',
    'flip/file',
    'flip/dir/in/f',
    'over/from',
    'over/to',
  ])
    put(path);
  for (const path of ['links/a', 'links/single', 'meta/0', 'meta/1', 'meta/2', 'up/inner/f', 'up/g']) put(path);
  symlinkSync('file', at('flip/link'));
  symlinkSync('nowhere', at('flip/other'));
  linkSync(at('links/a'), at('links/b'));
  linkSync(at('links/a'), at('links/c'));
  run('setfattr', '-n', 'user.kept', '-v', 'first', at('meta/0'));
  run('setfacl', '-m', 'u:1234:r', at('meta/1'));
  put('large', '');
  truncateSync(at('large'), LARGE_BYTES);
  const fd = openSync(at('large'), 'r+');
  for (let offset = 0; offset < LARGE_BYTES; offset += 4096)
    writeSync(fd, Buffer.alloc(4096, `large ${offset} `), 0, 4096, offset);
  closeSync(fd);
  truncateSync(at('large'), LARGE_BYTES);
  age(root);
}

/** Long at rest, so that nothing is read twice for having just changed. */
export function age(root: string): void {
  const old = Date.now() / 1_000 - 86_400;
  for (const name of readdirSync(root, {recursive: true, encoding: 'utf8'})) lutimesSync(join(root, name), old, old);
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'new small files',
    change: (at) => {
      mkdirSync(at('new/dir'), {recursive: true});
      for (let index = 0; index < 12; index++)
        writeFileSync(at(`new/${index % 2 === 0 ? 'dir/' : ''}${index}`), `new ${index}\n`);
      chmodSync(at('new/dir'), 0o750);
      symlinkSync('dir', at('new/link'));
      run('mkfifo', at('new/fifo'));
    },
  },
  {name: 'replaced files', change: replace, replaces: REPLACED},
  {name: 'a subtree deleted', change: (at) => rmSync(at('gone'), {recursive: true})},
  {
    name: 'a directory renamed',
    change: (at) => {
      renameSync(at('moved'), at('went'));
      writeFileSync(at('went/a'), 'changed after the move\n');
    },
    renamed: {from: 'moved', to: 'went'},
  },
  {name: 'names swapped', change: swap},
  {name: 'types flipped', change: flip},
  {name: 'a large file changed', change: changeLarge},
  {name: 'hard-link groups regrouped', change: regroup},
  {name: 'metadata alone', change: changeMetadata},
  {
    name: 'renamed over, and up',
    change: (at) => {
      renameSync(at('over/from'), at('over/to'));
      renameSync(at('up'), at('was-up'));
      renameSync(at('was-up/inner'), at('up'));
      rmSync(at('was-up'), {recursive: true});
    },
  },
  {name: 'a first copy', change: (at) => fill(at('')), isFirstCopy: true},
  {
    name: 'everything',
    change: (at) => {
      for (const change of [replace, swap, flip, changeLarge, regroup, changeMetadata]) change(at);
      rmSync(at('gone/deep'), {recursive: true});
      renameSync(at('moved/in'), at('in'));
      mkdirSync(at('late'));
      writeFileSync(at('late/comer'), 'late\n');
    },
  },
];

type At = (path: string) => string;

function replace(at: At): void {
  for (const path of REPLACED) writeFileSync(at(path), `second ${path}, a little longer\n`);
}

function swap(at: At): void {
  for (const [a, b] of [
    ['swap/a', 'swap/b'],
    ['swap/x', 'swap/y'],
  ] as const) {
    renameSync(at(a), at('between'));
    renameSync(at(b), at(a));
    renameSync(at('between'), at(b));
  }
}

function flip(at: At): void {
  for (const path of ['flip/file', 'flip/dir', 'flip/link', 'flip/other']) rmSync(at(path), {recursive: true});
  mkdirSync(at('flip/file'));
  writeFileSync(at('flip/file/in'), 'was a file\n');
  symlinkSync('was-a-directory', at('flip/dir'));
  writeFileSync(at('flip/link'), 'was a link\n');
  mkdirSync(at('flip/other'));
}

function changeLarge(at: At): void {
  const fd = openSync(at('large'), 'r+');
  for (const offset of [5_000, 600_000, LARGE_BYTES - 10]) writeSync(fd, `changed at ${offset}`, offset);
  closeSync(fd);
}

function regroup(at: At): void {
  rmSync(at('links/b'));
  linkSync(at('links/single'), at('links/b'));
  linkSync(at('links/a'), at('links/d'));
  writeFileSync(at('links/a'), 'second, of the whole group\n');
}

function changeMetadata(at: At): void {
  chmodSync(at('meta/0'), 0o4750);
  run('setfattr', '-n', 'user.kept', '-v', 'second', at('meta/0'));
  run('setfattr', '-n', 'user.new', '-v', 'new', at('meta/0'));
  chownSync(at('meta/1'), 1234, 4321);
  run('setfacl', '-b', at('meta/1'));
  run('setfacl', '-m', 'u:77:rw', at('meta/2'));
  chmodSync(at('meta/dir'), 0o2770);
  lutimesSync(at('flip/link'), 1_500_000_000, 1_500_000_000);
}

function run(command: string, ...args: string[]): void {
  const {status, stderr} = spawnSync(command, args, {encoding: 'utf8'});
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}
