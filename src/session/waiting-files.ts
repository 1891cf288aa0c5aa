/**
 * Large files that wait for their turn, in order, and what is asked of them for each step: answered without a walk
 * through the queue.
 *
 * Invariant: the counts of a path are those of its items in the queue.
 */
import type {RelPath} from '../model/path.ts';
import type {Item} from './send-item.ts';

export class WaitingFiles {
  readonly #items: Item[] = [];
  /** Of a path: items that wait, and those of them that are read as the file is then. */
  readonly #counts = new Map<RelPath, {all: number; hot: number}>();
  #hotCount = 0;

  get size(): number {
    return this.#items.length;
  }

  get hotCount(): number {
    return this.#hotCount;
  }

  has(path: RelPath): boolean {
    return this.#counts.has(path);
  }

  /** Whether one of them is to be read as it is then. */
  isHot(path: RelPath): boolean {
    return (this.#counts.get(path)?.hot ?? 0) > 0;
  }

  push(item: Item): void {
    this.#items.push(item);
    this.#count(item, 1);
  }

  /** Takes out the first whose path fits. */
  takeFirst(isFree: (path: RelPath) => boolean): Item | undefined {
    const index = this.#items.findIndex(({path}) => isFree(path));
    return index < 0 ? undefined : this.#takeAt(index);
  }

  /** Takes out those of a path that are over. */
  drop(path: RelPath, isOver: (item: Item) => boolean): void {
    for (let index = this.#items.length - 1; index >= 0 && this.has(path); index--) {
      const item = this.#items[index] as Item;
      if (item.path === path && isOver(item)) this.#takeAt(index);
    }
  }

  #takeAt(index: number): Item {
    const [item] = this.#items.splice(index, 1) as [Item];
    this.#count(item, -1);
    return item;
  }

  #count(item: Item, by: 1 | -1): void {
    const counts = this.#counts.get(item.path) ?? {all: 0, hot: 0};
    const hotBy = isHotItem(item) ? by : 0;
    counts.all += by;
    counts.hot += hotBy;
    this.#hotCount += hotBy;
    if (counts.all === 0) this.#counts.delete(item.path);
    else this.#counts.set(item.path, counts);
  }
}

export function isHotItem({reading}: Item): boolean {
  return reading !== undefined && reading !== 'at-rest';
}
