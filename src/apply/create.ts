/**
 * The quick way for operations that only create: nothing is replaced, so nothing needs the journal. A file is written
 * without a name, made durable, and linked under its final name; a crash leaves whole files or none.
 *
 * Invariant: an existing name is never touched here; from the first operation that is no pure creation on, the batch
 * takes the way through the journal.
 */
import {readAttrsAt, readAttrsFd} from '../linux/attrs.ts';
import {mkdirAt, openDirAt} from '../linux/directories.ts';
import {linkAt, linkFdAt, openTmp, renameAt, unlinkAt} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statAt, statAtIfAny, statFd} from '../linux/stat.ts';
import {syncFd, syncFilesystem} from '../linux/sync.ts';
import type {Attrs} from '../model/attrs.ts';
import type {Stat} from '../model/entry.ts';
import {isCreation, type Op, type OpKind, type OpResult} from '../model/op.ts';
import {parentOf, showPath} from '../model/path.ts';
import type {ApplyContext} from './context.ts';
import {DONE, failure, failureFrom, linkFailure} from './failure.ts';
import {setFreshMeta} from './metadata.ts';
import {fillFile, makeUnopened, stageName} from './stage.ts';
import {isTouchedSince} from './switched.ts';

type OpOf<K extends OpKind> = Extract<Op, {kind: K}>;

export interface Created {
  result: OpResult;
  /** What is there now; undefined where it failed. */
  stat: Stat | undefined;
  /** Its attributes, read after `stat`. */
  attrs?: Attrs | undefined;
  /** Somebody has written to it before it was looked at. */
  isTouched?: boolean;
}

const UNNAMED_FILES_MAX = 256; // each holds a descriptor until its batch is durable
const SYNC_EACH_COUNT_MAX = 8; // up to here single fsyncs are cheaper than a syncfs, which flushes the neighbours too

interface Unnamed {
  op: OpOf<'put-file'>;
  index: number;
  fd: number;
}

/**
 * Applies creations from the front of a batch.
 * @returns one result per operation applied; the rest, from the first that is no creation, is left
 */
export function applyCreations(context: ApplyContext, ops: readonly Op[]): Created[] {
  const done: Created[] = [];
  let unnamed: Unnamed[] = [];
  const settle = (): void => {
    const files = unnamed;
    unnamed = [];
    nameFiles(context, files, done);
  };
  try {
    for (const [index, op] of ops.entries()) {
      if (!isCreation(op)) break;
      try {
        if (op.kind === 'put-file') {
          const {source} = op;
          // What it copies may be a file of this batch that has no name yet.
          if (source.from === 'copy' && unnamed.some((file) => file.op.path === source.path)) settle();
          const {dirFd, name} = context.changedPlace(op.path);
          if (statAtIfAny(dirFd, name) !== undefined) break;
          const fd = openTmpIfAny(dirFd);
          if (fd === undefined) break;
          unnamed.push({op, index, fd});
          const fault = fillFile(context, fd, op);
          if (fault !== undefined) {
            closeFd(fd);
            unnamed.pop();
            done[index] = {result: fault, stat: undefined};
            continue;
          }
          setFreshMeta(fd, op.meta, context.options.view);
          if (unnamed.length >= UNNAMED_FILES_MAX) settle();
          continue;
        }
        // A later name may belong to a file that has none yet.
        if (op.kind === 'link') settle();
        const made = create(context, op, index);
        if (made === undefined) break;
        done[index] = {result: DONE, ...made};
      } catch (error) {
        dropLast(unnamed, index);
        done[index] = {result: createFailure(error, op), stat: undefined};
      }
    }
    settle();
  } finally {
    for (const {fd} of unnamed) closeFd(fd);
  }
  return done;
}

/** Undefined where the filesystem makes no file without a name (FAT, NFS): it is staged then. */
function openTmpIfAny(dirFd: number): number | undefined {
  try {
    return openTmp(dirFd, 0o600);
  } catch (error) {
    if (isLinuxError(error, 'ENOTSUP', 'EISDIR')) return undefined;
    throw error;
  }
}

function dropLast(unnamed: Unnamed[], index: number): void {
  if (unnamed.at(-1)?.index === index) closeFd((unnamed.pop() as Unnamed).fd);
}

function createFailure(error: unknown, op: Op): OpResult {
  if (isLinuxError(error, 'ENOENT', 'ENOTDIR')) {
    if (op.kind === 'link') return failure('base-changed', op.path, error.message);
    return failure('parent-missing', op.path, `its folder ${showPath(parentOf(op.path))} is not there`);
  }
  return linkFailure(error, op) ?? failureFrom(error, op.path);
}

type Made = Omit<Created, 'result'>;

/** @returns what was made, or undefined when the name is taken */
function create(context: ApplyContext, op: Op, index: number): Made | undefined {
  const {dirFd, name} = context.changedPlace(op.path);
  try {
    switch (op.kind) {
      case 'make-dir':
        return makeDir(context, op);
      case 'put-symlink':
      case 'put-special': {
        const stage = stageName(context, index);
        makeUnopened(context, op, stage);
        try {
          renameAt(context.stagingFd, stage, dirFd, name, 'no-replace');
        } catch (error) {
          unlinkAt(context.stagingFd, stage);
          throw error;
        }
        return {stat: statAt(dirFd, name), attrs: readAttrsAt(dirFd, name)};
      }
      case 'link': {
        const from = context.place(op.to);
        if (statAt(from.dirFd, from.name).type === 'dir') return undefined;
        linkAt(from.dirFd, from.name, dirFd, name);
        return {stat: statAt(dirFd, name), attrs: readAttrsAt(dirFd, name)};
      }
      default:
        return undefined;
    }
  } catch (error) {
    if (isLinuxError(error, 'EEXIST')) return undefined;
    throw error;
  }
}

function makeDir(context: ApplyContext, op: OpOf<'make-dir'>): Made {
  const {dirFd, name} = context.place(op.path);
  mkdirAt(dirFd, name, 0o700);
  const fd = openDirAt(dirFd, name);
  try {
    setFreshMeta(fd, op.meta, context.options.view);
    context.touched.set(op.path, op.meta.mtime);
    return {stat: statFd(fd), attrs: readAttrsFd(fd)};
  } finally {
    closeFd(fd);
  }
}

/** Makes the written files durable, then gives them their names. */
function nameFiles(context: ApplyContext, files: Unnamed[], done: Created[]): void {
  try {
    if (context.options.isDurable && files.length > 0) {
      if (files.length <= SYNC_EACH_COUNT_MAX) for (const {fd} of files) syncFd(fd);
      else syncFilesystem((files[0] as Unnamed).fd);
    }
    for (const {op, index, fd} of files) {
      try {
        const {dirFd, name} = context.changedPlace(op.path);
        const before = statFd(fd);
        linkFdAt(fd, dirFd, name);
        const stat = statFd(fd);
        done[index] = {result: DONE, stat, attrs: readAttrsFd(fd), isTouched: isTouchedSince(before, stat)};
      } catch (error) {
        // Somebody else made this name meanwhile: planned again, then as a replacement.
        const isTaken = isLinuxError(error, 'EEXIST');
        const result = isTaken
          ? failure('base-changed', op.path, 'the name was taken meanwhile')
          : createFailure(error, op);
        done[index] = {result, stat: undefined};
      }
    }
  } finally {
    for (const {fd} of files) closeFd(fd);
  }
}
