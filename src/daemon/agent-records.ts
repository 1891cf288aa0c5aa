/**
 * What the agent wrote down and put away is read elsewhere; not in this version of the tree.
 */
import {TowlineError} from '../base/errors.ts';

export function readActionLog(): never {
  throw missing();
}

export function listTrash(): never {
  throw missing();
}

export function restoreTrash(): never {
  throw missing();
}

export function emptyTrash(): never {
  throw missing();
}

function missing(): TowlineError<'USAGE'> {
  const hint = 'update Towline';
  return new TowlineError('USAGE', `the log and the trash are read by a later version; ${hint}`, {hint});
}
