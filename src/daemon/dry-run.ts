/**
 * A copy of a pair's state for a dry run, which may remember what it reads and must leave no trace.
 */
import {cpSync, existsSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

/** @param folder the pair's folder; may not exist */
export function dryRunCopy(folder: string): {folder: string; remove(): void} {
  const copy = mkdtempSync(join(tmpdir(), 'towline-dry-run-'));
  const isState = (path: string): boolean => !/\/(staging|trash|lock)$/.test(path);
  // Towline's own folder, private to this user: no volume's path is followed here.
  if (existsSync(folder)) cpSync(folder, copy, {recursive: true, filter: isState});
  return {folder: copy, remove: () => rmSync(copy, {recursive: true, force: true})};
}
