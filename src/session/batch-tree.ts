/**
 * How many entries lie at a path in the course of a batch: what the state holds, less what the batch took away, plus
 * what it moved there.
 *
 * Counts only, and not what is made anew. What the state says cannot be done is taken as not done: a directory that was
 * to be exchanged with nothing is still where it was when a file comes in its place. Pure: nothing is done to the state.
 */
import {isWithin, joinPath, nameOf, parentOf, ROOT, splitPath, type Name, type RelPath} from '../model/path.ts';

/** A place that the batch has touched, or that lies above one. */
interface Node {
  /** Where the state has what is here; `undefined` where nothing of the state is. */
  readonly origin: RelPath | undefined;
  /** By how much the batch changed what lies here and below. */
  change: number;
  /** The batch made it. */
  isMade: boolean;
  children: Map<Name, Node> | undefined;
}

export class BatchTree {
  readonly #countBefore: (path: RelPath) => number;
  readonly #root = newNode(ROOT);

  /** @param countBefore entries at and below a path before the batch, 0 where nothing is */
  constructor(countBefore: (path: RelPath) => number) {
    this.#countBefore = countBefore;
  }

  countAt(path: RelPath): number {
    return this.#count(this.#node(path));
  }

  make(path: RelPath): void {
    this.#node(path).isMade = true;
  }

  remove(path: RelPath): void {
    this.#put(path, newNode(undefined));
  }

  /** What is at `to` goes. */
  rename(from: RelPath, to: RelPath): void {
    const moved = this.#node(from);
    if (isWithin(to, from) || !this.#isThere(moved) || !this.#isThere(this.#node(parentOf(to)))) return;
    this.remove(from);
    this.#put(to, moved);
  }

  exchange(one: RelPath, other: RelPath): void {
    if (isWithin(one, other) || isWithin(other, one)) return;
    const [atOne, atOther] = [this.#node(one), this.#node(other)];
    if (!this.#isThere(atOne) || !this.#isThere(atOther)) return;
    this.#put(one, atOther);
    this.#put(other, atOne);
  }

  #isThere(node: Node): boolean {
    return node === this.#root || node.isMade || this.#count(node) > 0;
  }

  #count({origin, change}: Node): number {
    return Math.max(0, (origin === undefined ? 0 : this.#countBefore(origin)) + change);
  }

  #node(path: RelPath): Node {
    return this.#nodesTo(path).at(-1) as Node;
  }

  /** The nodes from the root to a path, both among them. */
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
    const above = this.#nodesTo(parentOf(path));
    const change = this.#count(node) - this.countAt(path);
    for (const each of above) each.change += change;
    above.at(-1)?.children?.set(nameOf(path), node); // countAt has made a place for it
  }
}

function newNode(origin: RelPath | undefined): Node {
  return {origin, change: 0, isMade: false, children: undefined};
}
