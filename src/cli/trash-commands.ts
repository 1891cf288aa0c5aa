/**
 * `towline trash list`, `restore` and `empty`: what a mirror deleted and overwrote. Needs no agent that runs.
 */
import {resolve} from 'node:path';
import {isWithin, type RelPath, showPath} from '../model/path.ts';
import {parseTime} from '../config/times.ts';
import {formatBytes, formatCount} from '../config/units.ts';
import type {TrashItem} from '../control/agent-api.ts';
import {agentFolderOf} from './agent-connection.ts';
import {trashFields} from './agent-json.ts';
import type {CommonFlags} from './common-options.ts';
import {refused} from './confirm-command.ts';
import {pathFields} from './json-view.ts';
import {parseRelPath} from './log-command.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {Teller} from './teller.ts';
import {cutFront, localDateTime, oneLine, PATH_CELLS_MAX, plural} from './text.ts';

export interface TrashRestoreFlags extends CommonFlags {
  to?: string;
}

export interface TrashEmptyFlags extends CommonFlags {
  before?: string;
  yes?: boolean;
}

/** @returns 0, also when there is nothing */
export async function trashListCommand(
  typed: {volume: string; path: string | undefined},
  flags: CommonFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const teller = new Teller(flags, parts);
  const below = typed.path === undefined ? '' : parseRelPath(typed.path);
  const records = await parts.loadRecords();
  const query = {stateFolder: await agentFolderOf(flags), volume: typed.volume};
  let count = 0;
  for await (const item of records.listTrash(query)) {
    if (parts.readerGone.aborted) break;
    if (!isWithin(item.path, below)) continue;
    count++;
    teller.say('item', trashFields(item));
    teller.line(trashLine(item));
  }
  if (count === 0) teller.line(`Nothing of that is in the trash of ${oneLine(typed.volume)}`);
  return teller.result(0, {count});
}

/** @returns 0 when all of it came back */
export async function trashRestoreCommand(
  typed: {volume: string; places: string[]},
  flags: TrashRestoreFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const teller = new Teller(flags, parts);
  const records = await parts.loadRecords();
  const restored = await records.restoreTrash({
    stateFolder: await agentFolderOf(flags),
    volume: typed.volume,
    places: typed.places,
    to: flags.to === undefined ? undefined : resolve(flags.to),
  });
  for (const {path} of restored) {
    teller.say('restored', pathFields('path', path));
    teller.line(`Restored: ${shown(path)}`);
  }
  return teller.result(0, {count: restored.length});
}

/** @throws TowlineError REFUSED when it is not confirmed */
export async function trashEmptyCommand(
  volume: string,
  flags: TrashEmptyFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const teller = new Teller(flags, parts);
  const nowMs = parts.clock.nowMs();
  const beforeMs = flags.before === undefined ? nowMs : parseTime(flags.before, nowMs);
  const records = await parts.loadRecords();
  const what = `what was put into the trash of ${oneLine(volume)} before ${localDateTime(beforeMs)}`;
  if (flags.yes !== true) {
    if (parts.ask === undefined || flags.json === true) {
      throw refused(`this removes ${what}, for good; nobody to ask here: to do it, add --yes`);
    }
    parts.screen.flush();
    const answer = await parts.ask(`Remove ${what}, for good? Type yes: `);
    if (answer.trim() !== 'yes') throw refused('not confirmed, nothing was removed');
  }
  const removed = await records.emptyTrash({stateFolder: await agentFolderOf(flags), volume, beforeMs});
  const items = plural(removed.count, formatCount(removed.count), 'item');
  teller.line(`Removed for good: ${items}, ${formatBytes(removed.sizeBytes)}`);
  return teller.result(0, removed);
}

/** `2026-11-20 14:02:11 +01:00  PLACE  deleted  file db/old (1.2 KiB)` */
export function trashLine(item: TrashItem): string {
  const size = item.sizeBytes === undefined ? '' : ` (${formatBytes(item.sizeBytes)})`;
  const fields = [localDateTime(item.atMs), oneLine(item.place), oneLine(item.reason)];
  return `${fields.join('  ')}  ${oneLine(item.type)} ${shown(item.path)}${size}`;
}

function shown(path: RelPath): string {
  return cutFront(showPath(path), PATH_CELLS_MAX);
}
