/**
 * The peers that were paired: one file each in peers.d beside the configuration, named as the peer is named here.
 *
 * A peer that volumes still name leaves a note when it is removed, so that the configuration stays readable and only
 * the links to it are off. Invariant: a file of another ID is never overwritten.
 */
import {mkdirSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {stringify} from 'yaml';
import {checkOwnedFolder, readOwnedText, removeOwnedFile, writeOwnedText} from '../base/owned-file.ts';
import {TowlineError} from '../base/errors.ts';
import {NAME, NAME_ALLOWED, NAME_CHARS_MAX} from '../model/name.ts';
import type {AgentConfig, HostPort, PeerConfig} from './agent-config.ts';
import {showHostPort} from './host-port.ts';
import {lineOfPeer, peersFolderOf} from './load-config.ts';

/** A peer that has just proved who it is. */
export interface PairedPeer {
  id: string;
  /** As it calls itself, or as the operator wants to call it. */
  name: string;
  address: HostPort | undefined;
}

export interface StoredPeer {
  name: string;
  file: string;
  /** As it is written there: what it had before, when it told none now. */
  address: HostPort | undefined;
  /** It stands in the main file, which is the operator's: nothing was written. */
  isInMainFile: boolean;
}

const FILE_BYTES_MAX = 1 << 20;
const NAMES_TRIED_MAX = 1_000;

/**
 * Writes a paired peer down, durably. The same ID keeps its name (also one that was removed and left a note) and gets the
 * new address; a name that another peer has gets -2, -3 …
 * @param config as it stands in the files now
 * @throws TowlineError SYSTEM, REFUSED
 */
export function storePeer(config: Pick<AgentConfig, 'file' | 'peers'>, peer: PairedPeer): StoredPeer {
  const known = config.peers.find(({id}) => id === peer.id);
  if (known?.file === config.file)
    return {name: known.name, file: known.file, address: known.address, isInMainFile: true};
  const folder = peersFolderOf(config.file);
  mkdirSync(folder, {recursive: true, mode: 0o700});
  checkOwnedFolder(folder);
  if (known !== undefined) {
    const address = peer.address ?? known.address;
    writeOwnedText(known.file, peerText({...peer, address}), {mode: 0o600, isNew: false});
    return {name: known.name, file: known.file, address, isInMainFile: false};
  }
  const note = noteOf(folder, peer.id);
  if (note !== undefined) {
    const file = join(folder, `${note}.yaml`);
    writeOwnedText(file, peerText(peer), {mode: 0o600, isNew: false});
    return {name: note, file, address: peer.address, isInMainFile: false};
  }
  for (let count = 1; count <= NAMES_TRIED_MAX; count++) {
    const name = numbered(peer.name, count);
    const file = join(folder, `${name}.yaml`);
    const isTaken = config.peers.some((other) => other.name === name);
    if (!isTaken && writeOwnedText(file, peerText(peer), {mode: 0o600, isNew: true})) {
      return {name, file, address: peer.address, isInMainFile: false};
    }
  }
  throw new TowlineError('REFUSED', `no name is free for a peer ${peer.name} in ${folder}`, {reason: 'names'});
}

/**
 * Removes a peer's file. While a volume names the peer, a note stays in its place.
 * @returns the volumes that name it
 * @throws TowlineError USAGE for a peer that is not there, or stands in the main file
 */
export function removePeer(config: AgentConfig, name: string, nowMs: number): string[] {
  const peer = config.peers.find((known) => known.name === name);
  if (peer === undefined) throw unknownPeer(config, name);
  if (peer.file === config.file) {
    const line = lineOfPeer(config.file, name) ?? 0;
    const hint = `delete peers.${name} at ${config.file}:${line}, then reload the agent`;
    throw new TowlineError('USAGE', `${name} stands in the main configuration; ${hint}`, {hint});
  }
  const volumes = config.volumes
    .filter(({send, receive}) => send.some(({to}) => to === name) || receive?.from === name)
    .map((volume) => volume.name);
  if (volumes.length === 0) removeOwnedFile(peer.file);
  else writeOwnedText(peer.file, noteText(peer, nowMs), {mode: 0o600, isNew: false});
  return volumes;
}

/**
 * A peer has another key from now on.
 * @throws TowlineError REFUSED for one that stands in the main file, which is the operator's
 */
export function repinPeer(config: Pick<AgentConfig, 'file' | 'peers'>, name: string, id: string): PeerConfig {
  const peer = config.peers.find((known) => known.name === name);
  if (peer === undefined || peer.file === config.file)
    throw new TowlineError('REFUSED', `${name} stands in ${config.file}; write id: "${id}" there and reload`, {
      reason: 'main file',
    });
  writeOwnedText(peer.file, peerText({...peer, id}), {mode: 0o600, isNew: false});
  return {...peer, id};
}

/** @throws TowlineError USAGE */
export function checkPeerName(name: string): string {
  if (NAME.test(name)) return name;
  throw new TowlineError('USAGE', `${JSON.stringify(name)} is no name of a peer: write ${NAME_ALLOWED}`, {
    hint: NAME_ALLOWED,
  });
}

function unknownPeer(config: AgentConfig, name: string): TowlineError<'USAGE'> {
  const names = config.peers.map((peer) => peer.name).join(', ');
  const hint = names === '' ? 'there are no peers' : `there are ${names}`;
  return new TowlineError('USAGE', `${JSON.stringify(name)} is no peer of this agent: ${hint}`, {hint});
}

/** The name, with a number behind it from the second try on, and never too long. */
function numbered(name: string, count: number): string {
  const suffix = count === 1 ? '' : `-${count}`;
  return `${name.slice(0, NAME_CHARS_MAX - suffix.length)}${suffix}`;
}

function peerText({id, address}: PairedPeer): string {
  const peer = {id, ...(address === undefined ? {} : {address: showHostPort(address)})};
  return `# Written when this peer was paired. The name of the file is the name of the peer.\n${stringify(peer)}`;
}

const NOTE =
  '# This peer was removed while volumes named it: their links to it are off. Take them out, then this file.\n';

function noteText({id}: PeerConfig, nowMs: number): string {
  return `${NOTE}${stringify({id, removed: new Date(nowMs).toISOString()})}`;
}

/** The name under which a removed peer left its note; undefined when it left none. */
function noteOf(folder: string, id: string): string | undefined {
  const files = readdirSync(folder).filter((file) => file.endsWith('.yaml') && !file.startsWith('.'));
  const found = files.find((file) => {
    const text = readOwnedText(join(folder, file), {bytesMax: FILE_BYTES_MAX, isPrivate: false});
    return text?.startsWith(NOTE) === true && text.includes(id);
  });
  return found?.slice(0, -'.yaml'.length);
}
