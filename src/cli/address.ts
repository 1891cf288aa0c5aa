/**
 * Where SRC and DST are: addresses as they are typed. This version knows folders; the other kinds are refused by name.
 */
import {resolve} from 'node:path';
import {TowlineError} from '../base/errors.ts';

const LATER_KINDS = /^(docker|docker-container|podman|podman-container):/;
const FOLDERS = 'path:/srv/data or just /srv/data';

/**
 * @param text `path:/srv/data` or a bare path, relative ones from the current folder
 * @param place `SRC` or `DST`, for messages
 * @returns the absolute path
 * @throws TowlineError USAGE
 */
export function parseFolder(text: string, place: string): string {
  if (text.startsWith('both:')) throw twoWayError();
  const later = LATER_KINDS.exec(text);
  if (later !== null) {
    throw fault(place, `not yet: ${later[1]}: addresses come in a later version, only folders work (${FOLDERS})`);
  }
  const path = text.startsWith('path:') ? text.slice('path:'.length) : text;
  if (path === '') throw fault(place, `is empty; write a folder (${FOLDERS})`);
  if (path.includes('\0')) throw fault(place, 'holds a NUL byte, no folder does');
  if (path === text && /^[^/]*:/.test(text)) {
    const shown = JSON.stringify(text);
    throw fault(place, `not yet: ${shown} names a peer, only folders work (a folder of that name is ./${text})`);
  }
  return resolve(path);
}

/** The one sentence for everything that asks for two-way links. */
export function twoWayError(): TowlineError<'USAGE'> {
  const hint = 'towline sync SRC DST makes DST equal to SRC';
  return new TowlineError('USAGE', `two-way links and conflicts come in a later version; ${hint}`, {hint});
}

function fault(place: string, message: string): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', `${place} ${message}`, {hint: FOLDERS});
}
