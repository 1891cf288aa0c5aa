/**
 * What an agent does when it is asked: the use cases behind the control socket.
 *
 * Invariant: a question changes nothing; what changes something is durable before it is answered.
 */
import {join} from 'node:path';
import {rmSync} from 'node:fs';
import {EXIT_CODE, TowlineError} from '../base/errors.ts';
import {parseAddress} from '../config/address.ts';
import type {AgentConfig, VolumeConfig} from '../config/agent-config.ts';
import {DEFAULTS} from '../config/link-settings.ts';
import {parseIds, parseSpecial} from '../config/sync-options.ts';
import type {
  AgentControl,
  AgentReport,
  Invitation,
  LinkOutcome,
  PendingPage,
  RunOutcome,
  SyncRequest,
} from '../control/agent-api.ts';
import {openInvitation} from '../transport/pairing.ts';
import {ownAddresses} from '../transport/own-addresses.ts';
import type {AgentCore} from './agent-core.ts';
import type {AgentVolume} from './agent-volume.ts';
import {confirmHalts, haltsOf} from './volume-halts.ts';
import {forgetVolume} from './volume-scopes.ts';
import {rotate} from './agent-rotate.ts';
import {flushLinks, quiescedFlush, together, type Waited} from './flush-links.ts';
import type {SendLink} from './send-link.ts';
import {verifyVolume} from './verify-volume.ts';
import {sha256} from '../model/digest.ts';
import {NAME, NAME_ALLOWED} from '../model/name.ts';
import {parseHostPort, showHostPort} from '../config/host-port.ts';

export interface AgentControlParts {
  core: AgentCore;
  startedMs: number;
  version: string;
  /** Reads the configuration anew. @throws USAGE */
  load(): AgentConfig;
  listeners: Set<() => void>;
}

const PROBLEMS_MAX = 1_000;

export function agentControl(parts: AgentControlParts): AgentControl {
  const {core} = parts;
  const volumeOf = (name: string): AgentVolume => {
    const volume = core.volume(name);
    if (volume !== undefined) return volume;
    const known = core.allVolumes().map(({config}) => config.name);
    const hint = known.length === 0 ? 'the configuration has no volumes' : `configured are ${known.join(', ')}`;
    throw new TowlineError('USAGE', `there is no volume ${JSON.stringify(name)}; ${hint}`, {hint});
  };
  return {
    report: (volume) => report(parts, volume === undefined ? core.allVolumes() : [volumeOf(volume)]),
    onChange: (listener) => {
      parts.listeners.add(listener);
      return () => parts.listeners.delete(listener);
    },
    pending: (query) => pendingPage(volumeOf(query.volume), query),
    flush: (query, signal) => {
      const {volume} = query;
      const volumes = volume === undefined ? core.allVolumes() : [volumeOf(volume)];
      const [first] = volumes;
      if (volume !== undefined && first?.sends.length === 0) throw notSent(volume);
      if (!query.isQuiesced) return flushLinks(volumes, query, core.parts.clock);
      if (volume === undefined || first === undefined)
        throw new TowlineError('USAGE', 'flush --quiesce is for one volume: name it', {hint: 'name a volume'});
      return quiescedFlush(first, query, {clock: core.parts.clock, signal});
    },
    once: ({volumes, timeoutMs}) =>
      once(core, volumes.length === 0 ? core.allVolumes() : volumes.map(volumeOf), timeoutMs),
    halts: (name) => haltsOf(volumeOf(name)).map(({peer, halt}) => ({peer, halt})),
    confirm: async ({volume, count}) => confirm(volumeOf(volume), count),
    pause: async (name) => volumeOf(name).pause(),
    resume: async (name) => volumeOf(name).resume(),
    rescan: (name) => rescan(volumeOf(name)),
    promote: (request) => core.failOver.promote(request),
    followPlan: (request) => core.failOver.plan(request),
    follow: (request) => core.failOver.follow(request),
    forget: (name) => forget(core, name),
    invite: async ({addresses}) => invite(core, addresses),
    reload: async () => core.apply(parts.load()),
    rotate: (request) => rotate(core, request),
    verify: (request, onEvent, signal) =>
      verifyVolume(volumeOf(request.volume), {request, onEvent, signal}, core.parts),
    sync: (request, onEvent, signal) => syncPeer(core, request, onEvent, signal),
  };
}

