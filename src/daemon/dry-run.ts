/**
 * A copy of a pair's state for a dry run, which may remember what it reads and must leave no trace.
 */
import {cpSync, existsSync, mkdirSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {messageOf, TowlineError} from '../base/errors.ts';

export interface DryRunCopy {
  folder: string;
  /** A target that a run would make is an empty folder here; one without a parent is left to be found missing. */
  targetFor(path: string): string;
  remove(): void;
}

/**
 * @param folder the pair's folder; may not exist
 * @throws SYSTEM when the copy cannot be made: no room, for one
 */
export function dryRunCopy(folder: string): DryRunCopy {
  const copy = mkdtempSync(join(tmpdir(), 'towline-dry-run-'));
  const isState = (path: string): boolean => !/\/(staging|trash|lock)$/.test(path);
  const remove = (): void => rmSync(copy, {recursive: true, force: true});
  try {
    // Towline's own folder, private to this user: no volume's path is followed here.
    if (existsSync(folder)) cpSync(folder, copy, {recursive: true, filter: isState});
  } catch (error) {
    remove();
    throw cannotCopy(folder, error);
  }
  return {
    folder: copy,
    targetFor: (path) => {
      if (existsSync(path) || !existsSync(dirname(path))) return path;
      const empty = join(copy, 'empty-target');
      mkdirSync(empty);
      return empty;
    },
    remove,
  };
}

function cannotCopy(folder: string, error: unknown): TowlineError {
  const {code, syscall} = error as NodeJS.ErrnoException;
  const message = `the dry run cannot copy the state in ${folder} to ${tmpdir()}: ${messageOf(error)}; name a folder with more room in TMPDIR`;
  return new TowlineError(
    'SYSTEM',
    message,
    {syscall: syscall ?? '', errno: code ?? '', path: tmpdir()},
    {cause: error},
  );
}
