/**
 * `towline confirm SRC DST`: says what a halted pair waits for, asks, and lets it go on.
 *
 * Invariant: nothing is let go on without the count that was shown, typed by a person or given with `--yes`.
 */
import {type HaltKind, TowlineError} from '../base/errors.ts';
import {stateFolderOf} from '../config/sync-options.ts';
import {formatCount, parseCount} from '../config/units.ts';
import {parseFolder} from './address.ts';
import type {CommonFlags} from './common-options.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {confirmLine} from './summary.ts';
import {Teller} from './teller.ts';
import {oneLine} from './text.ts';

export interface ConfirmCommandFlags extends CommonFlags {
  yes?: string;
}

/** What a link may do once it is confirmed; `from` is the copy that loses. */
export const ALLOWS: Record<HaltKind, (shownCount: string, from: string) => string> = {
  'delete-share': (count, from) => `delete ${count} entries from ${from} (into the trash)`,
  'delete-count': (count, from) => `delete ${count} entries from ${from} (into the trash)`,
  'root-emptied': (count, from) =>
    `take the empty folder for the truth and delete ${count} entries from ${from} (into the trash)`,
  'root-replaced': () => 'take the folder that is there now for the root',
  'root-mark-missing': () => 'take the folder that is there now for the root, and mark it',
  'root-missing': () => 'look for the root again',
  'root-unreadable': () => 'read the root again',
  'disk-full': () => 'try again on the disk that was full',
  'identity-clone': () => 'connect again, when no other agent has this identity any more',
  epoch: () => 'do nothing: follow or promote decides',
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
  const teller = new Teller(flags, parts);
  const daemon = await parts.loadDaemon();
  const halt = await daemon.readHalt(request);
  if (halt === undefined) {
    if (request.count !== undefined) throw refused('nothing is halted, so there is nothing to confirm');
    teller.line('Nothing is halted: the next towline sync goes on by itself');
    teller.say('halt', {halted: false, confirmed: false});
    return 0;
  }
  teller.line(`Halted: ${oneLine(halt.message)}`);
  teller.say('halt', {halted: true, kind: halt.kind, count: halt.count, message: halt.message});
  teller.line(`Confirmed, it may ${ALLOWS[halt.kind](formatCount(halt.count), 'DST')}`);
  await checkAnswer({count: halt.count, typed: request.count, command: confirmLine(request)}, flags, parts);
  await daemon.confirmHalt({...request, count: halt.count});
  teller.line('Confirmed: the next towline sync goes on');
  teller.say('halt', {halted: true, confirmed: true, count: halt.count});
  return 0;
}

/**
 * Lets nothing pass but the count that waits.
 * @param question `typed` is that of `--yes`; `command` can be typed where nobody can be asked
 * @throws TowlineError REFUSED
 */
export async function checkAnswer(
  question: {count: number; typed: number | undefined; command: string},
  flags: CommonFlags,
  parts: CliParts & {screen: Screen},
): Promise<void> {
  const {count, typed, command} = question;
  if (typed !== undefined) {
    if (typed === count) return;
    throw refused(`--yes ${typed} is not what waits: it is ${count} now, nothing was confirmed`);
  }
  if (parts.ask === undefined || flags.json === true) {
    throw refused(`nobody to ask here; to let it go on, type: ${command} --yes ${count}`);
  }
  parts.screen.flush();
  const answer = await parts.ask(`Type ${count} to let it go on: `);
  if (answer.trim() === '' || readCount(answer) !== count) throw refused('not confirmed, nothing was changed');
}

function readCount(answer: string): number | undefined {
  try {
    return parseCount(answer);
  } catch {
    return undefined;
  }
}

/** Refused by the operator, or for want of one. */
export function refused(reason: string): TowlineError<'REFUSED'> {
  return new TowlineError('REFUSED', reason, {reason});
}