function report({core, startedMs, version}: AgentControlParts, volumes: readonly AgentVolume[]): AgentReport {
  return {
    name: core.config.name,
    id: core.identity.id,
    version,
    pid: process.pid,
    startedMs,
    nowMs: core.parts.clock.nowMs(),
    listen: core.listening,
    volumes: volumes.map((volume) => volume.report()),
    peers: [...core.peers.values()].map((peer) => peer.report()),
    halt: [...core.peers.values()].find(({halt}) => halt !== undefined)?.halt,
  };
}

function pendingPage(
  volume: AgentVolume,
  {after, countMax}: {after: string | undefined; countMax: number},
): PendingPage {
  const {sends, receive} = volume;
  const links = sends.map(({notes, config}) => ({notes, peer: config.to}));
  if (receive !== undefined) links.push({notes: receive.notes, peer: receive.from});
  const from = after === undefined ? {link: 0, side: undefined, path: undefined} : readCursor(after);
  const problems: PendingPage['problems'] = [];
  let next: string | undefined;
  for (let index = from.link; index < links.length && next === undefined; index++) {
    const {notes, peer} = links[index] as (typeof links)[number];
    const start = index === from.link && from.side !== undefined ? {side: from.side, path: from.path} : undefined;
    const page = notes.problems(Math.min(countMax, PROBLEMS_MAX) - problems.length + 1, start);
    const room = Math.min(countMax, PROBLEMS_MAX) - problems.length;
    for (const problem of page.slice(0, room)) problems.push({...problem, peer});
    if (page.length > room) {
      const last = problems.at(-1);
      next = writeCursor(index, last === undefined ? undefined : {side: last.side, path: last.path});
    }
  }
  return {
    volume: volume.config.name,
    problems,
    problemCount: links.reduce((sum, {notes}) => sum + notes.problemCount(), 0),
    pendingCount: sends.reduce((sum, send) => sum + send.pendingCount, 0),
    next,
  };
}

function writeCursor(link: number, place: {side: string; path: string} | undefined): string {
  return JSON.stringify([link, place?.side, place?.path]);
}

function readCursor(after: string): {link: number; side: 'source' | 'target'; path: string} {
  try {
    const [link, side, path] = JSON.parse(after) as [number, string, string];
    if (Number.isSafeInteger(link) && link >= 0 && (side === 'source' || side === 'target') && typeof path === 'string')
      return {link, side, path};
  } catch {
    // told below
  }
  throw new TowlineError('USAGE', 'the place to go on from is not one that was given', {hint: 'leave it out'});
}

/** One catch-up of each link of these volumes, to the cut taken now. */
export function once(core: AgentCore, volumes: readonly AgentVolume[], timeoutMs: number): Promise<RunOutcome> {
  const waited = volumes.flatMap((volume): Waited[] => {
    const sends = volume.sends.map((send) => ({link: send, run: () => caughtUp(volume, send)}));
    const {receive} = volume;
    return receive === undefined ? sends : [...sends, {link: receive, run: () => receive.nextProof()}];
  });
  if (waited.length === 0) {
    const hint = 'give it send: or receive: in the configuration';
    throw new TowlineError('USAGE', `no volume here has a link; ${hint}`, {hint});
  }
  return together(core.parts.clock, timeoutMs, waited);
}

async function caughtUp(volume: AgentVolume, send: SendLink): Promise<LinkOutcome> {
  const source = volume.sourceOf(send);
  await source?.scanned.catch(() => undefined);
  await source?.live.rescan(); // events do not tell everything: mmap, for one
  return send.nextProof(true);
}

function confirm(volume: AgentVolume, count: number): void {
  const halts = haltsOf(volume);
  const {name} = volume.config;
  if (halts.length === 0) throw new TowlineError('REFUSED', `nothing of ${name} is halted`, {reason: 'not halted'});
  const waiting = halts.reduce((sum, {halt}) => sum + halt.count, 0);
  if (waiting !== count)
    throw new TowlineError('REFUSED', `the halts of ${name} are about ${waiting}, not ${count}; look again`, {
      reason: 'count',
    });
  confirmHalts(volume);
}

async function rescan(volume: AgentVolume): Promise<void> {
  const sources = new Set(volume.sends.map((send) => volume.sourceOf(send)).filter((source) => source !== undefined));
  await Promise.all([...sources].map((source) => source.live.rescan()));
  await volume.target?.rescan();
  volume.receive?.takeSource();
}

