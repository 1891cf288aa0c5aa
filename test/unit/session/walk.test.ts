import fc from 'fast-check';
import {expect, test} from 'vitest';
import {sourceState} from '../../../src/daemon/source-state.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import {ROOT} from '../../../src/model/path.ts';
import type {Step} from '../../../src/reconcile/plan-path.ts';
import {createSteps, walk} from '../../../src/session/walk.ts';
import {entry} from '../state/state-fixture.ts';
import {
  counted,
  fill,
  isBelowIncomplete,
  isGoneWith,
  pairs,
  pathsOf,
  peerOf,
  perform,
  stepsFor,
  type Directory,
  type Node,
} from './tree-pair.ts';

const RUNS = {numRuns: Number(process.env['TOWLINE_WALK_RUNS'] ?? 40)};
const empty: Directory = {
  type: 'dir',
  mode: 0o755,
  isIncomplete: false,
  below: {},
  many: {from: 0, count: 0},
};

test('M1 the steps between two random trees make them equal, and then nothing is left to do', async () => {
  await fc.assert(
    fc.asyncProperty(pairs({withIncomplete: false}), async ({ours, theirs}) => {
      using source = disposable(fill(ours, 'source'));
      using target = disposable(fill(theirs, 'target'));
      perform(await stepsFor(source.store, target.store), source.store, target.store);
      expect(pathsOf(target.store).sort()).toEqual(pathsOf(source.store).sort());
      expect(target.store.rootDigest().equals(source.store.rootDigest())).toBe(true);
      expect(await stepsFor(source.store, target.store)).toEqual([]);
    }),
    RUNS,
  );
});

test('M1 nothing is deleted that the source holds, or below a directory that it could not read whole', async () => {
  await fc.assert(
    fc.asyncProperty(pairs({withIncomplete: true}), async ({ours, theirs}) => {
      using source = disposable(fill(ours, 'source'));
      using target = disposable(fill(theirs, 'target'));
      const before = pathsOf(target.store);
      const destroyed = perform(await stepsFor(source.store, target.store), source.store, target.store);
      const after = new Set(pathsOf(target.store));
      for (const path of pathsOf(source.store)) expect(after).toContain(path);
      for (const path of before) if (!after.has(path)) expect(isGoneWith(path, destroyed)).toBe(true);
      // A directory that could not be read whole replaces nothing and loses nothing.
      for (const path of destroyed)
        if (source.store.resolve(path) === undefined) expect(isBelowIncomplete(path, source.store)).toBe(false);
    }),
    RUNS,
  );
});

test('steps say how much they destroy: together all that the target had and has no more, or emptied', async () => {
  await fc.assert(
    fc.asyncProperty(pairs({withIncomplete: false}), async ({ours, theirs}) => {
      using source = disposable(fill(ours, 'source'));
      using target = disposable(fill(theirs, 'target'));
      const before = pathsOf(target.store).map((path) => ({path, entry: target.store.resolve(path)!.entry}));
      const steps = await stepsFor(source.store, target.store);
      perform(steps, source.store, target.store);
      const lost = before.filter(({path, entry: had}) => {
        const has = target.store.resolve(path)?.entry;
        const isEmptied = had.type === 'file' && had.sizeBytes > 0 && has?.sizeBytes === 0;
        return has === undefined || (has.type !== had.type && had.type === 'dir') || (has.type === 'file' && isEmptied);
      });
      expect(sum(steps)).toBe(lost.length);
    }),
    RUNS,
  );
});

test('of 700 and 600 siblings, 140 and 40 of them on one side only, exactly what differs is planned', async () => {
  using source = disposable(fill({...empty, many: {from: 0, count: 700}}, 'source'));
  using target = disposable(fill({...empty, many: {from: 140, count: 600}}, 'target'));
  const rootId = source.store.dirIdOf(ROOT) as number;
  for (const name of ['n200', 'n300']) source.store.put(rootId, entry(name, {mode: 0o600, sizeBytes: 9}));
  const steps = await stepsFor(source.store, target.store);
  const kinds = Map.groupBy(steps, (step) =>
    step.kind === 'file' ? (step.have === undefined ? 'new' : 'changed') : step.op.kind,
  );
  expect([...kinds].map(([kind, {length}]) => `${length} ${kind}`).sort()).toEqual([
    '140 new',
    '2 changed',
    '40 delete',
  ]);
  expect(
    kinds
      .get('changed')
      ?.map(({path}) => path)
      .sort(),
  ).toEqual(['n200', 'n300']);
});

test('one changed file among 5,000 siblings: fewer than 300 entries are listed', async () => {
  using source = disposable(fill({...empty, many: {from: 0, count: 5_000}}, 'source'));
  using target = disposable(fill({...empty, many: {from: 0, count: 5_000}}, 'target'));
  source.store.put(source.store.dirIdOf(ROOT) as number, entry('n7', {content: undefined}));
  const {tree, listed} = counted(sourceState(source.store));
  const steps: Step[] = [];
  for await (const some of walk({view: PLAIN_VIEW}, {tree, peer: peerOf(target.store)})) steps.push(...some);
  expect(steps.map(({path}) => path)).toEqual(['n7']);
  expect(listed()).toBeLessThan(300);
});

test('a directory that the target does not have is created with all below it, parents first, without asking', () => {
  const below: Record<string, Node> = {d: {...empty, below: {e: {...empty, many: {from: 0, count: 3}}}}};
  using source = disposable(fill({...empty, below}, 'source'));
  const steps = [...createSteps(sourceState(source.store), 'd', PLAIN_VIEW)];
  const planned = steps.map(({kind, path}) => `${kind} ${path}`);
  expect(planned[0]).toBe('op d/e');
  expect(planned.slice(1).sort()).toEqual(['file d/e/n0', 'file d/e/n1', 'file d/e/n2']);
});

test('a source without a root plans nothing', async () => {
  using source = disposable(fill(empty, 'source'));
  using target = disposable(fill({...empty, below: {d: empty}}, 'target'));
  const tree = {...sourceState(source.store), getRoot: () => undefined};
  const steps: Step[] = [];
  for await (const some of walk({view: PLAIN_VIEW}, {tree, peer: peerOf(target.store)})) steps.push(...some);
  expect(steps).toEqual([]);
});

function sum(steps: readonly Step[]): number {
  return steps.reduce((total, {destroys}) => total + destroys, 0);
}

function disposable<S extends {close(): void}>(store: S): {store: S} & Disposable {
  return {store, [Symbol.dispose]: () => store.close()};
}
