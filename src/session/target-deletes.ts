/**
 * The target's judge of what batches destroy: by its own limits, whatever the source thinks of it.
 *
 * Not the applier, and not the guard itself (reconcile/delete-guard.ts, rolling-hour.ts). Invariant: what was judged
 * counts from then on, and what then could not be done does not.
 */
import type {Clock} from '../base/clock.ts';
import {TowlineError} from '../base/errors.ts';
import type {Entry, EntryType} from '../model/entry.ts';
import type {Failed, Op, OpResult} from '../model/op.ts';
import {isWithin, nameOf, parentOf, type RelPath} from '../model/path.ts';
import {
  judgeDeletes,
  NO_DELETE_LIMITS,
  noteDeletes,
  youngSinceMs,
  type Burst,
  type DeleteLimits,
  type Verdict,
} from '../reconcile/delete-guard.ts';
import type {RollingHour} from '../reconcile/rolling-hour.ts';
import {BatchTree} from './batch-tree.ts';
import type {TargetTree} from './target-tree.ts';

/** Of one operation: how many entries it destroys, and whether the state had nothing at its path before the batch. */
export interface Judged {
  count: number;
  /** Those of them that count within the hour. */
  hourly: number;
  isNew: boolean;
  /** What it takes away was taken for one entry at most: a directory that holds something there was not judged. */
  isBare: boolean;
}

type KnownEntry = Entry & {dirId: number};

const NOTHING: Judged = {count: 0, hourly: 0, isNew: false, isBare: false};
const NONE_REFUSED: ReadonlyMap<number, Failed> = new Map();

export interface TargetDeletesParts {
  tree: TargetTree;
  clock: Clock;
  hour: RollingHour;
}

export class TargetDeletes {
  readonly #options: {volume: string; deleteLimits: DeleteLimits};
  readonly #parts: TargetDeletesParts;
  #burst: Burst | undefined;
  #confirmed = 0;
  /** Each path is asked for several times while it is judged; the state is another one after that. */
  #lastLook: {path: RelPath; entry: KnownEntry | undefined} | undefined;

  constructor(options: {volume: string; deleteLimits: DeleteLimits}, parts: TargetDeletesParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** The operator lets so many go. */
  confirmed(count: number): void {
    this.#confirmed = count;
    this.#parts.hour.confirmed(count, this.#parts.clock.monotonicMs());
  }

  /**
   * @param refused operations that are not done, by index: what they name stays where it is
   * @returns what each operation destroys
   * @throws HALTED when this batch's deletes and those shortly before, or within the hour, are more than may go
   */
  judge(ops: readonly Op[], refused = NONE_REFUSED): Judged[] {
    const {tree, clock} = this.#parts;
    const nowMs = clock.monotonicMs();
    this.#lastLook = undefined;
    const judged = this.#judgeEach(ops, refused, nowMs);
    const count = judged.reduce((sum, each) => sum + each.count, 0);
    if (count === 0) return judged;
    const treeCount = tree.entryCount() - count; // noteDeletes counts what goes as still there
    this.#burst = noteDeletes(this.#burst, count, treeCount, nowMs, NO_DELETE_LIMITS).burst; // nothing is held here
    const {deleteLimits} = this.#options;
    const made = ops.filter((op, index) => makesEntry(op) && judged[index]?.isNew === true).length;
    const leftCount = tree.entryCount() - count + made;
    const {released} = this.#burst;
    // A tree that holds anything is not emptied: a long burst can replace more entries than there were at its start.
    const burstTreeCount = leftCount <= 0 ? this.#burst.treeCount : Math.max(this.#burst.treeCount, released + 1);
    const verdict = judgeDeletes(released, burstTreeCount, deleteLimits, this.#confirmed);
    if (!verdict.go) throw this.#halted(verdict, `${verdict.count} of ${burstTreeCount}`, '');
    const hourly = judged.reduce((sum, each) => sum + each.hourly, 0);
    const withinHour = this.#parts.hour.judge(hourly, {
      treeCount: tree.entryCount(),
      leftCount,
      limits: deleteLimits,
      nowMs,
      countAt: (path) => this.#filledCountAt(path),
    });
    if (!withinHour.go) throw this.#halted(withinHour, String(withinHour.count), ' within an hour');
    return judged;
  }

