/**
 * Sets permissions, owner and time so that at no moment more is granted than the old or the new version grants.
 */
import {closeFd} from '../linux/open-fd.ts';
import {openDirAt} from '../linux/directories.ts';
import {openRegular} from '../linux/files.ts';
import {chmodFd, chownAt, chownFd, setTimeAt, setTimeFd} from '../linux/metadata.ts';
import {statFd} from '../linux/stat.ts';
import {syncFd} from '../linux/sync.ts';
import type {EntryType, Meta} from '../model/entry.ts';
import type {Name} from '../model/path.ts';

const PLAIN_BITS = 0o777; // without setuid, setgid and sticky, which chown(2) clears anyway

/** Metadata of something that nobody else can see yet. */
export function setFreshMeta(fd: number, meta: Meta, setsOwners: boolean): void {
  if (setsOwners) chownFd(fd, meta.uid, meta.gid);
  chmodFd(fd, meta.mode);
  setTimeFd(fd, meta.mtime);
}

/** Metadata of a staged symlink, which has no permissions of its own. */
export function setFreshLinkMeta(dirFd: number, name: Name, meta: Meta, setsOwners: boolean): void {
  if (setsOwners) chownAt(dirFd, name, meta.uid, meta.gid);
  setTimeAt(dirFd, name, meta.mtime);
}

/** Metadata of an entry in place. */
export function setMeta(
  place: {dirFd: number; name: Name},
  type: EntryType,
  meta: Meta,
  options: {setsOwners: boolean; isDurable: boolean},
): void {
  const {dirFd, name} = place;
  if (type === 'symlink') return setFreshLinkMeta(dirFd, name, meta, options.setsOwners);
  const fd = type === 'dir' ? openDirAt(dirFd, name) : openRegular(dirFd, name).fd;
  try {
    const now = statFd(fd);
    if (options.setsOwners && (now.uid !== meta.uid || now.gid !== meta.gid)) {
      // The old owner's rights must not pass to the new one, nor the new one's to the old.
      const both = now.mode & meta.mode & PLAIN_BITS;
      if (both !== now.mode) chmodFd(fd, both);
      chownFd(fd, meta.uid, meta.gid);
      chmodFd(fd, meta.mode);
    } else if (now.mode !== meta.mode) {
      chmodFd(fd, meta.mode);
    }
    setTimeFd(fd, meta.mtime);
    if (options.isDurable) syncFd(fd);
  } finally {
    closeFd(fd);
  }
}
