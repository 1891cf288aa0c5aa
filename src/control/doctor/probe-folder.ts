/**
 * Tries what a filesystem can do, in a folder that is or may become a volume's root. Synchronous, for a process that
 * may hang on it (probe.child.ts).
 *
 * Invariant: nothing gets a name in a root. Tries are made in Towline's own folders if there are any on that filesystem,
 * else on a file without a name: who watches the root is told of a `#12`, which is no entry.
 */
import {randomBytes} from 'node:crypto';
import {readFileSync, realpathSync} from 'node:fs';
import {dirname} from 'node:path';
import {isCaseInsensitive} from '../../linux/abilities.ts';
import {openBeneath} from '../../linux/beneath.ts';
import {DIRENT_DIR, DIRENT_TYPE, listNames, readDirEntries} from '../../linux/directories.ts';
import {clone} from '../../linux/extents.ts';
import {linkFdAt, openTmp, renameAt, unlinkAt, writeFrom} from '../../linux/files.ts';
import {filesystemOf} from '../../linux/filesystem.ts';
import {isLinuxError} from '../../linux/linux-error.ts';
import {setTimeFd} from '../../linux/metadata.ts';
import {closeFd, openDirPath} from '../../linux/open-fd.ts';
import {statAt, statAtIfAny, statFd} from '../../linux/stat.ts';
import {setXattr} from '../../linux/xattrs.ts';
import {fromText, joinPath, ROOT, type Name, type RelPath} from '../../model/path.ts';
import {RESERVED_NAME} from '../../volume/places.ts';
import {heldOf} from '../../volume/probe-holds.ts';

/** Plain data: it goes from one process to another. What could not be tried is undefined. */
export interface FolderFacts {
  /** Without symbolic links. */
  realPath: string;
  /** As the list of mounts calls it: `ext4`, `nfs4`, `fuse.sshfs`; '' when not found there. */
  filesystem: string;
  isReadOnly: boolean;
  isEmpty: boolean;
  totalBytes: number;
  freeBytes: number;
  /** Infinity where they are made as needed. */
  freeInodes: number;
  hasBirthTime: boolean;
  isCaseInsensitive: boolean;
  uid: number;
  mode: number;
  /** Who tried. */
  processUid: number;
  /** Errno name of why no file without a name can be made; undefined when one can. */
  namelessFault: string | undefined;
  /** Errno name of why the mark cannot be set. */
  markFault: string | undefined;
  canMark: boolean | undefined;
  canClone: boolean | undefined;
  /** What is left of a time of …123,456,789 ns: that, or the filesystem's own precision. */
  keptNs: number | undefined;
  /** What else of metadata is kept, of what this process may set. */
  held: ReturnType<typeof heldOf> | undefined;
  canLink: boolean | undefined;
  canExchange: boolean | undefined;
  /** The first of the places that lies on the same filesystem; undefined when none does: then it is the root itself. */
  place: string | undefined;
  /** The reserved name in the root is something else than a private folder of this user. */
  isReservedTaken: boolean;
}

export interface TreeFacts {
  dirCount: number;
  isWhole: boolean;
}

const TRIED_NS = 123_456_789;
const NAMES_TRIED_MAX = 20;
const CLONE_BYTES = 65_536; // a multiple of every block size

export interface FolderToProbe {
  /** As text. */
  path: string;
  /** The agent's, where tries with names are made; need not exist. */
  stateFolder: string;
  /** Where what is on its way may lie, best first; need not exist. */
  places: string[];
}

