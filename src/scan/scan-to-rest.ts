/**
 * Scans a whole volume until all of it was seen at rest, a few times at most.
 *
 * Not the scanner, which does each scan and look. Invariant: what was not seen at rest in the end is incomplete, and a
 * problem.
 */
import {nameOf, parentOf, type RelPath} from '../model/path.ts';
import type {EntryStore} from './entry-store.ts';
import {markIncomplete} from './own-row.ts';
import type {LookedAt, ScanResult} from './pass.ts';
import {neverAtRest} from './scan-problems.ts';

export interface ScanParts {
  store: EntryStore;
  scanTree(): Promise<ScanResult>;
  lookAt(dirs: LookedAt[]): Promise<ScanResult>;
  /** Names of files that changed between the looks at two of their names. */
  namesApart(): RelPath[];
}

const RESCANS_MAX = 3;
const NAMES_AT_ONCE = 2_048; // of one job, which small changes wait for

/** @returns of all scans what they found; of the last one what is still wrong */
export async function scanToRest(parts: ScanParts): Promise<ScanResult> {
  const result = await scanWithNames(parts);
  for (let again = 0; again < RESCANS_MAX && result.missed.length > 0; again++) {
    const {changes, newDirs, problems, missed} = await scanWithNames(parts);
    const all = {changes: [...result.changes, ...changes], newDirs: [...result.newDirs, ...newDirs]};
    Object.assign(result, {problems, missed, ...all});
  }
  for (const path of new Set(result.missed)) result.problems.push(neverAtRest(markIncomplete(parts.store, path)));
  return result;
}

async function scanWithNames(parts: ScanParts): Promise<ScanResult> {
  const result = await parts.scanTree();
  const paths = parts.namesApart();
  for (let at = 0; at < paths.length; at += NAMES_AT_ONCE) {
    const dirs = Map.groupBy(paths.slice(at, at + NAMES_AT_ONCE), parentOf);
    addLook(result, await parts.lookAt([...dirs].map(([path, some]) => ({path, names: some.map(nameOf)}))));
  }
  return result;
}

/** Of the changes that a look has found only renames are told, as of those of a scan. */
function addLook(result: ScanResult, look: ScanResult): void {
  for (const change of look.changes) {
    const isMove = change.kind === 'renamed' || change.kind === 'exchanged';
    if (isMove || (change.kind === 'put' && change.from !== undefined)) result.changes.push(change);
  }
  for (const path of look.newDirs) result.newDirs.push(path);
  for (const problem of look.problems) result.problems.push(problem);
  for (const path of look.missed) result.missed.push(path);
}
