/**
 * Finds the folder on this host that an address means, by asking the engine where it keeps the volume or the mount.
 *
 * Says nothing about what is in that folder, nor whether it is there: opening and knowing it again is for `volume`.
 * Invariant: a folder is only told for the very volume, container and mount that the address names.
 */
import {stat} from 'node:fs/promises';
import {basename, dirname} from 'node:path';
import {TowlineError} from '../base/errors.ts';
import {showAddress, type Address, type EngineName} from '../model/address.ts';
import {fromText, showPath} from '../model/path.ts';
import {pathOf, type EngineContainer, type EngineMount, type EngineVolume} from './answers.ts';
import {engineNameFault, type EngineClient} from './engine-client.ts';

export interface FoundRoot {
  /** Absolute host path, as text. */
  path: string;
  /** The folder of an engine's volume that holds its data folder: out of the containers' sight, gone with the volume. */
  beside: string | undefined;
  /** For people, within a sentence. */
  what: string;
}

export interface FindRootParts {
  /** @throws TowlineError USAGE for an engine that is not configured */
  clientOf: (engine: EngineName) => EngineClient;
}

/** Where the local driver of both engines keeps the files, below the volume's own folder. */
const DATA_FOLDER = '_data';
const MOUNTS_SHOWN_MAX = 10;
/** With one of these a local volume is a mount of its own, there only while a container uses it. */
const MOUNT_OPTIONS = ['type', 'o', 'device'];

/**
 * @throws TowlineError ROOT_MISSING when the engine knows no such volume, container or mount; SYSTEM when it cannot be
 *   asked; USAGE for what cannot be synchronised (yet)
 */
export async function findRoot(address: Address, {clientOf}: FindRootParts): Promise<FoundRoot> {
  if (address.kind === 'path')
    return {path: address.path, beside: undefined, what: `the folder ${shown(address.path)}`};
  const client = clientOf(address.engine);
  await refuseRootless(client);
  if (address.kind === 'volume') {
    checkName(address.volume, address);
    return findVolume(address.volume, {client, address, what: `the ${address.engine} volume ${address.volume}`});
  }
  return findMount(address, client);
}

interface Sought {
  client: EngineClient;
  address: Exclude<Address, {kind: 'path'}>;
  what: string;
}

async function findVolume(name: string, sought: Sought): Promise<FoundRoot> {
  const volume = await sought.client.volume(name);
  if (volume === undefined) throw missing(sought, `there is no ${sought.address.engine} volume ${shown(name)}`);
  const fault = volumeFault(volume);
  if (fault !== undefined) throw notYet(sought, fault.what, fault.hint);
  const path = volume.mountpoint;
  return {path, beside: basename(path) === DATA_FOLDER ? dirname(path) : undefined, what: sought.what};
}

/** Why a volume's files cannot be synchronised where they are. */
function volumeFault({driver, options, mountpoint}: EngineVolume): {what: string; hint: string} | undefined {
  if (driver !== 'local') {
    return {what: `is kept by the driver ${shown(driver)}`, hint: 'only volumes of the driver local can be used yet'};
  }
  const device = options['device'] ?? '';
  if (MOUNT_OPTIONS.some((key) => (options[key] ?? '') !== '')) {
    const isFolder = /(^|,)r?bind(,|$)/.test(options['o'] ?? '') && pathOf(device) !== '';
    return {
      what: `is a mount of ${shown(device)} that is there only while a container uses it`,
      hint: isFolder ? `write the folder instead: path:${shown(device)}` : 'such volumes cannot be used yet',
    };
  }
  if (mountpoint === '') return {what: 'has no folder on this host', hint: 'is the engine on this host?'};
  return undefined;
}

async function findMount(address: Extract<Address, {kind: 'container'}>, client: EngineClient): Promise<FoundRoot> {
  const {engine, container: name} = address;
  checkName(name, address);
  const sought: Sought = {client, address, what: `what the ${engine} container ${name} has at ${shown(address.mount)}`};
  const container = await client.container(name);
  if (container === undefined) throw missing(sought, `there is no ${engine} container ${shown(name)}`);
  const destination = pathOf(address.mount);
  const mount = container.mounts.find((each) => each.destination === destination && each.type !== 'engine');
  if (mount === undefined) throw missing(sought, noSuchMount(container, address.mount));
  if (mount.subpath !== '') {
    throw notYet(sought, `is the folder ${shown(mount.subpath)} of a volume`, 'name the whole volume instead');
  }
  if (mount.type === 'volume' && mount.volume !== '') return findVolume(mount.volume, sought);
  if (mount.type === 'bind' && mount.source !== '') return {path: mount.source, beside: undefined, what: sought.what};
  const what = mount.type === 'tmpfs' ? 'is a tmpfs, in memory only' : `is a mount of type ${shown(mount.type)}`;
  throw notYet(sought, what, 'only volumes and bind mounts can be used');
}

function noSuchMount({name, mounts}: EngineContainer, asked: string): string {
  const known = mounts.filter(({type}) => type !== 'engine').map(showMount);
  const more = known.length > MOUNTS_SHOWN_MAX ? ` and ${known.length - MOUNTS_SHOWN_MAX} more` : '';
  const has = known.length === 0 ? 'it has no mounts' : `it has ${known.slice(0, MOUNTS_SHOWN_MAX).join(', ')}${more}`;
  return `the container ${shown(name)} has nothing mounted at ${shown(asked)}; ${has}`;
}

function showMount({destination, type, volume}: EngineMount): string {
  return `${shown(destination)} (${shown(type)}${volume === '' ? '' : ` ${shown(volume)}`})`;
}

/** What an engine of an ordinary user keeps belongs to mapped users, and lies where that user may put links. */
async function refuseRootless(client: EngineClient): Promise<void> {
  const {engine, socket} = client.at;
  const owner = await stat(socket).catch(() => undefined); // what is wrong with the socket, the question itself tells
  if (owner === undefined || owner.uid === 0) return;
  const hint = `use the socket of the system's ${engine}`;
  const message = `${socket} belongs to user ${owner.uid}: rootless engines cannot be used yet; ${hint}`;
  throw new TowlineError('USAGE', message, {hint});
}

function checkName(name: string, address: Address): void {
  const fault = engineNameFault(name);
  if (fault === undefined) return;
  const message = `${shown(showAddress(address))}: the name ${fault}`;
  throw new TowlineError('USAGE', message, {hint: 'docker:NAME or docker-container:NAME:/mount'});
}

function missing({address}: Sought, why: string): TowlineError<'ROOT_MISSING'> {
  const path = shown(showAddress(address));
  return new TowlineError('ROOT_MISSING', `${path}: ${why}`, {path});
}

function notYet({address, what: sought}: Sought, what: string, hint: string): TowlineError<'USAGE'> {
  return new TowlineError('USAGE', `${shown(showAddress(address))}: ${sought} ${what}; ${hint}`, {hint});
}

function shown(text: string): string {
  return text === '' ? '""' : showPath(fromText(text));
}
