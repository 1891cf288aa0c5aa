/**
 * What a failed system call on one path means for that path. Pure.
 */
import type {AttrFailure} from '../linux/attrs.ts';
import type {LinuxError} from '../linux/linux-error.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import type {FileTime} from '../model/entry.ts';
import type {Failed, Op, OpResult} from '../model/op.ts';
import {showPath, type RelPath} from '../model/path.ts';
import type {ProblemCode} from '../model/problem.ts';
import {sameInPrecision} from '../model/tree.ts';

const CODE_OF: Record<string, ProblemCode> = {
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  ENAMETOOLONG: 'too-long',
  ENOTEMPTY: 'not-empty',
  EMLINK: 'links-refused',
  EXDEV: 'mount',
  EBUSY: 'mount',
};

const ADVICE: Partial<Record<ProblemCode, string>> = {
  'no-space': 'free space on the target; it is tried again',
  'too-long': 'shorten the name on the source',
  'not-empty': 'it still holds entries that are ignored; remove them by hand or drop the ignore rule',
  'links-refused': 'the filesystem allows no more hard links to this file; a file of its own is kept equal',
  mount: 'a mount point is in the way; give it a link of its own',
  attributes: 'the target’s filesystem has no room for it, or none of its kind; everything else of the entry arrived',
  unwritable: 'check the target filesystem and its mount options; it is tried again',
};

/** Calls that EPERM means "there is no such thing on this filesystem" of. Source: symlink(2), mknod(2) */
const LACKING: Record<string, {code: ProblemCode; what: string}> = {
  symlinkat: {code: 'not-carried', what: 'the target’s filesystem has no symbolic links'},
  mknodat: {code: 'not-carried', what: 'it cannot be made on the target, by its filesystem or for want of rights'},
};

/** What is most often behind an error that a root gets. */
const HINTS: Record<string, string> = {
  EPERM: 'is it, or its folder, immutable or append-only on the target? lsattr shows it, chattr -i -a ends it',
  EINVAL: 'the target’s filesystem may not allow such a name; give it another one on the source',
  EILSEQ: 'the target’s filesystem does not allow such a name; give it another one on the source',
};

const OF_FILESYSTEM = ['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'ESHUTDOWN', 'ENODEV', 'ENOTCONN', 'ESTALE', 'ETIMEDOUT'];
const OF_HOST = ['ENOMEM', 'EMFILE', 'ENFILE'];

/** Whether it is the whole filesystem's trouble, or the host's, which may pass, and not that of one path. */
export function mayPass(errno: string | undefined): boolean {
  return errno !== undefined && (OF_FILESYSTEM.includes(errno) || OF_HOST.includes(errno));
}

/** @param error any error; what is no system call's is thrown on */
export function failureFrom(error: unknown, path: RelPath): Failed {
  if (isLinuxError(error)) return failureOf(error, path);
  const {code} = error as {code?: string};
  if (typeof code === 'string' && /^E[A-Z0-9]+$/.test(code)) return failure(CODE_OF[code] ?? 'unwritable', path, code);
  throw error;
}

function failureOf(error: LinuxError, path: RelPath): Failed {
  const lacking = error.code === 'EPERM' ? LACKING[error.syscall] : undefined;
  if (lacking !== undefined) return failure(lacking.code, path, `${lacking.what} (${error.message})`);
  const hint = HINTS[error.code];
  if (hint !== undefined && CODE_OF[error.code] === undefined)
    return {status: 'failed', code: 'unwritable', message: `${showPath(path)}: ${error.message}; ${hint}`};
  return failure(CODE_OF[error.code] ?? 'unwritable', path, error.message);
}

/** A further name that cannot be given. Source: link(2) */
export function linkFailure(error: unknown, op: Op): Failed | undefined {
  if (op.kind !== 'link' || !isLinuxError(error, 'EPERM')) return undefined;
  const what = 'the target’s filesystem has no hard links, or the file or its folder is immutable there (chattr -i)';
  return failure('links-refused', op.path, what);
}

/** An attribute could not be set or removed; the rest of the entry is as it was asked for. */
export function attrFailure({name, error}: AttrFailure, path: RelPath): Failed {
  return failure('attributes', path, `the attribute ${showPath(name)} cannot be kept (${error.message})`);
}

/** A time that the filesystem cannot hold: it keeps the nearest that it can, and says nothing. */
export function timeFailure(
  {wanted, kept}: {wanted: {mtime: FileTime}; kept: {mtime: FileTime}},
  {timePrecisionNs}: {timePrecisionNs: number},
  path: RelPath,
): Failed | undefined {
  const [then, now] = [wanted.mtime, kept.mtime];
  if (sameInPrecision(then, now, timePrecisionNs)) return undefined;
  return failure('attributes', path, `its time ${shownTime(then)} cannot be kept, it became ${shownTime(now)}`);
}

function shownTime({s, ns}: FileTime): string {
  const date = new Date(s * 1_000);
  if (Number.isNaN(date.getTime())) return `${s} s`;
  return date.toISOString().replace('.000Z', `.${String(ns).padStart(9, '0')}Z`);
}

export function failure(code: ProblemCode, path: RelPath, what: string): Failed {
  const advice = ADVICE[code];
  return {status: 'failed', code, message: `${showPath(path)}: ${what}${advice === undefined ? '' : `; ${advice}`}`};
}

export const DONE: OpResult = {status: 'done'};

const S_OF_1980 = 315_532_800; // vfat has none before
const S_OF_2038 = 2 ** 31; // 32 bits end there

/** Whether a time is one that not every filesystem has. */
export function isUnusualTime({s}: FileTime): boolean {
  return s < S_OF_1980 || s >= S_OF_2038;
}
