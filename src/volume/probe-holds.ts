/**
 * Tries what a volume's filesystem holds of metadata, and what this process may set, in the volume's staging folder.
 *
 * A trial, not a table of filesystems: mount options, user namespaces and servers behind a mount have their say too.
 * Invariant: what was made for it is gone at return.
 */
import {randomBytes} from 'node:crypto';
import {constants} from 'node:fs';
import {isCaseInsensitive} from '../linux/abilities.ts';
import {makeSpecialAt, unlinkAt} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {chmodFd, chownFd, setTimeFd} from '../linux/metadata.ts';
import {closeFd, openAt, openDirPath} from '../linux/open-fd.ts';
import {statAtIfAny, statFd} from '../linux/stat.ts';
import {getXattr, setXattr} from '../linux/xattrs.ts';
import {ACCESS_ACL, CAPABILITY, XATTR_CLASSES, type XattrClass} from '../model/attrs.ts';
import type {FileTime, SpecialType} from '../model/entry.ts';
import {fromText} from '../model/path.ts';
import {inPrecision} from '../model/tree.ts';
import {openPlacesInRoot, type Places} from './places.ts';

/** What was found to work. */
export interface HeldHere {
  /** 1, or what times are cut to, up to 2 s. */
  timePrecisionNs: number;
  xattrs: XattrClass[];
  /** FIFOs and sockets. */
  special: boolean;
  devices: boolean;
  owners: boolean;
  modes: boolean;
  /** Names that differ in case alone are one. */
  foldsCase: boolean;
}

/** What this process may set where nothing can be tried, on a filesystem that holds all. */
export function assumedHeld(): HeldHere {
  const isRoot = process.geteuid?.() === 0;
  return {
    timePrecisionNs: 1,
    xattrs: XATTR_CLASSES.filter((each) => isRoot || each === 'user' || each === 'acl'),
    special: true,
    devices: isRoot,
    owners: isRoot,
    modes: true,
    foldsCase: false,
  };
}

const TRIED_TIME: FileTime = {s: 1_700_000_001, ns: 123_456_789};
const PRECISIONS_NS = [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000];
const NULL_DEVICE = 2 ** 32 + 3;
const TRIED_ID = 1;
const NO_ROOM = ['ENOSPC', 'EDQUOT'];
const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** Of a filesystem without room nothing can be found out: what is assumed then is corrected when it is opened again. */
export function probeHolds(rootFd: number, rootPath: string, places: Places): HeldHere {
  try {
    if (!places.isInRoot) return withFd(openDirPath(fromText(places.staging)), (fd) => probeIn(fd, rootFd));
    const {stagingFd, trashFd} = openPlacesInRoot(rootFd, rootPath);
    closeFd(trashFd);
    return withFd(stagingFd, (fd) => probeIn(fd, rootFd));
  } catch (error) {
    if (isLinuxError(error, ...NO_ROOM)) return assumedHeld();
    throw error;
  }
}

function withFd<T>(fd: number, work: (fd: number) => T): T {
  try {
    return work(fd);
  } finally {
    closeFd(fd);
  }
}

function probeIn(dirFd: number, rootFd: number): HeldHere {
  const name = `probe-${randomBytes(8).toString('hex')}`;
  return withFd(openAt(dirFd, name, CREATE, 0o600), (fd) => {
    try {
      return {
        foldsCase: statAtIfAny(dirFd, name.toUpperCase()) !== undefined || isCaseInsensitive(rootFd),
        special: works(() => make(dirFd, name, 'fifo', 0)),
        devices: works(() => make(dirFd, name, 'char', NULL_DEVICE)),
        ...heldOf(fd),
      };
    } finally {
      unlinkAt(dirFd, name);
    }
  });
}

/** What an open file of the volume's filesystem keeps; it may be one without a name. @throws LinuxError without room */
export function heldOf(fd: number): Pick<HeldHere, 'modes' | 'xattrs' | 'owners' | 'timePrecisionNs'> {
  return {
    modes: isModeHeld(fd, 0o640) && isModeHeld(fd, 0o604),
    xattrs: XATTR_CLASSES.filter((each) => isHeld(fd, ...TRIED_ATTRS[each])),
    owners: isOwnerHeld(fd),
    timePrecisionNs: precisionOf(fd),
  };
}

function make(dirFd: number, name: string, type: SpecialType, rdev: number): true {
  makeSpecialAt(dirFd, `${name}-${type}`, type, 0o600, rdev);
  unlinkAt(dirFd, `${name}-${type}`);
  return true;
}

function isModeHeld(fd: number, mode: number): boolean {
  return works(() => {
    chmodFd(fd, mode);
    return statFd(fd).mode === mode;
  });
}

function isOwnerHeld(fd: number): boolean {
  return works(() => {
    chownFd(fd, TRIED_ID, TRIED_ID);
    const {uid, gid} = statFd(fd);
    return uid === TRIED_ID && gid === TRIED_ID;
  });
}

/** Entries of u16 tag, u16 permissions, u32 id: the owner, user 1, the group, the mask, everybody else. */
function triedAcl(): Buffer {
  const none = 0xffff_ffff;
  const entries: [number, number, number][] = [
    [0x01, 6, none],
    [0x02, 4, TRIED_ID],
    [0x04, 4, none],
    [0x10, 4, none],
    [0x20, 0, none],
  ];
  const acl = Buffer.alloc(4 + 8 * entries.length);
  acl.writeUInt32LE(2, 0);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    acl.writeUInt16LE(tag, 4 + 8 * index);
    acl.writeUInt16LE(permissions, 6 + 8 * index);
    acl.writeUInt32LE(id, 8 + 8 * index);
  }
  return acl;
}

/** vfs_cap_data of revision 2: the flags, then permitted and inheritable sets; here of cap_net_raw. */
function triedCapability(): Buffer {
  const data = Buffer.alloc(20);
  data.writeUInt32LE(0x0200_0000, 0);
  data.writeUInt32LE(1 << 13, 4);
  return data;
}

const TRIED_ATTRS: Record<XattrClass, [name: string, value: Buffer]> = {
  user: ['user.towline.probe', Buffer.of(1)],
  trusted: ['trusted.towline.probe', Buffer.of(1)],
  acl: [ACCESS_ACL, triedAcl()],
  capability: [CAPABILITY, triedCapability()],
};

function isHeld(fd: number, name: string, value: Buffer): boolean {
  return works(() => {
    setXattr(fd, name, value);
    return getXattr(fd, name, value.length + 64) !== undefined;
  });
}

function precisionOf(fd: number): number {
  if (!works(() => (setTimeFd(fd, TRIED_TIME), true))) return 1;
  const {s, ns} = statFd(fd).mtime;
  const found = PRECISIONS_NS.find((precision) => {
    const cut = inPrecision(TRIED_TIME, precision);
    return cut.s === s && cut.ns === ns;
  });
  return found ?? 2_000_000_000;
}

/** @throws LinuxError where there is no room: it says nothing */
function works(attempt: () => boolean): boolean {
  try {
    return attempt();
  } catch (error) {
    if (isLinuxError(error) && !isLinuxError(error, ...NO_ROOM)) return false;
    throw error;
  }
}
