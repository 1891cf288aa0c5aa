/**
 * Switches names alone: renames and exchanges of what is there. Done from the journal's records, as in switch.ts.
 *
 * Invariant: a path shows its old or its new entry at every moment, and what a rename replaces goes out by exchange,
 * whatever it is in that moment.
 */
import {unlinkAt} from '../linux/files.ts';
import {ENOENT, LinuxError} from '../linux/linux-error.ts';
import {statAt, statAtIfAny} from '../linux/stat.ts';
import type {Name} from '../model/path.ts';
import type {ApplyContext} from './context.ts';
import {DONE, failure} from './failure.ts';
import {renameAt} from './own-dirs.ts';
import {
  isTouchedSince,
  KEPT_SUFFIX,
  seenAt,
  type Destroyed,
  type Outcome,
  type Place,
  type RecordOf,
} from './switched.ts';

export function rename(context: ApplyContext, record: RecordOf<'rename'>, destroyed: Destroyed[]): Outcome {
  if (record.path.startsWith(`${record.to}/`)) return renameUp(context, record, destroyed);
  const from = context.changedPlace(record.path);
  const to = context.changedPlace(record.to);
  const current = statAtIfAny(to.dirFd, to.name);
  const there = statAtIfAny(from.dirFd, from.name);
  if (current?.ino === record.ino && there?.ino !== record.ino) {
    // Done before a crash: what it replaced may still wait on its way to the trash.
    if (record.toIno !== undefined && there?.ino === record.toIno)
      renameAt(from.dirFd, from.name, context.stagingFd, keptName(context, record), 'no-replace');
    if (statAtIfAny(context.stagingFd, keptName(context, record))?.ino === record.ino)
      unlinkAt(context.stagingFd, keptName(context, record)); // another name of it
    takeKept(context, record, destroyed);
    return {result: DONE, ...seenAt(to)};
  }
  const kept = statAtIfAny(context.stagingFd, keptName(context, record));
  const isHalfway = kept?.ino === record.ino; // on its way when it crashed
  if (!isHalfway && there?.ino !== record.ino)
    return {result: failure('base-changed', record.path, 'something else is there by now'), stat: undefined};
  const isItself = !isHalfway && current?.ino === record.ino;
  if (isItself && record.type !== 'dir' && current.nlink > 1)
    dropName(context, record, from); // two names of one file
  else if (!isHalfway && current === undefined) renameAt(from.dirFd, from.name, to.dirFd, to.name, 'no-replace');
  else renameByStaging(context, record, {from, to, isHalfway}, destroyed);
  if (record.type === 'dir' || current?.type === 'dir') {
    context.dirs.drop(record.path);
    context.dirs.drop(record.to);
  }
  if (record.type === 'dir') context.touched.move(record.path, record.to);
  const seen = seenAt(to);
  if (seen.stat.ino === record.ino) {
    const found = there ?? seen.stat; // halfway, after a crash: the scan that follows sees what it is
    return {result: DONE, found, ...seen, isTouched: isTouchedSince(found, seen.stat)};
  }
  return {result: failure('base-changed', record.path, 'somebody else moved something there'), stat: undefined};
}

/**
 * By way of the staging folder: over another entry, which goes out by exchange, whatever it is in that moment; and to
 * another spelling of its name, where names that differ in case alone are one and the system would do nothing.
 */
function renameByStaging(
  context: ApplyContext,
  record: RecordOf<'rename'>,
  {from, to, isHalfway}: {from: Place; to: Place; isHalfway: boolean},
  destroyed: Destroyed[],
): void {
  const {stagingFd} = context;
  const kept = keptName(context, record);
  if (!isHalfway) renameAt(from.dirFd, from.name, stagingFd, kept, 'no-replace');
  try {
    if (statAt(stagingFd, kept).ino !== record.ino) throw new LinuxError('renameat2', ENOENT); // another one came before
    const current = statAtIfAny(to.dirFd, to.name);
    renameAt(stagingFd, kept, to.dirFd, to.name, current === undefined ? 'no-replace' : 'exchange');
    takeKept(context, record, destroyed);
  } catch (error) {
    // What cannot be kept is not replaced.
    const isSwitched = statAtIfAny(to.dirFd, to.name)?.ino === record.ino;
    if (isSwitched) renameAt(stagingFd, kept, to.dirFd, to.name, 'exchange');
    renameAt(stagingFd, kept, from.dirFd, from.name, 'no-replace');
    throw error;
  }
  context.touched.drop(record.to);
}

