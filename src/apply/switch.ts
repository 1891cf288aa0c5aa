/**
 * Switches what was staged into place, and takes away what is to go. Done from the journal's records, so that it can
 * be done again after a crash: each step first looks whether it was done already.
 *
 * Invariant: a path shows its old or its new entry at every moment; what is replaced or removed goes to the trash.
 */
import {readAttrsAt} from '../linux/attrs.ts';
import {listNames, openDirAt, rmdirAt} from '../linux/directories.ts';
import {linkAt, unlinkAt} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statAt, statAtIfAny} from '../linux/stat.ts';
import {NO_ATTRS, type Attrs} from '../model/attrs.ts';
import {sameTime, type Stat} from '../model/entry.ts';
import type {OpResult} from '../model/op.ts';
import {joinPath, ROOT, type Name, type RelPath} from '../model/path.ts';
import {compileIgnore} from '../reconcile/ignore.ts';
import type {ApplyContext} from './context.ts';
import {attrFailure, DONE, failure, failureFrom} from './failure.ts';
import {metaOfJournal, type JournalRecord, type Known} from './journal-record.ts';
import {setMeta} from './metadata.ts';
import {renameAt} from './own-dirs.ts';
import {fillHoles, isBelow} from './sparse.ts';
import {removeTree} from './remove-tree.ts';
import type {TrashReason} from './trash-index.ts';

/** Ends the name of what a rename replaced, until it is in the trash. */
export const KEPT_SUFFIX = '-old';

type RecordOf<K extends JournalRecord['kind']> = Extract<JournalRecord, {kind: K}>;

export interface Switched {
  index: number;
  result: OpResult;
  /** What is at the path now (for a rename: at its new path); undefined where nothing is or it failed. */
  stat: Stat | undefined;
  /** After an exchange: what is at the other path now. */
  otherStat: Stat | undefined;
  /** Its attributes, read after `stat`: a later change of them is seen by its ctime. */
  attrs: Attrs;
  otherAttrs: Attrs;
  /** What was at the path before; only where the entry itself stayed. */
  found: Stat | undefined;
  otherFound: Stat | undefined;
  /** What was replaced or removed. */
  destroyed: Destroyed[];
}

/** An entry that is not at its path any more, with all that was below it. */
export interface Destroyed {
  path: RelPath;
  /** Relative to the trash; undefined when it was not put there. */
  place: string | undefined;
  /** `linked`: it has another name elsewhere; `empty`: a folder without anything in it. */
  reason: TrashReason | 'linked' | 'empty';
}

/** Does every record in order. A record that fails leaves its path as it was and does not stop the others. */
export function switchAll(context: ApplyContext, records: readonly JournalRecord[]): Switched[] {
  return records.map((record) => {
    const destroyed: Destroyed[] = [];
    try {
      return {...NOTHING_SEEN, ...switchOne(context, record, destroyed), index: record.index, destroyed};
    } catch (error) {
      if (record.kind === 'install') dropStaged(context, record);
      const isPathGone = isLinuxError(error, 'ENOENT', 'ENOTDIR');
      const result = isPathGone ? failure('base-changed', record.path, error.message) : failureFrom(error, record.path);
      return {...NOTHING_SEEN, index: record.index, result, stat: undefined, destroyed};
    }
  });
}

/** Of an operation that leaves nothing to be seen. */
export const NOTHING_SEEN = {
  otherStat: undefined,
  attrs: NO_ATTRS,
  otherAttrs: NO_ATTRS,
  found: undefined,
  otherFound: undefined,
} satisfies Partial<Switched>;

type Outcome = Pick<Switched, 'result' | 'stat'> & Partial<Switched>;

function seenAt({dirFd, name}: Place): Pick<Switched, 'attrs'> & {stat: Stat} {
  const stat = statAt(dirFd, name);
  return {stat, attrs: readAttrsAt(dirFd, name) ?? NO_ATTRS};
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
      const failures = setMeta(place, record.type, metaOfJournal(record.meta), context.options);
      if (record.type === 'dir') context.touched.set(record.path, record.meta.mtime);
      const [refused] = failures;
      const result = refused === undefined ? DONE : attrFailure(refused, record.path);
      return {result, found, ...seenAt(place)};
    }
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
      dispose(context, record, destroyed); // switched before a crash: what it replaced may still be staged
      return {result: DONE, ...seenAt({dirFd, name})};
    }
    const staged = statAtIfAny(stagingFd, record.stage);
    if (staged?.ino !== record.ino) {
      dispose(context, record, destroyed); // switched before a crash, and changed by somebody since: what went out is kept
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
    if (seen.stat.ino === record.ino) return {result: DONE, ...seen};
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
  } else if (old.type === 'dir' && listNamesAt(context.stagingFd, record.stage).length === 0) {
    rmdirAt(context.stagingFd, record.stage);
    destroyed.push({path, place: undefined, reason: 'empty'});
  } else {
    const reason: TrashReason = isOwn(record.known, old) ? 'overwritten' : 'foreign';
    const place = context.trash.take(context.stagingFd, record.stage, {path, type: old.type, reason});
    destroyed.push({path, place, reason});
  }
}

