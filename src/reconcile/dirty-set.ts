/**
 * Names that a watcher reported, until they were quiet for a while. Pure: the caller gives the time.
 *
 * A name that never rests is due after `maxWaitMs` all the same; one that was read in vain because of that is given more
 * patience. Invariant: a name that was noted comes out once, or the set says that it is full and everything must be
 * looked at.
 */
import {joinPath, type Name, type RelPath} from '../model/path.ts';

export interface DirtyOptions {
  settleMs: number;
  maxWaitMs: number;
  countMax: number;
}

/** For how long a name that never rests is left alone. */
export interface Patience {
  /** So many times the usual waits, within bounds; 1: it rests. */
  times: number;
  /** While it goes on changing, for this time at least. */
  waitMs: number;
}

export const USUAL: Patience = {times: 1, waitMs: 0};

interface Noted {
  firstMs: number;
  lastMs: number;
  patience: Patience;
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
const RESTLESS_MAX = 1_000;
const SETTLE_MS_MAX = 5_000; // of a name with patience: when it rests at last, it is to arrive soon
const MAX_WAIT_MS_MAX = 60_000;

export class DirtySet {
  readonly #options: DirtyOptions;
  readonly #dirs = new Map<RelPath, Map<Name, Noted>>();
  #count = 0;
  /** Of these, names that are given more patience. */
  #restlessCount = 0;
  readonly #patience = new Map<RelPath, Patience>();
  #isFull = false;
  #hurryMs = -Infinity;

  constructor(options: DirtyOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#count;
  }

  /** Names in the set of which nothing new is expected soon: they never rested when they were read. */
  get restlessCount(): number {
    return this.#restlessCount;
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
    const patience = this.#patience.size === 0 ? USUAL : (this.#patience.get(joinPath(dir, key)) ?? USUAL);
    names.set(key, {firstMs: nowMs, lastMs: nowMs, patience});
    this.#count++;
    if (patience.times > 1) this.#restlessCount++;
    if (this.#count > this.#options.countMax) this.clear(true);
  }

  /** From now on the waits of this name are so much longer. */
  setPatience(dir: RelPath, name: Name, patience: Patience): void {
    const path = joinPath(dir, name);
    this.#patience.delete(path);
    if (patience.times > 1) this.#patience.set(path, patience);
    for (const oldest of this.#patience.keys()) if (this.#patience.size > RESTLESS_MAX) this.#patience.delete(oldest);
    const noted = this.#dirs.get(dir)?.get(name);
    if (noted !== undefined) this.#give(noted, patience);
  }

  #give(noted: Noted, patience: Patience): void {
    this.#restlessCount += Number(patience.times > 1) - Number(noted.patience.times > 1);
    noted.patience = patience;
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
        this.#give(noted, USUAL);
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
    if (this.#restlessCount === 0) return;
    for (const names of this.#dirs.values()) for (const noted of names.values()) this.#give(noted, USUAL);
  }

  clear(isFull: boolean): void {
    this.#dirs.clear();
    this.#count = 0;
    this.#restlessCount = 0;
    this.#isFull = isFull;
  }

  #dueMs(noted: Noted): number {
    if (noted.firstMs <= this.#hurryMs) return noted.firstMs;
    const {settleMs, maxWaitMs} = this.#options;
    const {times, waitMs} = noted.patience;
    if (times === 1) return Math.min(noted.lastMs + settleMs, noted.firstMs + maxWaitMs);
    const restMs = Math.max(settleMs, Math.min(SETTLE_MS_MAX, settleMs * times));
    const longestMs = Math.max(maxWaitMs, waitMs, Math.min(MAX_WAIT_MS_MAX, maxWaitMs * times));
    return Math.min(noted.lastMs + restMs, noted.firstMs + longestMs);
  }
}

function namesOf(taken: Name[]): DueDir['names'] {
  if (taken.includes(TREE)) return 'tree';
  return taken.includes(WHOLE) ? undefined : taken;
}
