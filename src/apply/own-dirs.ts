/**
 * Directories of this process's own user that their mode closes to it, 0555 for instance: nothing stops root, any other
 * user opens them to itself for as long as something is changed in them.
 *
 * Invariant: nobody else is given a right, and after a change the directory has its mode again.
 */
import * as files from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {chmodHeld} from '../linux/metadata.ts';
import {closeFd, holdAt} from '../linux/open-fd.ts';
import {statAtIfAny} from '../linux/stat.ts';
import type {Stat} from '../model/entry.ts';
import type {Name} from '../model/path.ts';

const OWN_USER = process.geteuid?.() ?? 0;
export const MAY_CHANGE = 0o300; // of the owner: to write and to search

/** Whether only its mode keeps us from changing what is in it. */
export function isClosedToUs({type, uid, mode}: Stat): boolean {
  return OWN_USER !== 0 && type === 'dir' && uid === OWN_USER && (mode & MAY_CHANGE) !== MAY_CHANGE;
}

/** Of the entry itself, which need not be one that we may open. */
export function chmodAt(dirFd: number, name: Name, mode: number): void {
  const held = holdAt(dirFd, name);
  try {
    chmodHeld(held, mode);
  } finally {
    closeFd(held);
  }
}

/** As renameat2(2); also a directory that we may not write to is moved to another one, for which it must be written to. */
export function renameAt(fromFd: number, from: Name, toFd: number, to: Name, how: files.RenameMode): void {
  try {
    files.renameAt(fromFd, from, toFd, to, how);
  } catch (error) {
    if (!isLinuxError(error, 'EACCES')) throw error;
    const moves = [{fd: fromFd, name: from, toFd, toName: to}];
    if (how === 'exchange') moves.push({fd: toFd, name: to, toFd: fromFd, toName: from});
    const closed = moves.flatMap((move) => {
      const stat = statAtIfAny(move.fd, move.name);
      return stat !== undefined && isClosedToUs(stat) ? [{...move, mode: stat.mode}] : [];
    });
    if (closed.length === 0) throw error;
    for (const {fd, name, mode} of closed) chmodAt(fd, name, mode | MAY_CHANGE);
    let isMoved = false;
    try {
      files.renameAt(fromFd, from, toFd, to, how);
      isMoved = true;
    } finally {
      for (const {fd, name, toFd: newFd, toName, mode} of closed)
        chmodAt(isMoved ? newFd : fd, isMoved ? toName : name, mode);
    }
  }
}
