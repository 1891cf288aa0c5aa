/**
 * Copies an entry with all below it, with owner, mode, times, attributes, ACLs, holes and hard links, sharing the bytes
 * where the filesystem can. For taking things out of the trash.
 *
 * Not through paths, as `cp -a` does: whoever still has a directory open that was deleted can swap what is in it for a
 * link to anywhere. Invariant: each name is opened below a held directory; no link and no mount is followed, on neither
 * side; nothing that is there already is touched.
 */
import {constants} from 'node:fs';
import {constants as osConstants} from 'node:os';
import {readAttrsFd, readAttrsHeld, setAttrsFd, setAttrsHeld, type AttrFailure} from '../linux/attrs.ts';
import {openBeneath} from '../linux/beneath.ts';
import {listNames, mkdirAt, openDirAt} from '../linux/directories.ts';
import {clone, copyRange, nextData, nextHole} from '../linux/extents.ts';
import {linkAt, makeSpecialAt, openRegular, readlinkAt, symlinkAt, truncate} from '../linux/files.ts';
import {isLinuxError, LinuxError} from '../linux/linux-error.ts';
import {chmodFd, chmodHeld, chownFd, chownHeld, setTimeFd, setTimeHeld} from '../linux/metadata.ts';
import {closeFd, holdAt, openAt} from '../linux/open-fd.ts';
import {statAtIfAny, statFd} from '../linux/stat.ts';
import {NO_ATTRS, XATTR_CLASSES, type Attrs} from '../model/attrs.ts';
import {isSpecial, type SpecialType, type Stat} from '../model/entry.ts';
import {joinPath, nameOf, parentOf, type Name, type RelPath} from '../model/path.ts';

const STEP_BYTES = 16 << 20; // between two steps
const LINKS_MAX = 100_000; // of more, the names become files of their own
const EXDEV = osConstants.errno.EXDEV;

export interface CopyRequest {
  fromFd: number;
  fromName: Name;
  /** Nothing is there yet. */
  toFd: number;
  toName: Name;
}

/** What was left out: what went away meanwhile, and devices without the right to make them. */
export interface CopyResult {
  leftOutCount: number;
}

/** Copies step by step, so that the caller can end it. What it made until then stays. @throws LinuxError */
export function* copyTree({fromFd, fromName, toFd, toName}: CopyRequest): Generator<void, CopyResult> {
  const copy = new TreeCopy(toFd, statFd(fromFd).mountId);
  yield* copy.entry({dirFd: fromFd, name: fromName}, {dirFd: toFd, name: toName}, toName);
  return {leftOutCount: copy.leftOutCount};
}

interface Place {
  dirFd: number;
  name: Name;
}

class TreeCopy {
  leftOutCount = 0;
  readonly #topFd: number;
  readonly #mountId: number;
  readonly #setsOwners = process.geteuid?.() === 0;
  /** Where the first name of a file with more names was put, by inode. */
  readonly #links = new Map<number, RelPath>();

  constructor(topFd: number, mountId: number) {
    this.#topFd = topFd;
    this.#mountId = mountId;
  }

