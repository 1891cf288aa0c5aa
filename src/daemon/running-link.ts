/**
 * What serves one link for the length of one connection: the source's end, and what follows the volume for it. Wiring.
 */
import type {Clock} from '../base/clock.ts';
import type {SendConfig} from '../config/agent-config.ts';
import type {RelPath} from '../model/path.ts';
import type {LinkStats} from '../model/status.ts';
import type {RollingHour} from '../reconcile/rolling-hour.ts';
import type {LinkPort} from '../session/link-port.ts';
import {LiveLink, type FollowStatus} from '../session/live-link.ts';
import {SourceLink} from '../session/source-link.ts';
import {offeredView} from './own-limits.ts';
import {signatureStore} from './signature-store.ts';
import type {SourceVolume} from './source-volume.ts';
import {SyncEvents, type SyncEventsParts} from './sync-events.ts';

export interface RunningLink {
  port: LinkPort;
  link: SourceLink;
  live: LiveLink;
  source: SourceVolume;
}

export interface RunningLinkParts {
  port: LinkPort;
  source: SourceVolume;
  events: SyncEvents;
  /** Kept over connections. */
  stats: LinkStats;
  hour: RollingHour;
  clock: Clock;
  onStatus(status: FollowStatus): void;
}

/** @param options `confirmedDeletes` that the operator has agreed to for this connection */
export function newRunning(
  options: {config: SendConfig; volume: string; confirmedDeletes: number; epoch: number},
  parts: RunningLinkParts,
): RunningLink {
  const {config, volume, confirmedDeletes, epoch} = options;
  const {port, source, events, stats, hour, clock} = parts;
  const {deleteLimits} = config;
  const {state} = source;
  const live = new LiveLink(
    {deleteLimits, confirmedDeletes: 0, volume, maxWaitMs: config.maxWaitMs, hot: config.hot},
    {
      volume: source.live,
      state,
      clock,
      hour,
      events: {
        onStatus: (status) => parts.onStatus(status),
        onRestless: (path, {code, message}) => events.failed(path, code, message, 'source'),
      },
    },
  );
  const link = new SourceLink(
    {
      link: port.link,
      volume: config.as,
      epoch,
      view: offeredView(config),
      isDryRun: false,
      isDurable: config.durability !== 'none',
      isQuick: false,
      deleteLimits,
      confirmedDeletes,
    },
    {
      session: port,
      jobs: source.jobs,
      state,
      clock,
      stats,
      hour,
      seed: source.opened.volume.hashSeed,
      signatures: signatureStore(source.opened.volume),
      hot: live,
      extents: config.extents === 'on' ? source.extents.port(config.maxWaitMs) : undefined,
      events: {
        onApplied: (applied) => {
          events.applied(applied);
          live.noteArrival(applied.path, applied.hot);
          if (applied.op.kind === 'delete') live.tryAgainSoon();
        },
        onFailed: (path, code, message, side) => {
          const isChanging = code === 'changing' || code === 'vanished';
          live.noteFailure(path, isChanging ? undefined : events.failed(path, code, message, side));
        },
        onCompared: () => undefined,
      },
    },
  );
  link.onTargetChanged = () => live.compare();
  return {port, link, live, source};
}

/** What is told of a link, for one connection. */
export function linkEvents(source: SourceVolume, parts: Omit<SyncEventsParts, 'isThere'>): SyncEvents {
  const isThere = (path: RelPath): boolean => source.state.entryAt(path) !== undefined;
  return new SyncEvents({isLive: true, isDryRun: false}, {...parts, isThere});
}
