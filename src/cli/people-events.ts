/**
 * What a run tells while it runs, as people see it: changes on stdout, one line of progress on the terminal of stderr.
 *
 * Invariant: without `-v` a live run prints when it gets in sync first, what goes wrong and what is right again; it
 * does not grow with the number of changes.
 */
import {styleText} from 'node:util';
import type {Clock} from '../base/clock.ts';
import {formatCount} from '../config/units.ts';
import type {SyncEvent} from '../daemon/sync-api.ts';
import {showPath} from '../model/path.ts';
import type {LinkStatus} from '../model/status.ts';
import {type Change, changeLine, type Sign, signOf} from './change-line.ts';
import {type Progress, ProgressLine} from './progress-line.ts';
import type {Screen} from './screen.ts';
import {type PlannedTotals, problemLine} from './summary.ts';
import {cutFront, localTime, oneLine, PATH_CELLS_MAX, plural} from './text.ts';
import type {Verbosity} from './view.ts';

type Colour = 'green' | 'yellow' | 'red' | 'cyan' | 'dim';
const COLOUR: Record<Sign, Colour> = {'+': 'green', '~': 'yellow', '-': 'red', '>': 'cyan'};

export interface PeopleEventsOptions {
  isOnce: boolean;
  verbosity: Verbosity;
  hasProgress: boolean;
  hasColour: boolean;
  stderr: {isTerminal: boolean; columns: number};
}

export class PeopleEvents {
  /** What a dry run would do, so far. */
  readonly planned: PlannedTotals = {counts: {}, sizeBytes: 0};
  readonly #options: PeopleEventsOptions;
  readonly #screen: Screen;
  readonly #clock: Clock;
  readonly #progress: ProgressLine;
  #wasInSync = false;
  #changeCount = 0;

  constructor(options: PeopleEventsOptions, parts: {screen: Screen; clock: Clock}) {
    this.#options = options;
    this.#screen = parts.screen;
    this.#clock = parts.clock;
    this.#progress = new ProgressLine({isTerminal: options.stderr.isTerminal});
  }

  onEvent(event: SyncEvent): void {
    switch (event.kind) {
      case 'status':
        return this.#onStatus(event.status);
      case 'progress':
        return this.#onProgress(event);
      case 'applied':
      case 'planned':
        return this.#onChange(event);
      case 'problem':
        // A one-shot run lists its problems at the end.
        if (!this.#options.isOnce) this.say(this.paint('red', problemLine(event.problem)));
        return;
      case 'solved':
        if (!this.#options.isOnce) this.say(`  ${cutFront(showPath(event.path), PATH_CELLS_MAX)}: solved`);
        return;
      case 'notice':
        if (event.level === 'warn') this.#screen.note(`Note: ${oneLine(event.message)}`);
        else if (this.#options.verbosity >= 1) this.say(this.paint('dim', oneLine(event.message)));
        return;
    }
  }

  #onStatus(status: LinkStatus): void {
    if (this.#options.isOnce) return;
    if (status.kind === 'in-sync' && !this.#wasInSync) {
      this.#wasInSync = true;
      const line = `In sync as of ${localTime(status.asOfMs)}, watching for changes (Ctrl-C ends)`;
      this.say(this.paint('green', line));
    }
    if (this.#options.hasProgress && this.#options.stderr.isTerminal) this.#screen.transient(this.#statusLine(status));
  }

  #statusLine(status: LinkStatus): string {
    return cutFront(
      `${statusText(status)}; ${plural(this.#changeCount, formatCount(this.#changeCount), 'change')}`,
      this.#options.stderr.columns - 1,
    );
  }

  #onProgress(progress: Progress): void {
    if (!this.#options.hasProgress) return;
    const line = this.#progress.update(progress, this.#clock.monotonicMs(), this.#options.stderr.columns);
    if (line !== undefined) this.#screen.transient(line);
  }

  #onChange(change: Change): void {
    this.#changeCount++;
    if (change.kind === 'planned') {
      this.planned.counts[change.op] = (this.planned.counts[change.op] ?? 0) + 1;
      if (change.op === 'put-file' || change.op === 'replace') this.planned.sizeBytes += change.sizeBytes;
    }
    const isShown = this.#options.verbosity >= (change.kind === 'planned' ? 0 : 1);
    if (isShown) this.say(this.paint(COLOUR[signOf(change)], changeLine(change)));
  }

  /** A line on stdout, unless it shall be quiet. */
  say(line: string): void {
    if (this.#options.verbosity >= 0) this.#screen.line(line);
  }

  paint(colour: Colour, text: string): string {
    return this.#options.hasColour ? styleText(colour, text, {validateStream: false}) : text;
  }
}

/** A link's status in a few words. */
export function statusText(status: LinkStatus): string {
  switch (status.kind) {
    case 'connecting':
      return status.attempt <= 1 ? 'connecting' : `connecting (attempt ${formatCount(status.attempt)})`;
    case 'scanning':
      return `scanning (${formatCount(status.entries)} entries)`;
    case 'comparing':
      return 'comparing';
    case 'sending':
      return `sending (${formatCount(status.pendingCount)} to go)`;
    case 'in-sync':
      return `in sync as of ${localTime(status.asOfMs)}`;
    case 'problems':
      return `${plural(status.count, formatCount(status.count), 'path')} not in sync as of ${localTime(status.asOfMs)}`;
    case 'halted':
      return `halted: ${oneLine(status.reason)}`;
  }
}
