/**
 * Where a process's mounts lie on the filesystems they are mounted on, as the kernel tells (proc_pid_mountinfo(5)). Pure.
 *
 * This knows what no engine tells: mounts through a symlink, an engine's own files, what a container mounted itself.
 * Paths are byte strings. Invariant: a path on a device means the same in every mount namespace.
 */
import {relPathFault, type RelPath} from '../model/path.ts';

export interface KernelMount {
  id: number;
  parentId: number;
  /** `major:minor` of the filesystem. */
  device: string;
  /** What of the filesystem is mounted. */
  root: string;
  /** Where, as the process sees it. */
  point: string;
}

/** A path within a filesystem. */
export interface KernelPlace {
  device: string;
  path: string;
}

/** @param text of `/proc/PID/mountinfo`, as a byte string */
export function parseMountinfo(text: string): KernelMount[] {
  const mounts: KernelMount[] = [];
  for (const line of text.split('\n')) {
    const [id, parentId, device, root, point] = line.split(' ', 5);
    if (device === undefined || root === undefined || point === undefined) continue;
    mounts.push({id: Number(id), parentId: Number(parentId), device, root: unescape(root), point: unescape(point)});
  }
  return mounts;
}

/** @param path absolute, without symlinks, as the process of `mounts` sees it */
export function placeOf(path: string, mounts: readonly KernelMount[]): KernelPlace | undefined {
  let own: KernelMount | undefined;
  for (const mount of mounts) {
    // Of several at one point the last one is on top.
    if (below(path, mount.point) !== undefined && mount.point.length >= (own?.point.length ?? 0)) own = mount;
  }
  return own === undefined ? undefined : {device: own.device, path: join(own.root, below(path, own.point) ?? '')};
}

/** Paths below a root that something is mounted on, or that are themselves mounted somewhere; not the root itself. */
export function mountedBelow(root: KernelPlace, mounts: readonly KernelMount[]): RelPath[] {
  const byId = new Map(mounts.map((mount) => [mount.id, mount]));
  const found = new Set<RelPath>();
  const add = (device: string, path: string): void => {
    const relative = device === root.device ? below(path, root.path) : undefined;
    if (relative !== undefined && relative !== '' && relPathFault(relative) === undefined) found.add(relative);
  };
  for (const mount of mounts) {
    add(mount.device, mount.root);
    const parent = byId.get(mount.parentId);
    const onParent = parent === undefined ? undefined : below(mount.point, parent.point);
    if (parent !== undefined && onParent !== undefined) add(parent.device, join(parent.root, onParent));
  }
  return [...found].sort();
}

/** What of `path` lies below `folder`, `''` for itself; undefined when it is not in there. */
function below(path: string, folder: string): string | undefined {
  if (path === folder) return '';
  const prefix = folder === '/' ? '/' : `${folder}/`;
  return path.startsWith(prefix) ? path.slice(prefix.length) : undefined;
}

function join(folder: string, path: string): string {
  if (path === '') return folder;
  return folder === '/' ? `/${path}` : `${folder}/${path}`;
}

/** Blanks, line ends and backslashes stand as three octal digits. */
function unescape(text: string): string {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
