/**
 * `towline agent`: the daemon in the foreground, or one catch-up; through the daemon where one runs on this state.
 */
import {CONFIG_FILE} from '../config/state-folder.ts';
import {stateFolderOf} from '../config/sync-options.ts';
import {parseDuration} from '../config/units.ts';
import type {RunOutcome} from '../control/agent-api.ts';
import {TowlineError} from '../base/errors.ts';
import {type LogLevel, openLog} from '../telemetry/log.ts';
import {findAgent, volumeTyped} from './agent-connection.ts';
import type {RecoveredVolume} from '../daemon/recover-agent.ts';
import type {AgentEvent, AgentOptions} from './agent-parts.ts';
import {type CommonFlags, runLogOf, verbosityOf} from './common-options.ts';
import {eventsView} from './events-view.ts';
import {orAborted, untilInterrupted} from './interruption.ts';
import {JsonView} from './json-view.ts';
import type {CliParts} from './parts.ts';
import {tellOutcome} from './run-outcome.ts';
import type {Screen} from './screen.ts';
import {Teller} from './teller.ts';
import {oneLine} from './text.ts';
import type {Verbosity} from './view.ts';
import {version} from './version.ts';

export interface AgentFlags extends CommonFlags {
  once?: boolean;
  recover?: boolean;
  timeout?: string;
}

export const ONCE_TIMEOUT = '5m'; // a peer that is being restarted is back by then

const DAEMON_LEVEL: Record<Verbosity, LogLevel> = {'-1': 'error', 0: 'info', 1: 'debug', 2: 'debug', 3: 'debug'};

/** @returns the exit code; of the daemon 0 when a signal ended it and nothing was lost */
export async function agentCommand(
  volumes: string[],
  flags: AgentFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const isRecovery = flags.recover === true;
  if (flags.once === true && isRecovery) {
    const hint = 'towline agent --recover, then towline agent --once';
    throw new TowlineError('USAGE', `--once and --recover go one after the other; try ${hint}`, {hint});
  }
  if (flags.once === true) return catchUp(volumes, flags, parts);
  const stray = volumes.length > 0 ? 'VOLUME' : flags.timeout === undefined ? undefined : '--timeout';
  if (stray !== undefined && isRecovery) {
    const hint = 'towline agent --recover';
    throw new TowlineError('USAGE', `${stray} goes with --once only: --recover takes all volumes; try ${hint}`, {hint});
  }
  if (isRecovery) return recover(flags, parts);
  if (stray !== undefined) {
    const hint = 'towline agent --once VOLUME';
    throw new TowlineError('USAGE', `${stray} goes with --once only: the daemon runs all volumes; try ${hint}`, {hint});
  }
  const log = await openLog({level: DAEMON_LEVEL[verbosityOf(flags)], fd: 2});
  const daemon = await parts.loadAgent();
  const json = flags.json === true ? new JsonView(parts) : undefined;
  const onEvent = (event: AgentEvent): void => json?.onEvent(event);
  const run = async (signal: AbortSignal): Promise<number> => {
    const {exitCode} = await daemon.runAgent(agentOptions(flags), {onEvent, signal, log, version: version()});
    return exitCode;
  };
  // SIGHUP makes the daemon read its configuration again.
  return untilInterrupted(parts, run, {endCode: 0, names: ['SIGINT', 'SIGTERM']});
}

/** Not to be interrupted half way: it only completes what was begun, which takes no longer than the batch did. */
async function recover(flags: AgentFlags, parts: CliParts & {screen: Screen}): Promise<number> {
  const teller = new Teller(flags, parts);
  const recovery = await parts.loadRecovery();
  const onNotice = (message: string): void => teller.line(message, 'yellow');
  const {volumes, exitCode} = await recovery.recoverAgent(agentOptions(flags), {onNotice});
  for (const recovered of volumes) {
    teller.say('recovered', {...recovered});
    for (const line of recoveredLines(recovered)) teller.line(line, recovered.exitCode === 0 ? 'green' : 'red');
  }
  return teller.result(exitCode);
}

/** `pgdata: 1 batch that a crash had interrupted is complete (/srv/pgdata)` */
export function recoveredLines({volume, path, batches, problems, reason}: RecoveredVolume): string[] {
  const name = oneLine(volume);
  const where = path === undefined ? '' : ` (${path})`;
  if (reason !== undefined)
    return [`${name}: a batch that a crash had interrupted is not complete yet${where}: ${oneLine(reason)}`];
  const done =
    batches === 1 ? '1 batch that a crash had interrupted is' : `${batches} batches that crashes had interrupted are`;
  return [`${name}: ${done} complete${where}`, ...problems.map((problem) => `  ${oneLine(problem)}`)];
}

function catchUp(typed: string[], flags: AgentFlags, parts: CliParts & {screen: Screen}): Promise<number> {
  const timeoutMs = parseDuration(flags.timeout ?? ONCE_TIMEOUT);
  return untilInterrupted(parts, async (signal) => {
    const teller = new Teller(flags, parts);
    const client = await findAgent(flags);
    let outcome: RunOutcome;
    if (client === undefined) {
      outcome = await alone(typed, timeoutMs, {flags, parts, signal});
    } else {
      const report = await client.report();
      const volumes = typed.map((volume) => volumeTyped(report, volume).name);
      outcome = await orAborted(client.once({volumes, timeoutMs}), signal);
    }
    parts.screen.clear();
    return tellOutcome(outcome, teller);
  });
}

async function alone(
  volumes: string[],
  timeoutMs: number,
  {flags, parts, signal}: {flags: AgentFlags; parts: CliParts & {screen: Screen}; signal: AbortSignal},
): Promise<RunOutcome> {
  const daemon = await parts.loadAgent();
  const log = await runLogOf(flags);
  const view = eventsView(true, flags, parts);
  const onEvent = (event: AgentEvent): void => view.onEvent(event);
  return daemon.onceStandalone(
    {...agentOptions(flags), volumes, timeoutMs},
    {onEvent, signal, log, version: version()},
  );
}

function agentOptions(flags: AgentFlags): AgentOptions {
  return {configFile: flags.config ?? CONFIG_FILE, stateFolder: stateFolderOf(flags.state)};
}
