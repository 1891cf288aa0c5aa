/**
 * What an agent can be asked while it runs, and what it answers. Types only: plain data that goes through JSON as it is.
 *
 * Paths are byte strings (model/path.ts) relative to a volume's root; times are milliseconds since the epoch.
 */
import type {HaltKind} from '../base/errors.ts';
import type {RelPath} from '../model/path.ts';
import type {Problem} from '../model/problem.ts';

/** How a link, or a volume without links, stands. Most of what is not `in-sync` has a `reason`. */
export type LinkState =
  | 'waiting' // for the root, or for the peer to grant the volume
  | 'connecting'
  | 'scanning'
  | 'comparing'
  | 'sending'
  | 'in-sync'
  | 'problems'
  | 'paused'
  | 'halted';

export interface LinkReport {
  volume: string;
  /** Name of the peer. */
  peer: string;
  direction: 'send' | 'receive';
  /** The volume's name on the peer. */
  peerVolume: string;
  state: LinkState;
  /** One sentence: why it is not in sync. */
  reason: string | undefined;
  /** When both digests were last found equal, of which cut. */
  inSyncAtMs: number | undefined;
  digest: string | undefined;
  /** Paths that are noticed or on their way. */
  pendingCount: number;
  problemCount: number;
  /** Milliseconds since the oldest change that is not durable on the peer was noticed; 0 when there is none. */
  lagMs: number;
  /** Bytes a second over the last seconds, content and protocol together. */
  rateBytes: number;
  sentBytes: number;
  halt: HaltReport | undefined;
  /** What its operator leaves out or maps: special files, ids. One phrase each. */
  chosen?: string[];
}

export interface HaltReport {
  kind: HaltKind;
  /** What `confirm` must repeat. */
  count: number;
  limit: number;
  message: string;
  sinceMs: number;
}

export interface VolumeReport {
  name: string;
  /** As configured: `docker:pgdata`. */
  address: string;
  /** The host path that it was found at; undefined when it was not. */
  path: string | undefined;
  entryCount: number | undefined;
  isPaused: boolean;
  links: LinkReport[];
  /** Why the volume itself does not run; undefined when it does. */
  reason: string | undefined;
  /** A halt of the volume itself: its root is not what it was. */
  halt: HaltReport | undefined;
  /** Where Towline keeps what is on its way, and what was deleted; undefined on a source. */
  staging: string | undefined;
  trash: string | undefined;
  /** Received files of this size or more are changed in place, in bytes; undefined: every file is replaced whole. */
  inPlaceAbove?: number | undefined;
  /** Which side promote or follow made it; undefined while the configuration alone decides. */
  role?: RoleReport | undefined;
  /** Degraded watching, overflows …: what an operator should know. */
  notices: string[];
}

export interface RoleReport {
  /** How often another agent became the source, from 1. */
  epoch: number;
  /** The peer that it is received from; null: this is the source. */
  source: string | null;
  by: 'promote' | 'follow' | undefined;
  sinceMs: number | undefined;
  /** Another agent is the source now, and nothing is sent until promote or follow is said: why. */
  superseded: string | undefined;
  /** What to write into the configuration so that it says the same. */
  advice: string | undefined;
}

/** How a copy differs from that of the peer which it is to follow. */
export interface FollowPlan {
  volume: string;
  peer: string;
  /** The volume's name there. */
  peerVolume: string;
  epoch: number;
  /** When the peer was promoted, by its clock. */
  promotedMs: number;
  /** Entries here that the peer does not have as they are here: they go to the trash. `follow` must repeat it. */
  goneCount: number;
  /** Entries that only the peer has. */
  comingCount: number;
  /** Entries of equal content whose owner, mode, times or attributes will be the peer's. */
  metaCount: number;
  /** The first of those that go, in no order. */
  gone: {path: RelPath; type: string}[];
}

export interface PeerReport {
  name: string;
  id: string;
  /** As configured; undefined when the peer dials us. */
  address: string | undefined;
  isConnected: boolean;
  /** Which side dialled; undefined while not connected. */
  dialledBy: 'us' | 'peer' | undefined;
  /** Of the connection, or of the last try. */
  sinceMs: number | undefined;
  /** Why it is not connected. */
  reason: string | undefined;
}

export interface AgentReport {
  name: string;
  id: string;
  version: string;
  pid: number;
  startedMs: number;
  nowMs: number;
  /** `[::]:7420` with the real port; undefined when it only dials. */
  listen: string | undefined;
  volumes: VolumeReport[];
  peers: PeerReport[];
  /** The whole agent is halted: another one has its identity. */
  halt: HaltReport | undefined;
}

export interface PendingPage {
  volume: string;
  /** What is not in sync, with the reason; problems first, then paths on their way. */
  problems: (Problem & {peer: string})[];
  problemCount: number;
  pendingCount: number;
  /** Give it as `after` for the next page; undefined at the end. */
  next: string | undefined;
}

/** How one link ended a flush or a single catch-up. */
export interface LinkOutcome {
  volume: string;
  peer: string;
  direction: 'send' | 'receive';
  /** 0 only when both digests are equal and the peer's copy is durable; else as DESIGN §3. */
  exitCode: number;
  reason: string | undefined;
  digest: string | undefined;
  problemCount: number;
  problems: Problem[];
}

export interface RunOutcome {
  /** The worst of the links', and of the hooks'. */
  exitCode: number;
  links: LinkOutcome[];
  /** Hooks that were run for it, in their order. */
  hooks?: HookRun[];
}

