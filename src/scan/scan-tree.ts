/**
 * Walks a tree and hands over what it saw, one directory in memory at a time. Runs in a worker, below a held root.
 *
 * Not a judge: what changed is decided by who knows the state. Invariant: a symlink is never followed and a mount
 * inside the volume never entered; a directory that cannot be read whole is handed over as unreadable.
 */
import type {JobContext, JobHandlers} from '../base/jobs.ts';
import {readAttrsAt, readAttrsFd} from '../linux/attrs.ts';
import {openBeneath} from '../linux/beneath.ts';
import {Dirents, readDirRaw} from '../linux/directories.ts';
import {readlinkAt} from '../linux/files.ts';
import {LinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statAtRaw} from '../linux/stat.ts';
import type {Attrs} from '../model/attrs.ts';
import {joinPath, nameOf, parentOf, PATH_BYTES_MAX, ROOT, type Name, type RelPath} from '../model/path.ts';
import type {OpenRoot, WithRoot} from '../model/root.ts';
import {compileIgnore, type IgnoreMatcher} from '../reconcile/ignore.ts';
import {ListingWriter} from './listing.ts';
import {isTooDeep} from './scan-problems.ts';

export type ScanJobs = {
  /** Lists everything at and below `start`, parents before children; briefly: only how many and which fingerprint. */
  'scan-tree': {
    in: {start: RelPath; rules: ScanRules; isBrief?: boolean};
    out: {directories: number; entries: number};
    part: Uint8Array;
  };
  /** Looks at single names, or (with `names` undefined) at one whole directory without what is below, perhaps briefly. */
  'scan-names': {
    in: {dirs: {path: RelPath; names: Name[] | undefined}[]; rules: ScanRules; isBrief?: boolean};
    out: Uint8Array;
    part: never;
  };
  /** All extended attributes of one entry; undefined when it cannot be read, or has more than are carried. */
  'read-attrs': {in: {path: RelPath}; out: Uint8Array | undefined; part: never};
};

export interface ScanRules {
  /** gitignore patterns; what matches is not looked at. */
  ignore: readonly string[];
  /** Names in the root that are Towline's own. */
  reserved: readonly Name[];
  /** Seed of the fingerprints, 8 bytes: a container must not be able to make two listings look alike. */
  seed: Uint8Array;
}

const PART_BYTES = 256 * 1024;

interface Walk {
  root: OpenRoot;
  rules: ScanRules;
  matcher: IgnoreMatcher | undefined;
  writer: ListingWriter;
  entries: number;
}

/** The jobs of this folder. */
export function scanHandlers(withRoot: WithRoot): JobHandlers<ScanJobs> {
  return {
    'scan-tree': ({start, rules, isBrief}, context) =>
      withRoot((root) => scanTree(newWalk(root, rules), {start, isBrief}, context)),
    'scan-names': (input, context) =>
      withRoot((root) => {
        const walk = newWalk(root, input.rules);
        for (const {path, names} of input.dirs) {
          if (path.length > PATH_BYTES_MAX) continue; // its parent is a problem already
          if (names === undefined) listDirectory(walk, path, {isBrief: input.isBrief});
          else statNames(walk, path, names);
        }
        const packed = walk.writer.take();
        context.transfer(packed.buffer as ArrayBuffer);
        return packed;
      }),
    'read-attrs': ({path}) => withRoot((root) => readLargeAttrs(root, path)),
  };
}

function readLargeAttrs(root: OpenRoot, path: RelPath): Attrs | undefined {
  let fd = -1;
  try {
    fd = openBeneath(root.fd, parentOf(path));
    return readAttrsAt(fd, nameOf(path));
  } catch (error) {
    if (error instanceof LinuxError) return undefined;
    throw error;
  } finally {
    if (fd >= 0) closeFd(fd);
  }
}

function newWalk(root: OpenRoot, rules: ScanRules): Walk {
  const matcher = rules.ignore.length > 0 ? compileIgnore(rules.ignore) : undefined;
  const seed = Buffer.from(rules.seed).readBigUInt64LE(0);
  return {root, rules, matcher, writer: new ListingWriter({seed, mountId: root.mountId}), entries: 0};
}

function scanTree(
  walk: Walk,
  {start, isBrief}: {start: RelPath; isBrief?: boolean | undefined},
  context: JobContext<Uint8Array>,
): {directories: number; entries: number} {
  const pending: RelPath[] = [start];
  let directories = 0;
  const hand = (): void => {
    const packed = walk.writer.take();
    context.emit(packed, [packed.buffer as ArrayBuffer]);
  };
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const found: RelPath[] = [];
    listDirectory(walk, path, {isBrief, found});
    for (let index = found.length - 1; index >= 0; index--) pending.push(found[index] as RelPath);
    directories++;
    if (walk.writer.sizeBytes >= PART_BYTES) hand();
    if (context.isCancelled()) break;
  }
  if (walk.writer.sizeBytes > 0) hand();
  return {directories, entries: walk.entries};
}

