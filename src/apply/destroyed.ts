/**
 * What batches deleted and replaced, as it is told to whoever keeps a log of it. Pure.
 *
 * Invariant: each entry that a batch took from its path is told, after a crash too; then with its place where the index
 * of the trash has it.
 */
import type {Op, OpKind} from '../model/op.ts';
import {isWithin, type RelPath} from '../model/path.ts';
import type {JournalRecord} from './journal-record.ts';
import type {Destroyed, Switched} from './switched.ts';
import type {IndexedItem} from './trash-index.ts';

export interface DestroyedAction {
  /** When the batch was applied, wall clock. */
  atMs: number;
  /** Unique for the volume. */
  batch: number;
  op: OpKind;
  path: RelPath;
  /** The other path of a rename or link. */
  to: RelPath | undefined;
  /** Relative to the trash; undefined when it was not put there. */
  place: string | undefined;
  /** For people: what became of it. */
  reason: string;
}

/** When and by which batch it was done. */
export interface BatchMark {
  atMs: number;
  batch: number;
}

const REASONS: Record<Destroyed['reason'], string> = {
  deleted: 'deleted',
  overwritten: 'own version',
  foreign: 'replaced',
  linked: 'has another name',
  empty: 'empty folder',
  patched: 'changed in place',
};

/** @param ops of the batch; `Switched` names them by index */
export function actionsOf(mark: BatchMark, ops: readonly Op[], switched: readonly Switched[]): DestroyedAction[] {
  return switched.flatMap(({index, destroyed}) => {
    const op = ops[index] as Op;
    const pair = 'to' in op ? {path: op.path, to: op.to} : undefined;
    return destroyed.map((each) => actionOf(mark, op.kind, {...each, ...pair}));
  });
}

function actionOf(
  {atMs, batch}: BatchMark,
  op: OpKind,
  {path, to, place, reason}: Destroyed & {to?: RelPath},
): DestroyedAction {
  return {atMs, batch, op, path, to, place, reason: REASONS[reason]};
}

/**
 * Of a batch that was completed after a crash.
 * @param indexed what the index of the trash has of its time: what it put there before the crash and after it
 */
export function recoveredActions(
  mark: BatchMark,
  records: readonly JournalRecord[],
  {switched, indexed}: {switched: readonly Switched[]; indexed: readonly IndexedItem[]},
): DestroyedAction[] {
  const itemsAt = Map.groupBy(indexed, ({path}) => path);
  return records.flatMap((record) => {
    const destroyed = switched.find(({index}) => index === record.index)?.destroyed ?? [];
    const at = record.kind === 'rename' ? record.to : record.path;
    const isAround = record.kind === 'delete' && record.type === 'dir'; // ignored entries may have stayed in it
    const items = isAround ? indexed.filter(({path}) => isWithin(path, at)) : (itemsAt.get(at) ?? []);
    const before = items.filter(({place}) => !destroyed.some((each) => each.place === place));
    const pair = record.kind === 'rename' ? {path: record.path, to: record.to} : undefined;
    return [...before, ...destroyed].map((each) => actionOf(mark, opOf(record), {...each, ...pair}));
  });
}

/** What the peer asked for, as far as the record tells. */
function opOf(record: JournalRecord): OpKind {
  if (record.kind === 'meta') return 'set-meta';
  if (record.kind === 'patch') return 'put-file';
  if (record.kind !== 'install') return record.kind;
  return record.type === 'dir' ? 'make-dir' : record.type === 'symlink' ? 'put-symlink' : 'put-file';
}
