/**
 * Gives back the space of zeros that became holes on the source without any byte being changed: which files are in
 * question, and one step of work at a time.
 *
 * Not the digging (sparse.ts). Invariant: a file is only touched while the state knows it as this link left it; what is
 * forgotten here costs space, nothing else.
 */
import type {JobRunner} from '../base/jobs.ts';
import {isUntouched, seenOf, type Entry, type Seen, type Stat} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import type {ApplyJobs} from './apply-jobs.ts';
import {isAbove, type DugStep} from './sparse.ts';

/** What this needs of the state: all names of one file have rows, and its times change for all of them. */
export interface RowsOfFile {
  findByInode(ino: number): {entry: Entry & {parentId: number}}[];
  put(parentId: number, entry: Entry): number;
  refreshNames(entry: Entry): void;
}

interface Waiting {
  seen: Seen;
  from: number;
}

const WAITING_MAX = 10_000; // paths; more is given back when those files change again

export class GiveBack {
  readonly #parts: {jobs: JobRunner<ApplyJobs>; store: RowsOfFile};
  readonly #waiting = new Map<RelPath, Waiting>();

  constructor(parts: {jobs: JobRunner<ApplyJobs>; store: RowsOfFile}) {
    this.#parts = parts;
  }

  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** A file is as it is on the source, which has so much allocated of it. */
  note(path: RelPath, stat: Stat, allocatedBytes: number): void {
    if (stat.type !== 'file' || !isAbove(stat, allocatedBytes) || this.#waiting.size >= WAITING_MAX) return;
    this.#waiting.set(path, {seen: seenOf(stat), from: 0});
  }

  /** One step. */
  async step(): Promise<void> {
    const [next] = this.#waiting;
    if (next === undefined) return;
    const [path, {seen, from}] = next;
    let dug: DugStep | undefined;
    try {
      dug = await this.#parts.jobs.run('dig-holes', {path, expected: seen, from});
    } finally {
      this.#waiting.delete(path);
    }
    if (dug === undefined) return;
    this.#record(seen, dug.stat);
    if (dug.next !== undefined) this.#waiting.set(path, {seen: seenOf(dug.stat), from: dug.next});
  }

  #record(seen: Seen, stat: Stat): void {
    const {store} = this.#parts;
    const row = store.findByInode(seen.ino).find(({entry}) => isUntouched(seen, entry));
    if (row === undefined) return;
    const entry = {...row.entry, ...stat};
    store.put(row.entry.parentId, entry);
    if (stat.nlink > 1) store.refreshNames(entry);
  }
}
