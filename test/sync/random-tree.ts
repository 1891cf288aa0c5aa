/**
 * Random trees and random changes to them, the same for the same seed.
 *
 * Invariant: everything is below the given root; names are UTF-8, free of newlines.
 */
import {spawnSync} from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';

const WORDS = ['alpha', 'Beta', 'gamma delta', 'ζήτα', 'ñandú', '-dash', "quo'te", 'dot.', 'x', '#1', '日本', 'a&b;c'];
const SIZES = [0, 1, 100, 4_095, 4_096, 4_097, 20_000, 65_536, 65_537, 300_000];
const isRoot = process.getuid?.() === 0;

/** Numbers from 0 to 1 by mulberry32. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  bytes(size: number): Buffer {
    const words = new Uint32Array(Math.ceil(size / 4));
    for (let index = 0; index < words.length; index++) words[index] = this.next() * 2 ** 32;
    return Buffer.from(words.buffer, 0, size);
  }

  name(): string {
    return `${this.of(WORDS)}${this.below(1_000_000)}`;
  }
}

/** Files, a tenth as many directories, a tenth as many symlinks; modes, owners (as root) and ns times of all. */
export function makeRandomTree(root: string, fileCount: number, random: Random): void {
  const dirs = [root];
  for (let index = 0; index < fileCount / 10; index++) {
    const dir = join(random.of(dirs), random.name());
    mkdirSync(dir);
    dirs.push(dir);
  }
  const paths: string[] = [];
  for (let index = 0; index < fileCount; index++) {
    const path = join(random.of(dirs), random.name());
    writeFileSync(path, random.bytes(index % 50 === 0 ? random.of(SIZES) : random.below(3_000)));
    paths.push(path);
  }
  for (let index = 0; index < fileCount / 10; index++) {
    const path = join(random.of(dirs), random.name());
    symlinkSync(random.of(['nowhere', '/etc/passwd', '../..', random.of(paths), 'x'.repeat(1_000)]), path);
    if (isRoot) lchownSync(path, random.below(70_000), random.below(70_000));
    paths.push(path);
  }
  for (const path of [...dirs.slice(1), ...paths]) setRights(path, random);
  setTimes(paths, random);
  setTimes(dirs.toReversed(), random);
}

function setRights(path: string, random: Random): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  if (isRoot) lchownSync(path, random.below(70_000), random.below(70_000));
  const bits = random.below(0o10000);
  chmodSync(path, isRoot ? bits : bits | (stat.isDirectory() ? 0o700 : 0o400));
}

/** Times with nanoseconds, 50 paths at a time: Node's own `utimes` rounds them. */
function setTimes(paths: readonly string[], random: Random): void {
  for (let index = 0; index < paths.length; index += 50) {
    const time = `@${random.below(1_700_000_000)}.${String(random.below(1_000_000_000)).padStart(9, '0')}`;
    setTime(time, ...paths.slice(index, index + 50));
  }
}

/** @param time as `touch -d` reads it, for instance `@1600000000.000000001` */
export function setTime(time: string, ...paths: string[]): void {
  const result = spawnSync('touch', ['-h', '-d', time, '--', ...paths], {encoding: 'utf8'});
  if (result.status !== 0) throw new Error(`touch: ${result.stderr}`);
}

/** All paths below a folder, parents first. */
export function pathsBelow(root: string): string[] {
  return readdirSync(root, {withFileTypes: true}).flatMap((entry) => {
    const path = join(root, entry.name);
    return entry.isDirectory() ? [path, ...pathsBelow(path)] : [path];
  });
}

type Kind = 'file' | 'dir' | 'symlink';
const kindOf = (path: string): Kind => {
  const stat = lstatSync(path);
  return stat.isDirectory() ? 'dir' : stat.isSymbolicLink() ? 'symlink' : 'file';
};

function changeNames(a: string, b: string): void {
  renameSync(a, `${a}.tmp`);
  renameSync(b, a);
  renameSync(`${a}.tmp`, b);
}

