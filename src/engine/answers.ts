/**
 * What engines answer, read field by field into our own words. Pure; the shapes are those of the Docker API 1.41 and
 * later (docs.docker.com/reference/api/engine), which Podman speaks too.
 *
 * Invariant: nothing of an answer is used that was not checked here; what is missing or of another type reads as empty.
 */
import {posix} from 'node:path';

export interface EngineVolume {
  name: string;
  driver: string;
  /** Host path; may be empty for volumes of other drivers than `local`. */
  mountpoint: string;
  options: Record<string, string>;
}

export interface EngineMount {
  /** `volume`, `bind`, `tmpfs` …; `engine` for the files that an engine mounts of its own accord. */
  type: string;
  /** Name of a mount of type `volume`, anonymous ones too. */
  volume: string;
  /** Host path without `subpath`; empty where nothing of the host is mounted, or before a first start. */
  source: string;
  /** What of a volume is mounted, relative; empty for all of it. */
  subpath: string;
  /** Normalised path in the container. */
  destination: string;
}

export interface EngineContainer {
  id: string;
  /** Without the leading slash. */
  name: string;
  /** Of its first process on the engine's host; 0 while it does not run. */
  pid: number;
  mounts: EngineMount[];
}

export interface ListedContainer {
  id: string;
  state: string;
}

export interface EngineEvent {
  kind: 'volume' | 'container';
  /** As the engine calls it: create, destroy, mount, start, die …; Podman: remove, died … */
  action: string;
  /** Of the volume or container. */
  name: string;
  /** Of the container; of a volume its name. */
  id: string;
  /** By the engine's clock; 0 when it does not tell. */
  atMs: number;
}

const PATH_LENGTH_MAX = 4_095; // the kernel mounts nothing at a longer one

type Fields = Record<string, unknown>;

export function readVolume(answer: unknown): EngineVolume {
  const volume = fieldsOf(answer);
  const options: Record<string, string> = {};
  for (const [key, value] of Object.entries(fieldsOf(volume['Options']))) options[key] = textOf(value);
  return {
    name: textOf(volume['Name']),
    driver: textOf(volume['Driver']),
    mountpoint: pathOf(volume['Mountpoint']),
    options,
  };
}

/** Files that an engine mounts in a container, unless something else is mounted there, by the field that names them. */
const ENGINE_FILES = [
  ['ResolvConfPath', '/etc/resolv.conf'],
  ['HostnamePath', '/etc/hostname'],
  ['HostsPath', '/etc/hosts'],
] as const;

export function readContainer(answer: unknown): EngineContainer {
  const container = fieldsOf(answer);
  const settings = fieldsOf(container['HostConfig']);
  const subpaths = subpathsOf(settings['Mounts']);
  const mounts = listOf(container['Mounts']).map((item): EngineMount => {
    const mount = fieldsOf(item);
    const destination = pathOf(mount['Destination']);
    const type = textOf(mount['Type']);
    const volume = type === 'volume' ? textOf(mount['Name']) : '';
    const subpath = type === 'volume' ? (subpaths.get(destination) ?? '') : '';
    return {type, volume, source: pathOf(mount['Source']), subpath, destination};
  });
  const known = new Set(mounts.map(({destination}) => destination));
  const own = (type: string, destination: string): void => {
    if (!known.has(destination)) mounts.push({type, volume: '', source: '', subpath: '', destination});
  };
  // What `--tmpfs` mounts stands only here, and the engine's own files nowhere in the list.
  for (const destination of Object.keys(fieldsOf(settings['Tmpfs']))) own('tmpfs', pathOf(destination));
  for (const [field, path] of ENGINE_FILES) if (textOf(container[field]) !== '') own('engine', path);
  return {
    id: textOf(container['Id']),
    name: textOf(container['Name']).replace(/^\//, ''),
    pid: pidOf(fieldsOf(container['State'])['Pid']),
    mounts: mounts.filter(({destination}) => destination !== ''),
  };
}

/** @returns undefined for what is no list of containers: that must not pass for "none" */
export function readContainerList(answer: unknown): ListedContainer[] | undefined {
  if (!Array.isArray(answer)) return undefined;
  const listed = answer.map((item) => {
    const container = fieldsOf(item);
    return {id: textOf(container['Id']), state: textOf(container['State'])};
  });
  return listed.every(({id, state}) => /^[0-9a-f]{64}$/.test(id) && state !== '') ? listed : undefined;
}

/** @returns undefined for what is no event of a volume or container */
export function readEvent(answer: unknown): EngineEvent | undefined {
  const event = fieldsOf(answer);
  const kind = event['Type'];
  if (kind !== 'volume' && kind !== 'container') return undefined;
  const actor = fieldsOf(event['Actor']);
  const id = textOf(actor['ID']);
  const shown = textOf(fieldsOf(actor['Attributes'])['name']);
  const timeNs = event['timeNano'];
  return {
    kind,
    action: textOf(event['Action']),
    name: shown === '' ? id : shown,
    id: id === '' ? shown : id,
    atMs: typeof timeNs === 'number' && timeNs > 0 ? Math.floor(timeNs / 1e6) : 0,
  };
}

/** What the engine speaks, as `major.minor`; undefined where it does not tell. */
export function readVersions(answer: unknown): {newest: string; oldest: string} | undefined {
  const version = fieldsOf(answer);
  const newest = textOf(version['ApiVersion']);
  const oldest = textOf(version['MinAPIVersion']);
  const isVersion = (text: string): boolean => /^\d{1,3}\.\d{1,4}$/.test(text);
  return isVersion(newest) && isVersion(oldest) ? {newest, oldest} : undefined;
}

/** An absolute path without `.`, `..` and a slash at the end; '' for anything else. */
export function pathOf(value: unknown): string {
  const text = textOf(value);
  if (!text.startsWith('/') || text.length > PATH_LENGTH_MAX || text.includes('\0')) return '';
  const path = posix.normalize(text);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** Volumes of which only a folder is mounted (API 1.45), by destination. */
function subpathsOf(mounts: unknown): Map<string, string> {
  const found = new Map<string, string>();
  for (const item of listOf(mounts)) {
    const mount = fieldsOf(item);
    const subpath = textOf(fieldsOf(mount['VolumeOptions'])['Subpath']);
    if (subpath !== '') found.set(pathOf(mount['Target']), subpath);
  }
  return found;
}

function pidOf(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
