/**
 * Files of one link that change each time they are read: how they are read next, how long they are left alone before that,
 * and what is told of them.
 *
 * Holds what reconcile/restless-paths.ts decides against the volume's names. Invariant: what is noted here is looked at
 * again, whether anything is reported of it or not.
 */
import type {Clock} from '../base/clock.ts';
import {nameOf, parentOf, type Name, type RelPath} from '../model/path.ts';
import type {HotRead, Reading} from '../model/reading.ts';
import {USUAL, type Patience} from '../reconcile/dirty-set.ts';
import {RestlessPaths, type Restless} from '../reconcile/restless-paths.ts';
import {restlessSentence, type RestlessTold} from './hot-sentences.ts';

export interface LiveRestlessOptions {
  /** A file that changes each time it is read is told of after this time. */
  maxWaitMs: number;
  /** What is done with it then, where the filesystem makes no clones. */
  hot: 'wait' | 'torn';
}

export interface LiveRestlessParts {
  volume: {
    note(dir: RelPath, name: Name | undefined): void;
    setPatience(path: RelPath, patience: Patience): void;
  };
  clock: Clock;
  events: {
    /** A file changes each time it is read, for longer than it is waited for; what has become of it. */
    onRestless(path: RelPath, told: RestlessTold): void;
  };
}

const COUNT_MAX = 1_000;

export class LiveRestless {
  readonly #parts: LiveRestlessParts;
  readonly #paths: RestlessPaths;
  /** What was read before this, on the wall clock, has perhaps changed without a look that finds it. */
  #lostMs = -Infinity;

  constructor({maxWaitMs, hot}: LiveRestlessOptions, parts: LiveRestlessParts) {
    this.#parts = parts;
    this.#paths = new RestlessPaths({maxWaitMs, hot, countMax: COUNT_MAX});
  }

  /** It is tried again when it rests, or after a while. @returns how many times the usual waits that is */
  failed(path: RelPath): number {
    const restless = this.#paths.failed(path, this.#parts.clock.monotonicMs());
    this.#leaveAlone(path, restless);
    if (restless.isOverdue) this.#tell(path, restless, undefined);
    return restless.patience.times;
  }

  /**
   * It arrived, and goes on changing: it is looked at again soon, and until then nobody waits for it.
   * @returns whether only a comparison finds what has become of it since
   */
  advanced(path: RelPath, hot: HotRead): boolean {
    const restless = this.#paths.advanced(path, this.#parts.clock.monotonicMs(), hot.toMs - hot.fromMs);
    const isBehind = hot.fromMs <= this.#lostMs;
    if (isBehind) this.#paths.lost();
    this.#leaveAlone(path, restless);
    if (restless.isOverdue || hot.as === 'torn') this.#tell(path, restless, hot);
    return isBehind;
  }

  /** It has arrived as it is, or is no more. */
  arrived(path: RelPath): void {
    if (this.#paths.arrived(path)) this.#parts.volume.setPatience(path, USUAL);
  }

  /** Both sides are equal. */
  allArrived(): void {
    for (const path of this.#paths.allArrived()) this.#parts.volume.setPatience(path, USUAL);
  }

  /** What was on its way is lost, or nothing more is noticed of it: none has arrived not long ago. */
  lost(): void {
    this.#lostMs = this.#parts.clock.nowMs();
    this.#paths.lost();
  }

  /** @returns undefined: not now, as it arrived not long ago, or is about to, and a comparison alone asks for it */
  readingOf(path: RelPath, {isNoticed, isOnItsWay}: {isNoticed: boolean; isOnItsWay: boolean}): Reading | undefined {
    const nowMs = this.#parts.clock.monotonicMs();
    const isLeftAlone = !isNoticed && (isOnItsWay || this.#paths.hasAdvanced(path, nowMs));
    return isLeftAlone ? undefined : this.#paths.readingOf(path, nowMs);
  }

  #leaveAlone(path: RelPath, {patience, forgotten}: Restless): void {
    const {volume} = this.#parts;
    if (forgotten !== undefined) volume.setPatience(forgotten, USUAL); // or it would count as restless for ever
    volume.setPatience(path, patience);
    volume.note(parentOf(path), nameOf(path));
  }

  #tell(path: RelPath, {sinceMs}: Restless, hot: HotRead | undefined): void {
    const {clock, events} = this.#parts;
    events.onRestless(path, restlessSentence(path, {forMs: clock.monotonicMs() - sinceMs, hot}));
  }
}
