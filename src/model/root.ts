/**
 * A volume's root as it is held for the length of one job, and what makes it that root and no other.
 */

/** Descriptors of an open root; valid inside the job that got it. */
export interface OpenRoot {
  fd: number;
  /** Mount the root is on; entries on another one are mount points inside the volume. */
  mountId: number;
}

/** Opens the root afresh, checks that it is the known one, runs the job jailed below it, closes it. */
export type WithRoot = <T>(job: (root: OpenRoot) => T) => T;

/** What makes a root this root: a number alone would not survive a copy, a remount or an unmount. */
export interface RootIdentity {
  /** Host path, as a byte string. */
  path: string;
  /** Random mark in an extended attribute of the root, as hex; '' where none could be set. */
  mark: string;
  /** UUID of the filesystem, or its fsid where it tells none. */
  filesystem: string;
  ino: number;
  btimeS: number;
  btimeNs: number;
}
