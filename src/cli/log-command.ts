/**
 * `towline log`: what was deleted and overwritten, when, by which peer, and where it is now. Needs no agent that runs.
 */
import {parseTime} from '../config/times.ts';
import {TowlineError} from '../base/errors.ts';
import {fromText, relPathFault, type RelPath, showPath} from '../model/path.ts';
import {agentFolderOf} from './agent-connection.ts';
import {actionFields} from './agent-json.ts';
import type {ActionRecord} from '../state/action-log.ts';
import type {CommonFlags} from './common-options.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {Teller} from './teller.ts';
import {cutFront, localDateTime, oneLine, PATH_CELLS_MAX} from './text.ts';

export interface LogFlags extends CommonFlags {
  since?: string;
}

/** @returns 0, also when there is nothing */
export async function logCommand(
  typed: {volume: string | undefined; path: string | undefined},
  flags: LogFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const teller = new Teller(flags, parts);
  const query = {
    volume: typed.volume,
    path: typed.path === undefined ? undefined : parseRelPath(typed.path),
    sinceMs: flags.since === undefined ? undefined : parseTime(flags.since, parts.clock.nowMs()),
  };
  const records = await parts.loadRecords();
  let count = 0;
  for await (const action of records.readActionLog(await agentFolderOf(flags), query)) {
    if (parts.readerGone.aborted) break;
    count++;
    teller.say('action', actionFields(action));
    teller.line(actionLine(action));
  }
  if (count === 0) teller.line('Nothing is in the log for that');
  return teller.result(0, {count});
}

/** `2026-11-20 14:02:11 +01:00  pgdata  delete db/old, by web-1 in batch 7, now in the trash as PLACE` */
export function actionLine(action: ActionRecord): string {
  const shown = (path: RelPath): string => cutFront(showPath(path), PATH_CELLS_MAX);
  const to = action.to === undefined ? '' : ` → ${shown(action.to)}`;
  const kept = action.place === undefined ? 'not kept' : `in the trash as ${oneLine(action.place)}`;
  const who = `by ${oneLine(action.peer)} in batch ${action.batch}`;
  return `${localDateTime(action.atMs)}  ${oneLine(action.volume)}  ${action.op} ${shown(action.path)}${to}, ${who}, ${kept}`;
}

/**
 * A path inside a volume as it is typed.
 * @throws TowlineError USAGE
 */
export function parseRelPath(typed: string): RelPath {
  const path = fromText(typed.replace(/^(\.\/)+/, '').replace(/\/+$/, ''));
  const fault = path === '.' ? undefined : relPathFault(path);
  if (fault !== undefined) {
    const hint = "PATH is relative to the volume's root, like db/base/1";
    throw new TowlineError('USAGE', `${JSON.stringify(typed.slice(0, 80))} ${fault}; ${hint}`, {hint});
  }
  return path === '.' ? '' : path;
}
