/**
 * Takes everything of Towline's from a root: its mark, and its own folder in there.
 *
 * Invariant: nothing else is touched, and nothing at all when the root is not the known one.
 */
import {isTowlineError} from '../base/errors.ts';
import {removeTree} from '../apply/trash.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import type {RootIdentity} from '../model/root.ts';
import {hasOwnPlaces, RESERVED_NAME} from '../volume/places.ts';
import {openRoot, removeMark} from '../volume/root-identity.ts';

export function forgetRoot(root: RootIdentity): void {
  let fd: number;
  try {
    fd = openRoot(root.path, root).fd;
  } catch (error) {
    if (isTowlineError(error)) return; // gone, or another: nothing there is ours
    throw error;
  }
  try {
    removeMark(fd);
    // Only what is a private folder of this user: another of that name is not ours.
    if (hasOwnPlaces(fd, root.path)) removeTree(fd, RESERVED_NAME);
  } catch (error) {
    if (!isLinuxError(error)) throw error;
  } finally {
    closeFd(fd);
  }
}