/** Removes one of a file's names, if it still is one. */
function dropName(context: ApplyContext, record: RecordOf<'rename'>, from: Place): void {
  const {stagingFd} = context;
  const kept = keptName(context, record);
  renameAt(from.dirFd, from.name, stagingFd, kept, 'no-replace');
  const isOther = statAt(stagingFd, kept).ino !== record.ino;
  if (isOther) renameAt(stagingFd, kept, from.dirFd, from.name, 'no-replace');
  else unlinkAt(stagingFd, kept);
}

/** A rename over a directory that it is in: out of it first, as the system has it. */
function renameUp(context: ApplyContext, record: RecordOf<'rename'>, destroyed: Destroyed[]): Outcome {
  const to = context.changedPlace(record.to);
  const kept = keptName(context, record);
  if (statAt(to.dirFd, to.name).ino !== record.ino) {
    if (statAtIfAny(context.stagingFd, kept)?.ino !== record.ino) {
      const from = context.place(record.path);
      if (statAtIfAny(from.dirFd, from.name)?.ino !== record.ino)
        return {result: failure('base-changed', record.path, 'something else is there by now'), stat: undefined};
      renameAt(from.dirFd, from.name, context.stagingFd, kept, 'no-replace');
    }
    try {
      renameAt(context.stagingFd, kept, to.dirFd, to.name, 'exchange');
    } catch (error) {
      const from = context.place(record.path);
      renameAt(context.stagingFd, kept, from.dirFd, from.name, 'no-replace');
      throw error;
    }
    context.dirs.drop(record.to);
    context.touched.move(record.path, record.to);
  }
  takeKept(context, record, destroyed);
  return {result: DONE, ...seenAt(to)};
}

export function exchange(context: ApplyContext, record: RecordOf<'exchange'>): Outcome {
  const from = context.changedPlace(record.path);
  const to = context.changedPlace(record.to);
  const [there, current] = [statAt(from.dirFd, from.name), statAt(to.dirFd, to.name)];
  const inos = [there.ino, current.ino];
  const isDone = inos[0] === record.toIno && inos[1] === record.ino; // before a crash
  if (inos[0] === record.ino && inos[1] === record.toIno) {
    renameAt(from.dirFd, from.name, to.dirFd, to.name, 'exchange');
    context.dirs.drop(record.path);
    context.dirs.drop(record.to);
    context.touched.exchange(record.path, record.to);
  } else if (!isDone)
    return {result: failure('base-changed', record.path, 'something else is there by now'), stat: undefined};
  const {stat: otherStat, attrs: otherAttrs} = seenAt(from);
  const seen = seenAt(to);
  if (isDone) return {result: DONE, ...seen, otherStat, otherAttrs};
  const isTouched = isTouchedSince(there, seen.stat) || isTouchedSince(current, otherStat);
  return {result: DONE, found: there, otherFound: current, ...seen, otherStat, otherAttrs, isTouched};
}

function keptName(context: ApplyContext, record: RecordOf<'rename'>): Name {
  return `b${context.batch}-${record.index}${KEPT_SUFFIX}`;
}

function takeKept(context: ApplyContext, record: RecordOf<'rename'>, destroyed: Destroyed[]): void {
  const kept = keptName(context, record);
  const stat = statAtIfAny(context.stagingFd, kept);
  if (stat === undefined) return;
  const place = context.trash.take(context.stagingFd, kept, {path: record.to, type: stat.type, reason: 'foreign'});
  destroyed.push({path: record.to, place, reason: 'foreign'});
}
