/**
 * Takes everything of Towline's from a root: its mark, and its own folder in there and beside it.
 *
 * Invariant: nothing else is touched, and nothing at all when the root is not the known one.
 */
import {isTowlineError} from '../base/errors.ts';
import {removeTree} from '../apply/remove-tree.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {fromText} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import {hasOwnPlaces, holdsRoot, RESERVED_NAME} from '../volume/places.ts';
import {openRoot, removeMark} from '../volume/root-identity.ts';

/** @param beside the folder that an engine keeps the volume's data folder in; undefined for any other root */
export function forgetRoot(root: RootIdentity, beside: string | undefined): void {
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
    if (beside !== undefined) forgetBeside(fd, root, beside);
  } catch (error) {
    if (!isLinuxError(error)) throw error;
  } finally {
    closeFd(fd);
  }
}

function forgetBeside(rootFd: number, root: RootIdentity, beside: string): void {
  const fd = openDirPath(fromText(beside));
  try {
    if (holdsRoot(fd, root.path, rootFd) && hasOwnPlaces(fd, beside)) removeTree(fd, RESERVED_NAME);
  } finally {
    closeFd(fd);
  }
}
