/**
 * What the command line needs of its process, so that tests can give it something else than the process they run in.
 */
import type {Clock} from '../base/clock.ts';
import type {SyncDaemon} from '../daemon/sync-api.ts';
import type {AgentDaemon, AgentRecords, AgentRecovery} from './agent-parts.ts';
import type {DoctorSources} from './doctor-command.ts';

export interface OutStream {
  write(text: string): unknown;
  readonly isTerminal: boolean;
  /** Width of the terminal in cells. */
  readonly columns: number;
  /** Its height; undefined where there is none. */
  readonly rows?: number | undefined;
}

export interface ProcessSignals {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
}

export interface CliParts {
  stdout: OutStream;
  stderr: OutStream;
  env: Record<string, string | undefined>;
  clock: Clock;
  signals: ProcessSignals;
  /** Ends the process at once. */
  exitNow(code: number): void;
  /** Aborted when nobody reads stdout any more. */
  readerGone: AbortSignal;
  /** Asks a person; undefined when there is no terminal to ask on. */
  ask: ((question: string) => Promise<string>) | undefined;
  /** Loaded late: `--help` and usage errors need none of it. */
  loadDaemon(): Promise<SyncDaemon>;
  loadAgent(): Promise<AgentDaemon>;
  loadRecords(): Promise<AgentRecords>;
  loadRecovery(): Promise<AgentRecovery>;
  loadDoctor(): Promise<DoctorSources>;
}
