/**
 * How a file is read that may change meanwhile, and what became of it.
 *
 * Not a judgement of what was read: whether a version is the present one is the state's question.
 */

/**
 * `at-rest`: it must be the expected version from the first byte to the last. `clone`: as it is now, from a point-in-time
 * copy where the filesystem makes one, else it must stay the same while it is read. `torn`: as `clone`, but where there
 * is no such copy it is read as it is.
 */
export type Reading = 'at-rest' | 'clone' | 'torn';

/** A file that arrived in a version that is not the present one, or in no version at all. */
export interface HotRead {
  /** `torn`: its bytes are of several versions. */
  as: 'clone' | 'torn';
  /** Between these two moments it was read; milliseconds since the epoch. */
  fromMs: number;
  toMs: number;
}
