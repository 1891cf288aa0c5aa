/**
 * Reads an agent's configuration: towline.yaml and the files of peers.d beside it, as one frozen value.
 *
 * Invariant: either everything is right, or one error lists what is wrong in all files; nothing is half accepted.
 */
import {readdirSync} from 'node:fs';
import {hostname} from 'node:os';
import {dirname, join, resolve} from 'node:path';
import type {z} from 'zod';
import {checkOwnedFolder, readOwnedText} from '../base/owned-file.ts';
import {isTowlineError, TowlineError} from '../base/errors.ts';
import type {EngineName} from '../model/address.ts';
import {NAME, NAME_ALLOWED, NAME_CHARS_MAX} from '../model/name.ts';
import type {AgentConfig, EngineConfig, PeerConfig, VolumeConfig} from './agent-config.ts';
import {configSchema, peerFileSchema, type RawConfig} from './agent-schema.ts';
import {showText} from './schema-leaves.ts';
import {checkLinks, type CheckedConfig, type KnownPeers, linkNotices, receivedFrom} from './check-links.ts';
import {hooksOf, settle} from './link-settings.ts';
import {schemaFaults} from './schema-faults.ts';
import {AGENT_STATE_FOLDER} from './state-folder.ts';
import {type Fault, YamlSource} from './yaml-source.ts';

const FILE_BYTES_MAX = 1 << 20;
const PEERS_MAX = 256;
const VOLUMES_MAX = 1_000;
const FAULTS_SHOWN_MAX = 50;
const RESERVE = 0.05;
const CHOKIDAR_ENTRIES = 50_000; // 355 MB of memory at twice as many
const WORKERS = 2;

export interface LoadConfigOptions {
  /** Path of the main file. */
  file: string;
  /** Wins over `agent.state`; absolute. */
  stateFolder?: string | undefined;
  env: Record<string, string | undefined>;
}

/** Where the files of paired peers lie. @param file path of the main file */
export function peersFolderOf(file: string): string {
  return join(dirname(resolve(file)), 'peers.d');
}

/** @throws TowlineError USAGE; its message lists all faults of all files, the first line says how many */
export function loadAgentConfig(options: LoadConfigOptions): AgentConfig {
  const file = resolve(options.file);
  const faults: Fault[] = [];
  const main = readMain(file, faults);
  const peers = readPeers(file, main, faults);
  if (main === undefined) throw faultsError(faults);
  const name = main.raw.agent?.name ?? ownName();
  const stateFolder = options.stateFolder ?? main.raw.agent?.state ?? AGENT_STATE_FOLDER;
  const checked: CheckedConfig = {...main, peers, ownName: name, stateFolder};
  faults.push(...checkLinks(checked));
  if (faults.length > 0) throw faultsError(faults);
  return deepFreeze({
    name,
    listen: main.raw.agent?.listen,
    stateFolder,
    file,
    peers: peers.active,
    volumes: volumesOf(main.raw, peers),
    limits: {
      workers: main.raw.limits?.workers ?? WORKERS,
      rateBytes: main.raw.limits?.rate ?? 0,
      reserve: main.raw.limits?.reserve ?? RESERVE,
      chokidarEntries: main.raw.limits?.['chokidar-entries'] ?? CHOKIDAR_ENTRIES,
    },
    engines: enginesOf(main.raw, options.env),
    notices: linkNotices(checked),
  });
}

/** Where a peer stands in the main file; undefined when it does not. */
export function lineOfPeer(file: string, name: string): number | undefined {
  const text = readOwnedText(file, {bytesMax: FILE_BYTES_MAX, isPrivate: false});
  return text === undefined ? undefined : new YamlSource(file, text).lineOfKey(['peers', name]);
}

interface Parsed<T> {
  raw: T;
  source: YamlSource;
}

function readMain(file: string, faults: Fault[]): Parsed<RawConfig> | undefined {
  const main = readFile(file, configSchema, 'top', faults);
  if (main === 'missing') {
    faults.push(fileFault(file, 'there is no such file; towline init writes one'));
    return undefined;
  }
  const {volumes = {}} = main?.raw ?? {};
  const volumeCount = Object.keys(volumes).length;
  if (main !== undefined && volumeCount > VOLUMES_MAX) {
    faults.push(main.source.faultAtKey(['volumes'], `found ${volumeCount} volumes; allowed are ${VOLUMES_MAX}`));
  }
  return main;
}

/** All peers, of the main file first; a name or an ID that stands twice is a fault of the later one. */
function readPeers(file: string, main: Parsed<RawConfig> | undefined, faults: Fault[]): KnownPeers {
  const known: KnownPeers = {active: [], removed: new Map(), broken: new Set()};
  const add = (peer: PeerConfig, faultHere: (sentence: string) => Fault): void => {
    const twin = known.active.find(({name, id}) => name === peer.name || id === peer.id);
    if (twin === undefined) return void known.active.push(peer);
    const what = twin.name === peer.name ? 'this name' : 'this ID';
    faults.push(faultHere(`${what} has the peer ${twin.name} of ${twin.file} already; take one of them out`));
  };
  for (const [name, {id, address}] of Object.entries(main?.raw.peers ?? {})) {
    add({name, id, address, file}, (sentence) => main!.source.faultAtKey(['peers', name], sentence));
  }
  for (const {name, path} of peerFiles(file, faults)) {
    const parsed = readFile(path, peerFileSchema, 'peer', faults);
    if (parsed === 'missing') continue; // removed since the folder was listed
    if (parsed === undefined) {
      known.broken.add(name);
      continue;
    }
    const {id, address, removed} = parsed.raw;
    if (removed === undefined) add({name, id, address, file: path}, (sentence) => fileFault(path, sentence));
    else known.removed.set(name, {file: path, atTime: removed});
  }
  if (known.active.length > PEERS_MAX) {
    faults.push(fileFault(file, `found ${known.active.length} peers; allowed are ${PEERS_MAX}`));
  }
  return known;
}

