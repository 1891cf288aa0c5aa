/**
 * Sets permissions, owner, attributes and time so that at no moment more is granted than the old or the new version
 * grants.
 *
 * Invariant: an attribute that cannot be set, for want of room or because the filesystem has none, keeps nothing else
 * from being set.
 */
import {readAttrsFd, readAttrsHeld, setAttrsFd, setAttrsHeld, type AttrFailure} from '../linux/attrs.ts';
import {openDirAt} from '../linux/directories.ts';
import {openRegular} from '../linux/files.ts';
import {ENOENT, isLinuxError, LinuxError} from '../linux/linux-error.ts';
import {chmodFd, chmodHeld, chownFd, chownHeld, setTimeFd, setTimeHeld} from '../linux/metadata.ts';
import {closeFd, holdAt} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {syncFd} from '../linux/sync.ts';
import {ACCESS_ACL, CAPABILITY, decodeAttrs, modeWithoutAcl, NO_ATTRS, type Attrs} from '../model/attrs.ts';
import type {EntryType, Meta, Stat} from '../model/entry.ts';
import type {Name} from '../model/path.ts';
import type {View} from '../model/view.ts';
import {isTouchedSince} from './switched.ts';

/** What of metadata is set. */
export type MetaView = Pick<View, 'owners' | 'modes' | 'xattrs'>;

const PLAIN_BITS = 0o777; // without setuid, setgid and sticky, which chown(2) clears anyway
const GROUP_BITS = 0o070;

/** Metadata of something open that is new. @returns attributes that could not be set */
export function setFreshMeta(fd: number, meta: Meta, view: MetaView): AttrFailure[] {
  if (view.owners) chownFd(fd, meta.uid, meta.gid);
  // Before the mode: an ACL that a folder gives to what is made in it must not come into force with it.
  const failures = setAttrsFd(fd, meta.attrs, withAcl(view.xattrs));
  if (view.modes) chmodFd(fd, modeWith(meta, failures));
  setTimeFd(fd, meta.mtime);
  return failures;
}

/** The same of a symlink, FIFO, socket or device, which is held and not opened. */
export function setFreshHeldMeta(place: Place, type: EntryType, meta: Meta, view: MetaView): AttrFailure[] {
  return withHeld(place, type, (held) => setAllHeld(held, type, meta, {...view, xattrs: withAcl(view.xattrs)}));
}

/**
 * Metadata of an entry in place.
 * @returns attributes that could not be set, and whether somebody has written to the file meanwhile: its time is theirs then
 */
export function setMeta(
  place: Place,
  type: EntryType,
  meta: Meta,
  options: {view: MetaView; isDurable: boolean},
): {failures: AttrFailure[]; isTouched: boolean} {
  const {view} = options;
  const held = (): AttrFailure[] => setMetaHeld(place, type, meta, view);
  if (type !== 'file' && type !== 'dir') return {failures: held(), isTouched: false};
  let fd: number;
  try {
    fd = type === 'dir' ? openDirAt(place.dirFd, place.name) : openRegular(place.dirFd, place.name).fd;
  } catch (error) {
    if (!isLinuxError(error, 'EACCES')) throw error;
    // Its mode closes it to us, who are not root: that may be what is to change.
    return {failures: held(), isTouched: false};
  }
  try {
    const now = statFd(fd);
    const isNarrowed = narrow(now, readAttrsFd(fd), meta, view, (mode) => chmodFd(fd, mode));
    if (isOwnerNew(now, meta, view)) chownFd(fd, meta.uid, meta.gid);
    const failures = setAttrsFd(fd, meta.attrs, view.xattrs);
    if (lacksAcl(failures)) setAttrsFd(fd, NO_ATTRS, ['acl']); // the old one does not go with the new mode
    const mode = modeWith(meta, failures);
    if (view.modes && (isNarrowed || now.mode !== mode)) chmodFd(fd, mode);
    const isTouched = isTouchedSince(now, statFd(fd));
    if (!isTouched) setTimeFd(fd, meta.mtime);
    if (options.isDurable) syncFd(fd);
    return {failures, isTouched};
  } finally {
    closeFd(fd);
  }
}

