/**
 * `towline sync SRC PEER:VOLUME`: a link to a paired agent, through the agent that runs here, without touching its
 * configuration.
 *
 * Invariant: the link ends with the command, however that ends.
 */
import {parseIds, parseSpecial} from '../config/sync-options.ts';
import {TowlineError} from '../base/errors.ts';
import type {SyncEvent} from '../daemon/sync-api.ts';
import {connectAgent} from './agent-connection.ts';
import {eventsView} from './events-view.ts';
import {EXIT_INTERRUPTED, untilInterrupted} from './interruption.ts';
import type {CliParts} from './parts.ts';
import {tellOutcome} from './run-outcome.ts';
import type {Screen} from './screen.ts';
import type {SyncCommandFlags} from './sync-command.ts';
import {Teller} from './teller.ts';

export interface PeerPlace {
  peer: string;
  volume: string;
}

const SCHEMES = ['path', 'docker', 'docker-container', 'podman', 'podman-container', 'both', 'oci'];

/** DST as `PEER:VOLUME`, or undefined when it is something else: nothing before the colon is a scheme or has a slash. */
export function peerPlaceOf(text: string): PeerPlace | undefined {
  const colon = text.indexOf(':');
  const peer = text.slice(0, colon);
  const volume = text.slice(colon + 1);
  if (colon < 1 || volume === '' || peer.includes('/') || SCHEMES.includes(peer)) return undefined;
  return {peer, volume};
}

/** Options of `sync SRC DST` that mean nothing here: the agents' configurations say these. */
const NOT_HERE = {
  dryRun: '--dry-run',
  deleteLimit: '--delete-limit',
  ignore: '--ignore',
  ignoreFrom: '--ignore-from',
  quick: '--quick',
  durability: '--durability',
  settle: '--settle',
  maxWait: '--max-wait',
  hot: '--hot',
  rescan: '--rescan',
  watch: '--watch',
  stats: '--stats',
  devices: '--devices',
  xattrs: '--xattrs',
} as const;

/**
 * @param address SRC as the agent reads it: an absolute path, `docker:NAME` …
 * @returns the exit code; a live one that a signal ended has done all it was asked for
 */
export async function syncPeerCommand(
  places: {address: string; target: PeerPlace},
  flags: SyncCommandFlags,
  parts: CliParts & {screen: Screen},
): Promise<number> {
  for (const [key, option] of Object.entries(NOT_HERE)) {
    if (flags[key as keyof typeof NOT_HERE] === undefined) continue;
    const hint = 'configure a volume for it';
    throw new TowlineError('USAGE', `${option} does not go with a peer's volume; ${hint}`, {hint});
  }
  const isOnce = flags.once === true;
  const sent = {special: parseSpecial(flags.special), ids: parseIds(flags.ids)};
  const {address, target} = places;
  const run = async (signal: AbortSignal): Promise<number> => {
    const client = await connectAgent(flags);
    const view = eventsView(isOnce, flags, parts);
    const request = {address, peer: target.peer, peerVolume: target.volume, isOnce, ...sent};
    const outcome = await client.sync(request, (event) => view.onEvent(event as SyncEvent), signal);
    parts.screen.clear();
    return tellOutcome(outcome, new Teller(flags, parts));
  };
  return untilInterrupted(parts, run, {endCode: isOnce ? EXIT_INTERRUPTED : 0});
}
