/**
 * A reader of events that believes nothing else: it looks where it was told to look, when it was told, and only there.
 *
 * If it ends up equal to the tree, the events cover every change. Directories renamed with a cookie are moved in its
 * memory without a look, as a state keyed by parents does it.
 */
import {lstatSync, readdirSync} from 'node:fs';
import {bytesOf, isWithin, joinPath, parentOf, type RelPath} from '../../../src/model/path.ts';
import type {WatchEvent} from '../../../src/watch/watcher.ts';

export class MirrorModel {
  readonly #root: string;
  #rows: Map<RelPath, string>;
  readonly #leaving = new Map<number, [RelPath, string][]>();
  /** Kinds of events that came, with how many. */
  readonly counts = new Map<string, number>();

  /** @param root absolute path; it is read whole once */
  constructor(root: string) {
    this.#root = root;
    this.#rows = readTree(root);
  }

  take(events: readonly WatchEvent[]): void {
    for (const event of events) {
      this.counts.set(event.kind, (this.counts.get(event.kind) ?? 0) + 1);
      this.#takeOne(event);
    }
  }

  /** What the model holds and the tree does not, or the other way round; empty when they are equal. */
  differences(): string[] {
    const real = readTree(this.#root);
    const paths = new Set([...real.keys(), ...this.#rows.keys()]);
    return [...paths]
      .filter((path) => real.get(path) !== this.#rows.get(path))
      .map((path) => `${path}: ${this.#rows.get(path)} is ${real.get(path)}`);
  }

  #takeOne(event: WatchEvent): void {
    switch (event.kind) {
      case 'name':
        return this.#takeName(event);
      case 'subtree':
        this.#forget(event.dir);
        this.#look(event.dir);
        for (const [path, row] of readTree(this.#root, event.dir)) this.#rows.set(path, row);
        return;
      case 'listing':
        return this.#list(event.dir);
      case 'overflow':
        this.#rows = readTree(this.#root);
        return;
      case 'root-gone':
      case 'degraded':
    }
  }

  #takeName(event: WatchEvent & {kind: 'name'}): void {
    const path = joinPath(event.dir, event.name);
    if (event.isDir && event.change === 'moved-from') this.#leaving.set(event.cookie, this.#forget(path));
    const arrived = event.isDir && event.change === 'moved-to' ? this.#leaving.get(event.cookie) : undefined;
    if (arrived !== undefined) {
      this.#forget(path);
      for (const [rest, row] of arrived) this.#rows.set(path + rest, row);
    }
    this.#look(path);
    this.#look(event.dir);
  }

  #list(dir: RelPath): void {
    const names = namesIn(this.#root, dir);
    const present = new Set(names.map((name) => joinPath(dir, name)));
    for (const path of [...this.#rows.keys()]) {
      if (path !== '' && parentOf(path) === dir && !present.has(path)) this.#forget(path);
    }
    for (const path of present) this.#look(path);
    this.#look(dir);
  }

  #look(path: RelPath): void {
    const row = readRow(this.#root, path);
    if (row === undefined) return void this.#forget(path);
    if (!row.startsWith('directory')) this.#forget(path);
    this.#rows.set(path, row);
    const sameInode = /^file \d+ /.exec(row)?.[0];
    if (sameInode === undefined) return;
    // Of a file with several names the kernel tells the one that was used; the others are known by their inode.
    for (const [other, known] of [...this.#rows]) {
      if (other === path || !known.startsWith(sameInode)) continue;
      const now = readRow(this.#root, other);
      if (now !== undefined) this.#rows.set(other, now);
    }
  }

  /** @returns what was there, with paths relative to `path` */
  #forget(path: RelPath): [RelPath, string][] {
    const gone = [...this.#rows].filter(([at]) => isWithin(at, path));
    for (const [at] of gone) this.#rows.delete(at);
    return gone.map(([at, row]) => [at.slice(path.length), row]);
  }
}

function hostPath(root: string, path: RelPath): Buffer {
  return Buffer.concat([Buffer.from(root), bytesOf(path === '' ? '' : `/${path}`)]);
}

function readRow(root: string, path: RelPath): string | undefined {
  try {
    const stat = lstatSync(hostPath(root, path), {bigint: true});
    if (stat.isDirectory()) return `directory ${stat.ino} ${stat.mode}`;
    return ['file', stat.ino, stat.mode, stat.size, stat.mtimeNs].join(' ');
  } catch {
    return undefined;
  }
}

function namesIn(root: string, dir: RelPath): string[] {
  try {
    if (!lstatSync(hostPath(root, dir)).isDirectory()) return []; // a link to a directory would be followed
    return readdirSync(hostPath(root, dir), {encoding: 'buffer'}).map((name) => name.toString('latin1'));
  } catch {
    return [];
  }
}

function readTree(root: string, top: RelPath = ''): Map<RelPath, string> {
  const rows = new Map<RelPath, string>();
  const waiting = [top];
  for (let dir; (dir = waiting.pop()) !== undefined;) {
    const row = readRow(root, dir);
    if (row !== undefined) rows.set(dir, row);
    for (const name of namesIn(root, dir)) waiting.push(joinPath(dir, name));
  }
  return rows;
}
