/**
 * `verify`: reads all files of a volume once more, from disk, and tells which do not hold what was read of them before.
 *
 * Not the reader (session/verify-files.ts). Invariant: what rots is told and noted, and never sent: the state goes on
 * saying what the file held, and a sender that reads other bytes keeps them back (send-item.ts).
 */
import {sleepUnless, type Clock} from '../base/clock.ts';
import {EXIT_CODE, isTowlineError, TowlineError} from '../base/errors.ts';
import type {VerifyEvent, VerifyFinding, VerifyOutcome, VerifyRequest} from '../control/agent-api.ts';
import {sameDigest, type Digest} from '../model/digest.ts';
import {showPath, type RelPath} from '../model/path.ts';
import {corruptHere} from '../model/problem.ts';
import {verifyFiles, type Verified} from '../session/verify-files.ts';
import type {LinkNotes} from '../state/agent-store.ts';
import type {StoredEntry} from '../state/entry-row.ts';
import type {VolumeStore} from '../state/volume-store.ts';
import type {AgentParts, ScopedJobs} from './agent-parts.ts';
import type {AgentVolume} from './agent-volume.ts';
import {noteCorrupt, noteWhole} from './corrupt-notes.ts';
import {isContradicted, youngReads, type ReadWatch} from './source-state.ts';
import type {TargetProblems} from './target-problems.ts';

const SETTLE_MS_MAX = 30_000;

/** One side of the volume, with a state of its own. */
interface Side {
  side: 'source' | 'target';
  store: VolumeStore;
  jobs: ScopedJobs;
  reads: Pick<ReadWatch, 'isDoubtful'>;
  /** Whose problem it is when a file rots. */
  told: Told[];
}

type Told = Pick<TargetProblems, 'corrupt' | 'whole'>;

type Read = Verified<{path: RelPath; entry: StoredEntry}>;
type AskPeer = (paths: RelPath[]) => Promise<Map<RelPath, Digest>>;

/** The peer whose copy is read too. */
interface Peer {
  ask: AskPeer;
  /** Until everything that was noticed has arrived there, or for a while. */
  settled(clock: Clock, signal: AbortSignal): Promise<void>;
}

interface Verifying {
  request: VerifyRequest;
  onEvent: (event: VerifyEvent) => Promise<void> | void;
  signal: AbortSignal;
}

/** @throws USAGE for a peer that it is not sent to, REFUSED while the volume or the link is not open, CANCELLED */
export async function verifyVolume(
  volume: AgentVolume,
  verifying: Verifying,
  {clock, log}: AgentParts,
): Promise<VerifyOutcome> {
  const {request, onEvent, signal} = verifying;
  const sides = sidesOf(volume, clock);
  const peer = request.peer === undefined ? undefined : peerOf(volume, request.peer);
  const entriesTotal = sides.reduce((sum, {store}) => sum + store.entryCount(), 0);
  const outcome = newOutcome(sides);
  const find = async (finding: VerifyFinding): Promise<void> => {
    outcome[finding.kind === 'corrupt' ? 'corruptCount' : 'unreadableCount']++;
    log.error(finding.message, {volume: request.volume, path: showPath(finding.path), side: finding.side});
    await onEvent({kind: 'finding', finding});
  };
  for (const side of sides) {
    const ask = side.side === 'source' ? peer?.ask : undefined;
    const other = new Set<RelPath>();
    const take = async (read: Read[]): Promise<void> => {
      for (const one of read) {
        const finding = judge(one, side, outcome);
        note(one, finding, side);
        if (finding !== undefined) await find(finding);
        if (finding?.kind === 'corrupt' && side.side === 'target' && request.isRepair)
          side.store.setContent(one.file.entry.parentId, one.file.entry.name, undefined);
      }
      if (ask !== undefined) for (const path of await otherOnPeer(read, ask)) other.add(path);
      await onEvent({kind: 'progress', filesRead: outcome.filesRead, bytesRead: outcome.bytesRead, entriesTotal});
    };
    await verifyFiles(side.store.readFiles(), side.jobs, {take, signal}).catch((error: unknown) => {
      throw signal.aborted ? error : closedMeanwhile(error, request.volume);
    });
    if (ask === undefined || other.size === 0) continue;
    // What was on its way when the peer was asked has arrived by now.
    await peer?.settled(clock, signal);
    for (const finding of await stillOther([...other], ask, {store: side.store, peer: request.peer as string}))
      await find(finding);
  }
  if (request.isRepair && outcome.corruptCount > 0) volume.target?.askToCompare();
  volume.problemsChanged();
  outcome.exitCode = outcome.corruptCount > 0 ? EXIT_CODE.INTEGRITY : outcome.unreadableCount > 0 ? 1 : 0;
  return outcome;
}

/** Its workers, or its state, were closed while it was read. */
function closedMeanwhile(error: unknown, volume: string): unknown {
  if (!isTowlineError(error) || error.code !== 'CANCELLED') return error;
  const why = 'it was paused or changed, or its root has gone';
  return new TowlineError('REFUSED', `${volume} was closed while it was read: ${why}; verify it again`, {reason: why});
}

function newOutcome(sides: readonly Side[]): VerifyOutcome {
  const unknownCount = sides.reduce((sum, {store}) => sum + store.unreadCount(), 0);
  const counts = {filesRead: 0, bytesRead: 0, corruptCount: 0, unreadableCount: 0, changedCount: 0};
  return {exitCode: 0, ...counts, unknownCount};
}

