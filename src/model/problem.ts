/**
 * One path that could not be synchronised, with the reason. Trouble with a path is data, not an error.
 */
import type {Digest} from './digest.ts';
import {ROOT, showPath, type RelPath} from './path.ts';

export const PROBLEM_CODES = [
  'unreadable', // EACCES, EIO … on the source
  'unwritable', // EACCES, EROFS, EIO … on the target
  'changing', // changes faster than it can be read
  'torn', // arrived as it was read while it changed (`hot: torn`): its copy mixes versions
  'vanished', // gone between scan and read
  'not-carried', // a type or attribute that this version does not carry
  'no-space',
  'too-long', // name or path too long for the target
  'not-empty', // a directory that still holds ignored or foreign entries
  'base-changed', // what the operation builds on is not there (any more): planned again
  'parent-missing',
  'corrupt', // bytes that do not have their digest
  'corrupt-here', // bytes that changed on disk while none of the file's times did
  'drifted', // changed on the target by something else, where that is only told
  'mount', // a mount point inside the volume
  'too-deep',
  'owner-refused', // not root: the owner cannot be set
  'links-refused', // the filesystem's limit of hard links, or none at all
  'attributes', // extended attributes or ACLs that are too many, or that the target cannot hold
  'refused', // by the receiver's policy
  'internal',
] as const;
export type ProblemCode = (typeof PROBLEM_CODES)[number];

/** Whether a later try may succeed without anybody doing something. */
export const IS_TRANSIENT: Record<ProblemCode, boolean> = {
  unreadable: true,
  unwritable: true,
  changing: true,
  torn: true,
  vanished: true,
  'not-carried': false,
  'no-space': true,
  'too-long': false,
  'not-empty': false,
  'base-changed': true,
  'parent-missing': true,
  corrupt: true,
  'corrupt-here': false,
  drifted: false,
  mount: false,
  'too-deep': false,
  'owner-refused': false,
  'links-refused': false,
  attributes: false,
  refused: false,
  internal: true,
};

export interface Problem {
  /** No entry's where the problem is the whole volume's: see `isOfVolume`. */
  path: RelPath;
  code: ProblemCode;
  /** One sentence: what happened and what to do. */
  message: string;
  side: 'source' | 'target';
  firstSeenMs: number;
  lastSeenMs: number;
  /** When it is tried again; undefined where only a change of the path can help. */
  nextTryMs: number | undefined;
}

/** Whether a problem is about many entries of a volume: no path of an entry begins so. */
export function isOfVolume(path: RelPath): boolean {
  return path.startsWith('/');
}

/** What is shown as the path of a problem. */
export function placeOfProblem({path}: Pick<Problem, 'path'>): RelPath {
  return isOfVolume(path) ? ROOT : path;
}

/** What is said of a file whose bytes changed while none of its times did. */
export function corruptHere(
  path: RelPath,
  {known, found, side}: {known: Digest; found: Digest; side: Problem['side']},
): string {
  const digests = `read before ${known.toString('hex')}, now ${found.toString('hex')}`;
  const what = `${showPath(path)} has other bytes than when it was read, and none of its times has changed (${digests})`;
  const next =
    side === 'source'
      ? 'it is not sent: copy it back from the target, or touch it to say that it is right'
      : 'towline verify VOLUME --repair fetches it from the source again';
  return `${what}; ${next}`;
}