interface Place {
  dirFd: number;
  name: Name;
}

function withHeld<T>({dirFd, name}: Place, type: EntryType, work: (held: number) => T): T {
  const held = holdAt(dirFd, name);
  try {
    if (statFd(held).type !== type) throw new LinuxError('openat', ENOENT); // another thing by now
    return work(held);
  } finally {
    closeFd(held);
  }
}

/** Metadata of an entry in place that is not opened. */
function setMetaHeld(place: Place, type: EntryType, meta: Meta, view: MetaView): AttrFailure[] {
  return withHeld(place, type, (held) => {
    if (type !== 'symlink') narrow(statFd(held), readAttrsHeld(held), meta, view, (mode) => chmodHeld(held, mode));
    return setAllHeld(held, type, meta, view);
  });
}

function setAllHeld(held: number, type: EntryType, meta: Meta, view: MetaView): AttrFailure[] {
  if (view.owners) chownHeld(held, meta.uid, meta.gid);
  const failures = setAttrsHeld(held, meta.attrs, view.xattrs);
  if (type !== 'symlink' && view.modes) chmodHeld(held, modeWith(meta, failures)); // a symlink has no permissions of its own
  setTimeHeld(held, meta.mtime);
  return failures;
}

/**
 * Takes away, before owner, ACL or capability change, what not both versions grant: the old rights must not pass to the
 * new owner or to whom the new ACL names, nor the new ones to the old.
 * @returns whether anything was, so that the new mode is to be set
 */
function narrow(
  now: Stat,
  attrs: Attrs | undefined,
  meta: Meta,
  view: MetaView,
  chmod: (mode: number) => void,
): boolean {
  if (!view.modes) return false;
  const changesOwner = isOwnerNew(now, meta, view);
  if (!changesOwner && !isGrantNew(attrs, meta, view)) return false;
  // With an ACL the group's bits are its mask: they say nothing about a group that is new.
  const hasAcl = attrs === undefined || [attrs, meta.attrs].some((each) => valueIn(each, ACCESS_ACL) !== undefined);
  const both = now.mode & meta.mode & (changesOwner && hasAcl ? PLAIN_BITS & ~GROUP_BITS : PLAIN_BITS);
  if (both !== now.mode) chmod(both);
  return true;
}

/**
 * Whether a file grants anything else once it has new metadata, as far as that is in the view.
 * @param attrs of the file; undefined where they could not be read
 */
export function changesRights(now: Stat, attrs: Attrs | undefined, meta: Meta, view: MetaView): boolean {
  return view.modes && (now.mode !== meta.mode || isOwnerNew(now, meta, view) || isGrantNew(attrs, meta, view));
}

function isOwnerNew(now: Stat, meta: Meta, view: MetaView): boolean {
  return view.owners && (now.uid !== meta.uid || now.gid !== meta.gid);
}

/** Whether the ACL or the capability is another. */
function isGrantNew(attrs: Attrs | undefined, meta: Meta, {xattrs}: MetaView): boolean {
  const isChanged = (name: string): boolean =>
    attrs === undefined || !isSame(valueIn(attrs, name), valueIn(meta.attrs, name));
  return (xattrs.includes('acl') && isChanged(ACCESS_ACL)) || (xattrs.includes('capability') && isChanged(CAPABILITY));
}

function valueIn(attrs: Attrs, name: string): Buffer | undefined {
  return attrs.length === 0 ? undefined : decodeAttrs(attrs).find((attr) => attr.name === name)?.value;
}

function isSame(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b);
}

function withAcl(classes: readonly string[]): readonly string[] {
  return classes.includes('acl') ? classes : [...classes, 'acl'];
}

function lacksAcl(failures: readonly AttrFailure[]): boolean {
  return failures.some(({name}) => name === ACCESS_ACL);
}

/** The mode without the rights that its group bits stand for only together with an ACL that could not be set. */
function modeWith(meta: Meta, failures: readonly AttrFailure[]): number {
  return lacksAcl(failures) ? modeWithoutAcl(meta.mode, meta.attrs) : meta.mode;
}
