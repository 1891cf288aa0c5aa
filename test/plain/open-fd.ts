/**
 * Opening by name as open(2) does when nothing is said about symlinks, in place of src/linux/open-fd.ts: it follows them.
 *
 * Under `test/` only, see beneath.ts. Nothing waits for a FIFO all the same: a control that hangs shows nothing.
 */
import {constants} from 'node:fs';
import {checked, O_CLOEXEC, O_PATH, openat, putName} from '../../src/linux/libc.ts';
import type * as walls from '../../src/linux/open-fd.ts';

export {closeFd, keepOnExec, openDirPath, ownFdsDir, reopen} from '../../src/linux/open-fd.ts';

const ALWAYS = O_CLOEXEC | constants.O_NONBLOCK | constants.O_NOCTTY;

export const openAt: typeof walls.openAt = (...args) => {
  const [dirFd, name, flags, mode] = args;
  return checked(openat(dirFd, putName(name), flags | ALWAYS, mode ?? 0), 'openat');
};

/** What lchown(2) and its like do, as every program that copies does. */
export const holdAt: typeof walls.holdAt = (dirFd, name) =>
  checked(openat(dirFd, putName(name), O_PATH | constants.O_NOFOLLOW | O_CLOEXEC, 0), 'openat');
