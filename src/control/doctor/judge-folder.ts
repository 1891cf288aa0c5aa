/**
 * Judges a volume's root and the state folder by what was tried there. Pure.
 */
import type {Accept} from '../../config/agent-config.ts';
import {formatBytes} from '../../config/units.ts';
import type {XattrClass} from '../../model/attrs.ts';
import type {ExaminedFolder} from './examine-folder.ts';
import {finding, type Finding} from './finding.ts';
import type {FolderFacts} from './probe-folder.ts';

export interface VolumeRole {
  name: string;
  /** Host path, as text. */
  path: string;
  sends: boolean;
  receives: boolean;
  /** What it is to receive. */
  accept: Accept;
  isPolled: boolean;
}

const SHARE_LOW = 0.05;
const SHARE_OUT = 0.01;
const STATE_BYTES_MIN = 256 * 1024 * 1024; // a million entries take about 200 MB
const FREE_INODES_MIN = 1000;

/** Filesystems whose changes may be made by another host: inotify does not tell those. */
const REMOTE = /^(nfs4?|cifs|smb3?|9p|ceph|fuse\..*|afs|glusterfs|lustre)$/;

export function judgeVolume(role: VolumeRole, {facts, fault}: ExaminedFolder): Finding[] {
  const area = `volume ${role.name}`;
  if (facts === undefined) return [judgeFault(area, role.path, fault ?? 'TIMEOUT')];
  const findings = [
    ...judgeAccess(area, role, facts),
    ...judgeKept(area, role, facts),
    ...(role.receives ? [...judgeHeld(area, role, facts), ...judgeTarget(area, role, facts)] : []),
  ];
  if (findings.every(({level}) => level === 'note')) {
    const what = `${role.path} is on ${facts.filesystem} with ${formatBytes(facts.freeBytes)} free`;
    findings.unshift(finding(area, 'ok', what));
  }
  return findings;
}

function judgeFault(area: string, path: string, fault: string): Finding {
  switch (fault) {
    case 'ENOENT':
      return finding(area, 'bad', `${path} does not exist`, `mount what belongs there, or: mkdir -p ${quoted(path)}`);
    case 'ENOTDIR':
      return finding(area, 'bad', `${path} is not a folder`, 'name a folder in `at:`');
    case 'EACCES':
    case 'EPERM':
      return finding(area, 'bad', `${path} may not be read by this user`, 'run the agent, and this command, as root');
    case 'TIMEOUT':
      return finding(
        area,
        'bad',
        `${path} does not answer: its filesystem hangs`,
        `look after the server or device behind it; umount -l ${quoted(path)} takes it away`,
      );
    default:
      return finding(area, 'bad', `${path} cannot be looked at (${fault})`, `ls -la ${quoted(path)}; dmesg | tail`);
  }
}

function judgeAccess(area: string, role: VolumeRole, facts: FolderFacts): Finding[] {
  const findings: Finding[] = [];
  const {path} = role;
  if (facts.isReadOnly) {
    findings.push(
      role.receives
        ? finding(area, 'bad', `${path} is mounted read-only: nothing can be received`, remount(path))
        : finding(area, 'warn', `${path} is mounted read-only: its root cannot be marked`, remount(path)),
    );
  } else if (facts.canMark === false) {
    const fix =
      facts.markFault === 'EPERM' ? 'run the agent as root, outside of user namespaces' : 'use ext4, XFS or btrfs';
    const what = `roots cannot be marked on ${facts.filesystem} (${facts.markFault}): a copy or an empty folder in its place is told by its inode alone`;
    findings.push(finding(area, 'warn', what, fix));
  }
  if (REMOTE.test(facts.filesystem) && !role.isPolled) {
    const what = `${facts.filesystem} tells nothing of changes that other hosts make: the tree is polled`;
    findings.push(finding(area, 'note', what, 'run the agent on the host that has the disk'));
  }
  return findings;
}