/** @throws LinuxError ENOENT, ENOTDIR, EACCES … when the folder cannot be opened */
export function probeFolder({path, stateFolder, places}: FolderToProbe): FolderFacts {
  const fd = openDirPath(fromText(path));
  try {
    const stat = statFd(fd);
    const {isReadOnly, totalBytes, freeBytes, freeInodes} = filesystemOf(fd);
    return {
      realPath: realpathSync(path),
      filesystem: mountType(stat.mountId),
      isReadOnly,
      isEmpty: isEmptyDir(fd),
      totalBytes,
      freeBytes,
      freeInodes,
      hasBirthTime: stat.btime.s !== 0,
      isCaseInsensitive: isCaseInsensitive(fd) || answersToOtherCase(fd),
      uid: stat.uid,
      mode: stat.mode,
      processUid: process.geteuid?.() ?? 0,
      isReservedTaken: isReservedTaken(fd),
      place: places.find((place) => isSameMount(fd, place)),
      ...tryAll(fd, stateFolder),
    };
  } finally {
    closeFd(fd);
  }
}

type Tried = Pick<
  FolderFacts,
  'namelessFault' | 'markFault' | 'canMark' | 'canClone' | 'keptNs' | 'held' | 'canLink' | 'canExchange'
>;

function tryAll(rootFd: number, stateFolder: string): Tried {
  const ownFd = openOwn(rootFd, stateFolder);
  try {
    return tryIn(ownFd ?? rootFd, ownFd !== undefined);
  } finally {
    if (ownFd !== undefined) closeFd(ownFd);
  }
}

/** A folder of Towline's own on the root's filesystem, where things may have names. */
function openOwn(rootFd: number, stateFolder: string): number | undefined {
  for (const open of [
    () => openDirPath(fromText(stateFolder)),
    () => openBeneath(rootFd, `${RESERVED_NAME}/staging`),
  ]) {
    let fd: number;
    try {
      fd = open();
    } catch {
      continue;
    }
    const {uid, mode} = statFd(fd);
    if (uid === process.geteuid?.() && (mode & 0o022) === 0 && isOneMount(rootFd, fd)) return fd;
    closeFd(fd);
  }
  return undefined;
}

function tryIn(dirFd: number, mayName: boolean): Tried {
  let fd: number;
  try {
    fd = openTmp(dirFd, 0o600);
  } catch (error) {
    const unknown = {markFault: undefined, canMark: undefined, canClone: undefined, keptNs: undefined, held: undefined};
    return {...unknown, namelessFault: codeOf(error), canLink: undefined, canExchange: undefined};
  }
  try {
    const markFault = faultOf(() => setXattr(fd, 'trusted.towline.doctor', Buffer.of(1)));
    return {
      namelessFault: undefined,
      markFault,
      canMark: markFault === undefined,
      canClone: tryClone(dirFd, fd),
      keptNs: tryTime(fd),
      held: tryHeld(fd),
      ...(mayName ? tryNames(fd, dirFd) : {canLink: undefined, canExchange: undefined}),
    };
  } finally {
    closeFd(fd);
  }
}

/** Gives an open file two names in a folder, and exchanges them. */
function tryNames(fd: number, dirFd: number): Pick<Tried, 'canLink' | 'canExchange'> {
  const name = (number: number): string => `doctor-${number}-${randomBytes(8).toString('hex')}`;
  const [first, second] = [name(1), name(2)];
  try {
    if (faultOf(() => linkFdAt(fd, dirFd, first)) !== undefined) return {canLink: undefined, canExchange: undefined};
    const canLink = faultOf(() => linkFdAt(fd, dirFd, second)) === undefined;
    const exchange = (): void => renameAt(dirFd, first, dirFd, second, 'exchange');
    return {canLink, canExchange: canLink ? faultOf(exchange) === undefined : undefined};
  } finally {
    for (const made of [first, second]) faultOf(() => unlinkAt(dirFd, made));
  }
}

function tryClone(dirFd: number, fd: number): boolean | undefined {
  try {
    writeFrom(fd, Buffer.alloc(CLONE_BYTES, 1), 0, CLONE_BYTES, 0);
    const copyFd = openTmp(dirFd, 0o600);
    try {
      return clone(copyFd, fd);
    } finally {
      closeFd(copyFd);
    }
  } catch {
    return undefined; // no space
  }
}

