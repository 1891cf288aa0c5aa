/**
 * Sets permissions, owner, attributes and time so that at no moment more is granted than the old or the new version
 * grants.
 *
 * Invariant: an attribute that cannot be set, for want of room or because the filesystem has none, keeps nothing else
 * from being set.
 */
import {readAttrsFd, setAttrsFd, setAttrsHeld, type AttrFailure} from '../linux/attrs.ts';
import {openDirAt} from '../linux/directories.ts';
import {openRegular} from '../linux/files.ts';
import {LinuxError, ENOENT} from '../linux/linux-error.ts';
import {chmodFd, chmodHeld, chownFd, chownHeld, setTimeFd, setTimeHeld} from '../linux/metadata.ts';
import {closeFd, holdAt} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {syncFd} from '../linux/sync.ts';
import {ACCESS_ACL, decodeAttrs, NO_ATTRS, type Attrs} from '../model/attrs.ts';
import type {EntryType, Meta} from '../model/entry.ts';
import type {Name} from '../model/path.ts';
import type {View} from '../model/view.ts';

/** What of metadata is set. */
export type MetaView = Pick<View, 'owners' | 'xattrs'>;

const PLAIN_BITS = 0o777; // without setuid, setgid and sticky, which chown(2) clears anyway

/** Metadata of something open that nobody else can see yet. @returns attributes that could not be set */
export function setFreshMeta(fd: number, meta: Meta, view: MetaView): AttrFailure[] {
  if (view.owners) chownFd(fd, meta.uid, meta.gid);
  // Before the mode: an ACL that a folder gives to what is made in it must not come into force with it.
  const failures = setAttrsFd(fd, meta.attrs, view.xattrs);
  chmodFd(fd, meta.mode);
  setTimeFd(fd, meta.mtime);
  return failures;
}

/** The same of a symlink, FIFO, socket or device, which is held and not opened. */
export function setHeldMeta(
  place: {dirFd: number; name: Name},
  type: EntryType,
  meta: Meta,
  view: MetaView,
): AttrFailure[] {
  const held = holdAt(place.dirFd, place.name);
  try {
    if (statFd(held).type !== type) throw new LinuxError('openat', ENOENT); // another thing by now
    if (view.owners) chownHeld(held, meta.uid, meta.gid);
    const failures = setAttrsHeld(held, meta.attrs, view.xattrs);
    if (type !== 'symlink') chmodHeld(held, meta.mode); // a symlink has no permissions of its own
    setTimeHeld(held, meta.mtime);
    return failures;
  } finally {
    closeFd(held);
  }
}

/** Metadata of an entry in place. @returns attributes that could not be set */
export function setMeta(
  place: {dirFd: number; name: Name},
  type: EntryType,
  meta: Meta,
  options: {view: MetaView; isDurable: boolean},
): AttrFailure[] {
  if (type !== 'file' && type !== 'dir') return setHeldMeta(place, type, meta, options.view);
  const fd = type === 'dir' ? openDirAt(place.dirFd, place.name) : openRegular(place.dirFd, place.name).fd;
  try {
    const {view} = options;
    const now = statFd(fd);
    const changesOwner = view.owners && (now.uid !== meta.uid || now.gid !== meta.gid);
    const changesRights = changesOwner || changesAcl(readAttrsFd(fd), meta.attrs, view);
    if (changesRights) {
      // The old rights must not pass to the new owner or to whom the new ACL names, nor the new ones to the old.
      const both = now.mode & meta.mode & PLAIN_BITS;
      if (both !== now.mode) chmodFd(fd, both);
      if (changesOwner) chownFd(fd, meta.uid, meta.gid);
    }
    const failures = setAttrsFd(fd, meta.attrs, view.xattrs);
    if (changesRights || now.mode !== meta.mode) chmodFd(fd, meta.mode);
    setTimeFd(fd, meta.mtime);
    if (options.isDurable) syncFd(fd);
    return failures;
  } finally {
    closeFd(fd);
  }
}

function changesAcl(now: Attrs | undefined, wanted: Attrs, view: MetaView): boolean {
  if (!view.xattrs.includes('acl')) return false;
  const [before, after] = [now ?? NO_ATTRS, wanted].map((attrs) =>
    decodeAttrs(attrs).find(({name}) => name === ACCESS_ACL),
  );
  return before === undefined || after === undefined ? before !== after : !before.value.equals(after.value);
}
