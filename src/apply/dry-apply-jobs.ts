/**
 * The jobs of applying a batch in a dry run: the state changes as if everything had been done, and nothing else does.
 *
 * So a dry run takes the way of a run, with the same comparisons, guards and answers. Invariant: no file is touched.
 */
import type {JobRunner} from '../base/jobs.ts';
import {NO_ATTRS, withAttrs, type Attrs} from '../model/attrs.ts';
import type {Entry, EntryType, Meta, Stat} from '../model/entry.ts';
import type {Op} from '../model/op.ts';
import {nameOf, parentOf, ROOT, showPath, type RelPath} from '../model/path.ts';
import type {View} from '../model/view.ts';
import type {ApplyJobs} from './apply-jobs.ts';
import type {TargetStore} from './target-rows.ts';
import {buildsOn, opsOf, pathsOf} from './batch-frame.ts';
import {DONE, failure} from './failure.ts';
import type {JournalRecord} from './journal-record.ts';
import {NOTHING_SEEN, type Switched} from './switched.ts';

const NO_TIME = {s: 0, ns: 0};

type DryKind = 'create-batch' | 'stage-batch' | 'switch-batch' | 'dig-holes';
type Input<K extends keyof ApplyJobs> = ApplyJobs[K]['in'];
type Output<K extends keyof ApplyJobs> = ApplyJobs[K]['out'];

/** @param store a copy of the target's state */
export function dryApplyJobs(store: TargetStore): JobRunner<ApplyJobs> {
  const imagined = new ImaginedTree(store);
  let ops: Op[] = [];
  const jobs: {[K in DryKind]: (input: Input<K>) => Output<K>} = {
    'dig-holes': () => undefined,
    'create-batch': () => ({count: 0, stats: new Float64Array(), failed: [], attrs: new Map(), touched: [], dirs: []}),
    'stage-batch': ({frame, options, from, to, stale}) => {
      ops = opsOf(frame, options.view);
      const taken = new Set<RelPath>();
      const records: JournalRecord[] = [];
      let next = from;
      for (; next < to; next++) {
        const op = ops[next] as Op;
        if (buildsOn(op, taken)) break; // also on what is only set, which is not in the copy before the next step
        for (const path of pathsOf(op)) taken.add(path);
        // Only its number counts: the operations are at hand.
        if (!stale.includes(next)) records.push({kind: 'delete', index: next, path: op.path, ino: 0, type: 'file'});
      }
      const failed = stale
        .filter((index) => index >= from && index < next)
        .map((index) => ({index, result: failure('base-changed', ops[index]!.path, 'something else would be there')}));
      return {records, failed, next};
    },
    'switch-batch': ({records, options}) => {
      const switched = records.map(({index}) => imagined.after(ops[index] as Op, index, options.view));
      return {switched, dirs: []};
    },
  };
  return {
    run: (kind, input) => {
      const job = jobs[kind as keyof typeof jobs] as ((input: unknown) => unknown) | undefined;
      if (job === undefined) return Promise.reject(new Error(`${kind} is not done in a dry run`));
      return Promise.resolve(job(input) as never);
    },
  };
}

/** What would be there. */
class ImaginedTree {
  readonly #store: TargetStore;
  #lastInode = Number.MAX_SAFE_INTEGER; // no file has it

  constructor(store: TargetStore) {
    this.#store = store;
  }

  after(op: Op, index: number, view: View): Switched {
    const place = op.kind === 'rename' ? op.to : op.path;
    if (op.kind !== 'delete' && this.#store.dirIdOf(parentOf(place)) === undefined) {
      const result = failure('parent-missing', op.path, `its folder ${showPath(parentOf(place))} would not be there`);
      return {...NOTHING_SEEN, index, result, stat: undefined, destroyed: []};
    }
    const stat = this.#statAfter(op);
    const otherStat = op.kind === 'exchange' ? this.#entryAt(op.to) : undefined;
    const isMissing = stat === undefined && op.kind !== 'delete';
    const result = isMissing ? failure('base-changed', op.path, 'nothing would be there') : DONE;
    const [attrs, otherAttrs] = [this.#attrsAfter(op, view), otherStat?.attrs ?? NO_ATTRS];
    return {...NOTHING_SEEN, index, result, stat, otherStat, attrs, otherAttrs, destroyed: []};
  }

  #attrsAfter(op: Op, view: View): Attrs {
    const known = this.#entryAt(op.kind === 'link' ? op.to : op.path)?.attrs ?? NO_ATTRS;
    if (op.kind === 'set-meta') return withAttrs(known, op.meta.attrs, view.xattrs);
    return 'meta' in op ? op.meta.attrs : known;
  }

  #statAfter(op: Op): Stat | undefined {
    switch (op.kind) {
      case 'make-dir': {
        const known = this.#entryAt(op.path);
        return known?.type === 'dir' ? {...known, ...op.meta} : this.#fresh('dir', op.meta, 0);
      }
      case 'put-file':
        return this.#fresh('file', op.meta, op.sizeBytes);
      case 'put-symlink':
        return this.#fresh('symlink', op.meta, op.target.length);
      case 'put-special':
        return {...this.#fresh(op.type, op.meta, 0), rdev: op.rdev};
      case 'link': {
        const first = this.#entryAt(op.to);
        return first && {...first, nlink: first.nlink + 1};
      }
      case 'set-meta': {
        const known = this.#entryAt(op.path);
        return known && {...known, ...op.meta};
      }
      case 'rename':
      case 'exchange':
        return this.#entryAt(op.path);
      case 'delete':
        return undefined;
    }
  }

  #fresh(type: EntryType, meta: Meta, sizeBytes: number): Stat {
    const {mode, uid, gid, mtime} = meta;
    const own = {mode, uid, gid, mtime, ctime: NO_TIME, btime: NO_TIME, ino: this.#lastInode--};
    return {type, ...own, sizeBytes, allocatedBytes: sizeBytes, nlink: 1, rdev: 0, mountId: 0};
  }

  #entryAt(path: RelPath): Entry | undefined {
    if (path === ROOT) return this.#store.getRoot();
    const parentId = this.#store.dirIdOf(parentOf(path));
    return parentId === undefined ? undefined : this.#store.get(parentId, nameOf(path));
  }
}