  #halted({kind, count, limit}: Verdict & {go: false}, counted: string, when: string): TowlineError {
    const message = `halted by the target: ${counted} entries would be deleted${when}; the limit is ${limit}`;
    return new TowlineError('HALTED', message, {kind, volume: this.#options.volume, count, limit});
  }

  /** What could not be deleted does not count, or trying again would add up to a halt; what was made is young. */
  noteDone(ops: readonly Op[], judged: readonly Judged[], results: readonly OpResult[]): void {
    const nowMs = this.#parts.clock.monotonicMs();
    let failedCount = 0;
    const treeCount = this.#parts.tree.entryCount() + judged.reduce((sum, {count}) => sum + count, 0);
    const {births} = this.#parts.hour;
    for (const [index, op] of ops.entries()) {
      const {count, hourly, isNew} = judged[index] as Judged;
      if (results[index]?.status !== 'done') {
        failedCount += count;
        continue;
      }
      if (op.kind === 'rename') this.#parts.hour.renamed(op.path, op.to, {isDir: op.type === 'dir', isOver: !isNew});
      else if (op.kind === 'exchange') this.#parts.hour.exchanged(op.path, op.to);
      else if (op.kind === 'delete') births.forget(op.path, op.type === 'dir');
      else if (op.kind !== 'set-meta' && isNew) births.born(op.path, nowMs);
      this.#parts.hour.note(op.kind === 'rename' ? undefined : op.path, hourly, {treeCount, nowMs});
    }
    if (failedCount > 0 && this.#burst !== undefined)
      this.#burst = {...this.#burst, released: Math.max(0, this.#burst.released - failedCount)};
  }

  #judgeEach(ops: readonly Op[], refused: ReadonlyMap<number, Failed>, nowMs: number): Judged[] {
    const batch = new BatchTree({countAt: (path) => this.#countAt(path), typeAt: (path) => this.#entryAt(path)?.type});
    const youngMs = youngSinceMs(this.#burst, nowMs);
    return ops.map((op, index) => {
      if (op.kind === 'set-meta' || refused.has(index)) return NOTHING;
      const path = op.kind === 'rename' ? op.to : op.path;
      const entry = this.#entryAt(path);
      const isYoung = op.kind === 'delete' && this.#parts.hour.births.isBornSince(path, youngMs);
      let count = isYoung ? 0 : destroyedBy(op, entry, batch.countAt(path));
      // What comes out of there is not destroyed with it.
      if (count > 0 && op.kind === 'rename' && isWithin(op.path, op.to))
        count = Math.max(0, count - batch.countAt(op.path));
      const isBare = op.kind !== 'exchange' && batch.allAt(path) <= 1; // with what is young, which counts nothing
      if (op.kind === 'exchange') batch.exchange(op.path, op.to);
      else if (op.kind === 'rename') batch.rename(op.path, op.to, op.type);
      else if (op.kind === 'delete') batch.remove(op.path);
      else batch.make(op.path, typeMadeBy(op, batch));
      return {count, hourly: this.#parts.hour.countOf(path, count, nowMs), isNew: entry === undefined, isBare};
    });
  }

  #entryAt(path: RelPath): KnownEntry | undefined {
    if (this.#lastLook?.path === path) return this.#lastLook.entry;
    const parentId = this.#parts.tree.dirIdOf(parentOf(path));
    const entry = parentId === undefined ? undefined : this.#parts.tree.get(parentId, nameOf(path));
    this.#lastLook = {path, entry};
    return entry;
  }

  /** An entry and all below it. */
  #countAt(path: RelPath): number {
    const entry = this.#entryAt(path);
    if (entry === undefined) return 0;
    return 1 + (entry.type === 'dir' ? this.#parts.tree.countBelow(entry.dirId) : 0);
  }

  /** As `#countAt`; of a file without content nothing is left. */
  #filledCountAt(path: RelPath): number {
    const entry = this.#entryAt(path);
    return entry?.type === 'file' && entry.sizeBytes === 0 ? 0 : this.#countAt(path);
  }
}

/**
 * @param entry what the state has at the operation's place
 * @param there entries that are there and below it by now
 */
function destroyedBy(op: Op, entry: Entry | undefined, there: number): number {
  if (op.kind === 'make-dir' || op.kind === 'exchange') return 0;
  if (op.kind === 'delete' || entry?.type === 'dir' || there > 1) return there;
  const isCut = op.kind === 'put-file' && op.sizeBytes === 0 && entry?.type === 'file' && entry.sizeBytes > 0;
  return isCut ? there : 0;
}

/** Type of what is there once it is done; undefined where that is another name of nothing that may have one. */
function typeMadeBy(
  op: Exclude<Op, {kind: 'exchange' | 'rename' | 'delete' | 'set-meta'}>,
  batch: BatchTree,
): EntryType | undefined {
  if (op.kind === 'put-special') return op.type;
  if (op.kind !== 'link') return op.kind === 'make-dir' ? 'dir' : op.kind === 'put-file' ? 'file' : 'symlink';
  const type = batch.typeAt(op.to);
  return type === 'dir' ? undefined : type;
}

/** Whether there is one entry more after it, where there was nothing. */
function makesEntry({kind}: Op): boolean {
  return kind === 'put-file' || kind === 'put-symlink' || kind === 'make-dir' || kind === 'link';
}
