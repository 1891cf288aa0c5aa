/**
 * A small filesystem in memory, with the rules of Linux that matter here: inodes, hard links, renames, exchanges,
 * directories that cannot be read. It answers a scanner as a worker would.
 */
import type {JobRunner} from '../../../src/base/jobs.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import {sha256, type Digest} from '../../../src/model/digest.ts';
import {isWithin, joinPath, nameOf, parentOf, ROOT, type Name, type RelPath} from '../../../src/model/path.ts';
import {ListingWriter, STAT_BYTES} from '../../../src/scan/listing.ts';
import type {ScanJobs} from '../../../src/scan/scan-tree.ts';

await loadXxhash();

export type ModelType = 'file' | 'dir' | 'symlink';

export interface Inode {
  ino: number;
  type: ModelType;
  mode: number;
  /** Of a file: what it holds; 0 is empty. Of a symlink: where it leads. */
  value: number;
  mtime: number;
  ctime: number;
  nlink: number;
  children: Map<Name, Inode>;
  isUnreadable: boolean;
}

const MODE_BITS = {file: 0o100000, dir: 0o040000, symlink: 0o120000} as const;
const EIO = 5;
const ENOENT = 2;
let lastIno = 10;

export function contentOf(value: number): Digest {
  return sha256(Buffer.from([value]));
}

export function sizeOf({type, value}: Inode): number {
  return type === 'file' ? value % 4 : 0;
}

function linkOf(value: number): string {
  return `to ${value}`;
}

export class ModelFs {
  readonly root: Inode;
  /** Names that were touched, as a watcher tells them. */
  readonly touched = new Map<RelPath, Set<Name>>();
  readonly #keepsDirTimes: boolean;
  #now = 1_000;

  /** @param options `keepsDirTimes`: times of directories are set by who changes them, as a target's applier does */
  constructor(options: {keepsDirTimes: boolean}, root?: Inode) {
    this.#keepsDirTimes = options.keepsDirTimes;
    this.root = root ?? this.#inode('dir', 0);
  }

  /** The same tree on another filesystem: other inodes, the same groups. */
  copy(options: {keepsDirTimes: boolean}): ModelFs {
    const copies = new Map<Inode, Inode>();
    const copyOf = (inode: Inode): Inode => {
      const known = copies.get(inode);
      if (known !== undefined) return known;
      const made: Inode = {...inode, ino: ++lastIno, isUnreadable: false, children: new Map()};
      copies.set(inode, made);
      for (const [name, child] of inode.children) made.children.set(name, copyOf(child));
      return made;
    };
    const made = new ModelFs(options, copyOf(this.root));
    made.#now = this.#now;
    return made;
  }

  find(path: RelPath): Inode | undefined {
    let at: Inode | undefined = this.root;
    if (path !== ROOT) for (const name of path.split('/')) at = at?.children.get(name);
    return at;
  }

  /** All paths below the root, parents first. */
  paths(): RelPath[] {
    const found: RelPath[] = [];
    const visit = (path: RelPath, inode: Inode): void => {
      for (const [name, child] of inode.children) {
        found.push(joinPath(path, name));
        visit(joinPath(path, name), child);
      }
    };
    visit(ROOT, this.root);
    return found;
  }

  /** Everything that both sides compare, as one text; names of one file share a number. */
  canonical(): string {
    const numbers = new Map<Inode, string>();
    const lines = this.paths()
      .sort()
      .map((path) => {
        const inode = this.find(path) as Inode;
        if (!numbers.has(inode)) numbers.set(inode, path);
        const mode = inode.type === 'symlink' ? 0 : inode.mode;
        const group = inode.nlink > 1 ? numbers.get(inode) : '';
        return `${path} ${inode.type} ${mode} ${inode.value} ${inode.mtime} ${group}`;
      });
    return [`${this.root.mode} ${this.root.mtime}`, ...lines].join('\n');
  }

  // What processes do. Each says whether it was possible.

