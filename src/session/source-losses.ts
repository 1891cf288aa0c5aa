/**
 * A source's account of its deletes over a rolling hour: those of a live link and those of catching up together.
 *
 * Not the count itself (reconcile/rolling-hour.ts), and not the judge of a burst. Invariant: what was judged here and may
 * go is noted in the same call.
 */
import type {Clock} from '../base/clock.ts';
import type {EntryType} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import type {TreeNode} from '../model/tree.ts';
import type {DeleteLimits} from '../reconcile/delete-guard.ts';
import type {Step} from '../reconcile/plan-path.ts';
import type {RollingHour} from '../reconcile/rolling-hour.ts';
import {haltedByDeletes} from './refusal.ts';

/** What is asked of the source's state. */
export interface LossState {
  entryAt(path: RelPath): {type: EntryType; sizeBytes: number} | undefined;
  entryCount(): number;
  dirIdOf(path: RelPath): number | undefined;
  node(dirId: number, prefix: Buffer): TreeNode;
}

export interface SourceLossesParts {
  hour: RollingHour;
  state: LossState;
  clock: Clock;
}

/** A path that is to go, and the entries of it that count. */
export interface Loss {
  path: RelPath;
  count: number;
}

export class SourceLosses {
  readonly #options: {deleteLimits: DeleteLimits; volume: string};
  readonly #parts: SourceLossesParts;

  constructor(options: {deleteLimits: DeleteLimits; volume: string}, parts: SourceLossesParts) {
    this.#options = options;
    this.#parts = parts;
  }

  lossOf({path, destroys}: Step): Loss {
    const {hour, clock} = this.#parts;
    return {path, count: hour.countOf(path, destroys, clock.monotonicMs())};
  }

  /** Takes what is to go now. @param treeCount entries before it @throws HALTED when it is too much for an hour */
  take(losses: readonly Loss[], treeCount: number): void {
    const {hour, state, clock} = this.#parts;
    const {deleteLimits: limits, volume} = this.#options;
    const nowMs = clock.monotonicMs();
    const count = losses.reduce((sum, loss) => sum + loss.count, 0);
    const countAt = (path: RelPath): number => this.#countAt(path);
    const verdict = hour.judge(count, {treeCount, leftCount: state.entryCount(), limits, nowMs, countAt});
    if (!verdict.go) throw haltedByDeletes({...verdict, isWithinHour: true}, treeCount, volume);
    for (const {path, count: each} of losses) hour.note(path, each, {treeCount, nowMs});
  }

  #countAt(path: RelPath): number {
    const {state} = this.#parts;
    const entry = state.entryAt(path);
    if (entry === undefined || (entry.type === 'file' && entry.sizeBytes === 0)) return 0;
    const dirId = entry.type === 'dir' ? state.dirIdOf(path) : undefined;
    const node = dirId === undefined ? undefined : state.node(dirId, Buffer.alloc(0));
    return 1 + (node === undefined || node.kind === 'absent' ? 0 : node.count);
  }
}
