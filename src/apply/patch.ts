/**
 * Writes the changed leaves of a large file into it, in place, where the operator chose that over a whole new file.
 *
 * The one switch that a reader can see half-done. Invariant: the file is touched only after its journal record is durable,
 * and only when it is still the version that this link wrote; a write that fails or is cut off in the middle leaves the
 * record, and it is written once more before anything else is done.
 */
import {TowlineError} from '../base/errors.ts';
import {readAttrsFd} from '../linux/attrs.ts';
import {openRegular} from '../linux/files.ts';
import {isLeftAlone} from '../linux/lease.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {chmodFd, chmodHeld} from '../linux/metadata.ts';
import {closeFd, holdAt} from '../linux/open-fd.ts';
import {statAtIfAny, statFd} from '../linux/stat.ts';
import {syncFd} from '../linux/sync.ts';
import {isUntouched, sameTime, type Meta, type Stat} from '../model/entry.ts';
import type {OpResult} from '../model/op.ts';
import {showPath, type RelPath} from '../model/path.ts';
import type {ApplyContext, ApplyOptions} from './context.ts';
import {DONE, failure, failureFrom, mayPass} from './failure.ts';
import {metaOfJournal} from './journal-record.ts';
import {changesRights, setMeta} from './metadata.ts';
import {applyRedo, BadRedo, prepareRedo} from './redo.ts';
import {removeStaged} from './remove-tree.ts';
import {seenAt, type Destroyed, type Outcome, type Place, type RecordOf} from './switched.ts';

type Patch = RecordOf<'patch'>;
type Rewritten = Outcome & {stat: Stat; isTouched: boolean};

/** Of a redo file, durable before the first byte is written into the file itself: a crash may have left a part of them. */
const BEGUN_MODE = 0o400;

/** Some of it may be written. */
export class HalfPatched extends Error {
  readonly reason: TowlineError;
  /** Why not all of it is. */
  override readonly cause: Error;

  constructor(path: string, cause: Error) {
    super(path);
    this.cause = cause;
    const details = isLinuxError(cause)
      ? {syscall: cause.syscall, errno: cause.code, path}
      : {syscall: '', errno: '', path};
    const text = `${path} is being changed in place, and only a part of it is written: ${cause.message}; it is completed first`;
    this.reason = new TowlineError('SYSTEM', text, details, {cause});
  }
}

/** @throws LinuxError before anything is written; HalfPatched */
export function patch(context: ApplyContext, record: Patch, destroyed: Destroyed[]): Outcome {
  const {path} = record;
  const place = context.place(path);
  const dropRedo = (): void => removeStaged(context.stagingFd, record.redo, record.redoIno);
  const refused = (why: string): Outcome => {
    dropRedo();
    return {result: failure('base-changed', path, why), stat: undefined};
  };
  const found = statAtIfAny(place.dirFd, place.name);
  const staged = statAtIfAny(context.stagingFd, record.redo);
  const isBegun = context.isRecovery && staged?.mode === BEGUN_MODE;
  if (found?.ino !== record.base.ino || found.mountId !== context.root.mountId)
    return refused('something else is there by now');
  if (staged?.ino !== record.redoIno) {
    // Dropped once all was written, before the crash.
    if (context.isRecovery && !isUntouched(record.base, found)) {
      const isTouched = found.sizeBytes !== record.sizeBytes || !sameTime(found.mtime, record.meta.mtime);
      return {result: DONE, ...seenAt(place), isTouched};
    }
    return {result: failure('base-changed', path, 'what was staged for it is gone'), stat: undefined};
  }
  // Half written, its times tell nothing, and nothing but the rest of it makes it whole.
  if (!isBegun && found.nlink > 1) return refused('it has got another name');
  if (!isBegun && !isUntouched(record.base, found)) return refused('somebody has written to it');
  try {
    const outcome = write(context, record, {place, isBegun, found});
    if (typeof outcome === 'string') return refused(outcome);
    dropRedo();
    destroyed.push({path, place: undefined, reason: 'patched'});
    return {...outcome, isTouched: outcome.isTouched || !isLeftAlone(place.dirFd, place.name, outcome.stat)};
  } catch (error) {
    if (error instanceof BadRedo)
      return refused(`what was staged for it is damaged (${error.message}); it is sent again`);
    throw error;
  }
}

