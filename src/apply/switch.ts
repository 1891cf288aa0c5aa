/**
 * Switches what was staged into place, and takes away what is to go. Done from the journal's records, so that it can
 * be done again after a crash: each step first looks whether it was done already.
 *
 * Invariant: a path shows its old or its new entry at every moment; what is replaced or removed goes to the trash.
 */
import {listNames, rmdirAt} from '../linux/directories.ts';
import {unlinkAt} from '../linux/files.ts';
import {isLeftAlone} from '../linux/lease.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {statAt, statAtIfAny} from '../linux/stat.ts';
import {sameTime, type Stat} from '../model/entry.ts';
import {joinPath, ROOT, type RelPath} from '../model/path.ts';
import {compileIgnore} from '../reconcile/ignore.ts';
import type {ApplyContext} from './context.ts';
import {attrFailure, DONE, failure, failureFrom, mayPass} from './failure.ts';
import {metaOfJournal, type JournalRecord, type Known} from './journal-record.ts';
import {setMeta} from './metadata.ts';
import {renameAt} from './own-dirs.ts';
import {fillHoles, isBelow} from './sparse.ts';
import {inDir, removeStaged} from './remove-tree.ts';
import {HalfPatched, patch} from './patch.ts';
import {exchange, rename} from './switch-names.ts';
import {
  KEPT_SUFFIX,
  NOTHING_SEEN,
  isTouchedSince,
  seenAt,
  type Destroyed,
  type Outcome,
  type Place,
  type RecordOf,
  type Switched,
} from './switched.ts';
import type {TrashReason} from './trash-index.ts';
import {unjudgedFault} from './unjudged.ts';

const NONE: ReadonlySet<number> = new Set();

/**
 * Does every record in order. A record that fails leaves its path as it was and does not stop the others.
 * @param bare records that were judged as taking away one entry at most, by the index of their operation
 */
export function switchAll(context: ApplyContext, records: readonly JournalRecord[], bare = NONE): Switched[] {
  return records.map((record) => {
    const destroyed: Destroyed[] = [];
    try {
      const unjudged = bare.has(record.index) ? unjudgedFault(context, record) : undefined;
      if (unjudged !== undefined) {
        dropStaged(context, record);
        return {...NOTHING_SEEN, index: record.index, result: unjudged, stat: undefined, destroyed};
      }
      return {...NOTHING_SEEN, ...switchOne(context, record, destroyed), index: record.index, destroyed};
    } catch (error) {
      if (error instanceof HalfPatched) return half(context, record, error);
      if (!context.isRecovery) dropStaged(context, record);
      const isOther = isLinuxError(error, 'ENOENT', 'ENOTDIR', 'EEXIST');
      const result = isOther ? failure('base-changed', record.path, error.message) : failureFrom(error, record.path);
      const errno = (error as NodeJS.ErrnoException).code ?? '';
      return {...NOTHING_SEEN, index: record.index, result, stat: undefined, destroyed, errno};
    }
  });
}

function dropStaged({stagingFd}: ApplyContext, record: JournalRecord): void {
  if (record.kind === 'install') removeStaged(stagingFd, record.stage, record.ino);
  if (record.kind === 'patch') removeStaged(stagingFd, record.redo, record.redoIno);
}

/** The row stays, and it is completed before anything else is done; the roll-forward may first make the room that it lacks. */
function half({isRecovery}: ApplyContext, {index, path}: JournalRecord, {cause, reason}: HalfPatched): Switched {
  const {code: errno = ''} = cause as NodeJS.ErrnoException;
  if (!isRecovery || !mayPass(errno)) throw reason;
  return {...NOTHING_SEEN, index, result: failureFrom(cause, path), stat: undefined, destroyed: [], errno};
}

