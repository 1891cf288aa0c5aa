/**
 * Events on their way from the reading thread: repeated ones are dropped, the rest is packed for the message.
 *
 * Invariant: an event is dropped only when an equal one is in the same batch and no directory moved in between.
 */
import type {Name, RelPath} from '../model/path.ts';
import {EVENTS_PER_MESSAGE_MAX, type NameChange, type WatchEvent} from './watcher.ts';

const CHANGES = ['created', 'changed', 'meta', 'removed', 'moved-from', 'moved-to'] as const satisfies NameChange[];
const KINDS = ['subtree', 'listing', 'overflow', 'root-gone', 'degraded'] as const;
const KIND_FIRST = 8;
const IS_DIR = 128;
const ROW_WORDS = 3; // what, index of the directory, cookie or count
const ROWS_AT_REST = 256; // many volumes have one of these each, and few are busy

/** What travels: row after row of words, and the strings that they point at. */
export interface PackedEvents {
  table: Uint32Array<ArrayBuffer>;
  dirs: RelPath[];
  /** One per row: the name of a `name` event, a reason, or ''. */
  texts: string[];
}

export class EventBatch {
  readonly #send: (packed: PackedEvents) => void;
  #words = new Uint32Array(ROWS_AT_REST * ROW_WORDS);
  #count = 0;
  #dirs: RelPath[] = [];
  #texts: string[] = [];
  readonly #indexOfDir = new Map<RelPath, number>();
  readonly #seen = new Set<string>();

  /** @param send takes a full batch */
  constructor(send: (packed: PackedEvents) => void) {
    this.#send = send;
  }

  name(dir: RelPath, name: Name, change: NameChange, isDir: boolean, cookie: number): void {
    const what = CHANGES.indexOf(change);
    this.#add(what + (isDir ? IS_DIR : 0), dir, name, cookie);
  }

  subtree(dir: RelPath): void {
    this.#add(KIND_FIRST, dir, '', 0);
  }

  listing(dir: RelPath): void {
    this.#add(KIND_FIRST + 1, dir, '', 0);
  }

  overflow(reason: string): void {
    this.#add(KIND_FIRST + 2, '', reason, 0);
  }

  rootGone(reason: string): void {
    this.#add(KIND_FIRST + 3, '', reason, 0);
  }

  degraded(reason: string, unwatchedDirs: number): void {
    this.#add(KIND_FIRST + 4, '', reason, unwatchedDirs);
  }

  /** A directory got another path: equal words no longer mean equal things. */
  forgetSeen(): void {
    this.#seen.clear();
  }

  /** Sends what is there. */
  flush(): void {
    if (this.#count === 0) return;
    const table = this.#words.slice(0, this.#count * ROW_WORDS);
    const packed = {table, dirs: this.#dirs, texts: this.#texts};
    this.clear();
    this.#send(packed);
  }

  /** Forgets what is there. */
  clear(): void {
    this.#count = 0;
    if (this.#words.length > ROWS_AT_REST * ROW_WORDS) this.#words = new Uint32Array(ROWS_AT_REST * ROW_WORDS);
    this.#dirs = [];
    this.#texts = [];
    this.#indexOfDir.clear();
    this.#seen.clear();
  }

  #add(what: number, dir: RelPath, text: string, number: number): void {
    let dirIndex = this.#indexOfDir.get(dir);
    if (dirIndex === undefined) {
      dirIndex = this.#dirs.push(dir) - 1;
      this.#indexOfDir.set(dir, dirIndex);
    }
    const key = `${what}/${dirIndex}/${number}/${text}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    const at = this.#count * ROW_WORDS;
    if (at === this.#words.length) this.#grow();
    this.#words[at] = what;
    this.#words[at + 1] = dirIndex;
    this.#words[at + 2] = number;
    this.#texts.push(text);
    if (++this.#count === EVENTS_PER_MESSAGE_MAX) this.flush();
  }

  #grow(): void {
    const grown = new Uint32Array(this.#words.length * 2);
    grown.set(this.#words);
    this.#words = grown;
  }
}

/** The events of a message. */
export function unpackEvents({table, dirs, texts}: PackedEvents): WatchEvent[] {
  return texts.map((text, index) => {
    const at = index * ROW_WORDS;
    return unpackRow(table[at]!, dirs[table[at + 1]!]!, text, table[at + 2]!);
  });
}

function unpackRow(what: number, dir: RelPath, text: string, number: number): WatchEvent {
  const word = what & (IS_DIR - 1);
  if (word < KIND_FIRST) {
    return {kind: 'name', dir, name: text, change: CHANGES[word]!, isDir: (what & IS_DIR) !== 0, cookie: number};
  }
  const kind = KINDS[word - KIND_FIRST]!;
  switch (kind) {
    case 'subtree':
    case 'listing':
      return {kind, dir};
    case 'overflow':
    case 'root-gone':
      return {kind, reason: text};
    case 'degraded':
      return {kind, reason: text, unwatchedDirs: number};
  }
}
