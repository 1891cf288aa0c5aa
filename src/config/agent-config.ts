/**
 * The agent's configuration as one frozen value: defaults filled in, a link's own keys laid over its volume's.
 *
 * Types only. Reading, checking and showing it are in the files beside. Units stand in the names.
 */
import type {Address, EngineName} from '../model/address.ts';
import type {XattrClass} from '../model/attrs.ts';
import type {DeleteLimits} from '../reconcile/delete-guard.ts';

export interface HostPort {
  /** A name, an IPv4 address, or an IPv6 address without brackets. */
  host: string;
  port: number;
}

export interface AgentConfig {
  /** For people; identity is the key in the state folder. */
  name: string;
  /** Undefined: this agent only dials. */
  listen: HostPort | undefined;
  /** Absolute path. */
  stateFolder: string;
  /** Absolute path of the main file; peers.d/ lies beside it. */
  file: string;
  peers: PeerConfig[];
  volumes: VolumeConfig[];
  limits: AgentLimits;
  engines: EngineConfig[];
  /** What the operator should know and nothing fails for: links to a removed peer, which were left out. */
  notices: string[];
}

export interface AgentLimits {
  /** Worker threads for all volumes together, 2 to 16. */
  workers: number;
  /** Bytes a second that this agent sends to all peers together; 0 for no limit. */
  rateBytes: number;
  /** Share of a target's filesystem that copies leave free, 0 to 1. */
  reserve: number;
  /** Above so many entries chokidar is not used; the tree is polled by scans. */
  chokidarEntries: number;
}

export interface PeerConfig {
  name: string;
  /** 64 hex digits. */
  id: string;
  /** Undefined: the peer dials us. */
  address: HostPort | undefined;
  /** The file that names it. */
  file: string;
}

export interface EngineConfig {
  engine: EngineName;
  /** Absolute path of the engine's socket. */
  socket: string;
  /** Whether it stands in the configuration; else it is looked for at its usual place and may be missing. */
  isConfigured: boolean;
}

/** What a receiver lets in; the rest is left out and told. */
export interface Accept {
  /** The setuid and setgid bits of files. */
  setuid: boolean;
  devices: boolean;
  /** `none`: everything belongs to the agent's own user. */
  owners: 'any' | 'none';
  /** Classes of extended attributes. */
  xattrs: XattrClass[];
}

/** `live`, or so often. */
export type When = {kind: 'live'} | {kind: 'every'; everyMs: number};

/** What a volume and each of its links may set. */
export interface LinkSettings {
  when: When;
  watch: 'auto' | 'inotify' | 'chokidar';
  /** gitignore patterns, the last match wins. */
  ignore: string[];
  /** Whether FIFOs, sockets and (where the receiver accepts them) devices are sent. */
  special: 'keep' | 'skip';
  /** Ranges of owners' ids that are mapped, as a view has them (model/ids.ts). */
  ids: string[];
  settleMs: number;
  maxWaitMs: number;
  /** A file that never settles, where the filesystem makes no clones: waited for, or read as it is. */
  hot: 'wait' | 'torn';
  /** Whether clones are kept, whose blocks tell what has changed in a large file, where the filesystem does (XFS, btrfs). */
  extents: 'on' | 'off';
  rescanMs: number;
  durability: 'batch' | 'none';
  deleteLimits: DeleteLimits;
  trash: {keepMs: number; /** 0 for no limit. */ sizeBytes: number};
  /** Bytes a second; 0 for no limit. */
  rateBytes: number;
  drift: 'repair' | 'report';
  /** Received files of this size or more are changed in place, in bytes; undefined: every file is replaced whole. */
  inPlaceAbove: number | undefined;
  /** Of what is received. */
  accept: Accept;
}

export interface SendConfig extends LinkSettings {
  /** Name of a configured peer. */
  to: string;
  /** The volume's name on the peer. */
  as: string;
}

export interface ReceiveConfig {
  /** Name of a configured peer. */
  from: string;
  /** Digest of the ignore rules that the sender must have, as `config show` prints it; undefined: any. */
  ignorePin: string | undefined;
}

/** A program that is run at a moment. */
export interface HookConfig {
  /** The absolute path of the program, and its words. */
  run: string[];
  timeoutMs: number;
  /** `stop`: what it was for is not done; `warn`: it is told, and nothing more. */
  onFailure: 'stop' | 'warn';
}

export type HookName = 'quiesce' | 'resume';

export interface VolumeConfig extends LinkSettings {
  name: string;
  /** Undefined where there is none. */
  hooks: Record<HookName, HookConfig | undefined>;
  at: Address;
  send: SendConfig[];
  receive: ReceiveConfig | undefined;
}
