/**
 * The jobs of applying a batch in a worker: create, stage, switch, recover, sweep. Wiring of the steps; the order in
 * which they are called, and the journal between them, is the applier's.
 */
import {TowlineError} from '../base/errors.ts';
import type {JobHandlers, ScopeHandlers} from '../base/jobs.ts';
import {release} from '../base/memory.ts';
import {openBeneath} from '../linux/beneath.ts';
import {readAttrsAt} from '../linux/attrs.ts';
import {listNames} from '../linux/directories.ts';
import {openRegular} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statAt} from '../linux/stat.ts';
import {syncFd, syncFilesystem} from '../linux/sync.ts';
import {NO_ATTRS, type Attrs} from '../model/attrs.ts';
import type {Seen, Stat} from '../model/entry.ts';
import type {Failed, Op, OpResult} from '../model/op.ts';
import {packStats} from '../model/packed-stats.ts';
import {nameOf, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import type {OpenRoot} from '../model/root.ts';
import {ApplyContext, type ApplyOptions, type OpenPlaces, type WithPlaces} from './context.ts';
import {opsOf} from './batch-frame.ts';
import {applyCreations} from './create.ts';
import {failure} from './failure.ts';
import type {JournalRecord, Known} from './journal-record.ts';
import {digHoles, type DugStep} from './sparse.ts';
import {stage} from './stage.ts';
import {stagedHandlers, type StagedFile, type StagedJobs, type StagedTransfers} from './staged-transfers.ts';
import {switchAll} from './switch.ts';
import {KEPT_SUFFIX, type Switched} from './switched.ts';
import {bytesOfOp, makeRoom, noSpace, removeSome, roomForOps} from './make-room.ts';
import {removeTree} from './remove-tree.ts';
import {itemsOf, pruneTrash, Trash, type PruneOptions} from './trash.ts';
import type {Freed} from './trash-age.ts';
import type {IndexedItem} from './trash-index.ts';

/** A directory whose times were put back, as it is now. */
export interface SeenDir {
  path: RelPath;
  stat: Stat;
  /** Read after `stat`. */
  attrs: Attrs;
}

export interface BatchInput {
  frame: Uint8Array;
  options: ApplyOptions;
  /** Number for names in the staging folder, unique within this state. */
  batch: number;
  atMs: number;
}

export type ApplyJobs = StagedJobs & {
  /** `stats` of the operations that were done (packed-stats.ts), from the first on; `failed` of them by index. */
  'create-batch': {
    in: BatchInput;
    out: {
      count: number;
      stats: Float64Array;
      failed: {index: number; result: OpResult}[];
      /** Of those that have any, by index. */
      attrs: Map<number, Attrs>;
      /** Those that somebody has written to already, by index. */
      touched: number[];
      dirs: SeenDir[];
      freed?: Freed;
    };
    part: never;
  };
  /** Stages operations from `from` on, to `to` at most: none builds on one that is only staged. */
  'stage-batch': {
    in: BatchInput & {
      from: number;
      to: number;
      /** Of each of these operations, from `from` on. */
      known: (Known | undefined)[];
      /** Renames whose file has another content here than the source moved. */
      stale: number[];
      /** Operations that are not to be done, by index. */
      refused: Map<number, Failed>;
      staged: Map<number, StagedFile>;
    };
    out: {records: JournalRecord[]; failed: {index: number; result: Failed}[]; next: number; freed?: Freed};
    part: never;
  };
  'switch-batch': {
    in: {
      records: JournalRecord[];
      options: ApplyOptions;
      batch: number;
      atMs: number;
      /** Operations that were judged as taking away one entry at most, by index. */
      bare?: ReadonlySet<number>;
      /** After a crash: what cannot be switched now stays staged, to be tried again. */
      isRecovery?: boolean;
    };
    out: {switched: Switched[]; dirs: SeenDir[]};
    part: never;
  };
  /** One step of making the zeros of a file holes; nothing when it is not the file that was expected. */
  'dig-holes': {in: {path: RelPath; expected: Seen; from: number}; out: DugStep | undefined; part: never};
  /** Removes what an earlier run left in the staging folder, but for the names that are spared. */
  'sweep-staging': {in: {nowMs: number; spared: readonly Name[]}; out: {removed: number}; part: never};
  'prune-trash': {in: PruneOptions; out: {removed: number}; part: never};
  /** Lets the oldest of the trash go after the disk was found full. */
  'make-room': {in: {neededBytes: number}; out: {freed?: Freed}; part: never};
  /** Items that a batch of this time put into the trash, or was about to. */
  'indexed-trash': {in: {atMs: number}; out: {items: IndexedItem[]}; part: never};
};

const SYNC_EACH_COUNT_MAX = 8; // as in create.ts

export function applyHandlers(openPlaces: WithPlaces): ScopeHandlers<ApplyJobs> {
  const received = stagedHandlers(openPlaces);
  const withPlaces: WithPlaces = (job) => openPlaces((root, places) => withoutSurprise(() => job(root, places)));
  const inContext = <T>(
    {options, batch, atMs, isRecovery}: {options: ApplyOptions; batch: number; atMs: number; isRecovery?: boolean},
    job: (context: ApplyContext, places: OpenPlaces) => T,
  ): T =>
    withPlaces((root, places) => {
      using context = new ApplyContext(options, {root, places, batch, atMs, isRecovery});
      return job(context, places);
    });
  const handlers: JobHandlers<ApplyJobs> = {
    ...received.handlers,
    'create-batch': (input, job) =>
      inContext(input, (context, places) => {
        const ops = opsOf(input.frame, input.options.view);
        const {isShort, room} = roomForOps(ops, places);
        const freed = room.freed && {freed: room.freed};
        if (isShort) return {...NOTHING_CREATED, ...freed}; // what needs no room is done the other way
        const created = applyCreations(context, ops);
        release(input.frame);
        const stats = packStats(created.map(({stat}) => stat));
        job.transfer(stats.buffer);
        const failed = created.flatMap(({result}, index) => (result.status === 'done' ? [] : [{index, result}]));
        const attrs = new Map(
          created.flatMap(({attrs: each = NO_ATTRS}, index) => (each.length === 0 ? [] : [[index, each]])),
        );
        const touched = created.flatMap(({isTouched}, index) => (isTouched === true ? [index] : []));
        const count = created.length;
        return {count, stats, failed, attrs, touched, dirs: settleDirs(context), ...freed};
      }),
    'stage-batch': (input) => inContext(input, (context, places) => stageBatch(context, places, input)),
    'make-room': ({neededBytes}) => withPlaces((_root, places) => makeSomeRoom(places, neededBytes)),
    'switch-batch': (input) =>
      inContext(input, (context) => {
        const switched = switchAll(context, input.records, input.bare);
        return {switched, dirs: settleDirs(context)};
      }),
    'dig-holes': ({path, expected, from}) => withPlaces((root) => dig(root, path, {expected, from})),
    'sweep-staging': ({nowMs, spared}) => withPlaces((_root, places) => sweep(places, nowMs, spared)),
    'prune-trash': (options) => withPlaces((_root, {trashFd}) => ({removed: pruneTrash(trashFd, options)})),
    'indexed-trash': ({atMs}) => withPlaces((_root, {trashFd}) => ({items: itemsOf(trashFd, atMs)})),
  };
  return {...received, handlers};
}

const NOTHING_CREATED: ApplyJobs['create-batch']['out'] = {
  count: 0,
  stats: new Float64Array(),
  failed: [],
  touched: [],
  attrs: new Map(),
  dirs: [],
};

/** What failed for want of room although some seems to be there: something else than bytes is short. */
function makeSomeRoom(places: OpenPlaces, neededBytes: number): ApplyJobs['make-room']['out'] {
  const room = makeRoom(places, neededBytes);
  if (room.freed === undefined && neededBytes > room.spareBytes) return {}; // all of the trash would not be enough
  const {freed = removeSome(places.trashFd, neededBytes)} = room;
  return freed.count > 0 ? {freed} : {};
}

function stageBatch(
  context: ApplyContext,
  places: OpenPlaces,
  input: ApplyJobs['stage-batch']['in'],
): ApplyJobs['stage-batch']['out'] {
  const ops = opsOf(input.frame, input.options.view);
  const {room} = roomForOps(ops.slice(input.from), places);
  let {spareBytes} = room;
  const records: JournalRecord[] = [];
  const failed: {index: number; result: Failed}[] = [];
  const stale = new Set(input.stale);
  const transfers: StagedTransfers = {
    claim: (transfer, content) => {
      const known = input.staged.get(transfer);
      return known !== undefined && content.equals(known.content) ? known : undefined;
    },
  };
  for (let next = input.from; next < input.to; next++) {
    const op = ops[next] as Op;
    const bytes = bytesOfOp(op);
    const short = bytes > spareBytes ? noSpace(op.path, bytes, {...room, spareBytes}) : undefined;
    const refusal = input.refused.get(next) ?? short;
    if (refusal !== undefined) {
      failed.push({index: next, result: refusal});
      continue;
    }
    const result = stale.has(next)
      ? {failed: failure('base-changed', op.path, 'what the source renamed has not arrived yet')}
      : stage(context, transfers, op, next, input.known[next - input.from]);
    if ('failed' in result) failed.push({index: next, result: result.failed});
    else {
      spareBytes -= bytes;
      records.push(result.record);
    }
  }
  const isPatched = records.some(({kind}) => kind === 'patch'); // half of one is of no use without the other
  if (isPatched || (context.options.isDurable && records.some(({kind}) => kind === 'install')))
    makeStagedDurable(context, records);
  return {records, failed, next: input.to, ...(room.freed && {freed: room.freed})};
}

function makeStagedDurable(context: ApplyContext, records: readonly JournalRecord[]): void {
  const staged = records.filter((record) => record.kind === 'install');
  if (staged.length > SYNC_EACH_COUNT_MAX) return syncFilesystem(context.stagingFd);
  for (const record of staged) if (record.type === 'file') syncStagedFile(context, record.stage);
  syncFd(context.stagingFd);
}

function syncStagedFile(context: ApplyContext, name: Name): void {
  let fd: number;
  try {
    ({fd} = openRegular(context.stagingFd, name));
  } catch (error) {
    if (isLinuxError(error, 'ENOENT', 'ELOOP', 'EINVAL')) return; // somebody took it: the switch finds that out too
    throw error;
  }
  try {
    syncFd(fd);
  } finally {
    closeFd(fd);
  }
}

/**
 * What fails for one path is that path's problem; what fails besides is the staging folder's or the trash's, which in a
 * root others can write to.
 */
function withoutSurprise<T>(job: () => T): T {
  try {
    return job();
  } catch (error) {
    if (!isLinuxError(error)) throw error;
    const {syscall, code, message} = error;
    const text = `the staging folder or the trash: ${message}; is another process changing what is in there?`;
    throw new TowlineError('SYSTEM', text, {syscall, errno: code, path: ''}, {cause: error});
  }
}

/** Puts directory times back and says how the directories look now, so that the state need not be surprised later. */
function settleDirs(context: ApplyContext): SeenDir[] {
  const isMany = context.touched.count > SYNC_EACH_COUNT_MAX;
  context.touched.restore(context.dirs, context.options.isDurable && !isMany);
  if (context.options.isDurable && isMany) syncFilesystem(context.root.fd);
  const dirs: SeenDir[] = [];
  for (const path of context.touched.paths) {
    try {
      const place =
        path === ROOT ? {fd: context.root.fd, name: '.'} : {fd: context.dirs.open(parentOf(path)), name: nameOf(path)};
      const stat = statAt(place.fd, place.name);
      dirs.push({path, stat, attrs: readAttrsAt(place.fd, place.name) ?? NO_ATTRS});
    } catch (error) {
      if (!isLinuxError(error)) throw error; // gone again; the next scan sees it
    }
  }
  return dirs;
}

/** What goes wrong with it goes wrong again where it matters: only space is lost. */
function dig(root: OpenRoot, path: RelPath, file: {expected: Seen; from: number}): DugStep | undefined {
  let dirFd = -1;
  try {
    dirFd = openBeneath(root.fd, parentOf(path));
    const place = {dirFd, name: nameOf(path), mountId: root.mountId};
    return digHoles(place, file.expected, file.from);
  } catch (error) {
    if (isLinuxError(error)) return undefined;
    throw error;
  } finally {
    if (dirFd >= 0) closeFd(dirFd);
  }
}

function sweep({stagingFd, trashFd}: OpenPlaces, nowMs: number, spared: readonly Name[]): {removed: number} {
  const isLeft = (name: Name): boolean => /^([bt]\d+|trial|probe)-/.test(name) && !spared.includes(name);
  const names = listNames(stagingFd).filter(isLeft);
  const trash = new Trash(trashFd, nowMs);
  try {
    for (const name of names) {
      try {
        // Somebody's version whose way to the trash failed; its path is not known any more.
        if (name.endsWith(KEPT_SUFFIX))
          trash.take(stagingFd, name, {path: name, type: statAt(stagingFd, name).type, reason: 'foreign'});
        else removeTree(stagingFd, name);
      } catch (error) {
        if (!isLinuxError(error)) throw error; // somebody changes it: the next sweep looks again
      }
    }
  } finally {
    trash.close();
  }
  return {removed: names.length};
}
