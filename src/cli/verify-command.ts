/**
 * `towline verify VOLUME`: has the agent read every file again, and lists what rots on disk.
 */
import {formatBytes, formatCount} from '../config/units.ts';
import type {VerifyEvent, VerifyFinding, VerifyOutcome} from '../control/agent-api.ts';
import {connectAgent, volumeTyped} from './agent-connection.ts';
import {type CommonFlags, verbosityOf} from './common-options.ts';
import {untilInterrupted} from './interruption.ts';
import {pathFields} from './json-view.ts';
import type {CliParts} from './parts.ts';
import {ProgressLine} from './progress-line.ts';
import type {Screen} from './screen.ts';
import {Teller} from './teller.ts';
import {oneLine, plural} from './text.ts';

export interface VerifyFlags extends CommonFlags {
  against?: string;
  repair?: boolean;
}

/** @returns 0, 7 when anything rots, 1 when something could not be read; 130 when a signal ends it */
export function verifyCommand(typed: string, flags: VerifyFlags, parts: CliParts & {screen: Screen}): Promise<number> {
  const teller = new Teller(flags, parts);
  return untilInterrupted(parts, async (signal) => {
    const client = await connectAgent(flags);
    const {name: volume} = volumeTyped(await client.report(), typed);
    const progress = new ProgressLine({isTerminal: true});
    const hasProgress = parts.stderr.isTerminal && !teller.isJson && verbosityOf(flags) >= 0;
    const tell = (event: VerifyEvent): void => {
      if (event.kind === 'finding') {
        teller.say('finding', findingFields(event.finding));
        teller.line(oneLine(event.finding.message), event.finding.kind === 'corrupt' ? 'red' : 'yellow');
      } else if (event.kind === 'progress' && hasProgress) {
        const {filesRead, bytesRead, entriesTotal} = event;
        const done = {entriesDone: filesRead, entriesTotal, bytesDone: bytesRead, bytesTotal: undefined};
        const shown = {kind: 'progress', phase: 'verify', ...done, path: undefined} as const;
        const line = progress.update(shown, parts.clock.monotonicMs(), parts.stderr.columns);
        if (line !== undefined) parts.screen.transient(line);
      }
    };
    const request = {volume, peer: flags.against, isRepair: flags.repair === true};
    const outcome = await client.verify(request, tell, signal);
    parts.screen.clear();
    teller.line(summaryOf(volume, outcome), outcome.exitCode === 0 ? 'green' : 'red');
    const {exitCode, ...counts} = outcome;
    return teller.result(exitCode, {volume, ...counts});
  });
}

function findingFields({path, ...finding}: VerifyFinding): Record<string, unknown> {
  return {...finding, ...pathFields('path', path)};
}

function summaryOf(volume: string, outcome: VerifyOutcome): string {
  const {filesRead, bytesRead, corruptCount, unreadableCount, changedCount, unknownCount} = outcome;
  const read = `${plural(filesRead, formatCount(filesRead), 'file')} read, ${formatBytes(bytesRead)}`;
  const found = corruptCount === 0 ? 'none rots' : `${formatCount(corruptCount)} rot on disk`;
  const rest = [
    [unreadableCount, 'cannot be read'],
    [changedCount, 'changed meanwhile'],
    [unknownCount, 'were never read before'],
  ] as const;
  const parts = rest.filter(([count]) => count > 0).map(([count, what]) => `${formatCount(count)} ${what}`);
  return `${oneLine(volume)}: ${[read, found, ...parts].join(', ')}`;
}
