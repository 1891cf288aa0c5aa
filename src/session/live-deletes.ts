/**
 * The deletes of a live source: which go at once, which wait for the verdict on their burst.
 *
 * Not the judge (reconcile/delete-guard.ts). Invariant: beyond the first few of a burst nothing is deleted before the
 * burst was judged; what came and went within it is no loss and does not count.
 */
import type {Clock} from '../base/clock.ts';
import {isWithin, type RelPath} from '../model/path.ts';
import {Births} from '../reconcile/births.ts';
import {
  judgeAtMs,
  judgeDeletes,
  noteDeletes,
  youngSinceMs,
  type Burst,
  type DeleteLimits,
} from '../reconcile/delete-guard.ts';
import type {Step} from '../reconcile/plan-path.ts';
import type {ScanResult} from '../scan/pass.ts';
import {haltedByDeletes} from './refusal.ts';

export interface HeldStep {
  step: Step;
  noticedMs: number;
}

export interface LiveDeletesOptions {
  deleteLimits: DeleteLimits;
  confirmedDeletes: number;
  volume: string;
}

export interface LiveDeletesParts {
  state: {entryAt(path: RelPath): unknown; entryCount(): number};
  clock: Clock;
}

export class LiveDeletes {
  readonly #options: LiveDeletesOptions;
  readonly #parts: LiveDeletesParts;
  readonly #births = new Births();
  #burst: Burst | undefined;
  #held: HeldStep[] = [];

  constructor(options: LiveDeletesOptions, parts: LiveDeletesParts) {
    this.#options = options;
    this.#parts = parts;
  }

  get heldCount(): number {
    return this.#held.length;
  }

  /** When what is held is to be judged; undefined while nothing is. */
  get dueMs(): number | undefined {
    return this.#held.length > 0 && this.#burst !== undefined ? judgeAtMs(this.#burst) : undefined;
  }

  /** What a look found, before its steps are taken. */
  note({changes, newDirs}: Pick<ScanResult, 'changes' | 'newDirs'>): void {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const path of newDirs) this.#births.born(path, nowMs);
    for (const change of changes)
      if (change.kind === 'put' && change.before === undefined) this.#births.born(change.path, nowMs);
    // After the births: what was moved into something new makes it old.
    for (const change of changes) {
      if (change.kind === 'exchanged') this.#births.exchanged(change.path, change.to);
      else if (change.kind === 'renamed') this.#births.renamed(change.path, change.to, change.entry.type === 'dir');
    }
  }

  /**
   * Takes a step that destroys something.
   * @param countBefore entries before the look that found it
   * @returns whether it may be done now; else it is kept
   */
  take(step: Step, {noticedMs, countBefore}: {noticedMs: number; countBefore: number}): boolean {
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#cameAndWent(step, nowMs)) return true;
    const {destroys} = step;
    const noted = noteDeletes(this.#burst, destroys, countBefore - destroys, nowMs, this.#options.deleteLimits);
    this.#burst = noted.burst;
    if (noted.isHeld) this.#held.push({step, noticedMs});
    return !noted.isHeld;
  }

  /** The burst is over. @returns what was held and may go. @throws HALTED */
  release(): HeldStep[] {
    const {state} = this.#parts;
    const burst = this.#burst as Burst;
    // What came back meanwhile is not deleted.
    const isBack = ({step}: HeldStep): boolean =>
      step.kind === 'op' && step.op.kind === 'delete' && state.entryAt(step.path) !== undefined;
    const held = this.#held.filter((noted) => !isBack(noted));
    this.#held = [];
    this.#burst = undefined;
    const total = held.reduce((sum, {step}) => sum + step.destroys, burst.released);
    // A source that holds anything is not emptied, however much went in a burst that made new entries too.
    const treeCount = state.entryCount() === 0 ? burst.treeCount : Math.max(burst.treeCount, total + 1);
    const {deleteLimits, confirmedDeletes, volume} = this.#options;
    const verdict = judgeDeletes(total, treeCount, deleteLimits, confirmedDeletes);
    if (!verdict.go) throw haltedByDeletes(verdict, burst.treeCount, volume);
    return held;
  }

  #cameAndWent(step: Step, nowMs: number): boolean {
    if (step.kind !== 'op' || step.op.kind !== 'delete') return false;
    // What is held there was old: with it, this waits for the verdict.
    const isHeld = this.#held.some(({step: {path}}) => isWithin(path, step.path) || isWithin(step.path, path));
    const isYoung = !isHeld && this.#births.isBornSince(step.path, youngSinceMs(this.#burst, nowMs));
    this.#births.forget(step.path, step.op.type === 'dir');
    return isYoung;
  }
}
