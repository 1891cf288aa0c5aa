/**
 * What an agent reports, as lines for people: itself, its peers, its volumes and their links. Pure.
 *
 * Invariant: a link that is not in sync is followed by its reason, a halted one also by the command that lets it go on.
 */
import {formatBytes, formatCount, formatDuration} from '../config/units.ts';
import type {AgentReport, HaltReport, LinkReport, LinkState, PeerReport, VolumeReport} from '../control/agent-api.ts';
import {shellWord} from './summary.ts';
import {type Line, type Span, spansOf, tableLines} from './table.ts';
import type {Colour} from './teller.ts';
import {cutEnd, localMoment, oneLine, padCells, plural, widthOf, wrapText} from './text.ts';

export interface StatusOptions {
  /** Cells of a line; Infinity where nothing must fit. */
  columns: number;
  /** Whether one volume was asked for: then everything is said about it. */
  isDetailed: boolean;
  /** The options that found the agent, for commands to type: ` --state DIR`, or nothing. */
  commandOptions: string;
}

const STATE: Record<LinkState, {shown: string; colour: Colour | undefined}> = {
  waiting: {shown: 'waiting', colour: 'yellow'},
  connecting: {shown: 'connecting', colour: 'yellow'},
  scanning: {shown: 'scanning', colour: 'cyan'},
  comparing: {shown: 'comparing', colour: 'cyan'},
  sending: {shown: 'sending', colour: 'cyan'},
  'in-sync': {shown: 'in sync', colour: 'green'},
  problems: {shown: 'problems', colour: 'yellow'},
  paused: {shown: 'paused', colour: 'dim'},
  halted: {shown: 'HALTED', colour: 'red'},
};
const ID_CHARS = 12;
const NAME_CELLS_MAX = 24;
const INDENT = '  ';

/** Everything that a report says. */
export function statusLines(report: AgentReport, options: StatusOptions): Line[] {
  const lines = [...agentLines(report, options)];
  if (report.peers.length > 0 && !options.isDetailed) lines.push([], ...peerLines(report, options));
  lines.push([], ...volumeLines(report, options));
  return lines;
}

function agentLines(report: AgentReport, options: StatusOptions): Line[] {
  const listens = report.listen === undefined ? 'dials only' : `listens on ${oneLine(report.listen)}`;
  const facts = [
    `${oneLine(report.name)}: agent ${oneLine(report.version)}, pid ${report.pid}`,
    `up ${formatDuration(report.nowMs - report.startedMs)}`,
    listens,
    `id ${report.id.slice(0, ID_CHARS)}…`,
  ];
  const lines: Line[] = wrapText(facts.join(', '), options.columns).map((text) => [{text, colour: 'bold'}]);
  if (report.halt === undefined) return lines;
  return [...lines, ...below(`HALTED: ${oneLine(report.halt.message)}`, 'red', options)];
}

function peerLines(report: AgentReport, {columns}: StatusOptions): Line[] {
  const names = report.peers.map(({name}) => cutEnd(oneLine(name), NAME_CELLS_MAX));
  const width = Math.max('PEER'.length, ...names.map(widthOf)) + INDENT.length;
  const rows = report.peers.flatMap((peer, index) => {
    const {text, colour} = connectionOf(peer, report.nowMs);
    return wrapText(text, columns - width).map((piece, at): Line => [
      {text: padCells(at === 0 ? names[index]! : '', width)},
      {text: piece, colour},
    ]);
  });
  return [[{text: `${padCells('PEER', width)}CONNECTION`, colour: 'dim'}], ...rows];
}

function connectionOf(peer: PeerReport, nowMs: number): Span {
  const address = peer.address === undefined ? '' : ` ${oneLine(peer.address)}`;
  if (peer.isConnected) {
    const since = peer.sinceMs === undefined ? '' : ` for ${formatDuration(nowMs - peer.sinceMs)}`;
    const how = peer.dialledBy === 'us' ? `we dialled${address}` : 'it dialled us';
    return {text: `connected${since}, ${how}`, colour: 'green'};
  }
  const reason = peer.reason === undefined ? '' : `: ${oneLine(peer.reason)}`;
  const tried = peer.sinceMs === undefined ? '' : `, last try ${localMoment(peer.sinceMs, nowMs)}`;
  const where = peer.address === undefined ? 'it must dial us' : oneLine(peer.address);
  return {text: `not connected${reason} (${where}${tried})`, colour: 'yellow'};
}

