/**
 * Directories of a volume by plain path, in place of src/linux/beneath.ts: one open(2) of the whole path below the root,
 * through whatever symlinks and mounts are on the way, as a script does that runs `cd ROOT && cp -a PATH …`.
 *
 * Under `test/` only: the control that must escape, and the yardstick for what the walls cost.
 */
import {constants} from 'node:fs';
import type * as walls from '../../src/linux/beneath.ts';
import {checked, O_CLOEXEC, openat, putText} from '../../src/linux/libc.ts';

export type Mounts = walls.Mounts;

const FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC;

export const openBeneath: typeof walls.openBeneath = (rootFd, path) =>
  checked(openat(rootFd, putText(path === '' ? '.' : path), FLAGS, 0), 'openat');

export const walk: typeof walls.walk = openBeneath;
