/**
 * How two copies of a volume differ, before one of them follows the other: asked as the source of a link that carries
 * nothing, answered by a target that nobody can write to.
 *
 * Decides nothing. Invariant: neither copy is changed, and no state that links use is left in another view.
 */
import {join} from 'node:path';
import {rmSync} from 'node:fs';
import {endAll} from '../base/end-all.ts';
import {asTowlineError, TowlineError} from '../base/errors.ts';
import type {FollowPlan} from '../control/agent-api.ts';
import {packEpoch} from '../model/epoch.ts';
import {zeroStats} from '../model/status.ts';
import {sameView, type View} from '../model/view.ts';
import type {Step} from '../reconcile/plan-path.ts';
import {RollingHour} from '../reconcile/rolling-hour.ts';
import type {LinkPort} from '../session/link-port.ts';
import {refusePort} from '../session/refusal.ts';
import {SourceLink} from '../session/source-link.ts';
import type {AgentParts} from './agent-parts.ts';
import type {AgentVolume} from './agent-volume.ts';
import {offeredView} from './own-limits.ts';
import type {Peer} from './peer.ts';
import {signatureStore} from './signature-store.ts';
import {SourceVolume} from './source-volume.ts';
import {TargetProblems} from './target-problems.ts';
import {TargetVolume} from './target-volume.ts';

export type Differences = Pick<FollowPlan, 'goneCount' | 'comingCount' | 'metaCount' | 'gone'>;

const GONE_SHOWN_MAX = 1_000;
const OWN_FOLDER = 'compare'; // of a state that no link uses

interface Compared {
  volume: AgentVolume;
  peer: Peer;
  peerVolume: string;
}

/** @throws HALTED, PEER_LOST, REFUSED, SYSTEM: what keeps them from being compared */
export async function compareWith(compared: Compared, parts: AgentParts): Promise<Differences> {
  const {volume, peer} = compared;
  const settings = volume.configured.send.find(({to}) => to === peer.config.name) ?? volume.configured;
  const offered = offeredView(settings);
  const running = volume.firstSource;
  if (running !== undefined) {
    const differences = await compareFrom(running, {...compared, offered}, parts);
    if (differences !== 'other view') return differences;
  }
  const {name, at} = volume.configured;
  const found = await parts.engines.findRoot(at);
  const folder = join(parts.stateFolder, 'volumes', name, OWN_FOLDER);
  const source = new SourceVolume(
    {
      name,
      settings,
      view: offered,
      folder: OWN_FOLDER,
      notes: volume.notes,
      found,
      chokidarEntries: 0,
      reserve: 0,
      isScannedOnce: true,
      onNotice: () => undefined,
    },
    parts,
  );
  const over = new AbortController();
  const ran = source.run(over.signal).catch(() => undefined); // what it fails with comes from `scanned`
  try {
    await source.scanned;
    return (await compareFrom(source, {...compared, offered}, parts, (view) => source.adopt(view))) as Differences;
  } finally {
    over.abort(new TowlineError('CANCELLED', 'compared', {signal: 'stop'}));
    await endAll([
      () => source.stop(),
      () => ran,
      () => source.close(),
      () => rmSync(folder, {recursive: true, force: true}),
    ]);
  }
}

/** @param adopt takes a source of its own into the view that both hold; one that links use stays in its own */
async function compareFrom(
  source: SourceVolume,
  {volume, peer, peerVolume, offered}: Compared & {offered: View},
  parts: AgentParts,
  adopt?: (view: View) => void,
): Promise<Differences | 'other view'> {
  const {links} = peer;
  if (links === undefined)
    throw new TowlineError('PEER_LOST', `${peer.config.name} is not connected`, {peer: peer.config.name, idleMs: 0});
  await source.scanned;
  const port = links.newSource(undefined);
  const link = new SourceLink(
    {
      link: port.link,
      volume: peerVolume,
      epoch: packEpoch(volume.epochs.epoch()),
      view: offered,
      isDryRun: true,
      isDurable: true,
      isQuick: false,
      deleteLimits: volume.config.deleteLimits,
      confirmedDeletes: 0,
    },
    {
      session: port,
      jobs: source.jobs,
      state: source.state,
      clock: parts.clock,
      stats: zeroStats(),
      seed: source.opened.volume.hashSeed,
      signatures: signatureStore(source.opened.volume),
      events: {onApplied: () => undefined, onFailed: () => undefined, onCompared: () => undefined},
    },
  );
  try {
    await link.open();
    if (!sameView(source.view, link.view)) {
      if (adopt === undefined) return 'other view';
      adopt(link.view);
    }
    return await counted(link.differences());
  } finally {
    links.closeSource(port, 'the copies are compared');
  }
}

async function counted(all: AsyncIterable<Step[]>): Promise<Differences> {
  const differences: Differences = {goneCount: 0, comingCount: 0, metaCount: 0, gone: []};
  for await (const steps of all)
    for (const step of steps) {
      if (step.kind === 'op' && step.op.kind === 'set-meta') differences.metaCount++;
      else if (step.kind === 'op' && step.op.kind === 'delete') differences.comingCount += step.destroys;
      else {
        differences.goneCount++;
        const {gone} = differences;
        if (gone.length < GONE_SHOWN_MAX) gone.push({path: step.path, type: typeOf(step)});
      }
    }
  return differences;
}

function typeOf(step: Step): string {
  if (step.kind === 'file') return 'file';
  const {op} = step;
  if (op.kind === 'make-dir') return 'dir';
  if (op.kind === 'put-symlink') return 'symlink';
  return op.kind === 'put-special' ? op.type : 'file';
}

/** The other side: lets a peer that may follow look at this copy, for as long as its link and the volume are open. */
export async function serveComparison(volume: AgentVolume, port: LinkPort, parts: AgentParts): Promise<void> {
  try {
    await volume.takeGuest(port, () => serve(volume, port, parts));
  } catch (error) {
    const known = asTowlineError(error);
    parts.log.warn(known.message, {volume: volume.config.name, code: known.code});
    refusePort(port, known);
  }
}

async function serve(volume: AgentVolume, port: LinkPort, parts: AgentParts): Promise<void> {
  const {configured: config, notes} = volume;
  const found = await parts.engines.findRoot(config.at);
  const ignored = (): void => undefined;
  const problems = new TargetProblems({volume: config.name}, {notes, clock: parts.clock});
  const nothing = {chokidarEntries: 0, reserve: 0, onNotice: ignored, onDrift: ignored, reportsDrift: () => false};
  const target = new TargetVolume({config, notes, found, problems, ...nothing}, parts);
  try {
    target.serve(port, {confirmedDeletes: 0, hour: new RollingHour(), isReadOnly: true, onRefused: ignored});
    await port.closed;
  } finally {
    await endAll([() => target.stop(undefined), () => target.close()]);
  }
}
