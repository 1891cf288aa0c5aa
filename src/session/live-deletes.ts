/**
 * The deletes of a live source: which go at once, which wait for the verdict on their burst.
 *
 * Not the judge (reconcile/delete-guard.ts, rolling-hour.ts). Invariant: beyond the first few of a burst nothing is
 * deleted before the burst was judged; what came and went within it is no loss and does not count.
 */
import type {Clock} from '../base/clock.ts';
import {isWithin} from '../model/path.ts';
import {
  judgeAtMs,
  judgeDeletes,
  noteDeletes,
  youngSinceMs,
  type Burst,
  type DeleteLimits,
} from '../reconcile/delete-guard.ts';
import type {Step} from '../reconcile/plan-path.ts';
import {RollingHour} from '../reconcile/rolling-hour.ts';
import type {ScanResult} from '../scan/pass.ts';
import {haltedByDeletes} from './refusal.ts';
import {SourceLosses, type Loss, type LossState} from './source-losses.ts';

export interface HeldStep {
  step: Step;
  noticedMs: number;
  /** What of it counts within the hour. */
  loss: Loss;
}

export interface LiveDeletesOptions {
  deleteLimits: DeleteLimits;
  confirmedDeletes: number;
  volume: string;
}

export interface LiveDeletesParts {
  state: LossState;
  clock: Clock;
  /** The account of this source, kept over connections; a new one when it is missing. */
  hour?: RollingHour;
}

export class LiveDeletes {
  readonly #options: LiveDeletesOptions;
  readonly #parts: LiveDeletesParts;
  readonly #hour: RollingHour;
  readonly #losses: SourceLosses;
  #burst: Burst | undefined;
  #held: HeldStep[] = [];

  constructor(options: LiveDeletesOptions, parts: LiveDeletesParts) {
    this.#options = options;
    this.#parts = parts;
    this.#hour = parts.hour ?? new RollingHour();
    this.#losses = new SourceLosses(options, {...parts, hour: this.#hour});
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
    const {births} = this.#hour;
    for (const path of newDirs) births.born(path, nowMs);
    for (const change of changes)
      if (change.kind === 'put' && change.before === undefined) births.born(change.path, nowMs);
    // After the births: what was moved into something new makes it old.
    this.noteMoves({changes});
  }

  /** Of a scan: what moved is as old as it was. */
  noteMoves({changes}: Pick<ScanResult, 'changes'>): void {
    for (const change of changes) {
      if (change.kind === 'exchanged') this.#hour.exchanged(change.path, change.to);
      else if (change.kind === 'renamed') {
        const {path, to, entry, isOver} = change;
        this.#hour.renamed(path, to, {isDir: entry.type === 'dir', isOver});
      } else if (change.kind === 'put' && change.from !== undefined)
        this.#hour.renamed(change.from, change.path, {isDir: false, isOver: false});
    }
  }

  /**
   * Takes a step that destroys something.
   * @param countBefore entries before the look that found it
   * @returns whether it may be done now; else it is kept
   * @throws HALTED when more has gone within the hour than may
   */
  take(step: Step, {noticedMs, countBefore}: {noticedMs: number; countBefore: number}): boolean {
    const nowMs = this.#parts.clock.monotonicMs();
    const loss = this.#losses.lossOf(step); // while its birth is known
    if (this.#cameAndWent(step, nowMs)) return true;
    const {destroys} = step;
    const noted = noteDeletes(this.#burst, destroys, countBefore - destroys, nowMs, this.#options.deleteLimits);
    this.#burst = noted.burst;
    if (noted.isHeld) this.#held.push({step, noticedMs, loss});
    else this.#losses.take([loss], countBefore);
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
    this.#losses.take(
      held.map(({loss}) => loss),
      burst.treeCount,
    );
    return held;
  }

  #cameAndWent(step: Step, nowMs: number): boolean {
    if (step.kind !== 'op' || step.op.kind !== 'delete') return false;
    // What is held there was old: with it, this waits for the verdict.
    const isHeld = this.#held.some(({step: {path}}) => isWithin(path, step.path) || isWithin(step.path, path));
    const {births} = this.#hour;
    const isYoung = !isHeld && births.isBornSince(step.path, youngSinceMs(this.#burst, nowMs));
    births.forget(step.path, step.op.type === 'dir');
    return isYoung;
  }
}
