/**
 * `towline status`: how the agent, its peers and its links stand; once, or for as long as one watches.
 */
import type {AgentReport} from '../control/agent-api.ts';
import type {AgentClient} from '../http/control-client.ts';
import {commandOptions, connectAgent, volumeTyped} from './agent-connection.ts';
import {reportFields} from './agent-json.ts';
import type {CommonFlags} from './common-options.ts';
import {untilInterrupted} from './interruption.ts';
import type {CliParts} from './parts.ts';
import type {Screen} from './screen.ts';
import {exitCodeOfReport, type StatusOptions, statusLines} from './status-lines.ts';
import {AppendingWatch, RedrawingWatch} from './status-watch.ts';
import {Teller} from './teller.ts';

export interface StatusFlags extends CommonFlags {
  watch?: boolean;
}

/** @returns 0 all in sync, 1 not, 3 halted, 5 a peer is not connected; of a watch 0 */
export async function statusCommand(
  typed: string | undefined,
  flags: StatusFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const client = await connectAgent(flags);
  const report = await client.report();
  const volume = typed === undefined ? undefined : volumeTyped(report, typed).name;
  const options = {isDetailed: volume !== undefined, commandOptions: commandOptions(flags)};
  const teller = new Teller(flags, parts);
  if (flags.watch === true) return watch(client, volume, {teller, parts, options});
  const shown = volume === undefined ? report : await client.report(volume);
  // A full last cell makes some terminals wrap.
  const columns = parts.stdout.isTerminal ? parts.stdout.columns - 1 : Number.POSITIVE_INFINITY;
  for (const line of statusLines(shown, {...options, columns})) teller.spans(line);
  teller.say('report', reportFields(shown));
  return teller.result(exitCodeOfReport(shown));
}

function watch(
  client: AgentClient,
  volume: string | undefined,
  {
    teller,
    parts,
    options,
  }: {teller: Teller; parts: CliParts & {screen: Screen}; options: Omit<StatusOptions, 'columns'>},
): Promise<number> {
  const view = viewFor(teller, parts, options);
  return untilInterrupted(
    parts,
    async (signal) => {
      try {
        for await (const report of client.watch(volume, signal)) view.show(report);
        return 0;
      } finally {
        view.close();
      }
    },
    {endCode: 0},
  );
}

function viewFor(
  teller: Teller,
  parts: CliParts & {screen: Screen},
  options: Omit<StatusOptions, 'columns'>,
): {show(report: AgentReport): void; close(): void} {
  if (teller.isJson) return {show: (report) => teller.say('report', reportFields(report)), close: () => {}};
  return parts.stdout.isTerminal ? new RedrawingWatch(options, {...parts, teller}) : new AppendingWatch(teller);
}
