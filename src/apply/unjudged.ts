/**
 * Whether a step would take away more than the guard was asked about: it counts what the state says, and the disk may
 * hold something else, because an operation before failed here or somebody else put it there.
 *
 * Asked when everything before is done or has failed. Invariant: a directory of which the guard counted one entry at most
 * goes only if nothing is in it but what is ignored.
 */
import {listNames} from '../linux/directories.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {statAtIfAny} from '../linux/stat.ts';
import type {Failed} from '../model/op.ts';
import {joinPath, type RelPath} from '../model/path.ts';
import {compileIgnore} from '../reconcile/ignore.ts';
import type {ApplyContext} from './context.ts';
import {failure} from './failure.ts';
import type {JournalRecord} from './journal-record.ts';
import {inDir} from './remove-tree.ts';

/** @param record whose operation was judged as taking away one entry at most */
export function unjudgedFault(context: ApplyContext, record: JournalRecord): Failed | undefined {
  const path = placeTaken(record);
  if (path === undefined) return undefined;
  try {
    const {dirFd, name} = context.place(path);
    const there = statAtIfAny(dirFd, name);
    // What is renamed may be there already, under a name that differs in case alone.
    if (there?.type !== 'dir' || (record.kind === 'rename' && there.ino === record.ino)) return undefined;
    const {ignore} = context.options.view;
    const isCounted = inDir(dirFd, name, (fd) => {
      const names = listNames(fd);
      if (names.length === 0 || ignore.length === 0) return names.length > 0;
      const matcher = compileIgnore(ignore);
      return names.some((each) => !matcher.isIgnored(joinPath(path, each), statAtIfAny(fd, each)?.type === 'dir'));
    });
    // One that cannot be looked into is the state's word alone.
    if (isCounted !== true) return undefined;
  } catch (error) {
    if (isLinuxError(error, 'ENOENT', 'ENOTDIR')) return undefined; // the step itself says what that means
    throw error;
  }
  return failure('base-changed', path, 'a folder with entries that were not counted is there; it is compared again');
}

/** Where something else goes with it. */
function placeTaken(record: JournalRecord): RelPath | undefined {
  if (record.kind === 'rename') return record.to;
  return record.kind === 'install' || record.kind === 'delete' ? record.path : undefined;
}
