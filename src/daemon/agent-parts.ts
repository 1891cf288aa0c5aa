/**
 * What the parts of a running agent share. Types only.
 */
import type {JobRunner} from '../base/jobs.ts';
import type {Clock} from '../base/clock.ts';
import type {WorkerPool} from '../base/worker-pool.ts';
import type {Pace} from '../base/pace.ts';
import type {Address} from '../model/address.ts';
import type {RelPath} from '../model/path.ts';
import type {RootIdentity} from '../model/root.ts';
import type {ActionLog} from '../state/action-log.ts';
import type {AgentFile} from '../state/agent-store.ts';
import type {LogPort} from '../telemetry/log.ts';
import type {Identity} from '../transport/identity.ts';
import type {Places} from '../volume/places.ts';
import type {InotifyThread} from '../watch/inotify-thread.ts';
import type {MappedFiles} from '../watch/mapped-files.ts';
import type {DestroyedAction} from '../apply/destroyed.ts';
import type {Peer} from './peer.ts';
import type {SyncEvent} from './sync-api.ts';
import type {VolumeJobs} from './volume-jobs.ts';
import type {VolumeScope} from './volume.worker.ts';

/** Where a volume's root was found. */
export interface FoundRoot {
  /** Host path, as text. */
  path: string;
  /** A folder of the engine beside the root, where staging may lie. */
  beside: string | undefined;
}

/** The container engines; engine/engines.ts by shape. */
export interface EnginesPort {
  /** @throws ROOT_MISSING when there is no such volume, SYSTEM when the engine cannot be asked */
  findRoot(address: Address): Promise<FoundRoot>;
  /** Paths in this root at which containers have something else mounted. */
  protectedBelow(rootPath: string): Promise<RelPath[]>;
  /** Volumes or containers came or went. @returns ends it */
  onChange(listener: () => void): () => void;
}

export type ScopedJobs = JobRunner<VolumeJobs> & {close(): Promise<void>};

/** A delete or an overwrite, for the log. */
export interface LoggedAction extends DestroyedAction {
  volume: string;
  peer: string;
}

/** What happens on a link, and on which. */
export type LinkEvent = SyncEvent & {volume: string; peer: string};

export interface AgentParts {
  clock: Clock;
  log: LogPort;
  stateFolder: string;
  file: AgentFile;
  engines: EnginesPort;
  watchThread: InotifyThread;
  mapped: MappedFiles;
  /** Of all links together; undefined for no limit. */
  pace: () => Pace | undefined;
  /** The mounts of this host, as text; another text when one came or went. */
  mounts(): string;
  /** A pool's share for one volume. */
  jobsFor(data: {root: RootIdentity; places: Places | undefined}): ScopedJobs;
  /** Takes Towline's mark and folders from a root that is there. @param beside see FoundRoot */
  forgetRoot(root: RootIdentity, beside: string | undefined): void;
  peer(name: string): Peer | undefined;
  /** Written down when it returns: a kill right after loses nothing of it. */
  onActions(actions: readonly LoggedAction[]): void;
  /** Something that a report shows is another now. */
  onChange(): void;
}

/** What the agent's core is made of. */
export interface AgentCoreParts {
  clock: Clock;
  log: LogPort;
  file: AgentFile;
  engines: EnginesPort;
  pool: WorkerPool<VolumeJobs, VolumeScope>;
  actions: ActionLog;
  identity: Identity;
  onChange(): void;
  /** A peer was written down: the configuration is to be read again. */
  onPaired(): void;
  onEvent(event: LinkEvent): void;
}
