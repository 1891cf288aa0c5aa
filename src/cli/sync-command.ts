/**
 * `towline sync SRC DST`, two folders of this host: flags to options, a view for what it tells, signals to an abort, the outcome to an exit code.
 *
 * Invariant: nothing of the run is loaded before the command line and the folders were found to be right.
 */
import {EXIT_CODE, isTowlineError, type TowlineError} from '../base/errors.ts';
import {defaultStateFolder, makeSyncOptions, type IgnoreFlag, type SyncFlags} from '../config/sync-options.ts';
import type {SyncOptions, SyncOutcome} from '../daemon/sync-api.ts';
import {parseFolder} from './address.ts';
import {checkFolders} from './check-folders.ts';
import {type CommonFlags, hasColour, runLogOf, verbosityOf} from './common-options.ts';
import {EXIT_INTERRUPTED, Interruption} from './interruption.ts';
import {JsonView} from './json-view.ts';
import type {CliParts} from './parts.ts';
import {PeopleView} from './people-view.ts';
import {errorLine} from './failure.ts';
import type {Screen} from './screen.ts';
import {peerPlaceOf, syncPeerCommand} from './sync-peer-command.ts';
import type {View} from './view.ts';

/** As commander gives them. */
export interface SyncCommandFlags extends CommonFlags {
  once?: boolean;
  dryRun?: boolean;
  deleteLimit?: string;
  ignore?: IgnoreFlag[];
  /** The same list as `ignore`: patterns and files in the order they were typed. */
  ignoreFrom?: IgnoreFlag[];
  special?: string;
  ids?: string[];
  devices?: boolean;
  xattrs?: string;
  quick?: boolean;
  durability?: string;
  settle?: string;
  maxWait?: string;
  hot?: string;
  inPlaceAbove?: string;
  rescan?: string;
  watch?: string;
  stats?: boolean;
  progress?: boolean;
}

/**
 * @returns the exit code
 * @throws TowlineError for what was found before the run started
 */
export async function syncCommand(
  places: {source: string; target: string},
  flags: SyncCommandFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  const target = peerPlaceOf(places.target);
  if (target !== undefined) {
    const isEngines = /^(docker|podman)(-container)?:/.test(places.source);
    const address = isEngines ? places.source : parseFolder(places.source, 'SRC');
    return syncPeerCommand({address, target}, flags, parts);
  }
  const {ignore, ignoreFrom, ...others} = flags;
  const syncFlags: SyncFlags = {...others, ignoreRules: ignore ?? ignoreFrom};
  const source = parseFolder(places.source, 'SRC');
  const options = makeSyncOptions(source, parseFolder(places.target, 'DST'), syncFlags);
  checkFolders({
    source: options.source,
    target: options.target,
    state: options.stateFolder ?? defaultStateFolder(parts.env),
  });
  const log = await runLogOf(flags);
  const daemon = await parts.loadDaemon();
  const view = viewFor(options, flags, parts);
  const interruption = new Interruption({
    signals: parts.signals,
    clock: parts.clock,
    readerGone: parts.readerGone,
    endNow: (code) => {
      parts.screen.clear();
      parts.exitNow(code);
    },
  });
  try {
    const run = {onEvent: view.onEvent.bind(view), signal: interruption.signal, log};
    const outcome = await daemon.runSync(options, run);
    const exitCode = exitCodeOf(outcome, options.isOnce, interruption.signal.aborted);
    if (outcome.error !== undefined && !isExpectedEnd(outcome.error, interruption.signal)) {
      parts.screen.note(errorLine(outcome.error));
    }
    view.finish(outcome, exitCode);
    return exitCode;
  } catch (error) {
    if (!isTowlineError(error) || !isExpectedEnd(error, interruption.signal)) throw error;
    return options.isOnce ? EXIT_INTERRUPTED : 0;
  } finally {
    parts.screen.clear();
    interruption.close();
  }
}

/** The exit code of a run: a live one that was ended by a signal has done all it was asked for. */
export function exitCodeOf(outcome: SyncOutcome, isOnce: boolean, isInterrupted: boolean): number {
  const isCut = outcome.error?.code === 'CANCELLED' || outcome.exitCode === EXIT_CODE.CANCELLED;
  if (!isInterrupted || !isCut) return outcome.exitCode;
  return isOnce ? EXIT_INTERRUPTED : 0;
}

function isExpectedEnd(error: TowlineError, signal: AbortSignal): boolean {
  return error.code === 'CANCELLED' && signal.aborted;
}

function viewFor(options: SyncOptions, flags: SyncCommandFlags, parts: CliParts & {screen: Screen}): View {
  if (flags.json === true) return new JsonView(parts);
  const verbosity = verbosityOf(flags);
  return new PeopleView(
    {
      sync: options,
      verbosity,
      hasStats: flags.stats === true,
      hasProgress: flags.progress ?? (parts.stderr.isTerminal && verbosity >= 0),
      hasColour: hasColour(parts),
      stderr: parts.stderr,
    },
    parts,
  );
}
