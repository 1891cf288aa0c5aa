/**
 * The folder and the files that state lives in: who may touch them, and how a damaged one is put out of the way.
 *
 * Not a lock: that one process uses a folder is seen to elsewhere. Invariant: nobody but the running user (and root)
 * can write a state folder or a file in it, and no symlink stands for either.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  type Stats,
} from 'node:fs';
import {join} from 'node:path';
import {messageOf, TowlineError} from '../base/errors.ts';

const WRITABLE_BY_OTHERS = 0o022;
const PRIVATE = 0o077;
/** SQLite's companions of a database file. */
const COMPANIONS = ['', '-wal', '-shm'];

/**
 * Makes a state folder (0700, with its parents) or checks the one that is there.
 * @throws REFUSED when it is not a folder of this user alone, SYSTEM when it cannot be made
 */
export function prepareFolder(folder: string): void {
  attempt('mkdir', folder, () => mkdirSync(folder, {recursive: true, mode: 0o700}));
  const stat = attempt('lstat', folder, () => lstatSync(folder));
  if (!stat.isDirectory()) throw refused(folder, 'is not a folder');
  checkOwner(folder, stat);
  if ((stat.mode & PRIVATE) !== 0) attempt('chmod', folder, () => chmodSync(folder, 0o700));
}

/**
 * Makes an empty state file (0600) or checks the one that is there, with its companions.
 * @returns the file's path
 * @throws REFUSED when it is not a plain file of this user alone, SYSTEM when it cannot be made
 */
export function prepareFile(folder: string, file: string): string {
  const path = join(folder, file);
  if (statOf(path) === undefined) {
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_RDWR;
    attempt('open', path, () => closeSync(openSync(path, flags, 0o600)));
    // Without this a power cut could leave the contents of a new file nowhere.
    syncFolder(folder);
  }
  for (const companion of COMPANIONS) {
    const stat = statOf(path + companion);
    if (stat === undefined) continue;
    if (!stat.isFile()) throw refused(path + companion, 'is not a plain file');
    checkOwner(path + companion, stat);
    if ((stat.mode & PRIVATE) !== 0) attempt('chmod', path, () => chmodSync(path + companion, 0o600));
  }
  return path;
}

/**
 * Renames a state file and its companions to `NAME.damaged-TIME`, so that an empty one can be made in its place.
 * @param which `file` is its name in `folder`, `nowMs` the time that goes into the new name
 * @returns the new path
 */
export function setAside(which: {folder: string; file: string; nowMs: number}): string {
  const from = join(which.folder, which.file);
  const time = new Date(which.nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  let to = `${from}.damaged-${time}`;
  for (let count = 2; statOf(to) !== undefined; count++) to = `${from}.damaged-${time}-${count}`;
  // The log goes first: a file without its log is old, a log without its file is taken for that of a newer one.
  for (const companion of COMPANIONS.toReversed()) {
    if (statOf(from + companion) === undefined) continue;
    attempt('rename', from + companion, () => renameSync(from + companion, to + companion));
  }
  syncFolder(which.folder);
  return to;
}

function syncFolder(folder: string): void {
  attempt('fsync', folder, () => {
    const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  });
}

function checkOwner(path: string, stat: Stats): void {
  const uid = process.geteuid?.() ?? 0;
  if (stat.uid !== uid && stat.uid !== 0) throw refused(path, `belongs to user ${stat.uid}, not to ${uid}`);
  if ((stat.mode & WRITABLE_BY_OTHERS) !== 0) {
    throw refused(path, `may be written by others (mode ${(stat.mode & 0o7777).toString(8)})`);
  }
}

function statOf(path: string): Stats | undefined {
  return attempt('lstat', path, () => lstatSync(path, {throwIfNoEntry: false}));
}

function refused(path: string, what: string): TowlineError {
  const reason = `${path} ${what}`;
  return new TowlineError('REFUSED', `state is not kept there: ${reason}; make it yours alone (chmod 700)`, {reason});
}

function attempt<T>(syscall: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code ?? 'EIO';
    throw new TowlineError('SYSTEM', `${path}: ${messageOf(error)}`, {syscall, errno, path}, {cause: error});
  }
}