/** @returns why nothing was written, where that is so */
function write(
  context: ApplyContext,
  record: Patch,
  {place, isBegun, found}: {place: Place; isBegun: boolean; found: Stat},
): Rewritten | string {
  const redoFd = openRegular(context.stagingFd, record.redo).fd;
  let fd = -1;
  try {
    if (!isBegun && !isLeftAlone(place.dirFd, place.name, found)) return 'another process may be writing to it';
    const opened = openToPatch(place, isBegun);
    if (opened === undefined) return 'it cannot be written where it is';
    ({fd} = opened);
    // Who wrote to it and closed it before the look at its writers has left its time behind.
    if (opened.stat.ino !== record.base.ino || (!isBegun && !isUntouched(record.base, opened.stat)))
      return 'somebody has written to it';
    prepareRedo(redoFd, fd, record.sizeBytes);
    if (!markBegun(redoFd)) return 'its filesystem keeps no modes';
    syncFd(redoFd);
    try {
      return rewrite(context, record, {fd, redoFd, place, before: opened.stat});
    } catch (error) {
      throw new HalfPatched(showPath(record.path), error as Error);
    }
  } finally {
    try {
      if (fd >= 0) closeFd(fd);
    } finally {
      closeFd(redoFd);
    }
  }
}

/** @returns false where it cannot be kept: FAT ignores or refuses it */
function markBegun(redoFd: number): boolean {
  try {
    chmodFd(redoFd, BEGUN_MODE);
  } catch (error) {
    if (!isLinuxError(error, 'EPERM')) throw error;
  }
  return statFd(redoFd).mode === BEGUN_MODE;
}

/** @returns undefined where this process may not, or the file is a program that runs */
function openToPatch(place: Place, isBegun: boolean): {fd: number; stat: Stat} | undefined {
  try {
    return openRegular(place.dirFd, place.name, {isWritten: true});
  } catch (error) {
    if (!isLinuxError(error, 'EACCES', 'ETXTBSY')) throw error;
    if (!isBegun) return undefined;
  }
  // Its rights were taken before the crash; they come back with its metadata.
  const held = holdAt(place.dirFd, place.name);
  try {
    chmodHeld(held, 0o600);
  } finally {
    closeFd(held);
  }
  return openRegular(place.dirFd, place.name, {isWritten: true});
}

function rewrite(
  {options}: ApplyContext,
  record: Patch,
  {fd, redoFd, place, before}: {fd: number; redoFd: number; place: Place; before: Stat},
): Rewritten {
  const meta = metaOfJournal(record.meta);
  // Neither the old content gets the new rights, nor the new content the old ones.
  if (changesRights(before, readAttrsFd(fd), meta, options.view)) chmodFd(fd, 0);
  applyRedo(redoFd, fd, record.sizeBytes);
  const written = statFd(fd);
  const {result, isTouched} = giveMeta(record.path, place, meta, options);
  syncFd(fd); // whatever was agreed: half of it is worth nothing
  const seen = seenAt(place);
  const isOther = seen.stat.ino !== written.ino || seen.stat.sizeBytes !== record.sizeBytes;
  return {result, ...seen, isTouched: isTouched || isOther};
}

/** All is written by now: what its metadata alone refuses is a problem of the path, which would come again at each try. */
function giveMeta(
  path: RelPath,
  place: Place,
  meta: Meta,
  options: ApplyOptions,
): {result: OpResult; isTouched: boolean} {
  try {
    // An attribute that cannot be set is told when both sides are compared, as of a file that is replaced.
    return {result: DONE, isTouched: setMeta(place, 'file', meta, {...options, isDurable: false}).isTouched};
  } catch (error) {
    if (!isLinuxError(error) || mayPass(error.code)) throw error;
    return {result: failureFrom(error, path), isTouched: true};
  }
}
