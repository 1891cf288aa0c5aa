/**
 * What an agent wrote down and put away, read with or without an agent that runs: the log of deletes and overwrites, and
 * the trash of a volume that it receives.
 *
 * Invariant: the trash is the place that the volume's own root leads to; nothing is made by looking.
 */
import {existsSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {emptyTrash as empty, listTrash as list, restoreTrash as restore} from '../apply/browse-trash.ts';
import {TowlineError} from '../base/errors.ts';
import type {TrashItem} from '../control/agent-api.ts';
import {bytesOf, type RelPath} from '../model/path.ts';
import {readActionLog as readLog, type ActionRecord} from '../state/action-log.ts';
import {openAgentFile} from '../state/agent-store.ts';
import {RESERVED_NAME} from '../volume/places.ts';
import {volumeScope} from './volume-scopes.ts';

interface OfVolume {
  stateFolder: string;
  volume: string;
}

export function readActionLog(
  stateFolder: string,
  query: {volume: string | undefined; path: RelPath | undefined; sinceMs: number | undefined},
): AsyncIterable<ActionRecord> {
  return readLog(logFolderOf(stateFolder), query);
}

export function logFolderOf(stateFolder: string): string {
  return join(stateFolder, 'log');
}

/** @throws USAGE for a volume that this agent never received */
export function listTrash(query: OfVolume): AsyncIterable<TrashItem> {
  return list(trashFolderOf(query));
}

/** @throws USAGE without a folder: in its old place a mirror would take it for a difference and remove it again */
export async function restoreTrash(
  request: OfVolume & {places: string[]; to: string | undefined},
): Promise<{path: string}[]> {
  const {places, to} = request;
  if (to === undefined) {
    const hint = 'name a folder with --to, then copy it to the source';
    throw new TowlineError('USAGE', `what comes back into a mirror's copy would be removed again; ${hint}`, {hint});
  }
  const folder = trashFolderOf(request);
  const restored: {path: string}[] = [];
  for (const place of places) restored.push({path: (await restore(folder, {place, toFolder: to})).path});
  return restored;
}

export function emptyTrash(request: OfVolume & {beforeMs: number}): Promise<{count: number; sizeBytes: number}> {
  return empty(trashFolderOf(request), {beforeMs: request.beforeMs});
}

/** As findPlaces chose it (volume/places.ts): beside an engine's data folder, in the state, or in the root. */
function trashFolderOf({stateFolder, volume}: OfVolume): string {
  const target = join(stateFolder, 'volumes', volume, 'target');
  const root = existsSync(target) ? rootOf(stateFolder, volume) : undefined;
  if (root === undefined) {
    const hint = 'look on the agent that receives it';
    throw new TowlineError('USAGE', `volume ${JSON.stringify(volume)} was never received here; ${hint}`, {hint});
  }
  const inState = join(target, 'trash');
  const beside = basename(root) === '_data' ? [join(dirname(root), RESERVED_NAME, 'trash')] : [];
  const found = [...beside, inState, join(root, RESERVED_NAME, 'trash')].find((path) => existsSync(path));
  return found ?? inState; // none yet: it is empty
}

function rootOf(stateFolder: string, volume: string): string | undefined {
  const file = openAgentFile({place: {folder: stateFolder}, bootId: '', isGlance: true});
  try {
    const root = file.notes(volumeScope(volume)).rootIdentity();
    return root === undefined ? undefined : bytesOf(root.path).toString();
  } finally {
    file.close();
  }
}
