/**
 * What `towline sync` asks of the run and hears from it. Types only: the run itself is in `sync.ts`.
 *
 * Invariant: everything in here is plain data, so that it can be shown, sent as JSON, and scripted in a test.
 */
import type {HaltKind, TowlineError} from '../base/errors.ts';
import type {SyncOptions} from '../config/sync-options.ts';
import type {OpKind} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import type {Problem} from '../model/problem.ts';
import type {LinkStats, LinkStatus} from '../model/status.ts';
import type {LogPort} from '../telemetry/log.ts';
import type {SilentTimes} from './silent-changes.ts';

export type {SyncOptions} from '../config/sync-options.ts';

/** What is done to a path, as people see it: a file that was there before is replaced, not put. */
export type ShownOp = OpKind | 'replace';

/** What people and programs are told while it runs. Paths are byte strings relative to the root. */
export type SyncEvent =
  | {kind: 'status'; status: LinkStatus}
  | {
      kind: 'progress';
      phase: 'scan' | 'compare' | 'copy';
      entriesDone: number;
      entriesTotal: number | undefined;
      bytesDone: number;
      bytesTotal: number | undefined;
      path: RelPath | undefined;
    }
  | {
      kind: 'applied';
      op: ShownOp;
      path: RelPath;
      to: RelPath | undefined;
      sizeBytes: number;
      /** Milliseconds from noticing the change to its durability on the target; live only. */
      latencyMs: number | undefined;
    }
  /** Dry run only. */
  | {kind: 'planned'; op: ShownOp; path: RelPath; to: RelPath | undefined; sizeBytes: number}
  | {kind: 'problem'; problem: Problem}
  | {kind: 'solved'; path: RelPath}
  /** Overflow and rescan, reconnect, … */
  | {kind: 'notice'; level: 'info' | 'warn'; message: string};

export interface SyncOutcome {
  exitCode: number;
  status: LinkStatus;
  stats: LinkStats;
  /** The first 1,000. */
  problems: Problem[];
  problemCount: number;
  error: TowlineError | undefined;
  isInSync: boolean;
  /** Tree digest of both sides as hex; undefined when not in sync. */
  digest: string | undefined;
  elapsedMs: number;
  /** Files taken as equal by size and time, unread (`--quick`). */
  assumedCount: number;
  peakMemoryBytes: number;
  folders: {state: string; staging: string; trash: string};
}

export interface ConfirmRequest {
  source: string;
  target: string;
  stateFolder: string | undefined;
  /** `--yes N`; undefined where a person is asked. */
  count: number | undefined;
}

/** What waits for the operator. */
export interface Halt {
  kind: HaltKind;
  /** What the operator must repeat: the number of deletes, say. */
  count: number;
  /** One sentence: what was seen. */
  message: string;
}

/** What a run is given beside its options. */
export interface SyncParts {
  onEvent(event: SyncEvent): void;
  /** Aborted: finish what is half done, then end. */
  signal: AbortSignal;
  log: LogPort;
  /** For tests. */
  silentTimes?: SilentTimes;
}

/** The surface of `sync.ts`. */
export interface SyncDaemon {
  /** Trouble with the run is `outcome.error`; throws for what is found before it starts (codes USAGE, ROOT_MISSING, LOCKED …). */
  runSync(options: SyncOptions, parts: SyncParts): Promise<SyncOutcome>;
  /** The halt of a pair, or undefined when it is not halted. */
  readHalt(request: ConfirmRequest): Promise<Halt | undefined>;
  /** Lets the next run go on; throws REFUSED when the count is not the halt's. */
  confirmHalt(request: ConfirmRequest & {count: number}): Promise<void>;
}