/** How a program of the operator's went. */
export interface HookRun {
  hook: 'quiesce' | 'resume';
  /** One sentence: why it failed; undefined when it did not. */
  failure: string | undefined;
  /** The end of what it said, stdout and stderr together. */
  output: string;
  elapsedMs: number;
}

export interface FlushQuery {
  volume: string | undefined;
  timeoutMs: number;
  /** Read the whole tree first: it finds what no event tells (mmap). */
  isRescan: boolean;
  /** While the volume's hooks hold its application still. */
  isQuiesced: boolean;
}

export interface Invitation {
  code: string;
  expiresMs: number;
  addresses: string[];
}

export interface SyncRequest {
  /** As in a configuration. */
  address: string;
  peer: string;
  peerVolume: string;
  isOnce: boolean;
  /** `keep` or `skip`. */
  special: string;
  /** Ranges as `--ids` takes them. */
  ids: string[];
}

export interface VerifyRequest {
  volume: string;
  /** A peer that it is sent to: its copy is read too. */
  peer: string | undefined;
  /** What rots on a copy is fetched from the source again. */
  isRepair: boolean;
}

/** A file that does not hold what was read of it before, or that could not be read. */
export interface VerifyFinding {
  kind: 'corrupt' | 'unreadable';
  path: RelPath;
  /** `source` and `target` are sides of the volume here; `peer`: the peer's copy. */
  side: 'source' | 'target' | 'peer';
  /** Digests in hex. */
  known: string | undefined;
  found: string | undefined;
  message: string;
}

export type VerifyEvent =
  | {kind: 'progress'; filesRead: number; bytesRead: number; entriesTotal: number}
  | {kind: 'finding'; finding: VerifyFinding};

export interface VerifyOutcome {
  /** 0, 7 when anything rots, 1 when something could not be read. */
  exitCode: number;
  filesRead: number;
  bytesRead: number;
  corruptCount: number;
  unreadableCount: number;
  /** Files that were changed meanwhile, or only just before: what is sent and proved covers them. */
  changedCount: number;
  /** Files whose content was never read here: there is nothing to compare them with. */
  unknownCount: number;
}

/** Each method throws a TowlineError: USAGE for an unknown volume or peer, REFUSED where it may not be. */
export interface AgentControl {
  report(volume?: string): AgentReport;
  /** Calls back whenever a report would be another one, at most ten times a second. @returns ends it */
  onChange(listener: () => void): () => void;
  pending(query: {volume: string; after: string | undefined; countMax: number}): PendingPage;
  /**
   * @param query `volume` undefined: all that send
   * @param signal aborted: nobody waits any longer; what was quiesced is resumed
   */
  flush(query: FlushQuery, signal?: AbortSignal): Promise<RunOutcome>;
  /** One catch-up of each named volume (all when empty) to the cut taken now. */
  once(query: {volumes: string[]; timeoutMs: number}): Promise<RunOutcome>;
  /** What `confirm` would let go on: the volume's own halt and its links'. */
  halts(volume: string): {peer: string | undefined; halt: HaltReport}[];
  /** @param count must be that of `halts`, all together. @throws REFUSED when it is another */
  confirm(request: {volume: string; count: number}): Promise<void>;
  pause(volume: string): Promise<void>;
  resume(volume: string): Promise<void>;
  rescan(volume: string): Promise<void>;
  /**
   * Makes a copy the source, in a new epoch, durable when it returns.
   * @throws REFUSED while its source is connected and serves it, unless it is forced; when it is the source already
   */
  promote(request: {volume: string; isForced: boolean}): Promise<{epoch: number; from: string | undefined}>;
  /** What following a peer would do; changes nothing. @throws REFUSED when the peer was not promoted, PEER_LOST */
  followPlan(request: {volume: string; peer: string; peerVolume: string}): Promise<FollowPlan>;
  /** Makes the volume a copy of the peer's. @param count that of the plan. @throws REFUSED when it is another */
  follow(request: {volume: string; peer: string; peerVolume: string; count: number}): Promise<void>;
  /** Removes mark, staging, trash and state. @throws REFUSED while the volume is configured and not paused */
  forget(volume: string): Promise<void>;
  /** Opens an invitation on the running listener. @throws REFUSED when the agent does not listen */
  invite(request: {addresses: string[]}): Promise<Invitation>;
  /** Reads the configuration again. @returns what changed, a sentence each. @throws USAGE and keeps the old one */
  reload(): Promise<string[]>;
  /** Makes a new key and tells the peers. @returns what happened, a sentence each */
  rotate(request: {isForced: boolean}): Promise<string[]>;
  /** Reads all files again, from disk. @throws USAGE, REFUSED; CANCELLED when `signal` is aborted */
  verify(
    request: VerifyRequest,
    onEvent: (event: VerifyEvent) => Promise<void> | void,
    signal: AbortSignal,
  ): Promise<VerifyOutcome>;
  /** A link to a peer's volume that is not in the configuration, until `signal` is aborted. */
  sync(request: SyncRequest, onEvent: (event: object) => void, signal: AbortSignal): Promise<RunOutcome>;
}

/** Where something was put that was deleted or replaced. */
export interface TrashItem {
  atMs: number;
  path: RelPath;
  type: string;
  reason: string;
  /** Relative to the trash folder. */
  place: string;
  sizeBytes: number | undefined;
}
