/**
 * What changes between two configurations of one agent, so that what stays the same is not touched. Pure.
 *
 * Invariant: whatever is not named here is equal in both.
 */
import {isDeepStrictEqual} from 'node:util';
import type {AgentConfig, PeerConfig, SendConfig, VolumeConfig} from './agent-config.ts';

/** A link by its two ends; `peerVolume` is the volume's name on the peer that it is sent to. */
export interface LinkName {
  direction: 'send' | 'receive';
  peer: string;
  peerVolume: string | undefined;
}

export interface VolumeChange {
  name: string;
  /** It is another root: nothing of the volume goes on. */
  isAddressChanged: boolean;
  /** Keys of the volume itself differ, beyond its links. */
  areSettingsChanged: boolean;
  addedLinks: LinkName[];
  removedLinks: LinkName[];
  /** Same ends, other settings. */
  changedLinks: LinkName[];
}

export interface ConfigChange {
  /** Names. */
  addedVolumes: string[];
  removedVolumes: string[];
  changedVolumes: VolumeChange[];
  addedPeers: string[];
  removedPeers: string[];
  /** Same name, another ID or address. */
  changedPeers: string[];
  isNameChanged: boolean;
  isListenChanged: boolean;
  /** Takes a restart. */
  isStateFolderChanged: boolean;
  isLimitsChanged: boolean;
  areEnginesChanged: boolean;
}

export function diffConfig(before: AgentConfig, after: AgentConfig): ConfigChange {
  const volumes = compare(before.volumes, after.volumes);
  const peers = compare(before.peers.map(withoutFile), after.peers.map(withoutFile));
  return {
    addedVolumes: volumes.added.map(({name}) => name),
    removedVolumes: volumes.removed.map(({name}) => name),
    changedVolumes: volumes.changed.map(([old, now]) => volumeChange(old, now)),
    addedPeers: peers.added.map(({name}) => name),
    removedPeers: peers.removed.map(({name}) => name),
    changedPeers: peers.changed.map(([old]) => old.name),
    isNameChanged: before.name !== after.name,
    isListenChanged: !isDeepStrictEqual(before.listen, after.listen),
    isStateFolderChanged: before.stateFolder !== after.stateFolder,
    isLimitsChanged: !isDeepStrictEqual(before.limits, after.limits),
    areEnginesChanged: !isDeepStrictEqual(before.engines, after.engines),
  };
}

interface Named {
  name: string;
}

function compare<T extends Named>(before: readonly T[], after: readonly T[]) {
  const old = new Map(before.map((item) => [item.name, item]));
  const now = new Map(after.map((item) => [item.name, item]));
  const both = before.filter(({name}) => now.has(name)).map((item): [T, T] => [item, now.get(item.name)!]);
  return {
    added: after.filter(({name}) => !old.has(name)),
    removed: before.filter(({name}) => !now.has(name)),
    changed: both.filter(([a, b]) => !isDeepStrictEqual(a, b)),
  };
}

/** Which file names a peer changes nothing. */
function withoutFile({name, id, address}: PeerConfig): Omit<PeerConfig, 'file'> {
  return {name, id, address};
}

function volumeChange(before: VolumeConfig, after: VolumeConfig): VolumeChange {
  const links = compare(namedLinks(before), namedLinks(after));
  return {
    name: before.name,
    isAddressChanged: !isDeepStrictEqual(before.at, after.at),
    areSettingsChanged: !isDeepStrictEqual(ownSettings(before), ownSettings(after)),
    addedLinks: links.added.map(({link}) => link),
    removedLinks: links.removed.map(({link}) => link),
    changedLinks: links.changed.map(([old]) => old.link),
  };
}

function ownSettings({send: _send, receive: _receive, at: _at, ...settings}: VolumeConfig): object {
  return settings;
}

function namedLinks({send, receive}: VolumeConfig): (Named & {link: LinkName; value: unknown})[] {
  const links = send.map((value: SendConfig) => ({
    name: JSON.stringify(['send', value.to, value.as]),
    link: {direction: 'send' as const, peer: value.to, peerVolume: value.as},
    value: value as unknown,
  }));
  if (receive === undefined) return links;
  const link = {direction: 'receive' as const, peer: receive.from, peerVolume: undefined};
  return [...links, {name: JSON.stringify(['receive', receive.from]), link, value: receive}];
}
