/**
 * Where SRC and DST are: addresses as they are typed. This version knows folders; the other kinds are refused by name.
 */
import {resolve} from 'node:path';
import {TowlineError} from '../base/errors.ts';
import {isTwoWay, splitScheme, twoWayError} from '../config/address.ts';

const FOLDERS = 'path:/srv/data or just /srv/data';

/**
 * @param text `path:/srv/data` or a bare path, relative ones from the current folder
 * @param place `SRC` or `DST`, for messages
 * @returns the absolute path
 * @throws TowlineError USAGE
 */
export function parseFolder(text: string, place: string): string {
  if (isTwoWay(text)) throw twoWayError();
  const {scheme, rest: path} = splitScheme(text);
  if (scheme !== undefined && scheme !== 'path') {
    throw fault(place, `not yet: ${scheme}: addresses come in a later version, only folders work (${FOLDERS})`);
  }
  if (path === '') throw fault(place, `is empty; write a folder (${FOLDERS})`);
  if (path.includes('\0')) throw fault(place, 'holds a NUL byte, no folder does');
  if (path === text && /^[^/]*:/.test(text)) {
    const shown = JSON.stringify(text);
    throw fault(place, `not yet: ${shown} names a peer, only folders work (a folder of that name is ./${text})`);
  }
  return resolve(path);
}

function fault(place: string, message: string): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', `${place} ${message}`, {hint: FOLDERS});
}
