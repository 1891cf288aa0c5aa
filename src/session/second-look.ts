/**
 * Reads files once more that had changed only just before they were read: what was stored since, under the same times, is
 * a change like any other.
 *
 * Not the judge of when (fresh-read.ts). Invariants: a file that was read too soon is read again once it is at rest, also
 * after a restart; it holds up nothing else, and takes a quarter of the time of one core at most.
 */
import {sleepUnless, type Clock} from '../base/clock.ts';
import type {JobRunner} from '../base/jobs.ts';
import {digestAt, sameDigest, type Digest} from '../model/digest.ts';
import {seenOf, type Entry} from '../model/entry.ts';
import {nameOf, parentOf, type Name, type RelPath} from '../model/path.ts';
import {dueAfterRead, dueFrom, isStillChanging, QUIET_MS} from '../reconcile/fresh-read.ts';
import type {Change} from '../scan/pass.ts';
import {READ_STATUS} from './large-file.ts';
import type {SenderJobs} from './send-item.ts';

export interface SecondLookState {
  /** The state's list of what is to be read again. */
  fresh: {
    note(ino: number, dueMs: number): void;
    has(ino: number): boolean;
    nextDueMs(): number | undefined;
    due(nowMs: number, latestMs: number): {inodes: readonly number[]; done(): void} | undefined;
  };
  /** A name of the file with this inode number, if it is known. */
  fileOf(ino: number): {path: RelPath; entry: Entry} | undefined;
  /** Notes what a file holds now, under each of its names. @returns the changes; none when it is another by now */
  takeContent(file: {path: RelPath; entry: Entry}, content: Digest): Change[];
}

export interface SecondLookParts {
  state: SecondLookState;
  jobs: JobRunner<SenderJobs>;
  clock: Clock;
}

/** Who is told of what was found. */
export interface SecondLookListener {
  /** Look at this name: what the state says of it is out of date. */
  note(dir: RelPath, name: Name): void;
  /** Changes that the state knows already. */
  tell(changes: Change[]): void;
}

const FILES_AT_ONCE = 128;
const BYTES_AT_ONCE = 64 << 20; // a larger file goes alone
const PAUSE_FACTOR = 3;
const PAUSE_MS_MAX = 5_000;
const SLEEP_MS_MAX = 3_600_000; // within what a timer can hold

export class SecondLook {
  readonly #quietMs: number;
  readonly #parts: SecondLookParts;
  #mapped: ReadonlySet<number> = new Set();
  #wake = Promise.withResolvers<void>();

  /** @param quietMs other than `QUIET_MS` in tests only, which cannot wait so long */
  constructor({quietMs = QUIET_MS}: {quietMs?: number | undefined}, parts: SecondLookParts) {
    this.#quietMs = quietMs;
    this.#parts = parts;
  }

