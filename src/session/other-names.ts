/**
 * The other names of files with several: each waits until the first name's content is there, and becomes a link to it.
 *
 * Sends nothing. Invariant: nothing is linked to a file that is read as it is now while that is on its way.
 */
import {isUntouched, type Entry} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import {FirstNames} from './first-names.ts';
import type {Item, SourceStore} from './send-item.ts';

export interface OtherNamesParts {
  store: SourceStore;
  /** Whether a file that is on its way is read as it is now. */
  isHot(path: RelPath): boolean;
}

export class OtherNames {
  readonly #parts: OtherNamesParts;
  readonly #firstNames: FirstNames;
  readonly #waiting: Item[] = [];

  constructor(parts: OtherNamesParts) {
    this.#parts = parts;
    this.#firstNames = new FirstNames(parts.store);
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** Whether all are names of files that are read as they are now. */
  get areHot(): boolean {
    return this.#waiting.every(({path}) => {
      const entry = this.#parts.store.entryAt(path);
      const first = entry && this.#firstNames.of(entry);
      return first !== undefined && first !== path && this.#parts.isHot(first);
    });
  }

  /** @param entry with more than one name @returns false when this is the first: it is sent by itself */
  take(item: Item, entry: Entry): boolean {
    if (this.#firstNames.of(entry) === item.path) return false;
    this.#waiting.push(item);
    return true;
  }

  /** Those whose first name waits for nothing. */
  release(): Item[] {
    const {store} = this.#parts;
    const released: Item[] = [];
    for (const item of this.#waiting.splice(0)) {
      const entry = store.entryAt(item.path);
      const first = entry && this.#firstNames.of(entry);
      if (entry === undefined || first === undefined) continue; // gone meanwhile: its event comes
      if (first === item.path) released.push({...item, mustSend: true});
      else if (this.#parts.isHot(first)) this.#waiting.push(item);
      else {
        this.#adoptContent(entry, first);
        released.push({...item, op: {kind: 'link', path: item.path, to: first}, mustSend: true});
      }
    }
    return released;
  }

  /** The smallest names are looked for anew: what comes may be smaller than what was known. */
  forget(): void {
    this.#firstNames.forget();
  }

  /** What was read through the first name holds for the others: no name is read twice. */
  #adoptContent(entry: Entry, first: RelPath): void {
    const {store} = this.#parts;
    const leader = store.entryAt(first);
    if (leader?.content !== undefined && isUntouched(leader, entry)) store.setContentOf(entry, leader.content);
  }
}
