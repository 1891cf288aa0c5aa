/**
 * `towline confirm VOLUME`: says what of a volume is halted in the running agent, asks, and lets it go on.
 *
 * Invariant: as with two folders, nothing goes on without the count that was shown; the agent checks it again.
 */
import {formatCount, parseCount} from '../config/units.ts';
import type {HaltReport, VolumeReport} from '../control/agent-api.ts';
import {commandOptions, connectAgent, volumeTyped} from './agent-connection.ts';
import {haltFields} from './agent-json.ts';
import {ALLOWS, checkAnswer, type ConfirmCommandFlags, refused} from './confirm-command.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {shellWord} from './summary.ts';
import {Teller} from './teller.ts';
import {localMoment, oneLine} from './text.ts';

/**
 * @returns the exit code
 * @throws TowlineError REFUSED when the count is not the one shown, or nobody can be asked
 */
export async function confirmVolume(
  typed: string,
  flags: ConfirmCommandFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const typedCount = flags.yes === undefined ? undefined : parseCount(flags.yes);
  const teller = new Teller(flags, parts);
  const client = await connectAgent(flags);
  const report = await client.report();
  const volume = volumeTyped(report, typed);
  const {name} = volume;
  const halts = await client.halts(name);
  if (halts.length === 0) {
    if (typedCount !== undefined) throw refused(`nothing of ${name} is halted, so there is nothing to confirm`);
    teller.line(`Nothing of ${oneLine(name)} is halted`);
    return teller.result(0, {volume: name, halted: false, confirmed: false});
  }
  const count = halts.reduce((sum, {halt}) => sum + halt.count, 0);
  for (const {peer, halt} of halts) {
    teller.say('halt', {volume: name, peer, ...haltFields(halt)});
    const whose = peer === undefined ? oneLine(name) : `${oneLine(name)} with ${oneLine(peer)}`;
    teller.line(`Halted since ${localMoment(halt.sinceMs, report.nowMs)}: ${whose}: ${oneLine(halt.message)}`, 'red');
    teller.line(`Confirmed, it may ${allowed(halt, volume, peer)}`);
  }
  const command = `towline confirm ${shellWord(name)}${commandOptions(flags)}`;
  await checkAnswer({count, typed: typedCount, command}, flags, parts);
  await client.confirm({volume: name, count});
  teller.line(`Confirmed: ${oneLine(name)} goes on; towline status shows it`);
  return teller.result(0, {volume: name, halted: true, confirmed: true, count});
}

/** What a halted link would do, and to whose copy. */
function allowed(halt: HaltReport, volume: VolumeReport, peer: string | undefined): string {
  const link = volume.links.find((candidate) => candidate.peer === peer);
  const isOurs = link?.direction === 'receive' || peer === undefined;
  const from = isOurs ? oneLine(volume.name) : `${oneLine(link?.peerVolume ?? volume.name)} on ${oneLine(peer)}`;
  return ALLOWS[halt.kind](formatCount(halt.count), from);
}