function peerFiles(file: string, faults: Fault[]): {name: string; path: string}[] {
  const folder = peersFolderOf(file);
  const names = withFaults(faults, folder, () => {
    checkOwnedFolder(folder);
    return listed(folder);
  });
  return (names ?? []).toSorted().flatMap((entry) => {
    const path = join(folder, entry);
    const name = entry.slice(0, -'.yaml'.length);
    if (entry.startsWith('.')) return [];
    if (entry.endsWith('.yaml') && NAME.test(name)) return [{name, path}];
    const isMeant = /\.ya?ml$/.test(entry);
    if (isMeant) faults.push(fileFault(path, `found ${showText(entry)}; allowed is ${NAME_ALLOWED}, and .yaml`));
    return [];
  });
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function readFile<S extends z.ZodType>(
  file: string,
  schema: S,
  top: 'top' | 'peer',
  faults: Fault[],
): Parsed<z.output<S>> | 'missing' | undefined {
  const read = withFaults(faults, file, () => ({
    text: readOwnedText(file, {bytesMax: FILE_BYTES_MAX, isPrivate: false}),
  }));
  if (read === undefined) return undefined;
  return read.text === undefined ? 'missing' : parseConfig({file, text: read.text}, schema, top, faults);
}

/** One file's text by a schema; what is wrong with it is added to `faults`. @returns undefined then */
export function parseConfig<S extends z.ZodType>(
  {file, text}: {file: string; text: string},
  schema: S,
  top: 'top' | 'peer',
  faults: Fault[],
): Parsed<z.output<S>> | undefined {
  const source = new YamlSource(file, text);
  faults.push(...source.faults);
  if (source.faults.length > 0) return undefined;
  const result = schema.safeParse(source.value ?? {});
  if (result.success) return {raw: result.data, source};
  faults.push(...schemaFaults(result.error, source, top));
  return undefined;
}

function withFaults<T>(faults: Fault[], file: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const isOfFile = isTowlineError(error) || (error as NodeJS.ErrnoException).syscall !== undefined;
    if (!isOfFile) throw error;
    const {message} = error as Error;
    faults.push(fileFault(file, message.startsWith(`${file} `) ? message.slice(file.length + 1) : message));
    return undefined;
  }
}

function volumesOf(raw: RawConfig, peers: KnownPeers): VolumeConfig[] {
  const isActive = (name: string): boolean => peers.active.some((peer) => peer.name === name);
  return Object.entries(raw.volumes ?? {}).map(([name, volume]) => {
    const links = (volume.send ?? []).map((link) => (typeof link === 'string' ? {to: link} : link));
    const from = receivedFrom(volume);
    const ignorePin = typeof volume.receive === 'string' ? undefined : volume.receive?.['pin-ignore'];
    return {
      name,
      at: volume.at,
      send: links
        .filter(({to}) => isActive(to))
        .map((link) => ({to: link.to, as: link.as ?? name, ...settle([volume, link])})),
      receive: from === undefined || !isActive(from) ? undefined : {from, ignorePin},
      ...settle([volume]),
      hooks: hooksOf(volume),
    };
  });
}

function enginesOf(raw: RawConfig, env: LoadConfigOptions['env']): EngineConfig[] {
  const usual: Record<EngineName, string> = {
    docker: socketOf(env['DOCKER_HOST']) ?? '/var/run/docker.sock',
    podman: socketOf(env['CONTAINER_HOST']) ?? podmanSocket(env['XDG_RUNTIME_DIR']),
  };
  return (['docker', 'podman'] as const).map((engine) => {
    const socket = raw.engines?.[engine]?.socket;
    return {engine, socket: socket ?? usual[engine], isConfigured: socket !== undefined};
  });
}

/** `unix:///run/docker.sock` as the engines' own clients read it. */
function socketOf(host: string | undefined): string | undefined {
  return /^unix:\/\/(\/.+)$/.exec(host ?? '')?.[1];
}

function podmanSocket(runtimeFolder: string | undefined): string {
  const isOwn = process.geteuid?.() !== 0 && runtimeFolder !== undefined && runtimeFolder.startsWith('/');
  return isOwn ? join(runtimeFolder, 'podman/podman.sock') : '/run/podman/podman.sock';
}

/** The host's name as far as it is a name here. */
export function ownName(): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, NAME_CHARS_MAX);
  return name === '' ? 'agent' : name;
}

function fileFault(file: string, sentence: string): Fault {
  return {file, line: 0, column: 0, key: '', sentence};
}

function faultsError(faults: readonly Fault[]): TowlineError<'USAGE'> {
  const inOrder = faults.toSorted((a, b) =>
    a.file === b.file ? a.line - b.line || a.column - b.column : a.file < b.file ? -1 : 1,
  );
  const lines = inOrder.map(({file, line, column, key, sentence}) => {
    const place = line === 0 ? file : `${file}:${line}:${column}`;
    return `${place}: ${key === '' ? '' : `${key}: `}${sentence}`;
  });
  const details = {hint: 'towline config check', isList: true} as const;
  if (lines.length === 1) return new TowlineError('USAGE', `1 error in the configuration: ${lines[0]}`, details);
  const shown = lines.slice(0, FAULTS_SHOWN_MAX);
  if (lines.length > shown.length) shown.push(`and ${lines.length - shown.length} more`);
  return new TowlineError('USAGE', [`${lines.length} errors in the configuration:`, ...shown].join('\n'), details);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
