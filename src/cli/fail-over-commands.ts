/**
 * `towline promote VOLUME` and `towline follow VOLUME PEER`: another copy becomes the source, and the old one a copy.
 *
 * Invariant: nothing is decided without a person, or `--yes`, having been told what is lost.
 */
import {formatCount, formatDuration, parseCount} from '../config/units.ts';
import type {AgentReport, FollowPlan, VolumeReport} from '../control/agent-api.ts';
import {TowlineError} from '../base/errors.ts';
import {showPath} from '../model/path.ts';
import {commandOptions, connectAgent, volumeTyped} from './agent-connection.ts';
import type {CommonFlags} from './common-options.ts';
import {checkAnswer, refused} from './confirm-command.ts';
import {pathFields, utcTime} from './json-view.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {shellWord} from './summary.ts';
import {Teller} from './teller.ts';
import {cutFront, localMoment, oneLine, PATH_CELLS_MAX} from './text.ts';

export interface PromoteFlags extends CommonFlags {
  yes?: boolean;
  force?: boolean;
}

export interface FollowFlags extends CommonFlags {
  /** `true` without a count. */
  yes?: boolean | string;
  dryRun?: boolean;
}

const SHOWN_MAX = 100;

/** @throws TowlineError REFUSED when it is not confirmed, or by the agent */
export async function promoteCommand(
  typed: string,
  flags: PromoteFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const teller = new Teller(flags, parts);
  const client = await connectAgent(flags);
  const report = await client.report();
  const found = volumeTyped(report, typed);
  const {name: volume} = found;
  const {from, lines} = promotionOf(report, found);
  for (const line of lines) teller.line(line);
  if (flags.yes !== true) await askFor(volume, {command: 'promote', flags, parts});
  const promoted = await client.promote({volume, isForced: flags.force === true});
  teller.line(`${oneLine(volume)} is the source now, in epoch ${promoted.epoch}: it may be written here`, 'green');
  const there = from === undefined ? 'the other agents' : oneLine(from);
  teller.line(
    `Nothing is sent to ${there} before this is said there: towline follow ${shellWord(volume)} ${report.name}`,
  );
  return teller.result(0, {volume, epoch: promoted.epoch, from});
}

/** What is known of the source, and what will be. */
function promotionOf(report: AgentReport, volume: VolumeReport): {from: string | undefined; lines: string[]} {
  const link = volume.links.find(({direction}) => direction === 'receive');
  const name = oneLine(volume.name);
  if (link === undefined) {
    const why = volume.role?.superseded;
    return {from: undefined, lines: why === undefined ? [] : [`${name} is not the source any more: ${oneLine(why)}`]};
  }
  const peer = report.peers.find((candidate) => candidate.name === link.peer);
  const since = peer?.sinceMs === undefined ? '' : ` since ${localMoment(peer.sinceMs, report.nowMs)}`;
  const isThere = peer?.isConnected === true ? `connected${since}` : `not connected${since}`;
  const {inSyncAtMs} = link;
  const proved =
    inSyncAtMs === undefined
      ? 'Both were never in sync: what is here may be a part'
      : `Both were last in sync ${formatDuration(Math.max(0, report.nowMs - inSyncAtMs))} ago (${localMoment(inSyncAtMs, report.nowMs)}): what was written there later and has not arrived is not here`;
  return {
    from: link.peer,
    lines: [
      `${name} is received from ${oneLine(link.peer)}, which is ${isThere}`,
      proved,
      `Promoted, it is the source: ${oneLine(link.peer)} pushes nothing any more, and must follow`,
    ],
  };
}

async function askFor(
  volume: string,
  {command, flags, parts}: {command: string; flags: CommonFlags; parts: CliParts & {screen: Screen}},
): Promise<void> {
  if (parts.ask === undefined || flags.json === true) {
    const typed = `towline ${command} ${shellWord(volume)}${commandOptions(flags)} --yes`;
    throw refused(`nobody to ask here; to do it, type: ${typed}`);
  }
  parts.screen.flush();
  const answer = await parts.ask(`Type ${volume} to ${command} it: `);
  if (answer.trim() !== volume) throw refused('not confirmed, nothing was changed');
}

