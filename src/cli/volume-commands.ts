/**
 * `towline pause`, `resume`, `rescan` and `forget`: one volume of the running agent.
 */
import {commandOptions, connectAgent, volumeTyped} from './agent-connection.ts';
import type {CommonFlags} from './common-options.ts';
import {refused} from './confirm-command.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {shellWord} from './summary.ts';
import {Teller} from './teller.ts';
import {oneLine} from './text.ts';

export type SimpleVerb = 'pause' | 'resume' | 'rescan';

export interface ForgetFlags extends CommonFlags {
  yes?: boolean;
}

const DONE: Record<SimpleVerb, (volume: string, options: string) => string> = {
  pause: (volume, options) => `${volume} is paused until: towline resume ${volume}${options}`,
  resume: (volume, options) => `${volume} goes on; see how: towline status ${volume}${options}`,
  rescan: (volume, options) => `${volume} is read again; see how far: towline status ${volume}${options}`,
};

export async function volumeCommand(
  verb: SimpleVerb,
  typed: string,
  {flags, parts}: {flags: CommonFlags; parts: CliParts & {screen: Screen}},
): Promise<number> {
  const teller = new Teller(flags, parts);
  const client = await connectAgent(flags);
  const {name: volume} = volumeTyped(await client.report(), typed);
  await client[verb](volume);
  teller.line(DONE[verb](shellWord(volume), commandOptions(flags)));
  return teller.result(0, {volume});
}

/** @throws TowlineError REFUSED when it is not confirmed, or by the agent while the volume runs */
export async function forgetCommand(
  typed: string,
  flags: ForgetFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const teller = new Teller(flags, parts);
  const client = await connectAgent(flags);
  const report = await client.report();
  // One that is no longer configured may still have something to forget.
  const isThere = report.volumes.some(({name, address, path}) => [name, address, path].includes(typed));
  const {name: volume, trash: place} = isThere ? volumeTyped(report, typed) : {name: typed, trash: undefined};
  const trash = place === undefined ? 'its trash' : `its trash in ${oneLine(place)}`;
  const what = `removes the mark of ${oneLine(volume)}, what is staged, its state, and ${trash}, for good`;
  if (flags.yes !== true) {
    if (parts.ask === undefined || flags.json === true) {
      const command = `towline forget ${shellWord(volume)}${commandOptions(flags)} --yes`;
      throw refused(`this ${what}; nobody to ask here: to do it, type: ${command}`);
    }
    teller.line(`This ${what}; the files of the volume stay`);
    parts.screen.flush();
    const answer = await parts.ask(`Type ${volume} to forget it: `);
    if (answer.trim() !== volume) throw refused('not confirmed, nothing was removed');
  }
  await client.forget(volume);
  teller.line(`${oneLine(volume)} is forgotten; its files stay`);
  return teller.result(0, {volume});
}