function judgeKept(area: string, role: VolumeRole, facts: FolderFacts): Finding[] {
  const findings: Finding[] = [];
  if (facts.keptNs !== undefined && facts.keptNs % 1000 === 0) {
    const isCoarse = (facts.held?.timePrecisionNs ?? 1) > 1e9;
    const precision = isCoarse ? 'steps of 2 s' : facts.keptNs === 0 ? 'whole seconds' : 'microseconds';
    const what = `${facts.filesystem} here keeps times in ${precision}: ${
      role.sends ? 'an edit of equal size within one may be seen late' : 'times are cut, and listed'
    }`;
    findings.push(finding(area, 'warn', what, 'use a filesystem with ns times (ext4 with inodes of 256 bytes)'));
  }
  if (facts.isCaseInsensitive) {
    const what = `${role.path} takes names that differ in case alone for one: of two such files one stays behind, and is listed`;
    findings.push(finding(area, 'warn', what, 'use a folder without casefold (chattr -F, while it is empty)'));
  }
  if (!facts.hasBirthTime) {
    const what = `${facts.filesystem} here has no birth times: a root that is made anew is told by its mark and inode alone`;
    findings.push(finding(area, 'note', what));
  }
  if (facts.canClone === false) {
    const what = `${facts.filesystem} cannot share blocks between files (reflink): what is patched is copied first`;
    findings.push(finding(area, 'note', what, 'XFS and btrfs can'));
  }
  return findings;
}

/** What of a source's metadata would arrive without, and become a problem of the link. */
function judgeHeld(area: string, {accept}: VolumeRole, {held, filesystem, processUid}: FolderFacts): Finding[] {
  if (held === undefined && WITHOUT_RIGHTS.test(filesystem)) {
    const what = `${filesystem} keeps no owners, permissions, attributes and links: they are listed`;
    return [finding(area, 'warn', what, LINUX_ONES)];
  }
  if (held === undefined) return [];
  const findings: Finding[] = [];
  const missing = accept.xattrs.filter((each) => !held.xattrs.includes(each));
  const unset = missing.filter((each) => processUid !== 0 && PRIVILEGED.includes(each));
  const unheld = missing.filter((each) => !unset.includes(each));
  const asRoot = 'run the agent, and this command, as root';
  if (accept.owners === 'any' && !held.owners) {
    const isOwn = processUid !== 0;
    const what = isOwn ? 'this user may not set owners' : `owners are not kept on ${filesystem}`;
    findings.push(finding(area, 'warn', `${what}: entries of others are listed`, isOwn ? asRoot : LINUX_ONES));
  }
  if (unset.length > 0)
    findings.push(finding(area, 'warn', `this user may not set ${namesOf(unset)}: what has some is listed`, asRoot));
  if (unheld.length > 0) {
    const what = `${filesystem} here keeps no ${namesOf(unheld)}: what has some arrives without, and is listed`;
    findings.push(finding(area, 'warn', what, `${LINUX_ONES}, mounted without noacl and nouser_xattr`));
  }
  if (!held.modes)
    findings.push(finding(area, 'warn', `permissions are not kept on ${filesystem}: they are listed`, LINUX_ONES));
  return findings;
}

const WITHOUT_RIGHTS = /^(vfat|msdos|exfat|ntfs3?|fuseblk)$/;
const LINUX_ONES = 'use ext4, XFS or btrfs';
const PRIVILEGED: readonly XattrClass[] = ['trusted', 'capability'];
const CLASS_NAMES: Record<XattrClass, string> = {
  user: 'user attributes',
  trusted: 'trusted attributes',
  acl: 'ACLs',
  capability: 'file capabilities',
};

function namesOf(classes: readonly XattrClass[]): string {
  return classes.map((each) => CLASS_NAMES[each]).join(', ');
}

function judgeTarget(area: string, role: VolumeRole, facts: FolderFacts): Finding[] {
  const findings: Finding[] = [...judgeSpace(area, role.path, facts)];
  const {path} = role;
  if (facts.isReservedTaken) {
    const what = `${path}/.towline is there, but not as a private folder of this user: the name is reserved`;
    findings.push(
      finding(area, facts.place === undefined ? 'bad' : 'warn', what, `mv ${quoted(`${path}/.towline`)} elsewhere`),
    );
  }
  if (facts.namelessFault !== undefined && !facts.isReadOnly) {
    const what = `${facts.filesystem} makes no file without a name (${facts.namelessFault}): new files cost more`;
    findings.push(finding(area, 'note', what));
  }
  if (facts.canLink === false) {
    findings.push(finding(area, 'warn', `${facts.filesystem} has no hard links: each name gets a file of its own`));
  } else if (facts.canExchange === false) {
    const what = `${facts.filesystem} cannot exchange two names: a file that becomes a folder is missing for a moment`;
    findings.push(finding(area, 'warn', what, 'use ext4, XFS or btrfs'));
  }
  if (facts.place === undefined) {
    const what = `what is on its way, and the trash, lie in ${path}/.towline: the state folder is on another filesystem`;
    findings.push(finding(area, 'note', what));
  }
  return findings;
}

