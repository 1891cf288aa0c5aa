/**
 * `towline confirm SRC DST`: says what a halted pair waits for, asks, and lets it go on.
 *
 * Invariant: nothing is let go on without the count that was shown, typed by a person or given with `--yes`.
 */
import {type HaltKind, TowlineError} from '../base/errors.ts';
import {stateFolderOf} from '../config/sync-options.ts';
import {formatCount, parseCount} from '../config/units.ts';
import type {Halt} from '../daemon/sync-api.ts';
import {parseFolder} from './address.ts';
import {type CommonFlags, verbosityOf} from './common-options.ts';
import {JsonView} from './json-view.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {confirmLine} from './summary.ts';
import {oneLine} from './text.ts';

export interface ConfirmCommandFlags extends CommonFlags {
  yes?: string;
}

const ALLOWS: Record<HaltKind, (shownCount: string) => string> = {
  'delete-share': (count) => `delete ${count} entries from DST (into the trash)`,
  'delete-count': (count) => `delete ${count} entries from DST (into the trash)`,
  'root-emptied': (count) =>
    `take the empty folder for the truth and delete ${count} entries from DST (into the trash)`,
  'root-replaced': () => 'take the folder that is there now for the root',
  'root-mark-missing': () => 'take the folder that is there now for the root, and mark it',
  'root-missing': () => 'look for the root again',
  'root-unreadable': () => 'read the root again',
  'disk-full': () => 'try again on the disk that was full',
  'identity-clone': () => 'connect again, when no other agent has this identity any more',
};

/**
 * @returns the exit code
 * @throws TowlineError REFUSED when the count is not the one shown, or nobody can be asked
 */
export async function confirmCommand(
  places: {source: string; target: string},
  flags: ConfirmCommandFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const request = {
    source: parseFolder(places.source, 'SRC'),
    target: parseFolder(places.target, 'DST'),
    stateFolder: stateFolderOf(flags.state),
    count: flags.yes === undefined ? undefined : parseCount(flags.yes),
  };
  const tell = teller(flags, parts);
  const daemon = await parts.loadDaemon();
  const halt = await daemon.readHalt(request);
  if (halt === undefined) {
    if (request.count !== undefined) throw refused('nothing is halted, so there is nothing to confirm');
    tell('Nothing is halted: the next towline sync goes on by itself', {halted: false, confirmed: false});
    return 0;
  }
  tell(`Halted: ${oneLine(halt.message)}`, {halted: true, kind: halt.kind, count: halt.count, message: halt.message});
  tell(`Confirmed, it may ${ALLOWS[halt.kind](formatCount(halt.count))}`, undefined);
  await checkAnswer(halt, request, flags, parts);
  await daemon.confirmHalt({...request, count: halt.count});
  tell('Confirmed: the next towline sync goes on', {halted: true, confirmed: true, count: halt.count});
  return 0;
}

async function checkAnswer(
  halt: Halt,
  request: {source: string; target: string; stateFolder: string | undefined; count: number | undefined},
  flags: ConfirmCommandFlags,
  parts: CliParts & {screen: Screen},
): Promise<void> {
  if (request.count !== undefined) {
    if (request.count === halt.count) return;
    throw refused(`--yes ${request.count} is not what waits: it is ${halt.count} now, nothing was confirmed`);
  }
  if (parts.ask === undefined || flags.json === true) {
    throw refused(`nobody to ask here; to let it go on, type: ${confirmLine(request)} --yes ${halt.count}`);
  }
  parts.screen.flush();
  const answer = await parts.ask(`Type ${halt.count} to let it go on: `);
  if (answer.trim() === '' || readCount(answer) !== halt.count) throw refused('not confirmed, nothing was changed');
}

function readCount(answer: string): number | undefined {
  try {
    return parseCount(answer);
  } catch {
    return undefined;
  }
}

function teller(flags: ConfirmCommandFlags, parts: CliParts & {screen: Screen}) {
  const json = flags.json === true ? new JsonView(parts) : undefined;
  return (line: string, fields: Record<string, unknown> | undefined): void => {
    if (json !== undefined) {
      if (fields !== undefined) json.say('halt', fields);
    } else if (verbosityOf(flags) >= 0) {
      parts.screen.line(line);
    }
  };
}

function refused(reason: string): TowlineError<'REFUSED'> {
  return new TowlineError('REFUSED', reason, {reason});
}
