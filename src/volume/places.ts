/**
 * Finds where staging and trash can be: on the volume's filesystem, out of the containers' sight.
 *
 * In this order: `.towline/` beside the data folder of an engine's volume; the state folder; each when a link from the
 * root to it works; `.towline/` in the root. Never the parent of another root. Invariant: a place beside or in the root
 * is a directory of our own user with mode 0700; one in the root that is not is refused, one beside it is passed over.
 */
import {randomBytes} from 'node:crypto';
import {existsSync, mkdirSync, rmdirSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {TowlineError} from '../base/errors.ts';
import {listNames, mkdirAt, openDirAt, rmdirAt} from '../linux/directories.ts';
import {linkFdAt, openTmp, unlinkAt} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {chmodFd, setTimeFd} from '../linux/metadata.ts';
import {closeFd, openDirPath} from '../linux/open-fd.ts';
import {statAt, statFd} from '../linux/stat.ts';
import {fromText, showPath} from '../model/path.ts';

/** Name in a root, or beside it, that is Towline's own: in no view, refused when it is another's. */
export const RESERVED_NAME = '.towline';

/** Host paths, as text. */
export interface Places {
  staging: string;
  trash: string;
  isInRoot: boolean;
  /** Share of the filesystem that is left free, 0 to 1; none where it is missing. */
  reserve?: number;
}

/**
 * @param rootFd the open root, @param rootPath its host path, @param stateFolder of this volume, exists
 * @param beside the folder that an engine keeps the volume's data folder in; undefined for any other root
 * @throws TowlineError REFUSED, SYSTEM
 */
export function findPlaces(rootFd: number, rootPath: string, stateFolder: string, beside?: string): Places {
  if (beside !== undefined && makeBeside(rootFd, rootPath, beside)) return placesIn(join(beside, RESERVED_NAME), false);
  const inState = placesIn(stateFolder, false);
  mkdirSync(inState.staging, {recursive: true, mode: 0o700});
  mkdirSync(inState.trash, {recursive: true, mode: 0o700});
  if (isSameFilesystem(rootFd, inState.staging)) return inState;
  rmdirSync(inState.staging);
  rmdirSync(inState.trash);
  makeInRoot(rootFd, rootPath);
  return placesIn(join(rootPath, RESERVED_NAME), true);
}

function placesIn(folder: string, isInRoot: boolean): Places {
  return {staging: join(folder, 'staging'), trash: join(folder, 'trash'), isInRoot};
}

/**
 * Makes the place beside a root.
 * @returns false where it cannot be: the folder does not hold this root, another may write to it, or no link works
 */
function makeBeside(rootFd: number, rootPath: string, beside: string): boolean {
  let fd: number | undefined;
  try {
    fd = openDirPath(fromText(beside));
    if (!holdsRoot(fd, fromText(rootPath), rootFd) || !isOurs(fd, 0o022)) return false;
    return makePlacesIn(fd, (made) => isPrivate(made) && isLinkable(rootFd, made));
  } catch (error) {
    if (!isLinuxError(error)) throw error;
    return false;
  } finally {
    if (fd !== undefined) closeFd(fd);
  }
}

/**
 * Whether a folder has this root in it, on one mount: what is mounted on the data folder of a volume is not of the
 * filesystem that the folder is on.
 * @param rootPath its host path as a byte string
 */
export function holdsRoot(folderFd: number, rootPath: string, rootFd: number): boolean {
  const held = statFd(rootFd);
  return statFd(folderFd).mountId === held.mountId && statAt(folderFd, basename(rootPath)).ino === held.ino;
}

/**
 * The folder beside which places of a root were made before; for when nobody can be asked whether it is an engine's.
 * @param rootPath its host path, as text
 */
export function besideIfUsed(rootPath: string): string | undefined {
  const beside = dirname(rootPath);
  return existsSync(placesIn(join(beside, RESERVED_NAME), false).staging) ? beside : undefined;
}

/** Whether a nameless file of the root can get a name there: what a rename would need too. */
function isSameFilesystem(rootFd: number, folder: string): boolean {
  const folderFd = openDirPath(fromText(folder));
  try {
    return isLinkable(rootFd, folderFd);
  } finally {
    closeFd(folderFd);
  }
}

function isLinkable(rootFd: number, folderFd: number): boolean {
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
    if (!makePlacesIn(rootFd, isPrivate)) throw foreign(rootPath);
  } catch (error) {
    if (isLinuxError(error, 'ENOTDIR', 'ELOOP', 'EXDEV')) throw foreign(rootPath);
    throw isLinuxError(error) ? cannotWrite(error) : error;
  } finally {
    setRootTime(rootFd, mtime);
  }
}

/** @returns false when the reserved folder does not pass `isFit`; nothing is made in it then */
function makePlacesIn(dirFd: number, isFit: (fd: number) => boolean): boolean {
  makeDir(dirFd, RESERVED_NAME);
  const fd = openDirAt(dirFd, RESERVED_NAME);
  try {
    if (!isFit(fd)) return false;
    makeDir(fd, 'staging');
    makeDir(fd, 'trash');
    closeToOthers(fd);
    return true;
  } finally {
    closeFd(fd);
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
      else throw isLinuxError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV') ? foreign(rootPath) : error;
    }
  }
}

function checkPrivate(fd: number, rootPath: string): void {
  if (!isPrivate(fd)) throw foreign(rootPath);
}

/** Where permissions are not kept (FAT), who may read the volume may read what lies beside it, and nobody else. */
function isPrivate(fd: number): boolean {
  if (isOurs(fd, 0o077)) return true;
  const holdsOnlyOurs = listNames(fd).every((name) => /^(staging|trash|trial-.*)$/.test(name));
  return isOurs(fd, 0) && holdsOnlyOurs && !keepsModes(fd);
}

function closeToOthers(fd: number): void {
  try {
    chmodFd(fd, 0o700);
  } catch (error) {
    if (!isLinuxError(error, 'EPERM') || keepsModes(fd)) throw error;
  }
}

/** @param fd of a folder of Towline's own */
function keepsModes(fd: number): boolean {
  const name = `trial-${randomBytes(8).toString('hex')}`;
  mkdirAt(fd, name, 0o700);
  try {
    return (statAt(fd, name).mode & 0o777) === 0o700;
  } finally {
    rmdirAt(fd, name);
  }
}

/** @param forbidden rights that nobody may have there */
function isOurs(fd: number, forbidden: number): boolean {
  const stat = statFd(fd);
  return stat.uid === process.geteuid?.() && (stat.mode & forbidden) === 0;
}

/** Whether Towline's folder is in this root, and is a private one of this user. */
export function hasOwnPlaces(rootFd: number, rootPath: string): boolean {
  try {
    const fd = openDirAt(rootFd, RESERVED_NAME);
    try {
      checkPrivate(fd, rootPath);
      return true;
    } finally {
      closeFd(fd);
    }
  } catch (error) {
    if (isLinuxError(error) || (error instanceof TowlineError && error.code === 'REFUSED')) return false;
    throw error;
  }
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
