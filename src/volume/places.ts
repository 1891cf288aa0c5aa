/**
 * Finds where staging and trash can be: on the volume's filesystem, out of the containers' sight.
 *
 * In this order: the state folder, when a link from the root to it works; `.towline/` in the root. Never the parent of
 * the root. Invariant: a place in the root is a directory of our own user with mode 0700, or it is refused.
 */
import {randomBytes} from 'node:crypto';
import {mkdirSync, rmdirSync} from 'node:fs';
import {join} from 'node:path';
import {TowlineError} from '../base/errors.ts';
import {listNames, mkdirAt, openDirAt, rmdirAt} from '../linux/directories.ts';
import {linkFdAt, openTmp, unlinkAt} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {chmodFd, setTimeFd} from '../linux/metadata.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {fromText, showPath} from '../model/path.ts';

/** Name in a root that is Towline's own: in no view, refused when it is another's. */
export const RESERVED_NAME = '.towline';

/** Host paths, as text. */
export interface Places {
  staging: string;
  trash: string;
  isInRoot: boolean;
}

/**
 * @param rootFd the open root, @param rootPath its host path, @param stateFolder of this volume, exists
 * @throws TowlineError REFUSED, SYSTEM
 */
export function findPlaces(rootFd: number, rootPath: string, stateFolder: string): Places {
  const beside = {staging: join(stateFolder, 'staging'), trash: join(stateFolder, 'trash'), isInRoot: false};
  mkdirSync(beside.staging, {recursive: true, mode: 0o700});
  mkdirSync(beside.trash, {recursive: true, mode: 0o700});
  if (isSameFilesystem(rootFd, beside.staging)) return beside;
  rmdirSync(beside.staging);
  rmdirSync(beside.trash);
  makeInRoot(rootFd, rootPath);
  const inRoot = join(rootPath, RESERVED_NAME);
  return {staging: join(inRoot, 'staging'), trash: join(inRoot, 'trash'), isInRoot: true};
}

/** Whether a nameless file of the root can get a name there: what a rename would need too. */
function isSameFilesystem(rootFd: number, folder: string): boolean {
  const folderFd = openDirPath(fromText(folder));
  const name = `trial-${randomBytes(8).toString('hex')}`;
  try {
    const fd = openTmp(rootFd, 0o600);
    try {
      linkFdAt(fd, folderFd, name);
      unlinkAt(folderFd, name);
      return true;
    } finally {
      closeFd(fd);
    }
  } catch (error) {
    if (isLinuxError(error, 'EXDEV', 'EOPNOTSUPP', 'ENOTSUP', 'EISDIR')) return false;
    throw cannotWrite(error);
  } finally {
    closeFd(folderFd);
  }
}

function cannotWrite(error: unknown): Error {
  if (!isLinuxError(error)) return error as Error;
  const message = `the target cannot be written (${error.message}); check its mount options and free space`;
  return new TowlineError('SYSTEM', message, {syscall: error.syscall, errno: error.code, path: ''}, {cause: error});
}

function makeInRoot(rootFd: number, rootPath: string): void {
  const {mtime} = statFd(rootFd);
  try {
    makeDir(rootFd, RESERVED_NAME);
    const fd = openDirAt(rootFd, RESERVED_NAME);
    try {
      checkPrivate(fd, rootPath);
      makeDir(fd, 'staging');
      makeDir(fd, 'trash');
      chmodFd(fd, 0o700);
    } finally {
      closeFd(fd);
    }
  } catch (error) {
    if (isLinuxError(error, 'ENOTDIR', 'ELOOP')) throw foreign(rootPath);
    throw isLinuxError(error) ? cannotWrite(error) : error;
  } finally {
    setRootTime(rootFd, mtime);
  }
}

function setRootTime(rootFd: number, mtime: {s: number; ns: number}): void {
  try {
    setTimeFd(rootFd, mtime);
  } catch (error) {
    if (!isLinuxError(error)) throw error; // read-only: the error before it is the one to be told
  }
}

function makeDir(dirFd: number, name: string): void {
  try {
    mkdirAt(dirFd, name, 0o700);
  } catch (error) {
    if (!isLinuxError(error, 'EEXIST')) throw error;
  }
}

function foreign(rootPath: string): TowlineError {
  const path = `${showPath(fromText(rootPath))}/${RESERVED_NAME}`;
  return new TowlineError(
    'REFUSED',
    `${path} is there but not a private folder of this user; move it away, the name is reserved`,
    {reason: path},
  );
}

/**
 * Opens places in the root for one job, from the held root downwards: who may write to the volume may have put a link
 * in their way. What was removed meanwhile is made again.
 * @returns descriptors for the caller to close
 * @throws TowlineError REFUSED, SYSTEM
 */
export function openPlacesInRoot(rootFd: number, rootPath: string): {stagingFd: number; trashFd: number} {
  for (let attempt = 0; ; attempt++) {
    try {
      const fd = openDirAt(rootFd, RESERVED_NAME);
      try {
        checkPrivate(fd, rootPath);
        const stagingFd = openDirAt(fd, 'staging');
        try {
          return {stagingFd, trashFd: openDirAt(fd, 'trash')};
        } catch (error) {
          closeFd(stagingFd);
          throw error;
        }
      } finally {
        closeFd(fd);
      }
    } catch (error) {
      if (isLinuxError(error, 'ENOENT') && attempt === 0) makeInRoot(rootFd, rootPath);
      else throw isLinuxError(error, 'ENOENT', 'ENOTDIR', 'ELOOP') ? foreign(rootPath) : error;
    }
  }
}

function checkPrivate(fd: number, rootPath: string): void {
  const stat = statFd(fd);
  if (stat.uid !== process.geteuid?.() || (stat.mode & 0o077) !== 0) throw foreign(rootPath);
}

/** Removes a place in the root when nothing is left in it, so that an unused target shows nothing of Towline. */
export function leavePlaces(rootFd: number, places: Places): void {
  if (!places.isInRoot) return;
  const {mtime} = statFd(rootFd);
  try {
    const fd = openDirAt(rootFd, RESERVED_NAME);
    try {
      const trashFd = openDirAt(fd, 'trash');
      const isEmpty = listNames(trashFd).length === 0;
      closeFd(trashFd);
      if (!isEmpty) return;
      rmdirAt(fd, 'trash');
      rmdirAt(fd, 'staging');
    } finally {
      closeFd(fd);
    }
    rmdirAt(rootFd, RESERVED_NAME);
  } catch (error) {
    if (!isLinuxError(error)) throw error; // still in use, or gone: it costs nothing
  } finally {
    setRootTime(rootFd, mtime);
  }
}
