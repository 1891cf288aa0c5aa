/**
 * Which name of a file with several names stands for all of them: the one whose content is sent, to which the others are
 * linked. Looked up once for a file, as long as that name is its: a file may have 65,000 names.
 */
import {sameInode, type Entry} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import type {SourceStore} from './send-item.ts';

const KNOWN_MAX = 10_000;

export class FirstNames {
  readonly #store: Pick<SourceStore, 'entryAt' | 'namesOf'>;
  readonly #known = new Map<number, RelPath>();

  constructor(store: Pick<SourceStore, 'entryAt' | 'namesOf'>) {
    this.#store = store;
  }

  /** @param entry with more than one name; undefined when it is nowhere any more */
  of(entry: Entry): RelPath | undefined {
    const known = this.#known.get(entry.ino);
    const there = known === undefined ? undefined : this.#store.entryAt(known);
    if (there !== undefined && sameInode(there, entry)) return known;
    const first = this.#store.namesOf(entry)[0];
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    if (first !== undefined) this.#known.set(entry.ino, first);
    return first;
  }

  /** The smallest name is looked for anew: what comes may be smaller than what was known. */
  forget(): void {
    this.#known.clear();
  }
}