  /** A file was read as this entry says, and the state has its content. */
  wasRead({ino, ctime}: Entry): void {
    if (this.#mapped.has(ino)) return this.doubt(ino);
    const dueMs = dueAfterRead(ctime, this.#parts.clock.nowMs(), this.#quietMs);
    if (dueMs !== undefined) this.#note(ino, dueMs);
  }

  /** Inode numbers of files that some process may store into without a system call: none is at rest when it is read. */
  setMapped(inodes: ReadonlySet<number>): void {
    this.#mapped = inodes;
  }

  /** Whether other bytes under the same times would be no surprise: then they are a change like any other. */
  isDoubtful({ino, ctime}: Entry): boolean {
    const nowMs = this.#parts.clock.nowMs();
    return (
      this.#mapped.has(ino) ||
      dueAfterRead(ctime, nowMs, this.#quietMs) !== undefined ||
      this.#parts.state.fresh.has(ino)
    );
  }

  /** A file may have changed without its times telling. */
  doubt(ino: number): void {
    this.#note(ino, dueFrom(this.#parts.clock.nowMs(), this.#quietMs));
  }

  #note(ino: number, dueMs: number): void {
    this.#parts.state.fresh.note(ino, dueMs);
    this.#wake.resolve();
  }

  /** Reads what becomes due until the signal is aborted. @throws what keeps the volume from being read */
  async run(listener: SecondLookListener, signal: AbortSignal): Promise<void> {
    const {clock, state} = this.#parts;
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers();
      if (await this.#takeGroup(listener, signal, true)) continue;
      const dueMs = state.fresh.nextDueMs();
      if (dueMs === undefined) await sleepUnless(clock, SLEEP_MS_MAX, {signal, woken: this.#wake.promise});
      // Never due later than this, unless the clock was set back meanwhile.
      else await clock.sleep(within(dueMs - clock.nowMs(), 2 * this.#quietMs), signal).catch(() => undefined);
    }
  }

  /** Reads what is due now, without pauses. */
  async catchUp(listener: SecondLookListener, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (await this.#takeGroup(listener, signal, false)));
  }

  /** Reads all of them now, due or not: who asks knows that nothing is written meanwhile. They stay noted. */
  async readNow(listener: SecondLookListener, signal: AbortSignal): Promise<void> {
    const {fresh} = this.#parts.state;
    const all = new Set<number>();
    for (let group = fresh.due(Infinity, Infinity); group !== undefined; group = fresh.due(Infinity, Infinity)) {
      for (const ino of group.inodes) all.add(ino);
      group.done();
    }
    for (const ino of all) this.doubt(ino);
    for (const files of this.#slices([...all], 0)) {
      if (signal.aborted) return;
      await this.#read(files, listener, signal);
    }
  }

  /** @returns whether there was one */
  async #takeGroup(listener: SecondLookListener, signal: AbortSignal, isPaced: boolean): Promise<boolean> {
    const {clock, state} = this.#parts;
    const nowMs = clock.nowMs();
    const group = state.fresh.due(nowMs, nowMs + 2 * this.#quietMs);
    if (group === undefined) return false;
    for (const files of this.#slices(group.inodes, this.#quietMs)) {
      const startMs = clock.monotonicMs();
      await this.#read(files, listener, signal);
      if (signal.aborted) return true; // what is left is still noted
      const pauseMs = isPaced ? Math.min(PAUSE_MS_MAX, PAUSE_FACTOR * (clock.monotonicMs() - startMs)) : 0;
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
    if (!signal.aborted) group.done();
    return true;
  }

  /** The files that are still to be read, some at a time; each is looked up when it is its turn. */
  *#slices(inodes: readonly number[], quietMs: number): Generator<{path: RelPath; entry: Entry}[]> {
    const {state, clock} = this.#parts;
    let files: {path: RelPath; entry: Entry}[] = [];
    let bytes = 0;
    for (const ino of inodes) {
      const file = state.fileOf(ino);
      // Unread: it will be, and is noted then.
      if (file?.entry.content === undefined || isStillChanging(file.entry.ctime, clock.nowMs(), quietMs)) continue;
      files.push(file);
      bytes += file.entry.sizeBytes;
      if (files.length < FILES_AT_ONCE && bytes < BYTES_AT_ONCE) continue;
      yield files;
      files = [];
      bytes = 0;
    }
    if (files.length > 0) yield files;
  }

  async #read(
    files: readonly {path: RelPath; entry: Entry}[],
    listener: SecondLookListener,
    signal: AbortSignal,
  ): Promise<void> {
    const {state, jobs} = this.#parts;
    const wanted = files.map(({path, entry}) => ({path, expected: seenOf(entry)}));
    const read = await jobs.run('hash-files', {files: wanted}, {lane: 1}).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
    if (read === undefined || signal.aborted) return; // the state may be closed by now
    const changes: Change[] = [];
    for (const [index, file] of files.entries()) {
      if (read.status[index] === READ_STATUS.ok) {
        const content = digestAt(read.digests, index);
        if (sameDigest(content, file.entry.content)) continue;
        for (const change of state.takeContent(file, content)) changes.push(change); // one for each name
        this.doubt(file.entry.ino); // what has changed once in silence may do so again
      } else if (read.status[index] !== READ_STATUS.unreadable) {
        listener.note(parentOf(file.path), nameOf(file.path));
      }
    }
    if (changes.length > 0) listener.tell(changes);
  }
}

function within(delayMs: number, delayMsMax: number): number {
  return Math.max(0, Math.min(delayMs, delayMsMax));
}
