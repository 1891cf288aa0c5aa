/**
 * What an agent reports, as objects for programs: times in UTC, paths as they are shown, nothing missing. Pure.
 */
import type {
  AgentReport,
  HaltReport,
  LinkOutcome,
  LinkReport,
  PeerReport,
  TrashItem,
  VolumeReport,
} from '../control/agent-api.ts';
import type {ActionRecord} from '../state/action-log.ts';
import {type JsonObject, pathFields, problemFields, utcTime} from './json-view.ts';

export function reportFields(report: AgentReport): JsonObject {
  const {name, id, version, pid, startedMs, nowMs, listen, halt} = report;
  return {
    agent: {name, id, version, pid, started: utcTime(startedMs), now: utcTime(nowMs), listen, halt: haltFields(halt)},
    peers: report.peers.map(peerFields),
    volumes: report.volumes.map(volumeFields),
  };
}

function peerFields(peer: PeerReport): JsonObject {
  const {name, id, address, isConnected, dialledBy, sinceMs, reason} = peer;
  return {name, id, address, connected: isConnected, dialledBy, since: timeOf(sinceMs), reason};
}

function volumeFields(volume: VolumeReport): JsonObject {
  const {name, address, path, entryCount, isPaused, reason, role, staging, trash, inPlaceAbove, notices} = volume;
  return {
    name,
    address,
    path,
    entryCount,
    paused: isPaused,
    reason,
    halt: haltFields(volume.halt),
    role: role === undefined ? undefined : {...role, sinceMs: undefined, since: timeOf(role.sinceMs)},
    inPlaceAbove,
    staging,
    trash,
    notices,
    links: volume.links.map(linkFields),
  };
}

function linkFields(link: LinkReport): JsonObject {
  const {volume, peer, direction, peerVolume, state, reason, inSyncAtMs, digest} = link;
  const {pendingCount, problemCount, lagMs, rateBytes, sentBytes} = link;
  return {
    volume,
    peer,
    direction,
    peerVolume,
    state,
    reason,
    inSyncAsOf: timeOf(inSyncAtMs),
    digest,
    pendingCount,
    problemCount,
    lagMs,
    rateBytes,
    sentBytes,
    halt: haltFields(link.halt),
    chosen: link.chosen ?? [],
  };
}

/** Undefined is shown as null. */
export function haltFields(halt: HaltReport | undefined): JsonObject | undefined {
  if (halt === undefined) return undefined;
  const {kind, count, limit, message, sinceMs} = halt;
  return {kind, count, limit, message, since: utcTime(sinceMs)};
}

export function linkOutcomeFields(link: LinkOutcome): JsonObject {
  const {volume, peer, direction, exitCode, reason, digest, problemCount, problems} = link;
  const shown = problems.map(problemFields);
  return {volume, peer, direction, exitCode, reason, digest, problemCount, problems: shown};
}

export function actionFields(action: ActionRecord): JsonObject {
  const {atMs, volume, peer, batch, op, path, to, place, reason} = action;
  const toFields = to === undefined ? {to: undefined} : pathFields('to', to);
  return {at: utcTime(atMs), volume, peer, batch, op, ...pathFields('path', path), ...toFields, place, reason};
}

export function trashFields(item: TrashItem): JsonObject {
  const {atMs, path, type, reason, place, sizeBytes} = item;
  return {at: utcTime(atMs), ...pathFields('path', path), type, reason, place, sizeBytes};
}

function timeOf(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : utcTime(ms);
}
