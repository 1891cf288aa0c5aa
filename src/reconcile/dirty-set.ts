/**
 * Names that a watcher reported, until they were quiet for a while. Pure: the caller gives the time.
 *
 * A name that never rests is due after `maxWaitMs` all the same. Invariant: a name that was noted comes out once, or
 * the set says that it is full and everything must be looked at.
 */
import type {Name, RelPath} from '../model/path.ts';

export interface DirtyOptions {
  settleMs: number;
  maxWaitMs: number;
  countMax: number;
}

interface Noted {
  firstMs: number;
  lastMs: number;
}

/** Names of one directory that are due; `names` undefined: the whole listing is in doubt; `tree`: all below it too. */
export interface DueDir {
  path: RelPath;
  names: Name[] | undefined | 'tree';
  /** When the first of them was noticed. */
  firstMs: number;
}

const WHOLE: Name = '/'; // no name holds a slash
const TREE: Name = '//';

export class DirtySet {
  readonly #options: DirtyOptions;
  readonly #dirs = new Map<RelPath, Map<Name, Noted>>();
  #count = 0;
  #isFull = false;
  #hurryMs = -Infinity;

  constructor(options: DirtyOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#count;
  }

  /** Too much was noted: the set is empty again, and the volume must be scanned. Asking resets it. */
  takeFull(): boolean {
    const isFull = this.#isFull;
    this.#isFull = false;
    return isFull;
  }

  /** @param name undefined for the directory's whole listing */
  note(dir: RelPath, name: Name | undefined, nowMs: number): void {
    const key = name ?? WHOLE;
    let names = this.#dirs.get(dir);
    if (names === undefined) this.#dirs.set(dir, (names = new Map()));
    const noted = names.get(key);
    if (noted !== undefined) {
      noted.lastMs = nowMs;
      return;
    }
    names.set(key, {firstMs: nowMs, lastMs: nowMs});
    this.#count++;
    if (this.#count > this.#options.countMax) this.clear(true);
  }

  /** A directory whose whole tree is in doubt. */
  noteTree(dir: RelPath, nowMs: number): void {
    this.note(dir, TREE, nowMs);
  }

  /** Takes out what is due, at most `countMax` names. */
  take(nowMs: number, countMax: number): DueDir[] {
    const due: DueDir[] = [];
    let left = countMax;
    for (const [path, names] of this.#dirs) {
      const taken: Name[] = [];
      let firstMs = Infinity;
      for (const [name, noted] of names) {
        if (left === 0) break;
        if (this.#dueMs(noted) > nowMs) continue;
        names.delete(name);
        taken.push(name);
        firstMs = Math.min(firstMs, noted.firstMs);
        left--;
      }
      this.#count -= taken.length;
      if (names.size === 0) this.#dirs.delete(path);
      if (taken.length > 0) due.push({path, names: namesOf(taken), firstMs});
      if (left === 0) break;
    }
    return due;
  }

  /** Names that are in the set, due or not, at most `countMax`; they stay. Directories in doubt as a whole are left out. */
  peek(countMax: number): {path: RelPath; names: Name[]}[] {
    const found: {path: RelPath; names: Name[]}[] = [];
    let left = countMax;
    for (const [path, noted] of this.#dirs) {
      if (left <= 0) break;
      const names = [...noted.keys()].filter((name) => !name.startsWith('/')).slice(0, left);
      left -= names.length;
      if (names.length > 0) found.push({path, names});
    }
    return found;
  }

  /** When the next name is due; undefined when there is none. */
  nextDueMs(): number | undefined {
    let nextMs: number | undefined;
    for (const names of this.#dirs.values()) {
      for (const noted of names.values()) {
        const dueMs = this.#dueMs(noted);
        if (nextMs === undefined || dueMs < nextMs) nextMs = dueMs;
      }
    }
    return nextMs;
  }

  /** What was noted until now is due, quiet or not. */
  hurry(nowMs: number): void {
    this.#hurryMs = nowMs;
  }

  clear(isFull: boolean): void {
    this.#dirs.clear();
    this.#count = 0;
    this.#isFull = isFull;
  }

  #dueMs(noted: Noted): number {
    if (noted.firstMs <= this.#hurryMs) return noted.firstMs;
    return Math.min(noted.lastMs + this.#options.settleMs, noted.firstMs + this.#options.maxWaitMs);
  }
}

function namesOf(taken: Name[]): DueDir['names'] {
  if (taken.includes(TREE)) return 'tree';
  return taken.includes(WHOLE) ? undefined : taken;
}
