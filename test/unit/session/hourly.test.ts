/** What live deletes add up to within an hour, on both sides, over a clock that the test moves. */
import {beforeEach, describe, expect, test} from 'vitest';
import type {Clock} from '../../../src/base/clock.ts';
import {sourceState} from '../../../src/daemon/source-state.ts';
import {metaOf} from '../../../src/model/entry.ts';
import type {Op} from '../../../src/model/op.ts';
import {ROOT, type RelPath} from '../../../src/model/path.ts';
import type {DeleteLimits} from '../../../src/reconcile/delete-guard.ts';
import {RollingHour} from '../../../src/reconcile/rolling-hour.ts';
import {LiveDeletes} from '../../../src/session/live-deletes.ts';
import {TargetDeletes} from '../../../src/session/target-deletes.ts';
import type {VolumeStore} from '../../../src/state/volume-store.ts';
import {directory, entry, openStore} from '../state/state-fixture.ts';
import {putLinks} from './link-pair.ts';

const LIMITS: DeleteLimits = {count: 10_000, share: 0.5, shareFrom: 20};
const OPTIONS = {volume: 'v', deleteLimits: LIMITS, confirmedDeletes: 0};
const ROUND_MS = 2_000;

let nowMs = 1_000;
const clock: Clock = {nowMs: () => nowMs, monotonicMs: () => nowMs, sleep: () => Promise.resolve()};
let store: VolumeStore;

beforeEach(() => {
  store = openStore();
  store.putRoot(directory(ROOT, {ino: 1}));
  putLinks(store, 0, 100);
});

/** Does something every 2 s until it halts. @returns rounds that went, and the halt */
function untilHalted(rounds: number, work: (round: number) => void): {count: number; error: unknown} {
  for (let count = 0; count < rounds; count++) {
    try {
      work(count);
    } catch (error) {
      return {count, error};
    }
    nowMs += ROUND_MS;
  }
  return {count: rounds, error: undefined};
}

function remove(path: RelPath): Op {
  return {kind: 'delete', path, type: 'symlink'};
}

describe('a source', () => {
  /** What the look finds that comes after a delete, as the scanner has it: the state has lost it already. */
  function deleteLive(deletes: LiveDeletes, path: RelPath): boolean {
    const countBefore = store.entryCount();
    store.remove(store.dirIdOf(ROOT) as number, path);
    return deletes.take({kind: 'op', path, op: remove(path), destroys: 1}, {noticedMs: nowMs, countBefore});
  }

  test('F5 one delete every 2 s of 100: the 51st halts', () => {
    const deletes = new LiveDeletes(OPTIONS, {state: sourceState(store), clock});
    const {count, error} = untilHalted(100, (round) => expect(deleteLive(deletes, `l${round}`)).toBe(true));
    expect(count).toBe(50);
    expect(error).toMatchObject({code: 'HALTED', details: {kind: 'delete-share', volume: 'v', count: 51, limit: 50}});
  });

  test('F5 bursts of 21 that are each allowed add up: the third of 100 halts', () => {
    const deletes = new LiveDeletes(OPTIONS, {state: sourceState(store), clock});
    const {count, error} = untilHalted(5, (round) => {
      for (let index = 0; index < 21; index++) deleteLive(deletes, `l${round * 21 + index}`);
      nowMs = deletes.dueMs as number;
      expect(deletes.release()).toHaveLength(1);
    });
    expect(count).toBe(2);
    expect(error).toMatchObject({details: {kind: 'delete-share'}});
  });

  test('what was made, renamed, and deleted again for an hour counts nothing', () => {
    const hour = new RollingHour();
    const deletes = new LiveDeletes(OPTIONS, {state: sourceState(store), clock, hour});
    const rootId = store.dirIdOf(ROOT) as number;
    const {error} = untilHalted(1_800, (round) => {
      const made = {...entry('made', {type: 'symlink'}), parentId: rootId, dirId: 0};
      store.put(rootId, made);
      deletes.note({changes: [{kind: 'put', path: 'made', before: undefined, after: made}], newDirs: []});
      nowMs += ROUND_MS;
      const to = `moved${round}`;
      store.move(rootId, 'made', rootId, to);
      deletes.note({changes: [{kind: 'renamed', path: 'made', to, entry: made, isOver: false}], newDirs: []});
      nowMs += ROUND_MS;
      deleteLive(deletes, to);
    });
    expect(error).toBeUndefined();
    expect(hour.lostCount(nowMs)).toBe(0);
  });

  test('old files that are moved to one name and deleted there count one by one', () => {
    const deletes = new LiveDeletes(OPTIONS, {state: sourceState(store), clock});
    const rootId = store.dirIdOf(ROOT) as number;
    const {count} = untilHalted(100, (round) => {
      const moved = store.get(rootId, `l${round}`)!;
      store.move(rootId, `l${round}`, rootId, 'bin');
      deletes.noteMoves({
        changes: [{kind: 'renamed', path: `l${round}`, to: 'bin', entry: {...moved, dirId: 0}, isOver: false}],
      });
      deleteLive(deletes, 'bin');
    });
    expect(count).toBe(50);
  });
});