function listNamesAt(dirFd: number, name: Name): Name[] {
  const fd = openDirAt(dirFd, name);
  try {
    return listNames(fd);
  } finally {
    closeFd(fd);
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

function rename(context: ApplyContext, record: RecordOf<'rename'>, destroyed: Destroyed[]): Outcome {
  if (record.path.startsWith(`${record.to}/`)) return renameUp(context, record, destroyed);
  const from = context.changedPlace(record.path);
  const to = context.changedPlace(record.to);
  const current = statAtIfAny(to.dirFd, to.name);
  const there = statAtIfAny(from.dirFd, from.name);
  if (current?.ino === record.ino && there?.ino !== record.ino) {
    // Done before a crash: what it replaced may still wait on its way to the trash.
    if (record.toIno !== undefined && there?.ino === record.toIno)
      renameAt(from.dirFd, from.name, context.stagingFd, keptName(context, record), 'no-replace');
    takeKept(context, record, destroyed);
    return {result: DONE, ...seenAt(to)};
  }
  const isHalfway = there === undefined && current === undefined; // of another spelling, before a crash
  if (isHalfway && statAtIfAny(context.stagingFd, keptName(context, record))?.ino === record.ino) {
    renameAt(context.stagingFd, keptName(context, record), to.dirFd, to.name, 'no-replace');
    return {result: DONE, stat: statAt(to.dirFd, to.name)};
  }
  if (there?.ino !== record.ino)
    return {result: failure('base-changed', record.path, 'something else is there by now'), stat: undefined};
  if (current === undefined) renameAt(from.dirFd, from.name, to.dirFd, to.name, 'no-replace');
  else if (current.ino !== record.ino) replaceByRename(context, record, {from, to, current}, destroyed);
  else if (record.type === 'dir' || current.nlink < 2) renameAround(context, record, {from, to});
  else unlinkAt(from.dirFd, from.name); // two names of one file
  if (record.type === 'dir' || current?.type === 'dir') {
    context.dirs.drop(record.path);
    context.dirs.drop(record.to);
  }
  if (record.type === 'dir') context.touched.move(record.path, record.to);
  return {result: DONE, found: there, ...seenAt(to)};
}

/** Another spelling of one name, where names that differ in case alone are one: the system would do nothing. */
function renameAround(context: ApplyContext, record: RecordOf<'rename'>, {from, to}: {from: Place; to: Place}): void {
  const kept = keptName(context, record);
  renameAt(from.dirFd, from.name, context.stagingFd, kept, 'no-replace');
  renameAt(context.stagingFd, kept, to.dirFd, to.name, 'no-replace');
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

function exchange(context: ApplyContext, record: RecordOf<'exchange'>): Outcome {
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
  const before = isDone ? {} : {found: there, otherFound: current};
  return {result: DONE, ...before, ...seenAt(to), otherStat, otherAttrs};
}

interface Place {
  dirFd: number;
  name: Name;
}

/** A rename over something: the old entry is kept in the trash by a second name, or taken out first where it has to be. */
function replaceByRename(
  context: ApplyContext,
  record: RecordOf<'rename'>,
  places: {from: Place; to: Place; current: Stat},
  destroyed: Destroyed[],
): void {
  const {from, to, current} = places;
  const kept = keptName(context, record);
  if (current.type !== 'dir' && record.type !== 'dir') {
    const isLinked = statAtIfAny(context.stagingFd, kept)?.ino === current.ino; // before a crash
    if (!isLinked) linkAt(to.dirFd, to.name, context.stagingFd, kept);
    renameAt(from.dirFd, from.name, to.dirFd, to.name, 'replace');
  } else {
    renameAt(from.dirFd, from.name, to.dirFd, to.name, 'exchange');
    renameAt(from.dirFd, from.name, context.stagingFd, kept, 'no-replace');
    context.touched.drop(record.to);
  }
  takeKept(context, record, destroyed);
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

/** Removes a staged entry that was not switched in; what lies there instead is not ours to drop. */
function dropStaged(context: ApplyContext, {stage, ino}: RecordOf<'install'>): void {
  try {
    if (statAtIfAny(context.stagingFd, stage)?.ino === ino) removeTree(context.stagingFd, stage);
  } catch (error) {
    if (!isLinuxError(error)) throw error; // swept at the next start
  }
}