  /** @param path where it is put, below the top */
  *entry(from: Place, to: Place, path: RelPath): Generator<void, void> {
    const stat = statAtIfAny(from.dirFd, from.name);
    if (stat === undefined) return void this.leftOutCount++;
    if (stat.mountId !== this.#mountId) throw new LinuxError('openat', EXDEV);
    try {
      if (stat.type === 'dir') yield* this.#directory(from, to, path);
      else if (stat.type === 'file') yield* this.#file(from, to, {path, stat});
      else this.#special(from, to, stat);
    } catch (error) {
      // Gone, or another thing by now: whoever has it open still works in there.
      if (!isLinuxError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL') || path === to.name) throw error;
      this.leftOutCount++;
    }
    yield;
  }

  *#directory(from: Place, to: Place, path: RelPath): Generator<void, void> {
    const fromFd = openDirAt(from.dirFd, from.name);
    try {
      mkdirAt(to.dirFd, to.name, 0o700);
      const toFd = openDirAt(to.dirFd, to.name);
      try {
        for (const name of listNames(fromFd))
          yield* this.entry({dirFd: fromFd, name}, {dirFd: toFd, name}, joinPath(path, name));
        this.#metadata(fromFd, toFd, statFd(fromFd));
      } finally {
        closeFd(toFd);
      }
    } finally {
      closeFd(fromFd);
    }
  }

  *#file(from: Place, to: Place, {path, stat}: {path: RelPath; stat: Stat}): Generator<void, void> {
    const first = stat.nlink > 1 ? this.#links.get(stat.ino) : undefined;
    if (first !== undefined) return this.#link(first, to);
    const {fd: fromFd, stat: opened} = openRegular(from.dirFd, from.name, {noatime: true});
    try {
      const flags = constants.O_CREAT | constants.O_EXCL | constants.O_RDWR;
      const toFd = openAt(to.dirFd, to.name, flags, 0o600);
      try {
        if (!clone(toFd, fromFd)) yield* this.#content(fromFd, toFd, opened.sizeBytes);
        this.#metadata(fromFd, toFd, opened);
      } finally {
        closeFd(toFd);
      }
    } finally {
      closeFd(fromFd);
    }
    if (stat.nlink > 1 && this.#links.size < LINKS_MAX) this.#links.set(stat.ino, path);
  }

  *#content(fromFd: number, toFd: number, sizeBytes: number): Generator<void, void> {
    truncate(toFd, sizeBytes);
    for (let offset = nextData(fromFd, 0); offset >= 0 && offset < sizeBytes; offset = nextData(fromFd, offset)) {
      const end = Math.min(sizeBytes, nextHole(fromFd, offset));
      while (offset < end) {
        const count = copyRange(fromFd, offset, toFd, offset, Math.min(STEP_BYTES, end - offset));
        if (count === 0) return; // cut off meanwhile
        offset += count;
        yield;
      }
    }
  }

  #link(first: RelPath, to: Place): void {
    const fd = openBeneath(this.#topFd, parentOf(first));
    try {
      linkAt(fd, nameOf(first), to.dirFd, to.name);
    } finally {
      closeFd(fd);
    }
  }

  #special(from: Place, to: Place, stat: Stat): void {
    const fromHeld = holdAt(from.dirFd, from.name);
    try {
      const {type, rdev} = stat;
      if (type === 'symlink') symlinkAt(readlinkAt(from.dirFd, from.name), to.dirFd, to.name);
      else if (isSpecial(type) && !this.#makeSpecial(to, type, rdev)) return;
      this.#heldMetadata(readAttrsHeld(fromHeld, Infinity), holdAt(to.dirFd, to.name), stat);
    } finally {
      closeFd(fromHeld);
    }
  }

  /** @returns whether this process may make it; it is left out else */
  #makeSpecial(to: Place, type: SpecialType, rdev: number): boolean {
    try {
      makeSpecialAt(to.dirFd, to.name, type, 0o600, rdev);
      return true;
    } catch (error) {
      if (!isLinuxError(error, 'EPERM')) throw error;
      this.leftOutCount++;
      return false;
    }
  }

  #heldMetadata(attrs: Attrs | undefined, toHeld: number, stat: Stat): void {
    try {
      if (this.#setsOwners) chownHeld(toHeld, stat.uid, stat.gid);
      checkAttrs(setAttrsHeld(toHeld, attrs ?? NO_ATTRS, XATTR_CLASSES));
      if (stat.type !== 'symlink') chmodHeld(toHeld, stat.mode);
      setTimeHeld(toHeld, stat.mtime);
    } finally {
      closeFd(toHeld);
    }
  }

  /** Owner first, which takes capabilities and special bits away; the time last. */
  #metadata(fromFd: number, toFd: number, stat: Stat): void {
    if (this.#setsOwners) chownFd(toFd, stat.uid, stat.gid);
    checkAttrs(setAttrsFd(toFd, readAttrsFd(fromFd, Infinity) ?? NO_ATTRS, XATTR_CLASSES));
    chmodFd(toFd, stat.mode);
    setTimeFd(toFd, stat.mtime);
  }
}

/** As `cp -a`, what this filesystem or user may not set is left out. */
function checkAttrs(failures: AttrFailure[]): void {
  const failed = failures.find(({error}) => !isLinuxError(error, 'EPERM', 'EOPNOTSUPP', 'ENOTSUP'));
  if (failed !== undefined) throw failed.error;
}
