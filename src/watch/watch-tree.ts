/**
 * The watched directories as a tree of names, found by watch. Pure: what hangs where is told by arm-tree.ts.
 *
 * A node is some 100 bytes, and a rename is one node hung elsewhere: its watch stays with the directory, so what lies
 * below comes along. Invariant: each watch has one node, and each node one place or none.
 */
import {joinPath, ROOT, type Name, type RelPath} from '../model/path.ts';

/** Watch of a node that could not be watched. */
export const UNWATCHED = -1;

export interface WatchNode {
  readonly watch: number;
  name: Name;
  /** Undefined for the root and for what has no place. */
  parent: WatchNode | undefined;
  children: Map<Name, WatchNode> | undefined;
  /** When something in this directory was told last (also: that it is to be scanned), in whole ms of the reader's clock. */
  eventMs: number;
}

export class WatchTree {
  readonly #byWatch = new Map<number, WatchNode>();
  readonly #unwatched = new Set<WatchNode>();
  readonly root: WatchNode;
  #lastNode: WatchNode | undefined;
  #lastPath: RelPath | undefined;

  constructor(rootWatch: number, nowMs: number) {
    this.root = {watch: rootWatch, name: '', parent: undefined, children: undefined, eventMs: nowMs};
    this.#byWatch.set(rootWatch, this.root);
  }

  get watchedCount(): number {
    return this.#byWatch.size;
  }

  get unwatched(): ReadonlySet<WatchNode> {
    return this.#unwatched;
  }

  find(watch: number): WatchNode | undefined {
    return this.#byWatch.get(watch);
  }

  /** A new node for a directory that was not known. */
  add(parent: WatchNode, name: Name, watch: number, nowMs: number): WatchNode {
    const node = {watch, name, parent: undefined, children: undefined, eventMs: nowMs};
    if (watch === UNWATCHED) this.#unwatched.add(node);
    else this.#byWatch.set(watch, node);
    this.hang(node, parent, name);
    return node;
  }

  /** Gives a node a place that is free. */
  hang(node: WatchNode, parent: WatchNode, name: Name): void {
    this.#lastNode = undefined;
    node.name = name;
    node.parent = parent;
    (parent.children ??= new Map()).set(name, node);
  }

  /** Takes a node, with all below it, from its place. */
  detach(node: WatchNode): void {
    this.#lastNode = undefined;
    const {parent} = node;
    node.parent = undefined;
    if (parent?.children?.get(node.name) !== node) return;
    parent.children.delete(node.name);
    if (parent.children.size === 0) parent.children = undefined;
  }

  /** Forgets a node and all below it. @returns the watches that are left over, to be ended */
  remove(node: WatchNode): number[] {
    this.detach(node);
    const left: number[] = [];
    for (const gone of nodesOf(node)) {
      if (gone.watch === UNWATCHED) this.#unwatched.delete(gone);
      else if (this.#byWatch.delete(gone.watch)) left.push(gone.watch);
    }
    return left;
  }

  /** Forgets the watch of a directory that the kernel says is gone. */
  forget(node: WatchNode): void {
    this.#byWatch.delete(node.watch);
  }

  /** Path from the root; undefined for what has no place at the moment. */
  pathOf(node: WatchNode): RelPath | undefined {
    if (node !== this.#lastNode) {
      this.#lastPath = this.#walkUp(node);
      this.#lastNode = node;
    }
    return this.#lastPath; // events come in runs of one directory
  }

  #walkUp(node: WatchNode): RelPath | undefined {
    if (node === this.root) return ROOT;
    let path = node.name;
    for (let above = node.parent; above !== this.root; above = above.parent) {
      if (above === undefined) return undefined;
      path = joinPath(above.name, path);
    }
    return path;
  }

  /** Whether `node` is `above` or lies below it. */
  isWithin(node: WatchNode, above: WatchNode): boolean {
    for (let at: WatchNode | undefined = node; at !== undefined; at = at.parent) if (at === above) return true;
    return false;
  }
}

/** A node and all below it, parents first. Children may be changed after they were delivered. */
export function* nodesOf(top: WatchNode): Generator<WatchNode, void> {
  const waiting = [top];
  for (let node; (node = waiting.pop()) !== undefined;) {
    yield node;
    if (node.children !== undefined) for (const child of node.children.values()) waiting.push(child);
  }
}