describe('a target', () => {
  let deletes: TargetDeletes;
  const hour = new RollingHour();

  function apply(...ops: Op[]): void {
    const judged = deletes.judge(ops);
    const rootId = store.dirIdOf(ROOT) as number;
    for (const op of ops) {
      if (op.kind === 'delete') store.remove(rootId, op.path);
      else store.put(rootId, entry(op.path, {type: 'symlink'}));
    }
    deletes.noteDone(
      ops,
      judged,
      ops.map(() => ({status: 'done'})),
    );
  }

  function make(path: RelPath): Op {
    return {kind: 'put-symlink', path, meta: metaOf(entry(path)), target: 'x'};
  }

  beforeEach(() => {
    nowMs += 7_200_000;
    deletes = new TargetDeletes(OPTIONS, {tree: store, clock, hour});
  });

  test('F5 one delete every 2 s of 100: the 51st halts, in a new connection too, and goes once it is confirmed', () => {
    const {count, error} = untilHalted(100, (round) => apply(remove(`l${round}`)));
    expect(count).toBe(50);
    expect(error).toMatchObject({code: 'HALTED', details: {kind: 'delete-share', volume: 'v', count: 51, limit: 50}});
    deletes = new TargetDeletes(OPTIONS, {tree: store, clock, hour});
    expect(() => apply(remove('l50'))).toThrow(expect.objectContaining({code: 'HALTED'}));
    deletes.confirmed(51);
    expect(untilHalted(100, (round) => apply(remove(`l${50 + round}`))).count).toBe(1 + 25);
  });

  test('what the source made within the hour counts nothing when it goes', () => {
    const {error} = untilHalted(1_800, (round) => {
      apply(make(`m${round}`));
      if (round >= 500) apply(remove(`m${round - 500}`));
    });
    expect(error).toBeUndefined();
    expect(hour.lostCount(nowMs)).toBe(0);
  });

  test('deletes that failed do not count, however often they are tried', () => {
    const ops = Array.from({length: 30}, (_, index) => remove(`l${index}`));
    const {error} = untilHalted(1_000, () => {
      const results = ops.map(() => ({status: 'failed', code: 'not-empty', message: 'm'}) as const);
      deletes.noteDone(ops, deletes.judge(ops), results);
    });
    expect(error).toBeUndefined();
  });

  test('a batch that makes what stays does not empty the tree that it deletes the rest of', () => {
    const rootId = store.dirIdOf(ROOT) as number;
    for (let index = 3; index < 100; index++) store.remove(rootId, `l${index}`);
    for (const index of [0, 1]) apply(remove(`l${index}`));
    nowMs += ROUND_MS;
    apply(make('new'), remove('l2'));
    expect(store.entryCount()).toBe(1);
  });

  test('a burst that replaces everything does not empty the tree; the last one of a tree that stays empty does', () => {
    deletes = new TargetDeletes({volume: 'v', deleteLimits: {...LIMITS, share: 1}}, {tree: store, clock, hour});
    for (let index = 0; index < 99; index++) apply(make(`m${index}`), remove(`l${index}`));
    apply(remove('l99'));
    expect(store.entryCount()).toBe(99);
    nowMs += ROUND_MS;
    const rest = Array.from({length: 99}, (_, index) => remove(`m${index}`));
    expect(() => apply(...rest)).toThrow(expect.objectContaining({code: 'HALTED'}));
  });

  test('what a batch moves out of a directory before it deletes it is not lost with it', () => {
    const rootId = store.dirIdOf(ROOT) as number;
    const oldId = store.put(rootId, directory('old', {ino: 500}));
    for (let index = 0; index < 10; index++) store.put(oldId, entry(`l${index}`, {type: 'symlink'}));
    for (let index = 1; index < 100; index++) store.remove(rootId, `l${index}`);
    const moves = Array.from({length: 9}, (_, index): Op => ({
      kind: 'rename',
      path: `old/l${index}`,
      to: `l${index + 1}`,
      type: 'symlink',
      content: undefined,
    }));
    expect(deletes.judge([...moves, {kind: 'delete', path: 'old', type: 'dir'}])).toMatchObject([
      ...moves.map(() => ({count: 0})),
      {count: 2},
    ]);
  });
});
