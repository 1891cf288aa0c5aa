/**
 * Stages one operation's new entry by name, out of sight, whole and verified, ready to be switched into place.
 *
 * Invariant: a staged file has the digest that was announced; one that has not is removed again.
 */
import {constants} from 'node:fs';
import {LEAF_BYTES, smallContentDigest} from '../model/digest.ts';
import {isUntouched, type EntryType, type Seen} from '../model/entry.ts';
import type {Failed, Op, OpKind} from '../model/op.ts';
import {nameOf, parentOf, ROOT, showPath, type Name, type RelPath} from '../model/path.ts';
import {mkdirAt, openDirAt, rmdirAt} from '../linux/directories.ts';
import {linkAt, makeSpecialAt, openRegularToWrite, symlinkAt, truncate, unlinkAt, writeFrom} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd, openAt} from '../linux/open-fd.ts';
import {statAt, statAtIfAny, statFd} from '../linux/stat.ts';
import {syncFd} from '../linux/sync.ts';
import type {ApplyContext} from './context.ts';
import {failure, failureFrom, linkFailure} from './failure.ts';
import {copyFile} from './copy-file.ts';
import {journalMetaOf, type JournalRecord, type Known} from './journal-record.ts';
import {setFreshMeta, setFreshHeldMeta} from './metadata.ts';
import {writeSparse} from './sparse.ts';
import type {StagedTransfers} from './staged-transfers.ts';

type OpOf<K extends OpKind> = Extract<Op, {kind: K}>;
export type Staged = {record: JournalRecord} | {failed: Failed};

const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;

/** @param known what the state knows to be at the path */
export function stage(
  context: ApplyContext,
  transfers: StagedTransfers,
  op: Op,
  index: number,
  known: Known | undefined,
): Staged {
  try {
    switch (op.kind) {
      case 'make-dir':
        return stageDir(context, op, index, known);
      case 'put-file':
        return stageFile(context, transfers, op, index, known);
      case 'put-symlink':
      case 'put-special':
        return stageUnopened(context, op, index, known);
      case 'link':
        return stageLink(context, op, index, known);
      case 'set-meta':
        return {record: metaRecord(op, index)};
      case 'rename':
        return planRename(context, op, index);
      case 'exchange':
        return planExchange(context, op, index);
      case 'delete':
        return planDelete(context, op, index);
    }
  } catch (error) {
    if (isLinuxError(error, 'EEXIST')) return {failed: notOurs(op.path, stageName(context, index))};
    return {failed: parentFailure(error, op) ?? linkFailure(error, op) ?? failureFrom(error, op.path)};
  }
}

/** Somebody's entry at a name of ours: it stays what it is. The next try has another name. */
function notOurs(path: RelPath, stage: string): Failed {
  const what = `something that is not Towline's lies in the staging folder as ${stage}`;
  return {status: 'failed', code: 'unwritable', message: `${showPath(path)}: ${what}; it is tried again`};
}

/** Set by the switch, in place. */
function metaRecord({path, type, meta, allocatedBytes}: OpOf<'set-meta'>, index: number): JournalRecord {
  return {kind: 'meta', index, path, type, meta: journalMetaOf(meta), allocatedBytes};
}

function parentFailure(error: unknown, op: Op): Failed | undefined {
  if (!isLinuxError(error, 'ENOENT', 'ENOTDIR')) return undefined;
  if (op.kind === 'rename' || op.kind === 'exchange' || op.kind === 'link')
    return failure('base-changed', op.path, error.message);
  return failure('parent-missing', op.path, `its folder ${showPath(parentOf(op.path))} is not there`);
}

export function stageName(context: ApplyContext, index: number): string {
  return `b${context.batch}-${index}`;
}

