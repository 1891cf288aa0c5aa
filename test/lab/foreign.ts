/**
 * What others do on the target of a link: files edited in place, replaced, made, renamed and deleted, each version of a
 * content that occurs nowhere else. A version that was closed and at rest must be found again afterwards, in the trash,
 * unless the others themselves have replaced or deleted it.
 *
 * Every directory is opened by itself and never through a symlink: the link changes types meanwhile. Paths are bytes,
 * each as the character of that number (latin1).
 */
import {execFile} from 'node:child_process';
import {createHash} from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {Random} from '../sync/random-tree.ts';

const {O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR} = constants;
const OUTPUT_BYTES_MAX = 1 << 28;
const SIZES = [40, 3_000, 70_000];
const run = promisify(execFile);

export interface ForeignOptions {
  /** The target's root. */
  root: string;
  /** An empty folder on the same filesystem, outside of the volume. */
  aside: string;
  seed: number;
}

/** A name in a directory that is held open. */
interface Place {
  dirFd: number;
  name: string;
}

export class Foreign {
  readonly #root: string;
  readonly #aside: string;
  readonly #random: Random;
  readonly #seed: number;
  #count = 0;
  /** What must be found again: digest of the content to what it was. */
  readonly #versions = new Map<string, string>();
  /** Digests of links' targets and of contents that were ever counted. */
  versionCount = 0;

  constructor({root, aside, seed}: ForeignOptions) {
    this.#root = root;
    this.#aside = aside;
    this.#seed = seed;
    this.#random = new Random(seed * 104_729);
  }

  /** One random change at or beside a path. @returns what it was to be; it may have found nothing to change */
  change(path: string): string {
    const kinds = Object.keys(CHANGES) as (keyof typeof CHANGES)[];
    const kind = this.#random.of(kinds);
    const content = this.#content();
    const done = this.#at(path, (place) => this[CHANGES[kind]](place, content)) ? '' : ' (not there)';
    return `${kind}: ${path}${done}`;
  }

  /** A content that occurs nowhere else. */
  #content(): Buffer {
    const line = `version ${++this.#count} of others in history ${this.#seed}, written by no link\n`;
    return Buffer.alloc(this.#random.of(SIZES), line);
  }

