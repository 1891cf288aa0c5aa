/** What a target counts of a batch in which not everything is done. */
import {beforeEach, describe, expect, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {metaOf} from '../../../src/model/entry.ts';
import type {Failed, Op} from '../../../src/model/op.ts';
import {ROOT, type RelPath} from '../../../src/model/path.ts';
import {RollingHour} from '../../../src/reconcile/rolling-hour.ts';
import {TargetDeletes} from '../../../src/session/target-deletes.ts';
import type {VolumeStore} from '../../../src/state/volume-store.ts';
import {directory, entry, openStore} from '../state/state-fixture.ts';

const REFUSED: Failed = {status: 'failed', code: 'mount', message: 'm'};
const LIMITS = {count: 10_000, share: 0.5, shareFrom: 20};

let store: VolumeStore;
let deletes: TargetDeletes;

/** A folder `a` of 50 entries, a folder `m`, a symlink `f`. */
beforeEach(() => {
  store = openStore();
  store.putRoot(directory(ROOT, {ino: 1}));
  const rootId = store.dirIdOf(ROOT) as number;
  const dirId = store.put(rootId, directory('a', {ino: 2}));
  for (let index = 0; index < 50; index++) store.put(dirId, entry(`l${index}`, {type: 'symlink'}));
  store.put(rootId, directory('m', {ino: 3}));
  store.put(rootId, entry('f', {type: 'symlink'}));
  const parts = {tree: store, clock: systemClock, hour: new RollingHour()};
  deletes = new TargetDeletes({volume: 'v', deleteLimits: LIMITS}, parts);
});

function put(path: RelPath): Op {
  return {kind: 'put-symlink', path, meta: metaOf(entry(path)), target: 'x'};
}

function rename(path: RelPath, to: RelPath, type: 'dir' | 'file' = 'dir'): Op {
  return {kind: 'rename', path, to, type, content: undefined};
}

describe('a folder that does not move counts when a file is to take its place', () => {
  test('because the move is refused: halted', () => {
    const ops = [rename('a', 'm'), put('a')];
    const refused = new Map([[0, REFUSED]]);
    expect(deletes.judge(ops)).toMatchObject([
      {count: 1, isBare: true},
      {count: 0, isBare: true},
    ]);
    expect(() => deletes.judge(ops, refused)).toThrow(expect.objectContaining({code: 'HALTED'}));
  });

  test.each<[string, Op]>([
    ['below what is no folder', rename('a', 'f/a')],
    ['below what is not there', rename('a', 'x/a')],
    ['as a file', rename('a', 'x', 'file')],
  ])('because it cannot: %s', (_, move) => {
    expect(() => deletes.judge([move, put('a')])).toThrow(expect.objectContaining({code: 'HALTED'}));
  });
});

test('what is refused destroys nothing', () => {
  const ops: Op[] = [{kind: 'delete', path: 'a', type: 'dir'}];
  expect(deletes.judge(ops, new Map([[0, REFUSED]]))).toMatchObject([{count: 0, hourly: 0}]);
});
