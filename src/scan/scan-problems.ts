/**
 * What a scan says about paths that it cannot read or that this version does not carry. Pure.
 *
 * Invariant: every message names its path and says what became of its copy on the target, or what to do.
 */
import {TowlineError} from '../base/errors.ts';
import {ATTRS_BYTES_MAX} from '../model/attrs.ts';
import type {Stat} from '../model/entry.ts';
import {NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX, ROOT, showPath, type RelPath} from '../model/path.ts';
import type {ProblemCode} from '../model/problem.ts';
import {SIZE_BYTES_MAX} from '../wire/limits.ts';

export interface PathProblem {
  path: RelPath;
  code: ProblemCode;
  message: string;
}

const SHOWN_BYTES_MAX = 100;

const ERRNO_NAMES: Record<number, string> = {
  1: 'EPERM',
  2: 'ENOENT',
  5: 'EIO',
  13: 'EACCES',
  18: 'EXDEV',
  20: 'ENOTDIR',
  40: 'ELOOP',
  116: 'ESTALE',
};

/** @param mountId of the volume's root; 0 while it is not known */
export function cannotCarry(path: RelPath, stat: Stat, mountId: number): PathProblem | undefined {
  if (mountId !== 0 && stat.mountId !== mountId) {
    return {
      path,
      code: 'mount',
      message: `${showPath(path)} is a mount point inside the volume and is not entered; give it a link of its own`,
    };
  }
  if (stat.type === 'file' && stat.sizeBytes > SIZE_BYTES_MAX) {
    const message = `${showPath(path)} is larger than 64 TiB: this version does not carry it`;
    return {path, code: 'not-carried', message};
  }
  return stat.type === 'dir' && isTooDeep(path) ? tooDeep(path) : undefined;
}

/** Whether a directory is so deep, or its path so long, that what is in it could not be named to a peer. */
export function isTooDeep(dir: RelPath): boolean {
  return dir.length + 1 + NAME_BYTES_MAX > PATH_BYTES_MAX || depthOf(dir) >= PATH_DEPTH_MAX;
}

function depthOf(path: RelPath): number {
  let depth = path === ROOT ? 0 : 1;
  for (let index = 0; index < path.length; index++) if (path.charCodeAt(index) === 0x2f) depth++;
  return depth;
}

function tooDeep(path: RelPath): PathProblem {
  const isLong = depthOf(path) < PATH_DEPTH_MAX;
  const limit = isLong ? `${PATH_BYTES_MAX} bytes of path` : `${PATH_DEPTH_MAX} levels`;
  // The start of the path is enough to find it; the whole would fill screens.
  const shown = `${showPath(path.slice(0, SHOWN_BYTES_MAX))}…`;
  const message = `a directory below ${shown} is at the limit of ${limit}: it and what is in it are not carried`;
  return {path, code: isLong ? 'too-long' : 'too-deep', message};
}

/** The halt of a volume whose root cannot be listed: its copies stay as they are. */
export function rootUnreadable(errno: number): TowlineError<'HALTED'> {
  const what = `the root cannot be read (${errnoName(errno)}); look at its disk and permissions`;
  const details = {kind: 'root-unreadable', volume: '', count: 0, limit: 0} as const;
  return new TowlineError('HALTED', `halted: ${what}. Nothing was changed on the target.`, details);
}

function errnoName(errno: number): string {
  return ERRNO_NAMES[errno] ?? `errno ${errno}`;
}

export function unreadable(path: RelPath, errno: number): PathProblem {
  const what = errnoName(errno);
  return {
    path,
    code: 'unreadable',
    message: `${showPath(path)} cannot be read (${what}); nothing at or below it was deleted on the target`,
  };
}

/** A directory that was renamed or replaced each time it was to be read. */
export function neverAtRest(path: RelPath): PathProblem {
  const message = `${showPath(path)} is being replaced faster than it can be read; it is read again later`;
  return {path, code: 'changing', message};
}

/** More extended attributes than are carried: the entry arrives without any. */
export function tooManyAttrs(path: RelPath): PathProblem {
  const message = `${showPath(path)} has more than ${ATTRS_BYTES_MAX} bytes of extended attributes; none of them is carried; remove some on the source`;
  return {path, code: 'attributes', message};
}