/** Writes one directory's record; collects the paths of its subdirectories where `found` is given. */
function listDirectory(
  walk: Walk,
  path: RelPath,
  {isBrief, found}: {isBrief?: boolean | undefined; found?: RelPath[]},
): void {
  const {writer} = walk;
  writer.begin(path, isBrief);
  let fd = -1;
  try {
    fd = openBeneath(walk.root.fd, path);
    ownStat(writer, fd);
    for (let size = readDirRaw(fd, names); size > 0; size = readDirRaw(fd, names)) {
      dirents.reset(size);
      while (dirents.next()) {
        if (path === ROOT && isReserved(walk, dirents.name())) continue;
        const isDirectory = addEntry(walk, {
          fd,
          path,
          bytes: names,
          nameAt: dirents.nameAt,
          nameLength: dirents.nameLength,
        });
        if (!isDirectory || found === undefined) continue;
        const below = joinPath(path, dirents.name());
        if (!isTooDeep(below)) found.push(below);
      }
    }
    writer.end('whole', 0);
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    writer.end('unreadable', error.errno);
  } finally {
    if (fd >= 0) closeFd(fd);
  }
}

function statNames(walk: Walk, path: RelPath, names: readonly Name[]): void {
  const {writer} = walk;
  writer.begin(path);
  let fd = -1;
  try {
    fd = openBeneath(walk.root.fd, path);
    ownStat(writer, fd);
    for (const name of names) {
      const bytes = Buffer.from(`${name}\0`, 'latin1');
      if (path === ROOT && isReserved(walk, name)) continue;
      addEntry(walk, {fd, path, bytes, nameAt: 0, nameLength: name.length});
    }
    writer.end('names', 0);
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    writer.end('unreadable', error.errno);
  } finally {
    if (fd >= 0) closeFd(fd);
  }
}

function ownStat(writer: ListingWriter, fd: number): void {
  writer.own(
    (into, at) => {
      const result = statAtRaw(fd, DOT, into, at);
      if (result < 0) throw new LinuxError('statx', -result); // without its own stat it was not read whole
    },
    () => readAttrsFd(fd),
  );
}

/** A name in a buffer, followed by a NUL, and the directory it is in. */
interface Place {
  fd: number;
  path: RelPath;
  bytes: Buffer;
  nameAt: number;
  nameLength: number;
}

const DOT = Buffer.from('.\0');
const names = Buffer.allocUnsafeSlow(64 * 1024);
const dirents = new Dirents(names);
const MODE_AT = 0x1c;
const MOUNT_ID_AT = 0x90;
const TYPE_MASK = 0o170000;
const TYPE_DIRECTORY = 0o040000;
const ENOENT = 2;

/** @returns whether it is a directory that may be entered */
function addEntry(walk: Walk, place: Place): boolean {
  walk.entries++;
  const {fd, bytes, nameAt, nameLength} = place;
  const nameOfPlace = (): Name => bytes.toString('latin1', nameAt, nameAt + nameLength);
  let isEntered = false;
  walk.writer.add(
    bytes.subarray(nameAt, nameAt + nameLength),
    (into, at) => {
      const result = statAtRaw(fd, bytes, into, at, nameAt);
      if (result !== 0) return result;
      const isDirectory = (into.readUInt16LE(at + MODE_AT) & TYPE_MASK) === TYPE_DIRECTORY;
      // An ignored entry is handed over as absent: rules for directories only need the type.
      if (walk.matcher?.isIgnored(joinPath(place.path, nameOfPlace()), isDirectory) === true) return -ENOENT;
      isEntered = isDirectory && into.readUInt32LE(at + MOUNT_ID_AT) === walk.root.mountId;
      return 0;
    },
    {
      link: () => {
        try {
          return readlinkAt(fd, nameOfPlace());
        } catch {
          return ''; // replaced meanwhile: its ctime will tell at the next look
        }
      },
      attrs: () => readAttrs(fd, nameOfPlace()),
    },
  );
  return isEntered;
}

function readAttrs(fd: number, name: Name): Attrs | number | undefined {
  try {
    return readAttrsAt(fd, name);
  } catch (error) {
    if (error instanceof LinuxError) return error.errno;
    throw error;
  }
}

function isReserved(walk: Walk, name: Name): boolean {
  return walk.rules.reserved.includes(name);
}
