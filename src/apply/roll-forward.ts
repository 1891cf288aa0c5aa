/**
 * Completes the batches that a crash left in the journal: without the source, and without the state of the volume.
 *
 * The steps of a batch, and what is on disk after each, are in JOURNAL.md. Invariants: nothing is rolled back; a row
 * leaves the journal only when all that can be done of it is done, so a filesystem that is full or read-only costs time
 * and no half batch.
 */
import type {Clock} from '../base/clock.ts';
import {TowlineError} from '../base/errors.ts';
import type {JobRunner} from '../base/jobs.ts';
import type {PartialFile} from '../model/partial-file.ts';
import {showPath} from '../model/path.ts';
import type {ApplyJobs} from './apply-jobs.ts';
import type {ApplyOptions} from './context.ts';
import {recoveredActions, type DestroyedAction} from './destroyed.ts';
import {mayPass} from './failure.ts';
import {ENTRY_BYTES} from './make-room.ts';
import {decodeJournal, type JournalBatch, type JournalRecord} from './journal-record.ts';
import type {Switched} from './switched.ts';

const ROUNDS_MAX = 64; // what is tried doubles; only where something else than bytes is short does it take more than 30

/** Batches between their switch and their record; state/journal-store.ts by shape. */
export interface Journal {
  append(batch: {id: number; body: Buffer}): void;
  pending(): Iterable<{id: number; body: Uint8Array}>;
  drop(id: number): void;
  /** Parts of large files, which a later transfer goes on with. */
  readonly partials?: {all(): readonly PartialFile[]};
}

export interface RollForwardParts {
  jobs: JobRunner<ApplyJobs>;
  journal: Journal;
  clock: Clock;
  /** Told what was done again of a batch. */
  onSwitched?: (records: readonly JournalRecord[], switched: readonly Switched[]) => void;
  /** Told what was deleted and replaced, before the crash or now. */
  onDestroyed?: ((actions: DestroyedAction[]) => void) | undefined;
}

export interface RolledForward {
  /** Batches that were completed. */
  batches: number;
  /** Batches that wait: of an older version, which did not journal what was agreed. */
  left: number;
  /** One sentence for each path that is not as its batch wanted it: somebody has changed it meanwhile, for one. */
  problems: string[];
}

/** @returns wall clock of the batches that are not done, by which their hours of the trash are named */
export function waitingMs(journal: Pick<Journal, 'pending'>): number[] {
  return [...journal.pending()].map(({body}) => decodeJournal(body).atMs);
}

/**
 * Rolls all batches of the journal forward, then sweeps what no batch needs from the staging folder.
 * @param options for rows of older versions, which do not say what was agreed; undefined: such rows wait
 * @throws TowlineError SYSTEM when the filesystem does not let a batch be completed: its row stays
 */
export async function rollForward(parts: RollForwardParts, options?: ApplyOptions): Promise<RolledForward> {
  const {jobs, journal, clock} = parts;
  const done: RolledForward = {batches: 0, left: 0, problems: []};
  for (const {id, body} of [...journal.pending()]) {
    const batch = decodeJournal(body);
    const agreed = batch.options ?? options;
    if (agreed === undefined || done.left > 0) {
      done.left++; // and what came after it
      continue;
    }
    const switched = await switchAgain(parts, {...batch, options: agreed});
    if (parts.onDestroyed !== undefined) {
      const {items: indexed} = await jobs.run('indexed-trash', {atMs: batch.atMs});
      const actions = recoveredActions(batch, batch.records, {switched, indexed});
      if (actions.length > 0) parts.onDestroyed(actions);
    }
    parts.onSwitched?.(batch.records, switched);
    journal.drop(id);
    done.batches++;
    for (const {result} of switched) if (result.status === 'failed') done.problems.push(result.message);
  }
  // In the lane of the scan that follows: one worker less to start.
  const spared = journal.partials?.all().map(({stage}) => stage) ?? [];
  if (done.left === 0) await jobs.run('sweep-staging', {nowMs: clock.nowMs(), spared}, {lane: 1});
  return done;
}

/** Where the directories are now is seen by the scan that follows. */
async function switchAgain(
  {jobs}: RollForwardParts,
  {records, options, batch, atMs}: JournalBatch & {options: ApplyOptions},
): Promise<Switched[]> {
  const input = {records, options, batch, atMs, isRecovery: true};
  let {switched} = await jobs.run('switch-batch', input);
  let guessBytes = switched.filter(lacksRoom).length * ENTRY_BYTES;
  for (let count = 0; count < ROUNDS_MAX && switched.some(lacksRoom); count++) {
    const freedBytes = await makeRoomFor(jobs, guessBytes);
    if (freedBytes === undefined) break;
    guessBytes = 2 * freedBytes;
    ({switched} = await jobs.run('switch-batch', input));
  }
  const stuck = switched.find(({errno}) => mayPass(errno));
  if (stuck?.result.status !== 'failed') return switched;
  const path = showPath(records.find(({index}) => index === stuck.index)?.path ?? '');
  const message = `a batch that a crash had interrupted cannot be completed: ${stuck.result.message}`;
  throw new TowlineError('SYSTEM', message, {syscall: 'renameat2', errno: stuck.errno ?? '', path});
}

function lacksRoom({errno}: Switched): boolean {
  return errno === 'ENOSPC' || errno === 'EDQUOT';
}

/**
 * What a batch needs is not known: holes that fill, what a file grows by, names. So more is tried each time that it was
 * not enough, and where the trash has not so much, less: what is freed is what the next try begins with.
 * @returns bytes that were made room for; undefined when the trash has nothing more to give
 */
async function makeRoomFor(jobs: JobRunner<ApplyJobs>, guessBytes: number): Promise<number | undefined> {
  for (let neededBytes = guessBytes; neededBytes >= ENTRY_BYTES; neededBytes /= 2) {
    const {freed} = await jobs.run('make-room', {neededBytes}, {lane: 1});
    if (freed !== undefined) return neededBytes;
  }
  return undefined;
}
