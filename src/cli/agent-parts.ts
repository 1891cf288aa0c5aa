/**
 * What the commands of the agent need beside the command line: the daemon itself, and the readers of what it records.
 * Types only; they are joined where the process's parts are made.
 */
import type {RunOutcome, TrashItem} from '../control/agent-api.ts';
import type {RecoverOutcome} from '../daemon/recover-agent.ts';
import type {SyncEvent} from '../daemon/sync-api.ts';
import type {RelPath} from '../model/path.ts';
import type {ActionRecord} from '../state/action-log.ts';
import type {LogPort} from '../telemetry/log.ts';

/** What `sync` tells too, and of which link it is. */
export type AgentEvent = SyncEvent & {volume?: string; peer?: string};

export interface AgentOptions {
  configFile: string;
  /** `--state`; undefined for the configuration's. */
  stateFolder: string | undefined;
}

export interface AgentRunParts {
  onEvent(event: AgentEvent): void;
  version: string;
  /** Aborted: finish what is half done, then end. */
  signal: AbortSignal;
  log: LogPort;
}

/** The surface of `daemon/agent.ts`. */
export interface AgentDaemon {
  /** Runs until `signal` is aborted; SIGHUP is its own business. Throws for what is found before it starts. */
  runAgent(options: AgentOptions, parts: AgentRunParts): Promise<{exitCode: number}>;
  /** One catch-up of the named volumes, of all when none is named, without an agent that runs. */
  onceStandalone(
    options: AgentOptions & {volumes: string[]; timeoutMs: number},
    parts: AgentRunParts,
  ): Promise<RunOutcome>;
}

/** The surface of `daemon/recover-agent.ts`. */
export interface AgentRecovery {
  /** Completes what a crash left half done, without an agent that runs. Volumes with nothing open are not told. */
  recoverAgent(options: AgentOptions, parts: {onNotice: (message: string) => void}): Promise<RecoverOutcome>;
}

/** A volume's trash, with or without an agent that runs. */
export interface TrashQuery {
  stateFolder: string;
  volume: string;
}

/** What the agent wrote down and put away. */
export interface AgentRecords {
  /** Oldest first. @param query `path` also stands for what is below it */
  readActionLog(
    stateFolder: string,
    query: {volume: string | undefined; path: RelPath | undefined; sinceMs: number | undefined},
  ): AsyncIterable<ActionRecord>;
  /** Oldest first. */
  listTrash(query: TrashQuery): AsyncIterable<TrashItem>;
  /**
   * Takes items out of the trash.
   * @param request `places` as listed; `to` is a folder on this host, undefined for where each item was
   * @returns what came back: where it is now, as a host path in a byte string
   */
  restoreTrash(request: TrashQuery & {places: string[]; to: string | undefined}): Promise<{path: string}[]>;
  /** Removes what was put there before `beforeMs`, for good. */
  emptyTrash(request: TrashQuery & {beforeMs: number}): Promise<{count: number; sizeBytes: number}>;
}
