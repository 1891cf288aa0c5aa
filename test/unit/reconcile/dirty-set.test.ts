import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {DirtySet} from '../../../src/reconcile/dirty-set.ts';

const OPTIONS = {settleMs: 50, maxWaitMs: 2_000, countMax: 1_000};

describe('when a name is due', () => {
  test('50 ms after it was noted', () => {
    const dirty = new DirtySet(OPTIONS);
    dirty.note('d', 'a', 100);
    expect([dirty.take(149, 10), dirty.nextDueMs()]).toEqual([[], 150]);
    expect(dirty.take(150, 10)).toEqual([{path: 'd', names: ['a'], firstMs: 100}]);
    expect([dirty.size, dirty.nextDueMs()]).toEqual([0, undefined]);
  });

  test('A15 ten edits within one settle of 50 ms come out once, 50 ms after the last', () => {
    const dirty = new DirtySet(OPTIONS);
    for (let edit = 0; edit < 10; edit++) dirty.note('d', 'a', edit * 5);
    expect([dirty.size, dirty.nextDueMs(), dirty.take(94, 10)]).toEqual([1, 95, []]);
    expect(dirty.take(95, 10)).toEqual([{path: 'd', names: ['a'], firstMs: 0}]);
    expect(dirty.take(10_000, 10)).toEqual([]);
  });

  test('one that is written every 10 ms comes out after 2 s all the same', () => {
    const dirty = new DirtySet(OPTIONS);
    for (let nowMs = 0; nowMs < 2_000; nowMs += 10) {
      dirty.note('d', 'log', nowMs);
      expect(dirty.take(nowMs, 10)).toEqual([]);
    }
    expect(dirty.take(2_000, 10)).toEqual([{path: 'd', names: ['log'], firstMs: 0}]);
  });

  test('one that changes again after it was taken comes out again', () => {
    const dirty = new DirtySet(OPTIONS);
    dirty.note('d', 'a', 0);
    dirty.take(50, 10);
    dirty.note('d', 'a', 60);
    expect(dirty.take(110, 10)).toEqual([{path: 'd', names: ['a'], firstMs: 60}]);
  });
});

describe('what comes out', () => {
  test('a directory in doubt takes its due names with it', () => {
    const dirty = new DirtySet(OPTIONS);
    dirty.note('d', 'a', 0);
    dirty.note('d', undefined, 5);
    expect(dirty.take(60, 10)).toEqual([{path: 'd', names: undefined, firstMs: 0}]);
  });

  test('at most as many names as were asked for, the rest the next time', () => {
    const dirty = new DirtySet(OPTIONS);
    for (let index = 0; index < 25; index++) dirty.note(`d${index % 2}`, `n${index}`, 0);
    const counts = [10, 10, 10].map((countMax) =>
      dirty.take(50, countMax).reduce((sum, {names}) => sum + (names?.length ?? 0), 0),
    );
    expect(counts).toEqual([10, 10, 5]);
  });

  test('names that are not due yet are seen, and stay', () => {
    const dirty = new DirtySet(OPTIONS);
    dirty.note('d', 'a', 0);
    dirty.note('d', undefined, 0);
    dirty.note('e', 'b', 0);
    expect(dirty.peek(10)).toEqual([
      {path: 'd', names: ['a']},
      {path: 'e', names: ['b']},
    ]);
    expect([dirty.peek(1), dirty.size]).toEqual([[{path: 'd', names: ['a']}], 3]);
  });

  test('more than 1,000 names: it is full, empty again, and says so once', () => {
    const dirty = new DirtySet(OPTIONS);
    for (let index = 0; index < 1_000; index++) dirty.note('d', `n${index}`, 0);
    expect([dirty.size, dirty.takeFull()]).toEqual([1_000, false]);
    dirty.note('d', 'one more', 0);
    expect([dirty.size, dirty.takeFull(), dirty.takeFull(), dirty.take(99, 10)]).toEqual([0, true, false, []]);
  });

  test('every name that was noted comes out, once for each quiet time, and never before it', () => {
    const notes = fc.array(
      fc.record({dir: fc.constantFrom('', 'd'), name: fc.constantFrom('a', 'b'), afterMs: fc.nat(70)}),
    );
    fc.assert(
      fc.property(notes, fc.integer({min: 1, max: 3}), (all, countMax) => {
        const dirty = new DirtySet(OPTIONS);
        const last = new Map<string, number>();
        let nowMs = 0;
        const take = (): void => {
          for (const {path, names = []} of dirty.take(nowMs, countMax)) {
            for (const name of names) {
              expect(nowMs - (last.get(`${path}/${name}`) as number)).toBeGreaterThanOrEqual(OPTIONS.settleMs);
              expect(last.delete(`${path}/${name}`)).toBe(true);
            }
          }
        };
        for (const {dir, name, afterMs} of all) {
          nowMs += afterMs;
          take();
          dirty.note(dir, name, nowMs);
          last.set(`${dir}/${name}`, nowMs);
        }
        for (let round = 0; dirty.size > 0; round++) {
          nowMs = Math.max(nowMs, dirty.nextDueMs() as number);
          take();
          expect(round).toBeLessThan(10);
        }
        expect(last.size).toBe(0);
      }),
    );
  });
});