/** @throws REFUSED */
function sidesOf(volume: AgentVolume, clock: Clock): Side[] {
  const sides: Side[] = [];
  const sources = Map.groupBy(volume.sends, (send) => volume.sourceOf(send));
  for (const [source, sends] of sources) {
    if (source === undefined) continue;
    const {opened, jobs} = source;
    sides.push({
      side: 'source',
      store: opened.volume,
      jobs,
      reads: source,
      told: sends.map(({notes}) => problemsOf(notes, clock)),
    });
  }
  const {target, receive} = volume;
  if (target !== undefined && receive !== undefined) {
    const reads = youngReads(() => clock.nowMs());
    sides.push({side: 'target', store: target.opened.volume, jobs: target.jobs, reads, told: [receive.problems]});
  }
  if (sides.length > 0) return sides;
  const why = volume.report().reason ?? 'it has no link';
  throw new TowlineError('REFUSED', `${volume.config.name} is not open: ${why}`, {reason: 'not open'});
}

/** @throws USAGE, REFUSED */
function peerOf(volume: AgentVolume, peer: string): Peer {
  const {name} = volume.config;
  const send = volume.sends.find(({config}) => config.to === peer);
  if (send === undefined) {
    const hint = 'ask the agent that sends it';
    throw new TowlineError('USAGE', `volume ${name} is not sent to ${JSON.stringify(peer)} from here; ${hint}`, {hint});
  }
  const ask: AskPeer = async (paths) => {
    const {link} = send;
    if (link?.holding === undefined)
      throw new TowlineError('REFUSED', `the link of ${name} to ${peer} is not open; see towline status`, {
        reason: 'not connected',
      });
    return link.verifyPeer(paths);
  };
  const settled = async (clock: Clock, signal: AbortSignal): Promise<void> => {
    const woken = send.nextProof(false).then(() => undefined);
    await sleepUnless(clock, SETTLE_MS_MAX, {signal, woken});
    signal.throwIfAborted();
  };
  return {ask, settled};
}

/** What is wrong with a file that was read; it is counted. */
function judge(read: Read, {side, store, reads}: Side, outcome: VerifyOutcome): VerifyFinding | undefined {
  const {path, entry} = read.file;
  if (read.kind === 'changed') {
    outcome.changedCount++;
    return undefined;
  }
  if (read.kind === 'unreadable') {
    const message = `${showPath(path)} cannot be read (error ${read.errno}); check the disk that it lies on`;
    return {kind: 'unreadable', path, side, known: entry.content?.toString('hex'), found: undefined, message};
  }
  outcome.filesRead++;
  outcome.bytesRead += entry.sizeBytes;
  const known = entry.content as Digest;
  const found = read.content;
  if (sameDigest(known, found)) return undefined;
  if (!isContradicted(entry, found, {store, reads})) {
    outcome.changedCount++;
    return undefined;
  }
  const message = corruptHere(path, {known, found, side});
  return {kind: 'corrupt', path, side, known: known.toString('hex'), found: found.toString('hex'), message};
}

/** What rots is a problem of every link that it belongs to, until it holds again what it held. */
function note(read: Read, finding: VerifyFinding | undefined, {told}: Side): void {
  if (read.kind !== 'read') return;
  const {path, entry} = read.file;
  for (const problems of told) {
    if (finding?.kind === 'corrupt') problems.corrupt(path, {known: entry.content as Digest, found: read.content});
    else if (sameDigest(read.content, entry.content)) problems.whole(path); // not of one that is only in doubt
  }
}

/** Of a link that sends. */
function problemsOf(notes: LinkNotes, clock: Clock): Told {
  const at = {side: 'source', notes, clock} as const;
  return {corrupt: (path, digests) => noteCorrupt(path, digests, at), whole: (path) => noteWhole(path, at)};
}

/** Has the peer read the same files. @returns those that it has other bytes of */
async function otherOnPeer(read: readonly Read[], ask: AskPeer): Promise<RelPath[]> {
  const files = read.flatMap((one) => (one.kind === 'read' ? [one.file] : []));
  const theirs = await ask(files.map(({path}) => path));
  return files.flatMap(({path, entry}) => {
    const found = theirs.get(path);
    return found === undefined || sameDigest(found, entry.content) ? [] : [path];
  });
}

/** Asks once more for what was other on the peer: what is still other than the state says, is. */
async function stillOther(
  paths: RelPath[],
  ask: AskPeer,
  {store, peer}: {store: VolumeStore; peer: string},
): Promise<VerifyFinding[]> {
  const theirs = await ask(paths);
  return paths.flatMap((path): VerifyFinding[] => {
    const known = store.resolve(path)?.entry.content;
    const found = theirs.get(path);
    if (known === undefined || found === undefined || sameDigest(found, known)) return [];
    const digests = {known: known.toString('hex'), found: found.toString('hex')};
    const what = `${showPath(path)} has other bytes on ${peer} than here (there ${digests.found}, here ${digests.known})`;
    const message = `${what}; towline verify there says whether it rots, and --repair fetches it again`;
    return [{kind: 'corrupt', path, side: 'peer', ...digests, message}];
  });
}