  make(path: RelPath, type: ModelType, value: number): boolean {
    const parent = this.#parentOf(path);
    if (parent === undefined || parent.children.has(nameOf(path))) return false;
    this.#place(path, this.#inode(type, type === 'dir' ? 0 : value));
    return true;
  }

  write(path: RelPath, value: number): boolean {
    const inode = this.find(path);
    if (inode?.type !== 'file') return false;
    inode.value = value;
    inode.mtime = inode.ctime = ++this.#now;
    this.#touch(path);
    return true;
  }

  setMeta(path: RelPath, {mode, mtime}: {mode: number; mtime: number}): boolean {
    const inode = this.find(path);
    if (inode === undefined) return false;
    [inode.mode, inode.mtime, inode.ctime] = [mode, mtime, ++this.#now];
    this.#touch(path);
    return true;
  }

  /** Removes it with all below it. */
  remove(path: RelPath): boolean {
    const inode = this.find(path);
    if (inode === undefined || path === ROOT) return false;
    for (const name of [...inode.children.keys()]) this.remove(joinPath(path, name));
    this.#parentOf(path)!.children.delete(nameOf(path));
    inode.nlink--;
    inode.ctime = ++this.#now;
    this.#changedDir(path);
    return true;
  }

  rename(from: RelPath, to: RelPath): boolean {
    const [inode, there] = [this.find(from), this.find(to)];
    const parent = this.#parentOf(to);
    if (inode === undefined || from === ROOT || parent === undefined || isWithin(to, from)) return false;
    if (there !== undefined) {
      if (there === inode || (there.type === 'dir') !== (inode.type === 'dir') || there.children.size > 0) return false;
      this.remove(to);
    }
    this.#parentOf(from)!.children.delete(nameOf(from));
    parent.children.set(nameOf(to), inode);
    inode.ctime = ++this.#now;
    this.#changedDir(from);
    this.#changedDir(to);
    this.#movedTo([[from, to]]);
    return true;
  }

  exchange(a: RelPath, b: RelPath): boolean {
    const [one, other] = [this.find(a), this.find(b)];
    if (one === undefined || other === undefined || isWithin(a, b) || isWithin(b, a)) return false;
    this.#parentOf(a)!.children.set(nameOf(a), other);
    this.#parentOf(b)!.children.set(nameOf(b), one);
    one.ctime = other.ctime = ++this.#now;
    this.#changedDir(a);
    this.#changedDir(b);
    this.#movedTo([
      [a, b],
      [b, a],
    ]);
    return true;
  }

  /** `path` becomes another name of the file at `to`. */
  link(path: RelPath, to: RelPath): boolean {
    const inode = this.find(to);
    if (inode === undefined || inode.type === 'dir' || this.find(path) !== undefined) return false;
    if (this.#parentOf(path) === undefined) return false;
    inode.nlink++;
    this.#place(path, inode);
    this.#touch(to);
    return true;
  }

  setReadable(path: RelPath, isReadable: boolean): boolean {
    const inode = this.find(path);
    if (inode?.type !== 'dir' || path === ROOT) return false;
    inode.isUnreadable = !isReadable;
    inode.ctime = ++this.#now;
    this.#touch(path);
    this.#note(path, undefined);
    return true;
  }

  /** Whether a directory above it, or the path itself, cannot be read. */
  isBelowUnreadable(path: RelPath): boolean {
    for (let at = path; at !== ROOT; at = parentOf(at)) if (this.find(at)?.isUnreadable === true) return true;
    return false;
  }

  #inode(type: ModelType, value: number): Inode {
    const at = ++this.#now;
    const mode = type === 'dir' ? 0o755 : 0o644;
    const times = {mtime: at, ctime: at};
    return {ino: ++lastIno, type, mode, value, ...times, nlink: 1, children: new Map(), isUnreadable: false};
  }

  #parentOf(path: RelPath): Inode | undefined {
    const parent = path === ROOT ? undefined : this.find(parentOf(path));
    return parent?.type === 'dir' ? parent : undefined;
  }

  #place(path: RelPath, inode: Inode): void {
    this.#parentOf(path)!.children.set(nameOf(path), inode);
    inode.ctime = ++this.#now;
    this.#changedDir(path);
  }

  #changedDir(path: RelPath): void {
    const dir = this.find(parentOf(path))!;
    dir.ctime = ++this.#now;
    if (!this.#keepsDirTimes) dir.mtime = this.#now;
    this.#touch(path);
    if (parentOf(path) !== ROOT) this.#touch(parentOf(path));
  }

  #touch(path: RelPath): void {
    this.#note(parentOf(path), path === ROOT ? undefined : nameOf(path));
  }

  /** A watcher tells what was touched shortly before once more, at its new place: whoever looks at the old one is too late. */
  #movedTo(moves: readonly (readonly [from: RelPath, to: RelPath])[]): void {
    const dirs = [...this.touched.keys()];
    for (const [from, to] of moves)
      for (const dir of dirs) if (isWithin(dir, from)) this.#note(to + dir.slice(from.length), undefined);
  }

  #note(dir: RelPath, name: Name | undefined): void {
    const names = this.touched.get(dir) ?? new Set();
    this.touched.set(dir, names.add(name ?? '/'));
  }

  // What a scanner is told.

  jobs(): JobRunner<ScanJobs> {
    const run = async (
      kind: string,
      input: {start: RelPath; isBrief?: boolean; dirs: {path: RelPath; names: Name[] | undefined}[]},
      options?: {onPart?(part: Uint8Array): unknown},
    ): Promise<unknown> => {
      const writer = new ListingWriter({seed: 1n, mountId: 0});
      if (kind === 'scan-names') {
        for (const {path, names} of input.dirs) this.#list(writer, path, {names, isBrief: input.isBrief});
        return writer.take();
      }
      const pending = [input.start];
      for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
        this.#list(writer, path, {isBrief: input.isBrief});
        const dir = this.find(path);
        if (dir === undefined || dir.isUnreadable) continue;
        for (const [name, {type}] of dir.children) if (type === 'dir') pending.push(joinPath(path, name));
      }
      await options?.onPart?.(writer.take());
      return {directories: 0, entries: 0};
    };
    return {run} as unknown as JobRunner<ScanJobs>;
  }

  #list(
    writer: ListingWriter,
    path: RelPath,
    {names, isBrief}: {names?: Name[] | undefined; isBrief?: boolean | undefined},
  ): void {
    writer.begin(path, names === undefined && isBrief);
    const dir = this.find(path);
    if (dir?.type !== 'dir') return writer.end('unreadable', ENOENT);
    if (dir.isUnreadable || this.isBelowUnreadable(path)) return writer.end('unreadable', EIO);
    writer.own(fillStat(dir), () => NO_ATTRS);
    for (const name of names ?? dir.children.keys()) {
      const child = dir.children.get(name);
      const fill = child === undefined ? () => -ENOENT : fillStat(child);
      writer.add(Buffer.from(name, 'latin1'), fill, {link: () => linkOf(child?.value ?? 0), attrs: () => NO_ATTRS});
    }
    writer.end(names === undefined ? 'whole' : 'names', 0);
  }
}

/** As statx(2) writes it. */
function fillStat(inode: Inode): (into: Buffer, at: number) => number {
  return (into, at) => {
    into.fill(0, at, at + STAT_BYTES);
    into.writeUInt32LE(inode.nlink, at + 16);
    into.writeUInt16LE(MODE_BITS[inode.type] | inode.mode, at + 28);
    into.writeUInt32LE(inode.ino, at + 32);
    into.writeUInt32LE(sizeOf(inode), at + 40);
    into.writeUInt32LE(inode.ino, at + 80); // born when it was numbered
    into.writeUInt32LE(inode.ctime, at + 96);
    into.writeUInt32LE(inode.mtime, at + 112);
    into.writeUInt32LE(1, at + 144);
    return 0;
  };
}