/** @throws TowlineError REFUSED when it is not confirmed, or by the agent */
export async function followCommand(
  typed: {volume: string; peer: string},
  flags: FollowFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const teller = new Teller(flags, parts);
  const typedCount = typeof flags.yes === 'string' ? parseCount(flags.yes) : undefined;
  const client = await connectAgent(flags);
  const report = await client.report();
  const found = volumeTyped(report, typed.volume);
  const {name: volume} = found;
  const wanted = {volume, ...peerOf(typed.peer, found)};
  const plan = await client.followPlan(wanted);
  tellPlan(plan, {teller, report});
  if (flags.dryRun === true) return teller.result(0, {...wanted, followed: false, ...countsOf(plan)});
  const isYes = flags.yes === true;
  const command = `towline follow ${shellWord(volume)} ${shellWord(typed.peer)}${commandOptions(flags)}`;
  if (!isYes) await checkAnswer({count: plan.goneCount, typed: typedCount, command}, flags, parts);
  await client.follow({...wanted, count: plan.goneCount});
  teller.line(
    `${oneLine(volume)} follows ${oneLine(wanted.peer)} from now on; see how far: towline status ${shellWord(volume)}${commandOptions(flags)}`,
    'green',
  );
  if (plan.goneCount > 0)
    teller.line(`What goes is listed by: towline trash list ${shellWord(volume)}${commandOptions(flags)}`);
  return teller.result(0, {...wanted, followed: true, ...countsOf(plan)});
}

/** `PEER`, or `PEER:VOLUME` where the volume has another name there than the configuration says. */
function peerOf(typed: string, {name, links}: VolumeReport): {peer: string; peerVolume: string} {
  const colon = typed.indexOf(':');
  const peer = colon < 0 ? typed : typed.slice(0, colon);
  if (peer === '' || colon === typed.length - 1) {
    const hint = 'name it as PEER or PEER:VOLUME';
    throw new TowlineError('USAGE', `${JSON.stringify(typed)} is no peer; ${hint}`, {hint});
  }
  if (colon >= 0) return {peer, peerVolume: typed.slice(colon + 1)};
  return {peer, peerVolume: links.find((link) => link.peer === peer)?.peerVolume ?? name};
}

function tellPlan(plan: FollowPlan, {teller, report}: {teller: Teller; report: AgentReport}): void {
  const {goneCount, comingCount, metaCount, gone, epoch, promotedMs} = plan;
  const name = oneLine(plan.volume);
  const peer = oneLine(plan.peer);
  const at = promotedMs === 0 ? '' : `, promoted ${localMoment(promotedMs, report.nowMs)}`;
  teller.line(`${peer} is the source of ${name} in epoch ${epoch}${at}`);
  for (const {path, type} of gone.slice(0, SHOWN_MAX)) {
    teller.line(`  ${type} ${cutFront(showPath(path), PATH_CELLS_MAX)}`);
  }
  for (const {path, type} of gone) teller.say('gone', {...pathFields('path', path), type});
  if (goneCount > Math.min(gone.length, SHOWN_MAX))
    teller.line(`  and ${formatCount(goneCount - Math.min(gone.length, SHOWN_MAX))} more`);
  teller.line(
    goneCount === 0
      ? `${name} has nothing here that ${peer} does not have`
      : `${entries(goneCount)} of ${name} ${goneCount === 1 ? 'is' : 'are'} not on ${peer} as here: what was not sent goes to the trash`,
    goneCount === 0 ? undefined : 'yellow',
  );
  if (comingCount > 0) teller.line(`${entries(comingCount)} will come from ${peer}`);
  if (metaCount > 0) teller.line(`${entries(metaCount)} will have the metadata of ${peer}’s`);
  teller.say('plan', {
    volume: plan.volume,
    peer: plan.peer,
    epoch,
    promoted: promotedMs === 0 ? undefined : utcTime(promotedMs),
    ...countsOf(plan),
  });
}

function countsOf({goneCount, comingCount, metaCount}: FollowPlan): Record<string, number> {
  return {goneCount, comingCount, metaCount};
}

function entries(count: number): string {
  return `${formatCount(count)} ${count === 1 ? 'entry' : 'entries'}`;
}
