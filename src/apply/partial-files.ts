/**
 * Keeps the parts of large files whose transfer ended before they were whole, so that a later one goes on: which there
 * are, who works on them, and when they go.
 *
 * Invariants: a part is worked on by one transfer at most; parts that nobody works on are bounded in count, size and age,
 * and go before anything of the user's (the trash, for one) has to.
 */
import type {Clock} from '../base/clock.ts';
import type {JobRunner} from '../base/jobs.ts';
import type {Op, OpResult} from '../model/op.ts';
import {PARTIAL_BYTES_MIN, type PartialFile} from '../model/partial-file.ts';
import {isWithin, type Name, type RelPath} from '../model/path.ts';
import type {StagedJobs} from './staged-transfers.ts';

/** What is remembered of parts over a restart; state/partial-rows.ts by shape. */
export interface PartialNotes {
  /** The oldest first. */
  all(): PartialFile[];
  put(file: PartialFile): void;
  drop(stage: Name): void;
}

export interface PartialFilesParts {
  /** Asked when it is first needed. `pending`: batches that are not done, which may need any part. */
  journal: () => {partials: PartialNotes; pending(): Iterable<unknown>};
  jobs: JobRunner<Pick<StagedJobs, 'drop-parts'>>;
  clock: Clock;
}

const IDLE_MAX = 16;
const IDLE_BYTES_MAX = 64 * 2 ** 30;
const IDLE_ALWAYS = 2; // as many as a source sends at a time, however large
const IDLE_MS_MAX = 7 * 86_400_000;

export class PartialFiles {
  readonly #parts: PartialFilesParts;
  readonly #used = new Map<Name, PartialFile>();
  /** Nobody works on these; the oldest first. */
  #idle: PartialFile[] | undefined;
  #removing: Promise<void> = Promise.resolve();

  constructor(parts: PartialFilesParts) {
    this.#parts = parts;
  }

  /** Whether a file is large enough for its part to be kept. */
  isWorth(sizeBytes: number): boolean {
    return sizeBytes >= PARTIAL_BYTES_MIN;
  }

  /** Paths that a part is kept of. */
  paths(): RelPath[] {
    return [...new Set(this.#all().map(({path}) => path))];
  }

  /** Parts that nobody works on, the oldest first. */
  idle(): readonly PartialFile[] {
    return this.#all();
  }

  /** The part of a path, which its caller works on from now on. */
  take(path: RelPath): PartialFile | undefined {
    const part = this.#all().findLast((each) => each.path === path);
    if (part !== undefined) this.#use(part);
    return part;
  }

  /** A file was made, or taken up, and its caller works on it. */
  note(part: Omit<PartialFile, 'atMs'>): void {
    const noted = {...part, atMs: this.#parts.clock.nowMs()};
    this.#use(noted);
    this.#parts.journal().partials.put(noted);
  }

  /** Nobody works on it any more, and it stays. Of one path one part stays. */
  async leave(stage: Name): Promise<void> {
    const part = this.#used.get(stage);
    if (part === undefined) return;
    this.#used.delete(stage);
    const older = this.#all().filter(({path}) => path === part.path);
    this.#idle = [...this.#all().filter(({path}) => path !== part.path), part];
    await this.#remove([...older, ...beyondLimits(this.#idle)]);
  }

  /** Nobody works on it any more, and nothing is removed now: what a batch has journalled may need any part. */
  keep(stage: Name): void {
    const part = this.#used.get(stage);
    if (part === undefined) return;
    this.#used.delete(stage);
    this.#idle = [...this.#all(), part];
  }

  /** It is in place, or was removed. */
  gone(stage: Name): void {
    this.#used.delete(stage);
    this.#idle = this.#all().filter((part) => part.stage !== stage);
    this.#parts.journal().partials.drop(stage);
  }

  /** What was done leaves no use for the parts of these paths. */
  async outdated(ops: readonly Op[], results: readonly OpResult[]): Promise<void> {
    if (this.#all().length === 0) return;
    const done = ops.filter((_, index) => results[index]?.status === 'done');
    await this.#remove(this.#all().filter(({path}) => done.some((op) => settles(op, path))));
  }

  /** Removes those that are too old, once no batch waits to be completed. */
  async prune(): Promise<void> {
    const [waiting] = this.#parts.journal().pending();
    if (waiting !== undefined) return;
    const sinceMs = this.#parts.clock.nowMs() - IDLE_MS_MAX;
    await this.#remove(this.#all().filter(({atMs}) => atMs < sinceMs));
  }

  /** Removes all that nobody works on. @returns how many there were */
  async clear(): Promise<number> {
    const {length} = this.#all();
    await this.#remove(this.#all());
    return length;
  }

  /** Resolves when what is to be removed is removed, or could not be: the next sweep does it then. */
  settled(): Promise<void> {
    return this.#removing;
  }

  #all(): PartialFile[] {
    return (this.#idle ??= this.#parts.journal().partials.all());
  }

  #use(part: PartialFile): void {
    this.#idle = this.#all().filter(({stage}) => stage !== part.stage);
    this.#used.set(part.stage, part);
  }

  /** One that cannot be removed is no reason to end a link: it has no row any more, and the next sweep tries again. */
  async #remove(doomed: readonly PartialFile[]): Promise<void> {
    if (doomed.length === 0) return;
    for (const {stage} of doomed) this.gone(stage);
    const removed = this.#parts.jobs.run('drop-parts', {parts: doomed}, {lane: 1});
    this.#removing = Promise.allSettled([this.#removing, removed]).then(() => undefined);
    await this.#removing;
  }
}

/** @param parts the oldest first */
function beyondLimits(parts: readonly PartialFile[]): PartialFile[] {
  let leftBytes = IDLE_BYTES_MAX;
  return parts.toReversed().filter(({sizeBytes}, index) => {
    leftBytes -= sizeBytes;
    return index >= IDLE_MAX || (index >= IDLE_ALWAYS && leftBytes < 0);
  });
}

/** Whether a path needs nothing more once this is done: it has arrived another way, or is gone. */
function settles(op: Op, path: RelPath): boolean {
  switch (op.kind) {
    case 'put-file':
    case 'link':
      return op.path === path;
    case 'delete':
      return isWithin(path, op.path);
    case 'rename':
      return isWithin(path, op.path) || isWithin(path, op.to);
    default:
      return false;
  }
}
