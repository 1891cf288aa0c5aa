/**
 * Refuses folders that cannot be a source and a target of each other: not folders, or one inside the other.
 *
 * A root that is missing is left to the run, which knows whether the pair was synchronised before.
 * Invariant: symbolic links and bind mounts fool it in neither direction; it changes nothing.
 */
import {readFileSync, realpathSync, statSync, type BigIntStats} from 'node:fs';
import {basename, dirname, join} from 'node:path/posix';
import {messageOf, TowlineError} from '../base/errors.ts';
import {bytesOf, fromText} from '../model/path.ts';

/** A folder by all that identifies it. Paths are absolute byte strings. */
interface Place {
  path: string;
  /** Device and inode of each existing component, root first, its own last; undefined for components to be made. */
  ids: (string | undefined)[];
  /** Filesystem and the path inside it, whatever mount it is seen through; undefined when unknown. */
  inside: {filesystem: string; path: string} | undefined;
}

/**
 * @param folders absolute paths as typed; `state` is the folder that state is kept in
 * @throws TowlineError USAGE
 */
export function checkFolders(folders: {source: string; target: string; state: string}): void {
  checkIsFolder(folders.source, 'SRC');
  checkIsFolder(folders.target, 'DST');
  const mounts = readMounts();
  const source = placeOf(folders.source, mounts);
  const target = placeOf(folders.target, mounts);
  const shown = `SRC ${JSON.stringify(folders.source)} and DST ${JSON.stringify(folders.target)}`;
  const hint = 'take two folders of which none holds the other';
  if (holds(source, target) && holds(target, source)) throw usage(`${shown} are the same folder`, hint);
  if (holds(source, target)) throw usage(`DST ${JSON.stringify(folders.target)} lies inside SRC`, hint);
  if (holds(target, source)) throw usage(`SRC ${JSON.stringify(folders.source)} lies inside DST`, hint);
  const state = placeOf(folders.state, mounts);
  for (const [name, place] of Object.entries({SRC: source, DST: target})) {
    if (!holds(place, state)) continue;
    throw usage(
      `the state folder ${JSON.stringify(folders.state)} lies inside ${name}`,
      'choose another one with --state',
    );
  }
}

function checkIsFolder(path: string, name: string): void {
  let isFolder: boolean;
  try {
    const stat = statSync(path, {throwIfNoEntry: false});
    if (stat === undefined) return;
    isFolder = stat.isDirectory();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EACCES') return; // the run says which rights are missing
    throw usage(`${name} ${JSON.stringify(path)} cannot be used: ${messageOf(error)}`, 'name a folder');
  }
  if (!isFolder) throw usage(`${name} ${JSON.stringify(path)} is not a folder`, 'name a folder');
}

/** Whether `inner` is `outer` or lies below it. */
function holds(outer: Place, inner: Place): boolean {
  const id = outer.ids.at(-1);
  return (
    isAtOrBelow(inner.path, outer.path) ||
    (id !== undefined && inner.ids.includes(id)) ||
    (outer.inside !== undefined &&
      inner.inside !== undefined &&
      outer.inside.filesystem === inner.inside.filesystem &&
      isAtOrBelow(inner.inside.path, outer.inside.path))
  );
}

function isAtOrBelow(path: string, ancestor: string): boolean {
  return path === ancestor || ancestor === '/' || path.startsWith(`${ancestor}/`);
}

function placeOf(typed: string, mounts: readonly Mount[]): Place {
  const path = realPath(typed);
  const ids: Place['ids'] = [];
  for (let at = path; ; at = dirname(at)) {
    const stat = statOf(at);
    ids.unshift(stat === undefined ? undefined : `${stat.dev}:${stat.ino}`);
    if (at === '/') break;
  }
  return {path, ids, inside: insideOf(path, mounts)};
}

/** The path with every link followed; components that do not exist are kept as typed. */
function realPath(typed: string): string {
  try {
    return realpathSync(typed, {encoding: 'buffer'}).toString('latin1');
  } catch {
    if (typed === '/') return typed;
    const parent = realPath(dirname(typed));
    return join(parent, fromText(basename(typed)));
  }
}

function statOf(path: string): BigIntStats | undefined {
  try {
    return statSync(bytesOf(path), {bigint: true, throwIfNoEntry: false});
  } catch {
    return undefined; // not readable: the path itself still tells
  }
}

interface Mount {
  /** Device number of the filesystem. */
  filesystem: string;
  /** What of the filesystem is mounted. */
  root: string;
  point: string;
}

/** All mounts, in the order they were made. Source: proc_pid_mountinfo(5). */
function readMounts(): Mount[] {
  let text: string;
  try {
    text = readFileSync('/proc/self/mountinfo', 'latin1');
  } catch {
    return [];
  }
  const unescape = (field: string): string =>
    field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return text.split('\n').flatMap((line) => {
    const [, , filesystem, root, point] = line.split(' ');
    if (filesystem === undefined || root === undefined || point === undefined) return [];
    return [{filesystem, root: unescape(root), point: unescape(point)}];
  });
}

function insideOf(path: string, mounts: readonly Mount[]): Place['inside'] {
  let mount: Mount | undefined;
  for (const other of mounts) {
    // Of two mounts on one point the later one is seen.
    if (isAtOrBelow(path, other.point) && other.point.length >= (mount?.point.length ?? 0)) mount = other;
  }
  if (mount === undefined) return undefined;
  return {filesystem: mount.filesystem, path: join(mount.root, path.slice(mount.point.length))};
}

function usage(what: string, hint: string): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', `${what}; ${hint}`, {hint});
}