function judgeSpace(area: string, path: string, facts: FolderFacts): Finding[] {
  const share = facts.freeBytes / facts.totalBytes; // NaN for what has no size
  if (share < SHARE_LOW) {
    const what = `${path} has ${formatBytes(facts.freeBytes)} free of ${formatBytes(facts.totalBytes)}`;
    return [finding(area, share < SHARE_OUT ? 'bad' : 'warn', what, 'free some space, or make it larger')];
  }
  if (facts.freeInodes < FREE_INODES_MIN) {
    const what = `${path} has room for ${facts.freeInodes} more files only (inodes)`;
    return [
      finding(area, facts.freeInodes === 0 ? 'bad' : 'warn', what, 'remove files, or make it anew with more inodes'),
    ];
  }
  return [];
}

/** @param ownUid of this process */
export function judgeState(path: string, {facts, fault}: ExaminedFolder, ownUid: number): Finding[] {
  const area = 'state';
  if (facts === undefined) {
    if (fault === 'ENOENT') {
      return [finding(area, 'note', `${path} does not exist yet: it is made when the agent first starts`)];
    }
    return [judgeFault(area, path, fault ?? 'TIMEOUT')];
  }
  const findings: Finding[] = [];
  if ((facts.uid !== ownUid && facts.uid !== 0) || (facts.mode & 0o022) !== 0) {
    const what = `${path} belongs to user ${facts.uid} with mode ${facts.mode.toString(8)}: state is not kept where others can write`;
    findings.push(finding(area, 'bad', what, `chown ${ownUid} ${quoted(path)} && chmod 700 ${quoted(path)}`));
  } else if ((facts.mode & 0o077) !== 0) {
    const what = `${path} can be read by others (mode ${facts.mode.toString(8)}); the agent closes it when it starts`;
    findings.push(finding(area, 'note', what, `chmod 700 ${quoted(path)}`));
  }
  if (facts.isReadOnly) findings.push(finding(area, 'bad', `${path} is mounted read-only`, remount(path)));
  else if (facts.freeBytes < STATE_BYTES_MIN) {
    const what = `${path} has ${formatBytes(facts.freeBytes)} free: nothing is acknowledged when it is full`;
    findings.push(finding(area, 'warn', what, 'free some space, or set `agent.state` to another place'));
  }
  if (REMOTE.test(facts.filesystem)) {
    const what = `${path} is on ${facts.filesystem}: databases there are not safe`;
    findings.push(finding(area, 'bad', what, 'set `agent.state` to a folder on a disk of this host'));
  } else if (facts.filesystem === 'tmpfs' || facts.filesystem === 'ramfs') {
    const what = `${path} is in memory: after a boot the identity is gone, and everything is read again`;
    findings.push(finding(area, 'warn', what, 'set `agent.state` to a folder on a disk'));
  }
  if (findings.every(({level}) => level === 'note')) {
    findings.unshift(finding(area, 'ok', `${path} is private, with ${formatBytes(facts.freeBytes)} free`));
  }
  return findings;
}

/** Roots in each other, and the state in a root: each would carry the other's own files. */
export function judgeNesting(
  roots: readonly {name: string; realPath: string}[],
  state: {path: string; realPath: string | undefined},
): Finding[] {
  const findings: Finding[] = [];
  for (const {name, realPath} of roots) {
    for (const other of roots) {
      if (other.name === name || !isInside(other.realPath, realPath)) continue;
      if (other.realPath === realPath && other.name < name) continue; // said once
      const how = other.realPath === realPath ? 'has the same root as' : 'lies inside';
      const what = `volume ${other.name} ${how} volume ${name} (${realPath})`;
      findings.push(finding(`volume ${other.name}`, 'bad', what, 'give each volume a tree of its own'));
    }
    if (isInside(state.realPath ?? state.path, realPath)) {
      const what = `the state folder ${state.path} lies inside volume ${name}`;
      findings.push(finding('state', 'bad', what, 'set `agent.state` to a folder outside of all volumes'));
    }
  }
  return findings;
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
}

function remount(path: string): string {
  return `mount -o remount,rw ${quoted(path)}`;
}

/** For a shell, where it needs it. */
function quoted(path: string): string {
  return /^[\w./:@%+,-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