// The last ones are left out first where lines are short.
const LINK_HEAD = ['VOLUME', 'LINK', 'STATE', 'IN SYNC AS OF', 'PROBLEMS', 'BEHIND', 'PENDING', 'RATE'];

function volumeLines(report: AgentReport, options: StatusOptions): Line[] {
  if (report.volumes.length === 0)
    return [[{text: 'No volumes are configured; add one to the configuration, then: systemctl reload towline'}]];
  const rows = report.volumes.flatMap((volume) =>
    volume.links.length === 0
      ? [spansOf([oneLine(volume.name), '', stateOf(volume)])]
      : volume.links.map((link, index) => linkCells(link, index === 0 ? volume : undefined, report.nowMs)),
  );
  const [head = [], ...table] = tableLines(LINK_HEAD, rows, options.columns);
  const lines: Line[] = [head];
  for (const volume of report.volumes) {
    if (volume.links.length === 0) lines.push(table.shift()!);
    for (const link of volume.links) lines.push(table.shift()!, ...linkNotes(link, volume, options));
    lines.push(...volumeNotes(volume, options));
  }
  return lines;
}

/** Of a volume without links. */
function stateOf(volume: VolumeReport): Span {
  if (volume.halt !== undefined) return {text: STATE.halted.shown, colour: STATE.halted.colour};
  if (volume.isPaused) return {text: STATE.paused.shown, colour: STATE.paused.colour};
  if (volume.reason !== undefined) return {text: STATE.waiting.shown, colour: STATE.waiting.colour};
  return {text: 'no links'};
}

function linkCells(link: LinkReport, volume: VolumeReport | undefined, nowMs: number): Span[] {
  const {shown, colour} = STATE[link.state];
  return spansOf([
    volume === undefined ? '' : oneLine(volume.name),
    linkText(link),
    {text: shown, colour},
    link.inSyncAtMs === undefined ? 'never' : localMoment(link.inSyncAtMs, nowMs),
    link.problemCount === 0 ? '' : {text: formatCount(link.problemCount), colour: 'yellow'},
    link.lagMs === 0 ? '' : formatDuration(link.lagMs),
    link.pendingCount === 0 ? '' : formatCount(link.pendingCount),
    link.rateBytes === 0 ? '' : `${formatBytes(link.rateBytes)}/s`,
  ]);
}

/** `→ db-2`, `← web-1:www`: the peer's name of the volume where it is another one. */
export function linkText(link: Pick<LinkReport, 'direction' | 'peer' | 'peerVolume' | 'volume'>): string {
  const other = link.peerVolume === link.volume ? '' : `:${oneLine(link.peerVolume)}`;
  return `${link.direction === 'send' ? '→' : '←'} ${oneLine(link.peer)}${other}`;
}

/** What must be known about a link beside its row. */
function linkNotes(link: LinkReport, volume: VolumeReport, options: StatusOptions): Line[] {
  const lines: Line[] = [];
  if (link.halt !== undefined) lines.push(...haltLines(link.halt, volume.name, options));
  else if (link.reason !== undefined && link.state !== 'in-sync' && !isToldOf(volume, link.reason))
    lines.push(...below(oneLine(link.reason), 'yellow', options), ...peerNext(link, options));
  if (link.problemCount > 0) {
    lines.push(
      ...below(`next: towline pending ${shellWord(volume.name)}${options.commandOptions}`, undefined, options),
    );
  }
  if (!options.isDetailed) return lines;
  const behind = `${formatCount(link.pendingCount)} pending, ${formatDuration(link.lagMs)} behind`;
  lines.push(...below(`${behind}, ${formatBytes(link.rateBytes)}/s`, 'dim', options));
  if (link.digest !== undefined) lines.push(...below(`digest ${link.digest}`, 'dim', options));
  for (const chosen of link.chosen ?? []) lines.push(...below(oneLine(chosen), 'dim', options));
  lines.push(...below(`${formatBytes(link.sentBytes)} sent since the agent started`, 'dim', options));
  return lines;
}