function stageDir(context: ApplyContext, op: OpOf<'make-dir'>, index: number, known: Known | undefined): Staged {
  const {dirFd, name} = context.place(op.path);
  const stage = stageName(context, index);
  mkdirAt(context.stagingFd, stage, 0o700);
  const fd = openDirAt(context.stagingFd, stage);
  try {
    setFreshMeta(fd, op.meta, context.options.view);
    if (context.options.isDurable) syncFd(fd);
    if (statAtIfAny(dirFd, name)?.type === 'dir') {
      // The same directory again: its metadata is all that is left to do.
      rmdirAt(context.stagingFd, stage);
      return {record: {kind: 'meta', index, path: op.path, type: 'dir', meta: journalMetaOf(op.meta)}};
    }
    const {ino} = statFd(fd);
    const {mtime} = op.meta;
    return {record: {kind: 'install', index, path: op.path, stage, ino, type: 'dir', mtime, known}};
  } finally {
    closeFd(fd);
  }
}

function stageFile(
  context: ApplyContext,
  transfers: StagedTransfers,
  op: OpOf<'put-file'>,
  index: number,
  known: Known | undefined,
): Staged {
  context.place(op.path); // the parent must be there
  const installed = (stage: string, ino: number): Staged => ({
    record: {kind: 'install', index, path: op.path, stage, ino, type: 'file', mtime: op.meta.mtime, known},
  });
  if (op.source.from === 'staged') {
    const claimed = transfers.claim(op.source.transfer, op.content);
    if (claimed === undefined) return {failed: failure('base-changed', op.path, 'its staged content is not there')};
    const {redoOf: base} = claimed;
    if (base !== undefined) return planPatch(context, op, index, {redo: claimed.stage, base, known});
    const fd = openRegularToWrite(context.stagingFd, claimed.stage, constants.O_RDWR);
    try {
      setFreshMeta(fd, op.meta, context.options.view);
      if (context.options.isDurable) syncFd(fd);
      return installed(claimed.stage, statFd(fd).ino);
    } finally {
      closeFd(fd);
    }
  }
  const stage = stageName(context, index);
  const fd = openAt(context.stagingFd, stage, CREATE, 0o600);
  try {
    const fault = fillFile(context, fd, op);
    if (fault !== undefined) {
      unlinkAt(context.stagingFd, stage);
      return {failed: fault};
    }
    setFreshMeta(fd, op.meta, context.options.view);
    return installed(stage, statFd(fd).ino);
  } catch (error) {
    unlinkAt(context.stagingFd, stage);
    throw error;
  } finally {
    closeFd(fd);
  }
}

/** What changes in the file is staged, and is written into it where it is still this link's version. */
function planPatch(
  context: ApplyContext,
  {path, sizeBytes, meta: wanted, content: made}: OpOf<'put-file'>,
  index: number,
  {redo, base, known}: {redo: Name; base: Seen; known: Known | undefined},
): Staged {
  const redoIno = statAtIfAny(context.stagingFd, redo)?.ino;
  const [content, meta] = [made.toString('hex'), journalMetaOf(wanted)];
  if (redoIno !== undefined && known !== undefined && isUntouched(known, base))
    return {record: {kind: 'patch', index, path, redo, redoIno, base, sizeBytes, content, meta}};
  if (redoIno !== undefined) unlinkAt(context.stagingFd, redo);
  return {failed: failure('base-changed', path, 'what is there is not what this link wrote: it is sent whole')};
}

/** Writes a file's content and verifies it. @returns why it is not the announced content */
export function fillFile(context: ApplyContext, fd: number, op: OpOf<'put-file'>): Failed | undefined {
  const {source} = op;
  if (source.from === 'copy') return copyFile(context, fd, op, source.path);
  if (source.from === 'staged') return failure('internal', op.path, 'staged content cannot be filled in');
  if (source.bytes.length !== op.sizeBytes || op.sizeBytes > LEAF_BYTES)
    return failure('corrupt', op.path, 'its content is not as long as announced');
  if (!smallContentDigest(source.bytes).equals(op.content))
    return failure('corrupt', op.path, 'its content does not have the announced digest');
  if (op.allocatedBytes === undefined) writeFrom(fd, source.bytes, 0, source.bytes.length, 0);
  else {
    truncate(fd, op.sizeBytes);
    writeSparse(fd, source.bytes, 0);
  }
  return undefined;
}

