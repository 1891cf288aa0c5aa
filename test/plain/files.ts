/**
 * Files are opened first and looked at then, in place of src/linux/files.ts: a symlink is followed, a FIFO or a device is
 * opened. All else is as it is there.
 *
 * Under `test/` only, see beneath.ts.
 */
import {constants} from 'node:fs';
import type * as walls from '../../src/linux/files.ts';
import {EINVAL, LinuxError} from '../../src/linux/linux-error.ts';
import {statFd} from '../../src/linux/stat.ts';
import {closeFd, openAt} from './open-fd.ts';

export * from '../../src/linux/files.ts';

export const openRegular: typeof walls.openRegular = (dirFd, name) => {
  const fd = openAt(dirFd, name, constants.O_RDONLY);
  const stat = statFd(fd);
  if (stat.type === 'file') return {fd, stat};
  closeFd(fd);
  throw new LinuxError('openat', EINVAL);
};

export const openRegularToWrite: typeof walls.openRegularToWrite = (dirFd, name, flags, mode) =>
  openAt(dirFd, name, mode === undefined ? flags : flags | constants.O_CREAT, mode);
