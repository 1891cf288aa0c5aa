/**
 * A process that takes things out of a trash again and again, as `towline trash restore` does, and empties it now and then:
 * `node restorer.ts TRASH FOLDER`, until its stdin ends. After each round it tells how often it did what until then.
 *
 * What fails with a code is what happens under attack; anything else ends it with an error.
 */
import {spawnSync} from 'node:child_process';
import {mkdirSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {emptyTrash, listTrash, restoreTrash, type TrashedItem} from '../../src/apply/browse-trash.ts';
import {isTowlineError} from '../../src/base/errors.ts';

export interface Restored {
  restored: number;
  failed: number;
  emptied: number;
  lastFailure: string;
}

const LISTED_MAX = 20;
const KEPT_FOLDERS = 4;
const REST_MS = 30;

const [trashFolder = '', folder = ''] = process.argv.slice(2);
const done: Restored = {restored: 0, failed: 0, emptied: 0, lastFailure: ''};
const stop = new AbortController();
process.stdin.on('end', () => stop.abort()).resume();

for (let round = 1; !stop.signal.aborted; round++) {
  const toFolder = join(folder, String(round % KEPT_FOLDERS));
  if (round > KEPT_FOLDERS) spawnSync('rm', ['-rf', '--one-file-system', toFolder]);
  mkdirSync(toFolder, {recursive: true});
  const items = (await tried(() => lastItems())) ?? [];
  for (const {place} of items) {
    if (stop.signal.aborted) break;
    if ((await tried(() => restoreTrash(trashFolder, {place, toFolder}))) !== undefined) done.restored++;
  }
  if (round % 40 === 0 && (await tried(() => emptyTrash(trashFolder))) !== undefined) done.emptied++;
  writeSync(1, `${JSON.stringify(done)}\n`);
  await sleep(REST_MS);
}

async function lastItems(): Promise<TrashedItem[]> {
  const items: TrashedItem[] = [];
  for await (const item of listTrash(trashFolder, {limit: LISTED_MAX})) items.push(item);
  return items;
}

async function tried<T>(attempt: () => Promise<T>): Promise<T | undefined> {
  try {
    return await attempt();
  } catch (error) {
    if (!isTowlineError(error)) throw error;
    done.failed++;
    done.lastFailure = error.message;
    return undefined;
  }
}