/** A symlink, FIFO, socket or device: made, and never opened. */
function stageUnopened(
  context: ApplyContext,
  op: OpOf<'put-symlink' | 'put-special'>,
  index: number,
  known: Known | undefined,
): Staged {
  context.place(op.path);
  const stage = stageName(context, index);
  const {path} = op;
  const type = makeUnopened(context, op, stage);
  const {ino} = statAt(context.stagingFd, stage);
  return {record: {kind: 'install', index, path, stage, ino, type, mtime: op.meta.mtime, known}};
}

/** Makes one in the staging folder, with its metadata. @returns its type */
export function makeUnopened(
  {stagingFd, options}: ApplyContext,
  op: OpOf<'put-symlink' | 'put-special'>,
  stage: Name,
): EntryType {
  const type = op.kind === 'put-symlink' ? 'symlink' : op.type;
  if (op.kind === 'put-symlink') symlinkAt(op.target, stagingFd, stage);
  else makeSpecialAt(stagingFd, stage, op.type, 0o600, op.rdev);
  try {
    setFreshHeldMeta({dirFd: stagingFd, name: stage}, type, op.meta, options.view);
    return type;
  } catch (error) {
    unlinkAt(stagingFd, stage);
    throw error;
  }
}

function stageLink(context: ApplyContext, op: OpOf<'link'>, index: number, known: Known | undefined): Staged {
  context.place(op.path);
  const from = context.place(op.to);
  const stage = stageName(context, index);
  linkAt(from.dirFd, from.name, context.stagingFd, stage);
  const stat = statAt(context.stagingFd, stage);
  const {ino, type, mtime} = stat;
  return {record: {kind: 'install', index, path: op.path, stage, ino, type, mtime, known}};
}

function planRename(context: ApplyContext, op: OpOf<'rename'>, index: number): Staged {
  const from = context.place(op.path);
  const stat = statAtIfAny(from.dirFd, from.name);
  if (stat === undefined || stat.type !== op.type)
    return {failed: failure('base-changed', op.path, `no ${op.type} is there to be renamed`)};
  const to = context.place(op.to);
  const toIno = statAtIfAny(to.dirFd, to.name)?.ino;
  return {record: {kind: 'rename', index, path: op.path, to: op.to, ino: stat.ino, toIno, type: op.type}};
}

function planExchange(context: ApplyContext, op: OpOf<'exchange'>, index: number): Staged {
  const from = context.place(op.path);
  const to = context.place(op.to);
  const stat = statAtIfAny(from.dirFd, from.name);
  const toStat = statAtIfAny(to.dirFd, to.name);
  if (stat === undefined || toStat === undefined)
    return {failed: failure('base-changed', op.path, 'one of both is not there to be exchanged')};
  return {record: {kind: 'exchange', index, path: op.path, to: op.to, ino: stat.ino, toIno: toStat.ino}};
}

function planDelete(context: ApplyContext, op: OpOf<'delete'>, index: number): Staged {
  if (op.path === ROOT) return {failed: failure('refused', op.path, 'the root is never deleted')};
  if (parentOf(op.path) === ROOT && context.options.reserved.includes(nameOf(op.path))) {
    return {failed: failure('refused', op.path, "it is Towline's own folder")};
  }
  let stat;
  try {
    const {dirFd, name} = context.place(op.path);
    stat = statAtIfAny(dirFd, name);
  } catch (error) {
    if (!isLinuxError(error, 'ENOENT', 'ENOTDIR')) throw error;
  }
  // Gone already: done, and recorded as such by the switch, which looks again.
  return {record: {kind: 'delete', index, path: op.path, ino: stat?.ino ?? 0, type: stat?.type ?? op.type}};
}