function switchOne(context: ApplyContext, record: JournalRecord, destroyed: Destroyed[]): Outcome {
  switch (record.kind) {
    case 'install':
      return install(context, record, destroyed);
    case 'meta': {
      const place = record.path === ROOT ? {dirFd: context.root.fd, name: '.'} : context.place(record.path);
      const found = statAt(place.dirFd, place.name);
      if (found.type !== record.type)
        return {result: failure('base-changed', record.path, `it is a ${found.type} by now`), stat: undefined};
      const {allocatedBytes} = record;
      if (record.type === 'file' && allocatedBytes !== undefined && isBelow(found, allocatedBytes))
        fillHoles({...place, mountId: context.root.mountId});
      const {failures, isTouched} = setMeta(place, record.type, metaOfJournal(record.meta), context.options);
      if (record.type === 'dir') context.touched.set(record.path, record.meta.mtime);
      const [refused] = failures;
      const result = refused === undefined ? DONE : attrFailure(refused, record.path);
      return {result, found, ...seenAt(place), isTouched};
    }
    case 'patch':
      return patch(context, record, destroyed);
    case 'rename':
      return rename(context, record, destroyed);
    case 'exchange':
      return exchange(context, record);
    case 'delete':
      return remove(context, record, destroyed);
  }
}

function install(context: ApplyContext, record: RecordOf<'install'>, destroyed: Destroyed[]): Outcome {
  const {dirFd, name} = context.changedPlace(record.path);
  const {stagingFd} = context;
  for (let attempt = 0; attempt < 8; attempt++) {
    const current = statAtIfAny(dirFd, name);
    if (current?.ino === record.ino) {
      disposeOrKeep(context, record, destroyed); // switched before a crash: what it replaced may still be staged
      return {result: DONE, ...seenAt({dirFd, name})};
    }
    const staged = statAtIfAny(stagingFd, record.stage);
    if (staged?.ino !== record.ino) {
      disposeOrKeep(context, record, destroyed); // switched before a crash, and changed by somebody since: what went out is kept
      return {result: failure('base-changed', record.path, 'its staged entry is gone'), stat: undefined};
    }
    try {
      renameAt(stagingFd, record.stage, dirFd, name, current === undefined ? 'no-replace' : 'exchange');
    } catch (error) {
      if (isLinuxError(error, 'EEXIST', 'ENOENT')) continue; // it came or went between look and switch
      throw error;
    }
    if (record.type === 'dir' || current?.type === 'dir') context.dirs.drop(record.path);
    if (current !== undefined) {
      context.touched.drop(record.path);
      disposeOrUndo(context, {...record, known: knownBy(current, record.known)}, {dirFd, name}, destroyed);
    }
    if (record.type === 'dir') context.touched.set(record.path, record.mtime);
    const seen = seenAt({dirFd, name});
    if (seen.stat.ino === record.ino) return {result: DONE, ...seen, isTouched: isTouchedSince(staged, seen.stat)};
  }
  return {result: failure('base-changed', record.path, 'it is being changed on the target'), stat: undefined};
}

/** What this link wrote, unless somebody has touched it since: then it is theirs. */
function knownBy(current: Stat, known: Known | undefined): Known | undefined {
  return known !== undefined && sameTime(current.ctime, known.ctime) ? known : undefined;
}

/** What cannot be kept is not replaced: with the trash full or failing, the old entry takes its place again. */
function disposeOrUndo(context: ApplyContext, record: RecordOf<'install'>, place: Place, destroyed: Destroyed[]): void {
  try {
    dispose(context, record, destroyed);
  } catch (error) {
    if (statAtIfAny(context.stagingFd, record.stage) !== undefined)
      renameAt(context.stagingFd, record.stage, place.dirFd, place.name, 'exchange');
    throw error;
  }
}

/** As before a crash: what cannot go to the trash now is not swept away with what was only staged. */
function disposeOrKeep(context: ApplyContext, record: RecordOf<'install'>, destroyed: Destroyed[]): void {
  try {
    dispose(context, record, destroyed);
  } catch (error) {
    if (!mayPass((error as NodeJS.ErrnoException).code))
      renameAt(context.stagingFd, record.stage, context.stagingFd, `${record.stage}${KEPT_SUFFIX}`, 'no-replace');
    throw error; // else it is tried again, as it is
  }
}