function tryTime(fd: number): number | undefined {
  if (faultOf(() => setTimeFd(fd, {s: 1_700_000_001, ns: TRIED_NS})) !== undefined) return undefined;
  return statFd(fd).mtime.ns;
}

/** Whether something in it is found under another spelling too: FAT, for one. Nothing is made to find out. */
function answersToOtherCase(fd: number): boolean {
  const names = new Set(listNames(fd));
  const isOther = (name: Name): boolean => {
    const other = name.replace(/[A-Za-z]/g, (letter) => (letter < 'a' ? letter.toLowerCase() : letter.toUpperCase()));
    return other !== name && !names.has(other) && statAtIfAny(fd, other)?.ino === statAtIfAny(fd, name)?.ino;
  };
  return [...names].slice(0, NAMES_TRIED_MAX).some(isOther);
}

/** Undefined where there is no room to try. */
function tryHeld(fd: number): FolderFacts['held'] {
  let held: FolderFacts['held'];
  faultOf(() => (held = heldOf(fd)));
  return held;
}

/** Whether a folder, or the one that it would be made in, is on the root's filesystem. */
function isSameMount(rootFd: number, place: string): boolean {
  for (let folder = place; ; folder = dirname(folder)) {
    let fd: number;
    try {
      fd = openDirPath(fromText(folder));
    } catch (error) {
      if (folder !== '/' && isLinuxError(error, 'ENOENT', 'ENOTDIR')) continue;
      return false;
    }
    try {
      return isOneMount(rootFd, fd);
    } finally {
      closeFd(fd);
    }
  }
}

/** By the mount and the filesystem's number, which differs between btrfs subvolumes: no rename leaves either. */
function isOneMount(firstFd: number, secondFd: number): boolean {
  const isSame = statFd(firstFd).mountId === statFd(secondFd).mountId;
  return isSame && filesystemOf(firstFd).fsid === filesystemOf(secondFd).fsid;
}

function isReservedTaken(rootFd: number): boolean {
  const stat = statAtIfAny(rootFd, RESERVED_NAME);
  return stat !== undefined && (stat.type !== 'dir' || stat.uid !== process.geteuid?.() || (stat.mode & 0o077) !== 0);
}

function isEmptyDir(fd: number): boolean {
  for (const _ of readDirEntries(fd)) return false;
  return true;
}

function mountType(mountId: number): string {
  // ID parent major:minor root point options … - type source options
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    if (line.startsWith(`${mountId} `)) return / - (\S+) /.exec(line)?.[1] ?? '';
  }
  return '';
}

/**
 * Counts directories, the root included and Towline's own excluded: what inotify needs a watch for.
 * @param limit both bound it, whichever is reached first
 */
export function countDirs(path: string, limit: {dirCount: number; deadlineMs: number}): TreeFacts {
  const rootFd = openDirPath(fromText(path));
  const waiting: RelPath[] = [ROOT];
  let dirCount = 0;
  try {
    for (let dir = waiting.pop(); dir !== undefined; dir = waiting.pop()) {
      dirCount++;
      if (dirCount >= limit.dirCount || performance.now() > limit.deadlineMs) return {dirCount, isWhole: false};
      faultOf(() => pushDirs(rootFd, dir, waiting)); // gone, or not to be read: it counts as one
    }
  } finally {
    closeFd(rootFd);
  }
  return {dirCount, isWhole: true};
}

function pushDirs(rootFd: number, dir: RelPath, into: RelPath[]): void {
  const fd = openBeneath(rootFd, dir);
  try {
    for (const entry of readDirEntries(fd)) {
      const isKnown = DIRENT_TYPE[entry.type] !== undefined;
      const isDir = isKnown ? entry.type === DIRENT_DIR : statAt(fd, entry.name()).type === 'dir';
      if (isDir && !(dir === ROOT && entry.name() === RESERVED_NAME)) into.push(joinPath(dir, entry.name()));
    }
  } finally {
    closeFd(fd);
  }
}

function faultOf(attempt: () => unknown): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): string {
  if (isLinuxError(error)) return error.code;
  throw error;
}