/** Whether the volume's own lines say it for all its links. */
function isToldOf({halt, isPaused, reason}: VolumeReport, linkReason: string): boolean {
  return isPaused || linkReason === (halt?.message ?? reason);
}

/** A halt of the other side is confirmed there. */
function peerNext({state, reason, peer, peerVolume}: LinkReport, options: StatusOptions): Line[] {
  if (state !== 'halted' || reason?.startsWith(`${peer}: `) !== true) return [];
  return below(`next: on ${oneLine(peer)}: towline confirm ${shellWord(peerVolume)}`, 'bold', options);
}

function volumeNotes(volume: VolumeReport, options: StatusOptions): Line[] {
  const lines: Line[] = [];
  if (volume.halt !== undefined) lines.push(...haltLines(volume.halt, volume.name, options));
  else if (volume.reason !== undefined && !volume.isPaused) {
    lines.push(...below(oneLine(volume.reason), 'yellow', options));
  }
  if (volume.isPaused) {
    lines.push(...below(`next: towline resume ${shellWord(volume.name)}${options.commandOptions}`, undefined, options));
  }
  for (const notice of volume.notices) lines.push(...below(`note: ${oneLine(notice)}`, 'yellow', options));
  if (!options.isDetailed) return lines;
  const {entryCount: entries, inPlaceAbove: inPlace} = volume;
  const facts: [string, string | undefined][] = [
    ['address', volume.address],
    ['path', volume.path ?? 'not found'],
    ['entries', entries === undefined ? 'not counted yet' : formatCount(entries)],
    ['staging', volume.staging],
    ['trash', volume.trash],
    ['replace', inPlace === undefined ? undefined : `in place from ${formatBytes(inPlace)} on, not whole`],
  ];
  lines.push([]);
  for (const [label, value] of facts) {
    if (value !== undefined) lines.push([{text: `${label.padEnd(7)}  ${oneLine(value)}`}]);
  }
  return lines;
}

function haltLines(halt: HaltReport, volume: string, options: StatusOptions): Line[] {
  return [
    ...below(oneLine(halt.message), 'red', options),
    ...below(`next: towline confirm ${shellWord(volume)}${options.commandOptions}`, 'bold', options),
  ];
}

function below(text: string, colour: Colour | undefined, {columns}: StatusOptions): Line[] {
  return wrapText(text, columns - INDENT.length).map((line) => [{text: `${INDENT}${line}`, colour}]);
}

/** One link in one line, for a watch that appends: what changes all the time is left out. */
export function linkLine(link: LinkReport): string {
  const {shown} = STATE[link.state];
  const problems =
    link.problemCount === 0 ? '' : `, ${plural(link.problemCount, formatCount(link.problemCount), 'problem')}`;
  const why = link.halt?.message ?? (link.state === 'in-sync' ? undefined : link.reason);
  return `${oneLine(link.volume)} ${linkText(link)}: ${shown}${problems}${why === undefined ? '' : `: ${oneLine(why)}`}`;
}

/** A peer in one line. */
export function peerLine(peer: PeerReport): string {
  const reason = peer.reason === undefined ? '' : `: ${oneLine(peer.reason)}`;
  return `${oneLine(peer.name)}: ${peer.isConnected ? 'connected' : `not connected${reason}`}`;
}

/** 3 halted, 5 a peer of a link is not connected, 1 not all in sync, 0 all in sync; of several the first. */
export function exitCodeOfReport(report: AgentReport): number {
  const {volumes} = report;
  const links = volumes.flatMap((volume) => volume.links);
  const isHalted =
    report.halt !== undefined ||
    [...volumes, ...links].some(({halt}) => halt !== undefined) ||
    links.some(({state}) => state === 'halted');
  if (isHalted) return 3;
  const away = new Set(report.peers.filter(({isConnected}) => !isConnected).map(({name}) => name));
  if (links.some(({peer, state}) => away.has(peer) && state !== 'paused')) return 5;
  const isAllInSync =
    links.every(({state, problemCount}) => state === 'in-sync' && problemCount === 0) &&
    volumes.every(({reason, isPaused}) => reason === undefined && !isPaused);
  return isAllInSync ? 0 : 1;
}
