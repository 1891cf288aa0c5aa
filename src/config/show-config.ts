/**
 * A configuration as YAML with all defaults filled in, as `config show` prints it.
 *
 * Invariant: read again (without the files of peers.d, whose peers stand in it) it is the same configuration.
 */
import {Document, isMap, type Pair, type Scalar, type YAMLMap} from 'yaml';
import {showAddress} from '../model/address.ts';
import {rangesOfIds} from '../model/ids.ts';
import {ignorePinOf} from '../model/view.ts';
import type {AgentConfig, HookConfig, LinkSettings, PeerConfig, SendConfig, VolumeConfig} from './agent-config.ts';
import {UNLIMITED_COUNT} from './agent-schema.ts';
import {showHostPort} from './host-port.ts';
import {spellDuration, spellSize} from './units.ts';

type Plain = Record<string, unknown>;

export function showAgentConfig(config: AgentConfig): string {
  const {name, listen, stateFolder, limits, engines} = config;
  const plain = {
    agent: {name, ...(listen === undefined ? {} : {listen: showHostPort(listen)}), state: stateFolder},
    peers: Object.fromEntries(config.peers.map((peer) => [peer.name, plainPeer(peer)])),
    volumes: Object.fromEntries(config.volumes.map((volume) => [volume.name, plainVolume(volume)])),
    limits: {
      workers: limits.workers,
      rate: zeroOr(spellSize(limits.rateBytes)),
      reserve: spellShare(limits.reserve),
      'chokidar-entries': limits.chokidarEntries,
    },
    engines: Object.fromEntries(
      engines.filter(({isConfigured}) => isConfigured).map(({engine, socket}) => [engine, {socket}]),
    ),
  };
  const document = new Document(plain, {aliasDuplicateObjects: false});
  document.commentBefore = ` ${config.file}, with defaults filled in`;
  for (const peer of config.peers) comment(document, ['peers', peer.name], ` from ${peer.file}`);
  for (const {name: volume, send} of config.volumes) {
    for (const [index, {to, ignore}] of send.entries()) {
      comment(document, ['volumes', volume, 'send', index, 'ignore'], ` pin-ignore at ${to}: ${ignorePinOf(ignore)}`);
    }
  }
  const looked = engines.filter(({isConfigured}) => !isConfigured).map(({engine, socket}) => `${engine} at ${socket}`);
  if (looked.length > 0) comment(document, ['engines'], ` looked for: ${looked.join(', ')}`);
  return document.toString({lineWidth: 0});
}

/** Puts a comment before a key. */
function comment(document: Document, path: readonly (string | number)[], text: string): void {
  const map = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1));
  const pair = isMap(map) ? pairOf(map, String(path.at(-1))) : undefined;
  if (pair !== undefined) pair.key.commentBefore = text.replaceAll('\n', ' ');
}

function pairOf(map: YAMLMap, key: string): Pair<Scalar> | undefined {
  return (map.items as Pair<Scalar>[]).find((pair) => pair.key.value === key);
}

function plainPeer({id, address}: PeerConfig): Plain {
  return {id, ...(address === undefined ? {} : {address: showHostPort(address)})};
}

function plainVolume(volume: VolumeConfig): Plain {
  const {at, send, receive, trash} = volume;
  const pin = receive?.ignorePin === undefined ? {} : {'pin-ignore': receive.ignorePin};
  return {
    at: showAddress(at),
    ...(send.length === 0 ? {} : {send: send.map(plainLink)}),
    ...(receive === undefined ? {} : {receive: {from: receive.from, ...pin}}),
    ...plainSettings(volume),
    trash: {keep: spellDuration(trash.keepMs), size: zeroOr(spellSize(trash.sizeBytes))},
    drift: volume.drift,
    replace: volume.inPlaceAbove === undefined ? 'atomic' : {'in-place-above': spellSize(volume.inPlaceAbove)},
    accept: {...volume.accept},
    hooks: {quiesce: plainHook(volume.hooks.quiesce), resume: plainHook(volume.hooks.resume)},
  };
}

function plainHook(hook: HookConfig | undefined): Plain | string[] {
  if (hook === undefined) return [];
  return {run: hook.run, timeout: spellDuration(hook.timeoutMs), 'on-failure': hook.onFailure};
}

function plainLink(link: SendConfig): Plain {
  return {to: link.to, as: link.as, ...plainSettings(link)};
}

function plainSettings(settings: LinkSettings): Plain {
  const {when, deleteLimits} = settings;
  return {
    when: when.kind === 'live' ? 'live' : `every ${spellDuration(when.everyMs)}`,
    watch: settings.watch,
    ignore: settings.ignore,
    special: settings.special,
    ids: plainIds(settings.ids),
    settle: spellDuration(settings.settleMs),
    'max-wait': spellDuration(settings.maxWaitMs),
    hot: settings.hot,
    extents: settings.extents,
    rescan: spellDuration(settings.rescanMs),
    durability: settings.durability,
    guard: {
      'delete-share': spellShare(deleteLimits.share),
      'delete-count': deleteLimits.count === UNLIMITED_COUNT ? 'none' : deleteLimits.count,
      'share-from': deleteLimits.shareFrom,
    },
    limit: {rate: zeroOr(spellSize(settings.rateBytes))},
  };
}

/** As a configuration has them: one id is written without its end. */
function plainIds(ids: readonly string[]): Plain {
  return Object.fromEntries(
    rangesOfIds(ids).map(({from, to, target}) => [from === to ? String(from) : `${from}-${to}`, target]),
  );
}

/** With six places after the point, as many as are read. */
function spellShare(share: number): string {
  return `${Number((share * 100).toFixed(6))}%`;
}

/** A zero without quotes around it. */
function zeroOr(text: string): string | number {
  return text === '0' ? 0 : text;
}
