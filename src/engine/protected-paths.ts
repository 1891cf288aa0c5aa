/**
 * Which paths of a volume containers have something else mounted on. Pure.
 *
 * A mount point can be removed, and a mounted file replaced, from the host: the container then loses what it had there.
 * Invariant: paths are compared as they are given; who knows of symlinks resolves them before.
 */
import {posix} from 'node:path';
import {fromText, relPathFault, type RelPath} from '../model/path.ts';

/** A container whose mounts are in place. */
export interface MountedContainer {
  mounts: readonly {
    /** Absolute host path without symlinks; '' where nothing of the host is mounted. */
    source: string;
    /** Normalised absolute path in the container. */
    destination: string;
  }[];
}

/**
 * @param rootPath of the volume, absolute, without symlinks
 * @returns sorted, relative to the root; the root itself is not among them
 */
export function protectedPaths(rootPath: string, containers: readonly MountedContainer[]): RelPath[] {
  const found = new Set<RelPath>();
  const add = (hostPath: string): void => {
    const path = pathBelow(rootPath, hostPath);
    if (path !== undefined && path !== '' && relPathFault(path) === undefined) found.add(path);
  };
  for (const {mounts} of containers) {
    const sources = new Map(mounts.map(({source, destination}) => [destination, source]));
    for (const {source, destination} of mounts) {
      if (source !== '') add(source);
      const under = nearestAbove(destination, sources);
      if (under === undefined || under.source === '') continue;
      add(posix.join(under.source, destination.slice(under.destination.length)));
    }
  }
  return [...found].sort();
}

/** The mount that the mount point itself lies on; engines mount what lies above first. */
function nearestAbove(
  destination: string,
  sources: ReadonlyMap<string, string>,
): {destination: string; source: string} | undefined {
  for (let end = destination.lastIndexOf('/'); end > 0; end = destination.lastIndexOf('/', end - 1)) {
    const above = destination.slice(0, end);
    const source = sources.get(above);
    if (source !== undefined) return {destination: above, source};
  }
  return undefined;
}

/** `''` for the root itself, undefined for what lies outside. */
function pathBelow(rootPath: string, hostPath: string): RelPath | undefined {
  if (hostPath === rootPath) return '';
  const prefix = rootPath === '/' ? '/' : `${rootPath}/`;
  return hostPath.startsWith(prefix) ? fromText(hostPath.slice(prefix.length)) : undefined;
}