/** One change each: takes a path of the kind and the folder to put new names in. */
const CHANGES: Record<string, {on: Kind; change: (path: string, dir: string, random: Random) => void}> = {
  'rewrite a file': {on: 'file', change: (path, _, random) => writeFileSync(path, random.bytes(random.below(9_000)))},
  'append to a file': {on: 'file', change: (path, _, random) => appendFileSync(path, random.bytes(10))},
  'rename a file': {on: 'file', change: (path, dir, random) => renameSync(path, join(dir, random.name()))},
  'copy a file': {
    on: 'file',
    change: (path, dir, random) => writeFileSync(join(dir, random.name()), readFileSync(path)),
  },
  'link a file': {on: 'file', change: (path, dir, random) => linkSync(path, join(dir, random.name()))},
  'delete a file': {on: 'file', change: (path) => rmSync(path)},
  'touch a file': {on: 'file', change: (path, _, random) => setTimes([path], random)},
  'change the rights of a file': {on: 'file', change: (path, _, random) => setRights(path, random)},
  'make a file': {on: 'dir', change: (dir, _, random) => writeFileSync(join(dir, random.name()), random.bytes(500))},
  'make a directory': {
    on: 'dir',
    change: (dir, _, random) => {
      const path = join(dir, random.name());
      mkdirSync(path);
      writeFileSync(join(path, random.name()), random.bytes(50));
    },
  },
  'change the rights of a directory': {on: 'dir', change: (path, _, random) => setRights(path, random)},
  'rename a directory': {
    on: 'dir',
    change: (path, dir, random) => {
      if (!`${dir}/`.startsWith(`${path}/`)) renameSync(path, join(dir, random.name()));
    },
  },
  'a file becomes a directory': {
    on: 'file',
    change: (path, _, random) => {
      rmSync(path);
      mkdirSync(path);
      writeFileSync(join(path, random.name()), random.bytes(20));
    },
  },
  'a file becomes a symlink': {
    on: 'file',
    change: (path) => {
      rmSync(path);
      symlinkSync('/etc/hostname', path);
    },
  },
  'a symlink becomes a file': {
    on: 'symlink',
    change: (path, _, random) => {
      rmSync(path);
      writeFileSync(path, random.bytes(70));
    },
  },
  'a directory becomes a file': {
    on: 'dir',
    change: (path, _, random) => {
      rmSync(path, {recursive: true});
      writeFileSync(path, random.bytes(30));
    },
  },
  'a directory is made anew': {
    on: 'dir',
    change: (path, _, random) => {
      const names = readdirSync(path);
      rmSync(path, {recursive: true});
      mkdirSync(path);
      // Some names of before, and perhaps their inodes, for something else.
      for (const name of names) {
        const kind = random.below(4);
        if (kind < 2) writeFileSync(join(path, name), random.bytes(40));
        else if (kind === 2) mkdirSync(join(path, name));
      }
      writeFileSync(join(path, random.name()), random.bytes(20));
    },
  },
  'a directory moves away and a file has its name': {
    on: 'dir',
    change: (path, dir, random) => {
      if (`${dir}/`.startsWith(`${path}/`)) return;
      renameSync(path, join(dir, random.name()));
      writeFileSync(path, random.bytes(60));
    },
  },
  'a file moves away and a directory has its name': {
    on: 'file',
    change: (path, dir, random) => {
      renameSync(path, join(dir, random.name()));
      mkdirSync(path);
      writeFileSync(join(path, random.name()), random.bytes(60));
      symlinkSync('there', join(path, random.name()));
    },
  },
  'a directory takes its parent’s name': {
    on: 'dir',
    change: (path, _, random) => {
      const inner = readdirSync(path, {withFileTypes: true}).find((entry) => entry.isDirectory());
      if (inner === undefined) return;
      const outer = join(path, '..', random.name());
      renameSync(path, outer);
      renameSync(join(outer, inner.name), path);
    },
  },
  'a directory goes into a new one of its name': {
    on: 'dir',
    change: (path, _, random) => {
      const aside = join(path, '..', random.name());
      renameSync(path, aside);
      mkdirSync(path);
      renameSync(aside, join(path, random.name()));
    },
  },
  'two directories change names': {
    on: 'dir',
    change: (path, dir) => {
      if (`${dir}/`.startsWith(`${path}/`) || `${path}/`.startsWith(`${dir}/`)) return;
      changeNames(path, dir);
    },
  },
  'a file takes the place of a file': {
    on: 'file',
    change: (path, dir, random) => {
      const other = random.of(pathsBelow(dir).filter((found) => kindOf(found) === 'file'));
      if (other !== undefined) renameSync(path, other);
    },
  },
  'a file and a directory change names': {
    on: 'file',
    change: (path, dir) => {
      if (`${path}/`.startsWith(`${dir}/`)) return;
      changeNames(path, dir);
    },
  },
  'two files change names': {
    on: 'file',
    change: (path, dir, random) => {
      const other = random.of(pathsBelow(dir).filter((found) => kindOf(found) === 'file'));
      if (other === undefined || other === path) return;
      changeNames(path, other);
    },
  },
};
/** What `changeRandomly` can be asked for. */
export const CHANGE_NAMES = Object.keys(CHANGES);

/** Changes the tree `count` times. @returns what was done, for the message of a failing test */
export function changeRandomly(root: string, count: number, random: Random, names = CHANGE_NAMES): string[] {
  const done: string[] = [];
  for (let index = 0; index < count; index++) {
    const name = random.of(names);
    const {on, change} = CHANGES[name]!;
    const paths = pathsBelow(root);
    const dirs = [root, ...paths.filter((path) => kindOf(path) === 'dir')];
    const path = random.of(paths.filter((found) => kindOf(found) === on));
    if (path === undefined) continue;
    change(path, random.of(dirs), random);
    done.push(`${name}: ${path.slice(root.length + 1)}`);
  }
  return done;
}
