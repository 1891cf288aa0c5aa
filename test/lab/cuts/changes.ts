/**
 * A small tree that changes at random, and everything that each of its paths has ever been since a moment: what a copy may
 * show of it after a power cut.
 *
 * Invariant: files appear whole (by a rename, or one write within a page), so that nobody can have seen a part of one.
 */
import {createHash} from 'node:crypto';
import {closeSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync} from 'node:fs';
import {renameSync, rmSync, symlinkSync, writeFileSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import type {Random} from '../../sync/random-tree.ts';

/** What a path is: 'absent', 'dir', 'link: …' or the digest of a file's bytes with its mode. */
export type Shown = string;

const SIZES = [0, 1, 700, 4_096, 5_000, 20_000, 65_537, 300_000];
const FILES_MAX = 40;

/** Everything below a folder by its path, without Towline's own. */
export function shownBelow(root: string): Map<string, Shown> {
  const shown = new Map<string, Shown>();
  const list = (dir: string): void => {
    for (const entry of readdirSync(join(root, dir), {withFileTypes: true})) {
      const path = dir === '' ? entry.name : `${dir}/${entry.name}`;
      if (path === '.towline') continue;
      shown.set(path, shownAt(join(root, path)));
      if (entry.isDirectory()) list(path);
    }
  };
  list('');
  return shown;
}

/** What cannot be read, on a filesystem that a cut has damaged, is like nothing that ever was. */
function shownAt(path: string): Shown {
  try {
    return readAt(path);
  } catch (error) {
    return `unreadable: ${(error as NodeJS.ErrnoException).code}`;
  }
}

function readAt(path: string): Shown {
  const stat = lstatSync(path);
  if (stat.isDirectory()) return 'dir';
  if (stat.isSymbolicLink()) return `link: ${readlinkSync(path)}`;
  const bytes = readFileSync(path);
  const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  return `${bytes.length} bytes ${digest} ${(stat.mode & 0o7777).toString(8)}`;
}

export class ChangingTree {
  readonly #root: string;
  readonly #aside: string;
  readonly #random: Random;
  #count = 0;
  #was = new Map<string, Set<Shown>>();

  /** @param at `root`: the tree, `aside`: a folder on the same filesystem where files are made before they get their names */
  constructor(at: {root: string; aside: string}, random: Random) {
    this.#root = at.root;
    this.#aside = at.aside;
    this.#random = random;
    for (const dir of ['a', 'b', 'a/c']) mkdirSync(join(this.#root, dir), {recursive: true});
    for (let index = 0; index < 20; index++) this.#put();
    this.settled();
  }

  /** What is there now is what the copy shows: nothing older may come back. */
  settled(): void {
    this.#was = new Map([...shownBelow(this.#root)].map(([path, shown]) => [path, new Set([shown])]));
  }

  /** What a path has been since it was settled. */
  allowedAt(path: string): ReadonlySet<Shown> {
    return this.#was.get(path) ?? new Set(['absent']);
  }

  shown(): Map<string, Shown> {
    return shownBelow(this.#root);
  }

  get paths(): string[] {
    return [...this.#was.keys()];
  }

  /** One change. */
  change(): void {
    const kind = this.#random.below(10);
    if (kind < 4) this.#put();
    else if (kind < 6) this.#writeInPlace();
    else if (kind < 7) this.#move();
    else if (kind < 8) this.#remove();
    else if (kind < 9) this.#flip();
    else this.#swap();
  }

  /** A file of its own that says how far the changes have come. @returns its path */
  mark(): string {
    const path = `mark-${this.#random.below(3)}`;
    this.#make(path, Buffer.from(`mark ${++this.#count}\n`));
    return path;
  }

  #put(): void {
    const files = this.#files();
    const isNew = files.length < 10 || (files.length < FILES_MAX && this.#random.below(3) === 0);
    const path = isNew ? this.#newName() : this.#random.of(files);
    this.#make(path, this.#random.bytes(this.#random.of(SIZES)));
  }

  #make(path: string, bytes: Buffer): void {
    const made = join(this.#aside, 'made');
    writeFileSync(made, bytes, {mode: this.#random.of([0o600, 0o644, 0o755])});
    this.#rename(made, join(this.#root, path));
  }

  #writeInPlace(): void {
    const path = this.#random.of(this.#files());
    const {size} = lstatSync(join(this.#root, path));
    if (size === 0) return;
    const fd = openSync(join(this.#root, path), 'r+');
    const page = this.#random.below(Math.ceil(size / 4_096));
    writeSync(fd, this.#random.bytes(Math.min(4_096, size - page * 4_096)), 0, undefined, page * 4_096);
    closeSync(fd);
    this.#observe();
  }

  #move(): void {
    const dirs = ['a', 'b', 'a/c'].filter((dir) => this.#isDir(dir));
    const paths = [...this.#files(), ...dirs];
    const from = this.#random.of(paths);
    const to = this.#newName();
    if (!`${to}/`.startsWith(`${from}/`)) this.#rename(join(this.#root, from), join(this.#root, to));
    this.#movedBelow(from, to);
    for (const dir of ['a', 'b', 'a/c']) {
      if (lstatSync(join(this.#root, dir), {throwIfNoEntry: false}) === undefined && this.#isDir(join(dir, '..')))
        mkdirSync(join(this.#root, dir));
      this.#observe();
    }
  }

  #remove(): void {
    rmSync(join(this.#root, this.#random.of(this.#files())));
    this.#observe();
  }

  /** A file becomes a symlink, or a symlink a file. */
  #flip(): void {
    const links = [...shownBelow(this.#root)].filter(([, shown]) => shown.startsWith('link')).map(([path]) => path);
    const path = links.length > 3 ? this.#random.of(links) : this.#random.of(this.#files());
    if (links.includes(path)) return this.#make(path, this.#random.bytes(900));
    const made = join(this.#aside, 'link');
    symlinkSync(`to-${++this.#count}`, made);
    this.#rename(made, join(this.#root, path));
  }

  #swap(): void {
    const [one, other] = [this.#random.of(this.#files()), this.#random.of(this.#files())].map((path) =>
      join(this.#root, path),
    ) as [string, string];
    if (one === other) return;
    const third = `${one}.third`;
    this.#rename(one, third);
    this.#rename(other, one);
    this.#rename(third, other);
  }

  #rename(from: string, to: string): void {
    renameSync(from, to);
    this.#observe();
  }

  /** A directory goes as one, with what the copy has in it: that may be what its files were under the old path. */
  #movedBelow(from: string, to: string): void {
    for (const [path, was] of [...this.#was]) {
      if (!path.startsWith(`${from}/`)) continue;
      const moved = to + path.slice(from.length);
      this.#was.set(moved, new Set([...(this.#was.get(moved) ?? ['absent']), ...was]));
    }
  }

  #isDir(path: string): boolean {
    return lstatSync(join(this.#root, path), {throwIfNoEntry: false})?.isDirectory() === true;
  }

  #newName(): string {
    const dir = this.#random.of(['', 'a/', 'b/', 'a/c/'].filter((below) => this.#isDir(below)));
    return `${dir}f${++this.#count}`;
  }

  #files(): string[] {
    return [...shownBelow(this.#root)].filter(([, shown]) => shown.includes(' bytes ')).map(([path]) => path);
  }

  /** Notes what each path is now, for later. */
  #observe(): void {
    const now = shownBelow(this.#root);
    for (const path of new Set([...this.#was.keys(), ...now.keys()])) {
      const was = this.#was.get(path) ?? new Set(['absent']);
      was.add(now.get(path) ?? 'absent');
      this.#was.set(path, was);
    }
  }
}

/** What a copy shows that its original has never been since it was settled. */
export function strangeIn(copy: string, tree: ChangingTree): string[] {
  const shown = shownBelow(copy);
  return [...new Set([...shown.keys(), ...tree.paths])].flatMap((path) => {
    const now = shown.get(path) ?? 'absent';
    const allowed = tree.allowedAt(path);
    return allowed.has(now) ? [] : [`${path}: ${now}, not one of ${[...allowed].join(' | ')}`];
  });
}

/** Whether a copy shows everything as it is now; it may be changing. */
export function latestIn(copy: string, tree: ChangingTree): boolean {
  const ours = tree.shown();
  let theirs: Map<string, Shown>;
  try {
    theirs = shownBelow(copy);
  } catch (error) {
    const {code = ''} = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false; // a directory went while it was read
    throw error;
  }
  return ours.size === theirs.size && [...ours].every(([path, shown]) => theirs.get(path) === shown);
}