/** Sends what the exchange brought out to the trash, or drops it where nothing would be lost. */
function dispose(context: ApplyContext, record: RecordOf<'install'>, destroyed: Destroyed[]): void {
  const old = statAtIfAny(context.stagingFd, record.stage);
  if (old === undefined) return;
  // Another name of what was just installed, or of a file that lives on elsewhere in the volume.
  const {path} = record;
  if (old.ino === record.ino) return unlinkAt(context.stagingFd, record.stage);
  if (old.type === 'file' && old.nlink > 1) {
    unlinkAt(context.stagingFd, record.stage);
    destroyed.push({path, place: undefined, reason: 'linked'});
  } else if (old.type === 'dir' && inDir(context.stagingFd, record.stage, listNames)?.length === 0) {
    rmdirAt(context.stagingFd, record.stage);
    destroyed.push({path, place: undefined, reason: 'empty'});
  } else {
    // Who has it open to write may go on doing so once it has lost its name.
    const isAlone = (): boolean => old.type !== 'file' || isLeftAlone(context.stagingFd, record.stage, old);
    const isDropped = isOwn(record.known, old) && isAlone();
    const reason: TrashReason = isDropped ? 'overwritten' : 'foreign';
    const place = context.trash.take(context.stagingFd, record.stage, {path, type: old.type, reason});
    destroyed.push({path, place, reason});
  }
}

/** Whether this link wrote that version. The rename changed its ctime, so the other marks must do. */
function isOwn(known: Known | undefined, old: Stat): boolean {
  return (
    known !== undefined &&
    known.type === old.type &&
    known.ino === old.ino &&
    known.sizeBytes === old.sizeBytes &&
    sameTime(known.mtime, old.mtime) &&
    old.type !== 'dir'
  );
}

function remove(context: ApplyContext, record: RecordOf<'delete'>, destroyed: Destroyed[]): Outcome {
  let place: Place;
  try {
    place = context.changedPlace(record.path);
  } catch (error) {
    if (isLinuxError(error, 'ENOENT', 'ENOTDIR')) return {result: DONE, stat: undefined};
    throw error;
  }
  const stat = statAtIfAny(place.dirFd, place.name);
  if (stat === undefined) return {result: DONE, stat: undefined};
  if (stat.ino !== record.ino)
    return {result: failure('base-changed', record.path, 'something else is there by now'), stat: undefined};
  const {ignore} = context.options.view;
  if (stat.type === 'dir' && ignore.length > 0 && holdsIgnored(context, record.path))
    return removeAround(context, record, destroyed);
  context.dirs.drop(record.path);
  const where = context.trash.take(place.dirFd, place.name, {path: record.path, type: stat.type, reason: 'deleted'});
  context.touched.drop(record.path);
  destroyed.push({path: record.path, place: where, reason: 'deleted'});
  return {result: DONE, stat: undefined};
}

function holdsIgnored(context: ApplyContext, path: RelPath): boolean {
  const matcher = compileIgnore(context.options.view.ignore);
  const look = (dir: RelPath): boolean => {
    const fd = context.dirs.open(dir);
    return listNames(fd).some((name) => {
      const child = joinPath(dir, name);
      const stat = statAtIfAny(context.dirs.open(dir), name);
      if (stat === undefined) return false;
      return matcher.isIgnored(child, stat.type === 'dir') || (stat.type === 'dir' && look(child));
    });
  };
  return look(path);
}

/** Ignored entries stay, and so do the directories that hold them; all else below goes. */
function removeAround(context: ApplyContext, record: RecordOf<'delete'>, destroyed: Destroyed[]): Outcome {
  const matcher = compileIgnore(context.options.view.ignore);
  const clear = (dir: RelPath): boolean => {
    let isEmpty = true;
    const dirFd = context.dirs.open(dir);
    context.touched.touch(dir, dirFd);
    for (const name of listNames(dirFd)) {
      const path = joinPath(dir, name);
      const stat = statAtIfAny(context.dirs.open(dir), name);
      if (stat === undefined) continue;
      if (matcher.isIgnored(path, stat.type === 'dir') || (stat.type === 'dir' && !clear(path))) {
        isEmpty = false;
      } else if (stat.type !== 'dir') {
        const place = context.trash.take(context.dirs.open(dir), name, {path, type: stat.type, reason: 'deleted'});
        destroyed.push({path, place, reason: 'deleted'});
      } else {
        context.dirs.drop(path);
        context.touched.drop(path);
        rmdirAt(context.dirs.open(dir), name);
      }
    }
    return isEmpty;
  };
  clear(record.path);
  return {result: failure('not-empty', record.path, 'the folder was deleted on the source'), stat: undefined};
}