  /** @returns whether the path was there to be worked on */
  #at(path: string, work: (place: Place) => void): boolean {
    const parts = path.split('/');
    const name = parts.pop()!;
    const fds = [openSync(this.#root, O_RDONLY | O_DIRECTORY)];
    try {
      for (const part of parts)
        fds.push(openSync(pathOf({dirFd: fds.at(-1)!, name: part}), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      work({dirFd: fds.at(-1)!, name});
      return true;
    } catch (error) {
      if (isGone(error)) return false;
      throw error;
    } finally {
      for (const fd of fds) closeSync(fd);
    }
  }

  edit(place: Place, content: Buffer): void {
    const fd = openSync(pathOf(place), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    try {
      if (!fstatSync(fd).isFile()) return;
      this.#forget(readFileSync(fd));
      writeSync(fd, content, 0, content.length, 0);
      ftruncateSync(fd, content.length);
    } finally {
      closeSync(fd);
    }
    this.#note(place, 'edited in place');
  }

  append(place: Place, content: Buffer): void {
    const fd = openSync(pathOf(place), O_RDWR | constants.O_APPEND | O_NOFOLLOW | O_NONBLOCK);
    try {
      if (!fstatSync(fd).isFile()) return;
      this.#forget(readFileSync(fd));
      appendFileSync(fd, content);
    } finally {
      closeSync(fd);
    }
    this.#note(place, 'appended to');
  }

  /** As an editor saves: what was there has no name any more. */
  replace(place: Place, content: Buffer): void {
    if (lstatSync(pathOf(place)).isDirectory()) return;
    const temporary = join(this.#aside, 'new');
    writeFileSync(temporary, content);
    this.#forgetAt(place);
    renameSync(temporary, pathOf(place));
    this.#note(place, 'put in its place');
  }

  make({dirFd, name}: Place, content: Buffer): void {
    const place = {dirFd, name: `${name.slice(0, 100)} by others ${this.#count}`};
    const temporary = join(this.#aside, 'new');
    writeFileSync(temporary, content);
    renameSync(temporary, pathOf(place));
    this.#note(place, 'made');
  }

  makeDir({dirFd, name}: Place, content: Buffer): void {
    const made = join(this.#aside, 'dir');
    mkdirSync(join(made, 'below'), {recursive: true});
    writeFileSync(join(made, 'below/file'), content);
    writeFileSync(join(made, 'file'), Buffer.concat([content, Buffer.from('2')]));
    renameSync(made, pathOf({dirFd, name: `dir by others ${this.#count} at ${name.slice(0, 100)}`}));
    for (const each of [content, Buffer.concat([content, Buffer.from('2')])]) this.#add(each, 'made with a directory');
  }

  link(place: Place): void {
    if (!lstatSync(pathOf(place)).isSymbolicLink()) return;
    const temporary = join(this.#aside, 'link');
    const target = `nowhere ${this.#seed}-${this.#count}`;
    symlinkSync(target, temporary);
    renameSync(temporary, pathOf(place));
    this.#add(Buffer.from(target), 'a symlink put in its place');
  }

  rename({dirFd, name}: Place): void {
    const to = `renamed by others ${this.#count} ${name.slice(0, 100)}`;
    renameSync(pathOf({dirFd, name}), pathOf({dirFd, name: to}));
  }

  remove(place: Place): void {
    if (lstatSync(pathOf(place)).isDirectory()) return;
    this.#forgetAt(place);
    unlinkSync(pathOf(place));
  }

  #forgetAt(place: Place): void {
    const content = contentAt(place);
    if (content !== undefined) this.#forget(content);
  }

  #forget(content: Buffer): void {
    this.#versions.delete(digestOf(content));
  }

  /** What rests under that name now is a version that must not be lost. */
  #note(place: Place, what: string): void {
    const content = contentAt(place);
    if (content !== undefined) this.#add(content, `${printable(place.name)} ${what}`);
  }

  #add(content: Buffer, what: string): void {
    if (content.length === 0) return;
    this.versionCount++;
    this.#versions.set(digestOf(content), what);
  }

  /** @param trash the folder @param kept digests of contents that the volume itself holds @returns what is nowhere */
  async lost(trash: string, kept: ReadonlySet<string>): Promise<string[]> {
    const found = await digestsBelow(trash);
    return [...this.#versions].filter(([digest]) => !found.has(digest) && !kept.has(digest)).map(([, what]) => what);
  }
}

const CHANGES = {
  'edit in place': 'edit',
  append: 'append',
  replace: 'replace',
  'make a file': 'make',
  'make a directory': 'makeDir',
  'another symlink': 'link',
  rename: 'rename',
  delete: 'remove',
} as const satisfies Record<string, keyof Foreign>;

/** Digests of all contents of files and targets of symlinks below a folder. */
export async function digestsBelow(folder: string): Promise<Set<string>> {
  if (!existsSync(folder)) return new Set();
  const options = {maxBuffer: OUTPUT_BYTES_MAX, encoding: 'latin1'} as const;
  const [files, links] = await Promise.all([
    run('find', [folder, '-type', 'f', '-exec', 'sha256sum', '--zero', '--', '{}', '+'], options),
    run('find', [folder, '-type', 'l', '-printf', '%l\\0'], options),
  ]);
  const digests = files.stdout.split('\0').map((line) => line.slice(0, 64));
  const targets = links.stdout.split('\0').map((target) => digestOf(Buffer.from(target, 'latin1')));
  return new Set([...digests, ...targets]);
}

/** Paths of everything below a folder, parents first, in the order of their bytes. */
export function latin1PathsBelow(root: string, prefix = ''): string[] {
  const entries = readdirSync(Buffer.from(join(root, prefix), 'latin1'), {withFileTypes: true, encoding: 'buffer'});
  const found = entries.map((entry) => ({name: entry.name.toString('latin1'), isDir: entry.isDirectory()}));
  return found
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({name, isDir}) => {
      const path = prefix === '' ? name : `${prefix}/${name}`;
      return isDir ? [path, ...latin1PathsBelow(root, path)] : [path];
    });
}

function contentAt(place: Place): Buffer | undefined {
  try {
    const fd = openSync(pathOf(place), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      return fstatSync(fd).isFile() ? readFileSync(fd) : undefined;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function pathOf({dirFd, name}: Place): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${dirFd}/`), Buffer.from(name, 'latin1')]);
}

/** It is not there, or no longer what it was. */
function isGone(error: unknown): boolean {
  const codes = ['ENOENT', 'ENOTDIR', 'ELOOP', 'EISDIR', 'EEXIST', 'ENXIO', 'EINVAL', 'ENAMETOOLONG', 'ENOTEMPTY'];
  return codes.includes((error as NodeJS.ErrnoException).code ?? '');
}

export function digestOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

function printable(name: string): string {
  return JSON.stringify(name);
}
