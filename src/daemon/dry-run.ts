/**
 * A copy of a pair's state for a dry run, which may remember what it reads and must leave no trace.
 */
import {cpSync, existsSync, mkdirSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';

export interface DryRunCopy {
  folder: string;
  /** A target that a run would make is an empty folder here; one without a parent is left to be found missing. */
  targetFor(path: string): string;
  remove(): void;
}

/** @param folder the pair's folder; may not exist */
export function dryRunCopy(folder: string): DryRunCopy {
  const copy = mkdtempSync(join(tmpdir(), 'towline-dry-run-'));
  const isState = (path: string): boolean => !/\/(staging|trash|lock)$/.test(path);
  // Towline's own folder, private to this user: no volume's path is followed here.
  if (existsSync(folder)) cpSync(folder, copy, {recursive: true, filter: isState});
  return {
    folder: copy,
    targetFor: (path) => {
      if (existsSync(path) || !existsSync(dirname(path))) return path;
      const empty = join(copy, 'empty-target');
      mkdirSync(empty);
      return empty;
    },
    remove: () => rmSync(copy, {recursive: true, force: true}),
  };
}
