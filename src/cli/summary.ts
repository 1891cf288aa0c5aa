/**
 * What a run ends with, as lines for people: in sync or not and why, the problems, the counters. Pure.
 */
import {formatBytes, formatCount, formatDuration} from '../config/units.ts';
import type {ShownOp, SyncOptions, SyncOutcome} from '../daemon/sync-api.ts';
import {showPath} from '../model/path.ts';
import {placeOfProblem, type Problem} from '../model/problem.ts';
import type {LinkStats} from '../model/status.ts';
import {cutFront, localTime, oneLine, PATH_CELLS_MAX, plural} from './text.ts';

const PROBLEMS_SHOWN_MAX = 20;
const DIGEST_CHARS = 12;

/** What a dry run would do: how many of each, and the bytes of files to put. */
export interface PlannedTotals {
  counts: Partial<Record<ShownOp, number>>;
  sizeBytes: number;
}

/** The result in one line, and one more where something must be known about it. */
export function resultLines(outcome: SyncOutcome, options: SyncOptions, planned: PlannedTotals): string[] {
  if (outcome.status.kind === 'halted') {
    return [
      `Halted, nothing more is done: ${oneLine(outcome.status.reason)}`,
      `To see what waits and let it go on: ${confirmLine(options)}`,
    ];
  }
  if (options.isDryRun && outcome.error === undefined) return [dryRunLine(planned)];
  if (outcome.isInSync) return [inSyncLine(outcome)];
  const lines: string[] = [];
  if (outcome.problemCount > 0) {
    const paths = plural(outcome.problemCount, formatCount(outcome.problemCount), 'path');
    lines.push(`Not in sync: ${paths} could not be synchronised (${sentText(outcome)})`);
  } else if (outcome.assumedCount > 0 && outcome.error === undefined) {
    lines.push(`Equal by size and time (${sentText(outcome)})`);
  } else {
    lines.push(`Stopped before it was in sync (${sentText(outcome)}); the next run goes on from here`);
  }
  if (outcome.assumedCount > 0) {
    const files = plural(outcome.assumedCount, formatCount(outcome.assumedCount), 'file');
    lines.push(`Not proved: ${files} taken as equal by size and time, unread`);
  }
  return lines;
}

function inSyncLine(outcome: SyncOutcome): string {
  const asOf = outcome.status.kind === 'in-sync' ? ` as of ${localTime(outcome.status.asOfMs)}` : '';
  const digest = outcome.digest === undefined ? '' : `, digest ${outcome.digest.slice(0, DIGEST_CHARS)}…`;
  const entries = outcome.stats.entriesScanned;
  const shown = entries === 1 ? '1 entry' : `${formatCount(entries)} entries`;
  return `In sync${asOf}: ${shown}, ${sentText(outcome)}${digest}`;
}

function sentText(outcome: SyncOutcome): string {
  return `${formatBytes(outcome.stats.contentBytes)} sent in ${formatDuration(outcome.elapsedMs)}`;
}

function dryRunLine(planned: PlannedTotals): string {
  const count = (...ops: ShownOp[]): number => ops.reduce((sum, op) => sum + (planned.counts[op] ?? 0), 0);
  const kinds: [number, string][] = [
    [count('put-file', 'make-dir', 'put-symlink', 'link'), 'to create'],
    [count('replace'), 'to replace'],
    [count('set-meta'), 'to set attributes of'],
    [count('rename', 'exchange'), 'to rename'],
    [count('delete'), 'to delete'],
  ];
  const parts = kinds.filter(([number]) => number > 0).map(([number, what]) => `${formatCount(number)} ${what}`);
  if (parts.length === 0) return 'Dry run: nothing to do';
  return `Dry run: ${parts.join(', ')} (${formatBytes(planned.sizeBytes)} of files); nothing was changed`;
}

/** The first problems, each with its reason, and how many more there are. */
export function problemLines(problems: readonly Problem[], count: number): string[] {
  const lines = problems.slice(0, PROBLEMS_SHOWN_MAX).map((problem) => problemLine(problem));
  const restCount = count - lines.length;
  if (restCount > 0) lines.push(`… and ${formatCount(restCount)} more (--json lists up to 1,000)`);
  return lines;
}

/** `! path: reason (source)` */
export function problemLine(problem: Problem): string {
  return `! ${cutFront(showPath(placeOfProblem(problem)), PATH_CELLS_MAX)}: ${oneLine(problem.message)} (${problem.side})`;
}

const STAT_LABELS: Record<keyof LinkStats, [label: string, isBytes: boolean]> = {
  entriesScanned: ['Entries scanned', false],
  directoriesListed: ['Directories listed', false],
  filesHashed: ['Files hashed', false],
  filesSent: ['Files sent', false],
  contentBytes: ['Content sent', true],
  copiedBytes: ['Content the target had', true],
  wireBytes: ['Bytes on the wire', true],
  created: ['Created', false],
  replaced: ['Replaced', false],
  renamed: ['Renamed', false],
  linked: ['Hard links made', false],
  deleted: ['Deleted', false],
  metaChanged: ['Attributes set', false],
  batches: ['Batches', false],
};

/** The counters as a table: label, value with unit. */
export function statsLines(outcome: SyncOutcome): string[] {
  const rows = (Object.keys(STAT_LABELS) as (keyof LinkStats)[]).map((key): [string, string] => {
    const [label, isBytes] = STAT_LABELS[key];
    const value = outcome.stats[key];
    return [label, isBytes ? `${formatBytes(value)} (${formatCount(value)} B)` : formatCount(value)];
  });
  rows.push(['Time', formatDuration(outcome.elapsedMs)], ['Peak memory', formatBytes(outcome.peakMemoryBytes)]);
  rows.push(['State folder', oneLine(outcome.folders.state)], ['Staging', oneLine(outcome.folders.staging)]);
  rows.push(['Trash', oneLine(outcome.folders.trash)]);
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `  ${label.padEnd(width)}  ${value}`);
}

/** The command that lets a halted pair go on, to be pasted: the pair's state is found only where it was told to be. */
export function confirmLine(pair: {source: string; target: string; stateFolder: string | undefined}): string {
  const state = pair.stateFolder === undefined ? '' : ` --state ${shellWord(pair.stateFolder)}`;
  return `towline confirm ${shellWord(pair.source)} ${shellWord(pair.target)}${state}`;
}

/** A word that can be pasted into a shell as it is. */
export function shellWord(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word) && !word.startsWith('-')) return word;
  const isPlain = oneLine(word) === word.trim();
  return isPlain ? `'${word.replaceAll("'", `'\\''`)}'` : `$'${oneLine(word).replaceAll("'", "\\'")}'`;
}
