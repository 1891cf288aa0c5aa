/**
 * What a command tells while it runs and when it ends: for people or for programs, one shape for both.
 */
import type {SyncEvent, SyncOutcome} from '../daemon/sync-api.ts';

export interface View {
  onEvent(event: SyncEvent): void;
  /** The end of a run; `exitCode` is the process's. */
  finish(outcome: SyncOutcome, exitCode: number): void;
}

/** How much is told: 0 the result, 1 each change, 2 and 3 the log too; -1 nothing but errors. */
export type Verbosity = -1 | 0 | 1 | 2 | 3;
