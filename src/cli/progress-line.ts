/**
 * The progress of a run on one line: phase, share, amount, rate, time left, path. Says what to draw; `Screen` draws.
 *
 * Invariant: at most ten lines a second on a terminal and one a second elsewhere, never wider than the terminal.
 */
import {formatBytes, formatCount, formatDuration} from '../config/units.ts';
import type {SyncEvent} from '../daemon/sync-api.ts';
import {showPath} from '../model/path.ts';
import {cutFront, widthOf} from './text.ts';

type SyncProgress = Extract<SyncEvent, {kind: 'progress'}>;
export type Progress = Omit<SyncProgress, 'phase'> & {phase: SyncProgress['phase'] | 'verify'};

const WINDOW_MS = 5_000; // the rate is over this time: it follows a change but does not jump
const BAR_CELLS = 20;
const INTERVAL_MS = {terminal: 100, elsewhere: 1_000};

interface Sample {
  atMs: number;
  entries: number;
  bytes: number;
}

export class ProgressLine {
  readonly #isTerminal: boolean;
  #phase: Progress['phase'] | undefined;
  #samples: Sample[] = [];
  #drawnMs = Number.NEGATIVE_INFINITY;

  constructor(options: {isTerminal: boolean}) {
    this.#isTerminal = options.isTerminal;
  }

  /**
   * @param nowMs monotonic
   * @param columns cells to fill at most
   * @returns the line to show, or undefined while it is too early for another
   */
  update(progress: Progress, nowMs: number, columns: number): string | undefined {
    if (progress.phase !== this.#phase) {
      this.#phase = progress.phase;
      this.#samples = [{atMs: nowMs, entries: progress.entriesDone, bytes: progress.bytesDone}];
    }
    if (nowMs - this.#drawnMs < (this.#isTerminal ? INTERVAL_MS.terminal : INTERVAL_MS.elsewhere)) return undefined;
    this.#drawnMs = nowMs;
    const first = this.#samples[0]!;
    const line = progressText(progress, {...first, nowMs}, columns);
    this.#samples.push({atMs: nowMs, entries: progress.entriesDone, bytes: progress.bytesDone});
    while (this.#samples.length > 1 && this.#samples[0]!.atMs < nowMs - WINDOW_MS) this.#samples.shift();
    return line;
  }
}

/** The line itself. `since` is an earlier point of the same phase, for the rate. */
export function progressText(progress: Progress, since: Sample & {nowMs: number}, columns: number): string {
  const seconds = (since.nowMs - since.atMs) / 1_000;
  const isBytes = progress.bytesTotal !== undefined && progress.bytesTotal > 0;
  const done = isBytes ? progress.bytesDone : progress.entriesDone;
  const total = isBytes ? progress.bytesTotal : progress.entriesTotal;
  const rate = seconds > 0 ? (done - (isBytes ? since.bytes : since.entries)) / seconds : 0;
  const parts = [progress.phase.padEnd(7)];
  const share = total === undefined || total === 0 ? undefined : Math.min(1, done / total);
  if (share !== undefined) {
    const cells = Math.floor(share * BAR_CELLS);
    parts.push(
      `${String(Math.floor(share * 100)).padStart(3)}% [${'#'.repeat(cells)}${'.'.repeat(BAR_CELLS - cells)}]`,
    );
  }
  parts.push(amountText(progress, isBytes));
  if (rate > 0) parts.push(isBytes ? `${formatBytes(rate)}/s` : `${formatCount(rate)}/s`);
  if (rate > 0 && total !== undefined && total > done) parts.push(`${formatDuration(leftMs(total - done, rate))} left`);
  const text = parts.join('  ');
  const width = columns - 1; // a full last cell makes some terminals wrap
  if (widthOf(text) > width) return cutFront(text, width);
  const cellsLeft = width - widthOf(text) - 2;
  if (progress.path === undefined || cellsLeft < 8) return text;
  return `${text}  ${cutFront(showPath(progress.path), cellsLeft)}`;
}

function amountText(progress: Progress, isBytes: boolean): string {
  const total = (value: string | undefined): string => (value === undefined ? '' : ` of ${value}`);
  if (isBytes) return `${formatBytes(progress.bytesDone)}${total(formatBytes(progress.bytesTotal!))}`;
  const entriesTotal = progress.entriesTotal;
  const shownTotal = entriesTotal === undefined ? undefined : formatCount(entriesTotal);
  return `${formatCount(progress.entriesDone)}${total(shownTotal)} entries`;
}

function leftMs(left: number, ratePerSecond: number): number {
  const seconds = Math.ceil(left / ratePerSecond);
  return Math.min(seconds, 99 * 86_400) * 1_000;
}
