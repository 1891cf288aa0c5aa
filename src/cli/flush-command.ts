/**
 * `towline flush`: returns when what was written before the call is durable on the peers.
 */
import {parseDuration} from '../config/units.ts';
import {connectAgent, volumeTyped} from './agent-connection.ts';
import type {CommonFlags} from './common-options.ts';
import {orAborted, untilInterrupted} from './interruption.ts';
import type {CliParts} from './parts.ts';
import {tellOutcome} from './run-outcome.ts';
import type {Screen} from './screen.ts';
import {Teller} from './teller.ts';

export interface FlushFlags extends CommonFlags {
  timeout?: string;
  rescan?: boolean;
  quiesce?: boolean;
}

export const FLUSH_TIMEOUT = '1m';

/** @returns the exit code; 5 when the time was over before */
export function flushCommand(
  typed: string | undefined,
  flags: FlushFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const timeoutMs = parseDuration(flags.timeout ?? FLUSH_TIMEOUT);
  return untilInterrupted(parts, async (signal) => {
    const client = await connectAgent(flags);
    const volume = typed === undefined ? undefined : volumeTyped(await client.report(), typed).name;
    const query = {volume, timeoutMs, isRescan: flags.rescan === true, isQuiesced: flags.quiesce === true};
    return tellOutcome(await orAborted(client.flush(query, signal), signal), new Teller(flags, parts));
  });
}
