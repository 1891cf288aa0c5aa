/**
 * Holds a root for the length of one job in a worker: opened afresh by its address, checked, jailed below it, closed.
 *
 * Between jobs nothing of the volume is held, so that it can be unmounted at any time.
 */
import type {Jail} from '../linux/jail.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import type {RootIdentity, WithRoot} from '../model/root.ts';
import {openRoot} from './root-identity.ts';

export interface HeldRootOptions {
  /** Host path as a byte string. */
  path: string;
  /** What the root must be. */
  expected: RootIdentity;
  jail: Jail;
}

/** @returns a function that runs a job below the root; inside it only relative work on descriptors is possible */
export function heldRoot({path, expected, jail}: HeldRootOptions): WithRoot {
  return (job) => {
    // Resolved from the host's root, before the jail is entered.
    const fd = jail.outside(() => openRoot(path, expected).fd);
    try {
      const root = {fd, mountId: statFd(fd).mountId};
      return jail.run(fd, () => job(root));
    } finally {
      closeFd(fd);
    }
  };
}
