/**
 * A run of `sync SRC DST` as people see it: what it tells while it runs, then the result on stdout.
 */
import type {Clock} from '../base/clock.ts';
import type {SyncEvent, SyncOptions, SyncOutcome} from '../daemon/sync-api.ts';
import {PeopleEvents, type PeopleEventsOptions} from './people-events.ts';
import type {Screen} from './screen.ts';
import {problemLines, resultLines, statsLines} from './summary.ts';
import type {View} from './view.ts';

export interface PeopleViewOptions extends Omit<PeopleEventsOptions, 'isOnce'> {
  sync: SyncOptions;
  hasStats: boolean;
}

export class PeopleView implements View {
  readonly #options: PeopleViewOptions;
  readonly #screen: Screen;
  readonly #events: PeopleEvents;

  constructor(options: PeopleViewOptions, parts: {screen: Screen; clock: Clock}) {
    this.#options = options;
    this.#screen = parts.screen;
    this.#events = new PeopleEvents({...options, isOnce: options.sync.isOnce}, parts);
  }

  onEvent(event: SyncEvent): void {
    this.#events.onEvent(event);
  }

  finish(outcome: SyncOutcome): void {
    this.#screen.clear();
    const problems = problemLines(outcome.problems, outcome.problemCount);
    if (this.#options.verbosity < 0) {
      for (const line of problems) this.#screen.note(line);
      return;
    }
    for (const line of resultLines(outcome, this.#options.sync, this.#events.planned)) {
      this.#events.say(outcome.isInSync ? this.#events.paint('green', line) : line);
    }
    for (const line of problems) this.#events.say(this.#events.paint('red', line));
    if (this.#options.hasStats) for (const line of statsLines(outcome)) this.#events.say(line);
  }
}
