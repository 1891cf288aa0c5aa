/**
 * Compares contents before they are sent: what another tool copied already is adopted, not sent again.
 *
 * Sends nothing itself. Invariant: a file is taken as equal unread only where the operator asked for it (`isQuick`), and
 * it is counted then.
 */
import type {JobRunner} from '../base/jobs.ts';
import {digestAt, sameDigest} from '../model/digest.ts';
import {seenOf, type Entry} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import type {LinkStats} from '../model/status.ts';
import {sameInPrecision} from '../model/tree.ts';
import type {View} from '../model/view.ts';
import type {Have, Step} from '../reconcile/plan-path.ts';
import type {AskPeer} from './ask-peer.ts';
import {READ_STATUS} from './large-file.ts';
import {metaOp, tellUnread, type SenderEvents, type SenderJobs, type SourceStore} from './send-item.ts';

export interface CompareContentOptions {
  /** As both ends agreed on it. */
  view: View;
  isQuick: boolean;
  isDryRun: boolean;
}

export interface CompareContentParts {
  peer: AskPeer;
  jobs: JobRunner<SenderJobs>;
  state: SourceStore;
  stats: LinkStats;
  events: SenderEvents;
}

type FileStep = Extract<Step, {kind: 'file'}>;
type Doubtful = {step: FileStep; entry: Entry; have: Have};

const HASH_FILES_AT_ONCE = 512;

/**
 * Files of equal size whose content is not known on both sides are hashed before they are sent.
 * @returns the steps that are left, and how many files were taken as equal by size and time
 */
export async function compareContents(
  steps: readonly Step[],
  options: CompareContentOptions,
  parts: CompareContentParts,
): Promise<{steps: Step[]; assumed: number}> {
  const kept: Step[] = [];
  const doubtful: Doubtful[] = [];
  let assumed = 0;
  for (const step of steps) {
    if (step.kind !== 'file' || step.have?.type !== 'file') {
      kept.push(step);
      continue;
    }
    const {have} = step;
    const entry = parts.state.entryAt(step.path);
    if (entry === undefined) continue; // gone meanwhile: its event comes
    const isKnown = have.content !== undefined && (entry.content !== undefined || !isAlike(entry, have, options.view));
    const isUnread = entry.content === undefined || have.content === undefined;
    // A run reads it and finds out; a dry run must ask, but for the names of a hard link, which are linked.
    if (isKnown && (!options.isDryRun || entry.nlink > 1)) kept.push(step);
    else if (options.isQuick && isUnread && isAlike(entry, have, options.view)) {
      assumed++;
      kept.push(...metaSteps(step, entry, have, {view: options.view, allocatedBytes: undefined}));
    } else doubtful.push({step, entry, have});
  }
  for (let index = 0; index < doubtful.length; index += HASH_FILES_AT_ONCE)
    kept.push(...(await hashBoth(doubtful.slice(index, index + HASH_FILES_AT_ONCE), options, parts)));
  return {steps: kept, assumed};
}

async function hashBoth(
  doubtful: readonly Doubtful[],
  options: CompareContentOptions,
  parts: CompareContentParts,
): Promise<Step[]> {
  const unread = doubtful.filter(({entry, have}) => entry.sizeBytes === have.sizeBytes && entry.content === undefined);
  const [theirs, allocated] = await Promise.all([
    parts.peer.hashFiles(doubtful.filter(({have}) => have.content === undefined).map(({step}) => step.path)),
    hashOurs(unread, parts),
  ]);
  return doubtful.flatMap(({step, have}): Step[] => {
    const entry = parts.state.entryAt(step.path);
    const content = have.content ?? theirs.get(step.path);
    if (entry === undefined) return [];
    if (!sameDigest(entry.content, content)) return [{...step, have: {...have, content}}];
    return metaSteps(step, entry, have, {view: options.view, allocatedBytes: allocated.get(step.path)});
  });
}

/** @returns what those that could be read have allocated */
async function hashOurs(files: readonly Doubtful[], parts: CompareContentParts): Promise<Map<RelPath, number>> {
  const {jobs, state, stats, events} = parts;
  const allocated = new Map<RelPath, number>();
  if (files.length === 0) return allocated;
  const wanted = files.map(({step, entry}) => ({path: step.path, expected: seenOf(entry)}));
  const read = await jobs.run('hash-files', {files: wanted}, {lane: 1});
  for (const [index, {step, entry}] of files.entries()) {
    const status = read.status[index] as number;
    if (status === READ_STATUS.unreadable) tellUnread(events, step.path, {status, errno: read.errno[index] as number});
    if (status !== READ_STATUS.ok) continue;
    stats.filesHashed++;
    state.setContentOf(entry, digestAt(read.digests, index));
    allocated.set(step.path, read.allocated[index] as number);
  }
  return allocated;
}

function metaSteps(
  {path}: FileStep,
  entry: Entry,
  have: Have,
  read: {view: View; allocatedBytes: number | undefined},
): Step[] {
  const op = metaOp(path, entry, have, read);
  return op === undefined ? [] : [{kind: 'op', path, op, destroys: 0}];
}

/** Whether size and time say that a file is the same; only its content can prove it. */
function isAlike(entry: Entry, have: Have, view: View): boolean {
  return entry.sizeBytes === have.sizeBytes && sameInPrecision(entry.mtime, have.meta.mtime, view.timePrecisionNs);
}