async function forget(core: AgentCore, name: string): Promise<void> {
  const volume = core.volume(name);
  if (volume !== undefined && !volume.isPaused)
    throw new TowlineError(
      'REFUSED',
      `volume ${name} is in use; towline pause ${name} first, or take it out of the configuration`,
      {
        reason: 'in use',
      },
    );
  if (!NAME.test(name))
    throw new TowlineError('USAGE', `${JSON.stringify(name)} is no volume's name`, {hint: NAME_ALLOWED});
  volume?.cleanUp();
  rmSync(join(core.parts.stateFolder, 'volumes', name), {recursive: true, force: true});
  forgetVolume(core.parts.file, name);
  if (volume !== undefined) volume.notes.setPaused(true); // still configured: it begins anew when it is resumed
}

function invite(core: AgentCore, addresses: readonly string[]): Invitation {
  const {listen, name} = core.config;
  const {port} = core;
  if (listen === undefined || port === undefined)
    throw new TowlineError('REFUSED', 'this agent does not listen; set agent.listen, or invite on the other host', {
      reason: 'no listen address',
    });
  const dialled =
    addresses.length > 0 ? addresses.map((text) => parseHostPort(text)) : ownAddresses({host: listen.host, port});
  const invitation = openInvitation({identity: core.identity, name, addresses: dialled}, {clock: core.parts.clock});
  core.invitation = invitation;
  return {code: invitation.code, expiresMs: invitation.expiresMs, addresses: dialled.map(showHostPort)};
}

/** A link for this run alone, to a volume that a peer receives. */
async function syncPeer(
  core: AgentCore,
  request: SyncRequest,
  onEvent: (event: object) => void,
  signal: AbortSignal,
): Promise<RunOutcome> {
  const config = adHocVolume(core, request);
  const volume = core.addVolume(config, onEvent);
  const [send] = volume.sends as [SendLink];
  try {
    const stopped = new Promise<undefined>((resolve) => {
      if (signal.aborted) resolve(undefined);
      signal.addEventListener('abort', () => resolve(undefined), {once: true});
    });
    for (let first = true; ; first = false) {
      const outcome = await Promise.race([first ? send.nextProof(false) : send.nextOutcome(), stopped]);
      if (outcome === undefined) {
        const isDone = send.report().state === 'in-sync';
        const last = isDone
          ? {...send.lateOutcome(), exitCode: 0, reason: undefined}
          : {...send.lateOutcome(), exitCode: EXIT_CODE.CANCELLED};
        return {exitCode: last.exitCode, links: [last]};
      }
      const isOver = request.isOnce || (outcome.exitCode !== 0 && outcome.exitCode !== 1);
      if (isOver) return {exitCode: outcome.exitCode, links: [outcome]};
    }
  } finally {
    await core.removeVolume(config.name);
  }
}

/** @throws USAGE */
function adHocVolume(core: AgentCore, {address, peer, peerVolume, special, ids}: SyncRequest): VolumeConfig {
  if (!core.peers.has(peer)) {
    const known = [...core.peers.keys()];
    const hint = known.length === 0 ? 'pair one with towline invite and join' : `paired are ${known.join(', ')}`;
    throw new TowlineError('USAGE', `there is no peer ${JSON.stringify(peer)}; ${hint}`, {hint});
  }
  const feeder = core
    .allVolumes()
    .find(({sends}) => sends.some(({config}) => config.to === peer && config.as === peerVolume));
  if (feeder !== undefined)
    throw new TowlineError(
      'LOCKED',
      `${peer}:${peerVolume} has its one source already: volume ${feeder.config.name} of this agent; pause it and take its link out first`,
      {
        path: `${peer}:${peerVolume}`,
        holder: feeder.config.name,
      },
    );
  const at = parseAddress(address);
  const name = `sync-${sha256(Buffer.from(JSON.stringify([at, peer, peerVolume])))
    .toString('hex')
    .slice(0, 16)}`;
  if (core.volume(name) !== undefined)
    throw new TowlineError('LOCKED', `${address} is being synchronised to ${peer}:${peerVolume} already`, {
      path: address,
      holder: 'this agent',
    });
  const settings = {...DEFAULTS, special: parseSpecial(special), ids: parseIds(ids)};
  const hooks = {quiesce: undefined, resume: undefined};
  return {...settings, name, at, hooks, receive: undefined, send: [{...settings, to: peer, as: peerVolume}]};
}

function notSent(volume: string): TowlineError {
  const hint = 'flush it on the agent that sends it';
  return new TowlineError('USAGE', `volume ${volume} is not sent from here; ${hint}`, {hint});
}
