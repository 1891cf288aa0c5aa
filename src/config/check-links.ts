/**
 * What can only be judged by looking at several keys of a configuration: names that must exist, targets with two
 * sources, cycles of mirrors, one root under two names. Pure.
 */
import {showAddress} from '../model/address.ts';
import type {PeerConfig} from './agent-config.ts';
import type {RawConfig, RawSendLink, RawVolume} from './agent-schema.ts';
import {settle} from './link-settings.ts';
import {nearestWord} from './nearest-word.ts';
import {spellDuration} from './units.ts';
import type {Fault, KeyPath, YamlSource} from './yaml-source.ts';

export interface KnownPeers {
  active: PeerConfig[];
  /** By name: peers that were removed while volumes named them (see peer-files.ts). */
  removed: Map<string, {file: string; atTime: string}>;
  /** Names of peers whose files are wrong: nothing more is said about them. */
  broken: Set<string>;
}

/** The main file, what it holds, and what it is judged against. */
export interface CheckedConfig {
  raw: RawConfig;
  source: YamlSource;
  peers: KnownPeers;
  ownName: string;
  stateFolder: string;
}

/** A link as it is written, with the place of the peer's name. */
interface PlacedLink {
  link: RawSendLink;
  path: KeyPath;
  namePath: KeyPath;
}

export function checkLinks(config: CheckedConfig): Fault[] {
  const volumes = Object.entries(config.raw.volumes ?? {});
  return [
    ...volumes.flatMap(([name, volume]) => checkVolume(config, name, volume)),
    ...checkTargets(config, volumes),
    ...checkRoots(config, volumes),
  ];
}

/** A sentence for each link that is off because its peer was removed. */
export function linkNotices({raw, source, peers}: CheckedConfig): string[] {
  return Object.entries(raw.volumes ?? {}).flatMap(([name, volume]) =>
    [...linksOf(name, volume).map(({link}) => link.to), receivedFrom(volume)].flatMap((peer) => {
      const removed = peer === undefined ? undefined : peers.removed.get(peer);
      if (removed === undefined) return [];
      const line = source.lineOfKey(['volumes', name]) ?? 1;
      return `volume ${name} (${source.file}:${line}) names ${peer}, which was removed at ${removed.atTime}: that link is off; take it out, or pair ${peer} again`;
    }),
  );
}

/** Whom a volume receives from. */
export function receivedFrom({receive}: RawVolume): string | undefined {
  return typeof receive === 'string' ? receive : receive?.from;
}

function linksOf(name: string, volume: RawVolume): PlacedLink[] {
  return (volume.send ?? []).map((link, index) => {
    const path = ['volumes', name, 'send', index];
    return typeof link === 'string'
      ? {link: {to: link}, path, namePath: path}
      : {link, path, namePath: [...path, 'to']};
  });
}

function checkVolume(config: CheckedConfig, name: string, volume: RawVolume): Fault[] {
  const {source} = config;
  const path = ['volumes', name];
  const faults: Fault[] = checkTimes(source, path, [volume]);
  const from = receivedFrom(volume);
  const fromPath = [...path, 'receive', ...(typeof volume.receive === 'string' ? [] : ['from'])];
  if (from !== undefined) faults.push(...checkPeer(config, from, fromPath));
  for (const {link, path: linkPath, namePath} of linksOf(name, volume)) {
    faults.push(...checkPeer(config, link.to, namePath), ...checkTimes(source, linkPath, [volume, link]));
    if (link.to !== from) continue;
    const sentence = `${name} is received from ${from} and sent to it: a cycle of mirrors; two-way links come in a later version`;
    faults.push(source.faultAt(namePath, sentence));
  }
  return faults;
}

function checkPeer({peers, ownName, source}: CheckedConfig, name: string, path: KeyPath): Fault[] {
  const known = peers.active.map((peer) => peer.name);
  if (known.includes(name) || peers.removed.has(name) || peers.broken.has(name)) return [];
  if (name === ownName) return [source.faultAt(path, `${name} is this agent itself; allowed is the name of a peer`)];
  const nearest = nearestWord(name, known);
  const list = known.length === 0 ? 'there are none yet: pair one, or add it to peers' : known.slice(0, 20).join(', ');
  const hint = nearest === undefined ? list : `did you mean ${nearest}?`;
  return [source.faultAt(path, `found ${name}, which is no peer; allowed is the name of a peer (${hint})`)];
}

/** A link without keys of its own has its volume's times, which are judged there. */
function checkTimes(source: YamlSource, path: KeyPath, layers: Partial<RawVolume & RawSendLink>[]): Fault[] {
  const own = layers.at(-1)!;
  if (own.settle === undefined && own['max-wait'] === undefined) return [];
  const {settleMs, maxWaitMs} = settle(layers);
  if (maxWaitMs >= settleMs) return [];
  const key = own['max-wait'] === undefined ? 'settle' : 'max-wait';
  const sentence = `max-wait (${spellDuration(maxWaitMs)}) is shorter than settle (${spellDuration(settleMs)})`;
  return [source.faultAt([...path, key], sentence)];
}

/** A mirror's target has exactly one source. */
function checkTargets({source}: CheckedConfig, volumes: [string, RawVolume][]): Fault[] {
  const taken = new Map<string, string>();
  return volumes.flatMap(([name, volume]) =>
    linksOf(name, volume).flatMap(({link, namePath}) => {
      const target = `${link.as ?? name} on ${link.to}`;
      const other = taken.get(target);
      taken.set(target, other ?? name);
      if (other === undefined) return [];
      const sentence = `${target} is sent to by ${other === name ? 'another link of this volume' : `volume ${other}`} already; a target has one source`;
      return [source.faultAt(namePath, sentence)];
    }),
  );
}

function checkRoots({source, stateFolder}: CheckedConfig, volumes: [string, RawVolume][]): Fault[] {
  const byAddress = new Map<string, string>();
  return volumes.flatMap(([name, {at}]) => {
    const shown = showAddress(at);
    const other = byAddress.get(shown);
    byAddress.set(shown, other ?? name);
    const path = ['volumes', name, 'at'];
    if (other !== undefined)
      return [source.faultAt(path, `${shown} is volume ${other} already; one root is one volume`)];
    if (at.kind !== 'path') return [];
    if (isInside(stateFolder, at.path))
      return [source.faultAt(path, `holds the state folder ${stateFolder}; keep it elsewhere`)];
    if (isInside(at.path, stateFolder))
      return [source.faultAt(path, `lies in the state folder ${stateFolder}; keep it elsewhere`)];
    return [];
  });
}

/** By their names; links are looked at when the roots are opened. */
function isInside(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith('/') ? outer : `${outer}/`);
}
