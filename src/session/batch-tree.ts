/**
 * What lies at a path in the course of a batch: what the state holds, less what the batch took away, plus what it moved
 * there and what it made.
 *
 * What cannot be done, as far as the state tells, is taken as not done: a directory that was to be exchanged with nothing
 * is still where it was when a file comes in its place. Pure: nothing is done to the state. Invariant: a path at which
 * nothing is takes no memory, however long it is and however many of them a peer names.
 */
import type {EntryType} from '../model/entry.ts';
import {isWithin, joinPath, nameOf, parentOf, ROOT, splitPath, type Name, type RelPath} from '../model/path.ts';

/** What the state holds. */
export interface TreeBefore {
  /** Entries at and below a path, 0 where nothing is. */
  countAt(path: RelPath): number;
  typeAt(path: RelPath): EntryType | undefined;
}

/** A place that the batch has touched, or that lies above one. */
interface Node {
  /** Where the state has what is here; `undefined` where nothing of the state is. */
  readonly origin: RelPath | undefined;
  /** By how much the batch changed what of the state lies here and below. */
  change: number;
  /** How much of what the batch made lies here and below. */
  madeCount: number;
  /** What the batch made here, or what the state has; `unread` until it is asked for. */
  type: EntryType | 'unread' | undefined;
  children: Map<Name, Node> | undefined;
}

export class BatchTree {
  readonly #before: TreeBefore;
  readonly #root: Node = {...newNode(ROOT), type: 'dir'};

  constructor(before: TreeBefore) {
    this.#before = before;
  }

  /** Entries of the state that are there and below it by now. */
  countAt(path: RelPath): number {
    return this.#count(this.#look(path));
  }

  /** As `countAt`, with what the batch itself made. */
  allAt(path: RelPath): number {
    const node = this.#look(path);
    return this.#count(node) + node.madeCount;
  }

  typeAt(path: RelPath): EntryType | undefined {
    return this.#type(this.#look(path));
  }

  /** @param type nothing is made of what is not known */
  make(path: RelPath, type: EntryType | undefined): void {
    const before = this.typeAt(path);
    if (type === undefined || type === before || !this.#mayHold(parentOf(path))) return;
    const nodes = this.#nodesTo(path);
    (nodes.at(-1) as Node).type = type;
    if (before === undefined) for (const node of nodes) node.madeCount++;
  }

  remove(path: RelPath): void {
    if (path !== ROOT && this.typeAt(path) !== undefined) this.#put(path, newNode(undefined));
  }

  /**
   * What is at `to` goes.
   * @param type of what is to be there
   */
  rename(from: RelPath, to: RelPath, type: EntryType): void {
    const moved = this.#look(from);
    if (isWithin(to, from) || this.#type(moved) !== type || !this.#mayHold(parentOf(to))) return;
    this.remove(from);
    this.#put(to, moved);
  }

  exchange(one: RelPath, other: RelPath): void {
    if (isWithin(one, other) || isWithin(other, one)) return;
    const [atOne, atOther] = [this.#look(one), this.#look(other)];
    if (this.#type(atOne) === undefined || this.#type(atOther) === undefined) return;
    this.#put(one, atOther);
    this.#put(other, atOne);
  }

  #mayHold(path: RelPath): boolean {
    return this.typeAt(path) === 'dir';
  }

  #type(node: Node): EntryType | undefined {
    if (node.type === 'unread') node.type = node.origin === undefined ? undefined : this.#before.typeAt(node.origin);
    return node.type;
  }

  #count({origin, change}: Node): number {
    return Math.max(0, (origin === undefined ? 0 : this.#before.countAt(origin)) + change);
  }

  /** The node of a path; one that is in no tree where the batch has touched nothing. */
  #look(path: RelPath): Node {
    let node = this.#root;
    if (path === ROOT) return node;
    for (let from = 0; from <= path.length;) {
      const slash = path.indexOf('/', from);
      const end = slash < 0 ? path.length : slash;
      const next = node.children?.get(path.slice(from, end));
      if (next === undefined)
        return newNode(node.origin === undefined ? undefined : joinPath(node.origin, path.slice(from)));
      node = next;
      from = end + 1;
    }
    return node;
  }

  /** The nodes from the root to a path, both among them; for a place that is there. */
  #nodesTo(path: RelPath): Node[] {
    const nodes = [this.#root];
    for (const name of splitPath(path)) {
      const above = nodes.at(-1) as Node;
      let node = above.children?.get(name);
      if (node === undefined) {
        node = newNode(above.origin === undefined ? undefined : joinPath(above.origin, name));
        (above.children ??= new Map()).set(name, node);
      }
      nodes.push(node);
    }
    return nodes;
  }

  #put(path: RelPath, node: Node): void {
    const old = this.#look(path);
    const change = this.#count(node) - this.#count(old);
    const made = node.madeCount - old.madeCount;
    const above = this.#nodesTo(parentOf(path));
    for (const each of above) {
      each.change += change;
      each.madeCount += made;
    }
    ((above.at(-1) as Node).children ??= new Map()).set(nameOf(path), node);
  }
}

function newNode(origin: RelPath | undefined): Node {
  const type = origin === undefined ? undefined : 'unread';
  return {origin, change: 0, madeCount: 0, type, children: undefined};
}
