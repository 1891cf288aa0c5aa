import {describe, expect, test} from 'vitest';
import {DirtySet, USUAL} from '../../../src/reconcile/dirty-set.ts';
import {RestlessPaths} from '../../../src/reconcile/restless-paths.ts';

const HOUR_MS = 3_600_000;

describe('files that changed each time they were read', () => {
  test('are told after 2 s, and left alone longer and longer, up to 32 times the usual waits', () => {
    const restless = new RestlessPaths({maxWaitMs: 2_000, hot: 'wait', countMax: 10});
    const tries = Array.from({length: 9}, (_, index) => restless.failed('log', 500 + index * 1_000));
    expect(tries.map(({isOverdue}) => isOverdue)).toEqual([false, false, ...Array<boolean>(7).fill(true)]);
    expect(tries.map(({patience}) => patience.times)).toEqual([1, 1, 2, 4, 8, 16, 32, 32, 32]);
    expect(new Set(tries.map(({sinceMs}) => sinceMs))).toEqual(new Set([500]));
  });

  test('begin anew once they have arrived', () => {
    const restless = new RestlessPaths({maxWaitMs: 2_000, hot: 'wait', countMax: 10});
    for (let nowMs = 0; nowMs < 9_000; nowMs += 1_000) restless.failed('log', nowMs);
    expect([restless.arrived('log'), restless.arrived('log')]).toEqual([true, false]);
    expect(restless.failed('log', 9_000)).toEqual({sinceMs: 9_000, isOverdue: false, patience: USUAL});
  });

  test('of more than 10 those begin anew that were tried the longest ago, and are told', () => {
    const restless = new RestlessPaths({maxWaitMs: 2_000, hot: 'wait', countMax: 10});
    for (let index = 0; index < 10; index++) restless.failed(`log${index}`, index);
    expect([restless.failed('log0', 10), restless.advanced('log1', 10, 0)]).toMatchObject([
      {sinceMs: 0, forgotten: undefined},
      {sinceMs: 1, forgotten: undefined},
    ]);
    expect([restless.failed('log10', 11), restless.advanced('log11', 12, 0)]).toMatchObject([
      {sinceMs: 11, forgotten: 'log2'},
      {sinceMs: 12, forgotten: 'log3'},
    ]);
    const again = [restless.failed('log0', 5_000), restless.failed('log2', 5_000), restless.failed('log5', 5_000)];
    expect(again.map(({sinceMs}) => sinceMs)).toEqual([0, 5_000, 5]);
  });
});

describe('how they are read', () => {
  test.each(['wait', 'torn'] as const)(
    'at rest, then from a clone, and once they are told with %s: as it says',
    (hot) => {
      const restless = new RestlessPaths({maxWaitMs: 2_000, hot, countMax: 10});
      expect(restless.readingOf('log', 0)).toBe('at-rest');
      restless.failed('log', 0);
      expect(restless.readingOf('log', 1_999)).toBe('clone');
      expect(restless.readingOf('log', 2_000)).toBe(hot === 'torn' ? 'torn' : 'clone');
      restless.advanced('log', 2_500, 0);
      expect(restless.readingOf('log', 2_500)).toBe(hot === 'torn' ? 'torn' : 'clone');
      restless.arrived('log');
      expect(restless.readingOf('log', 9_000)).toBe('at-rest');
    },
  );

  test('one that arrived and goes on changing is left alone for twice the time it took, and its tries begin anew', () => {
    const restless = new RestlessPaths({maxWaitMs: 2_000, hot: 'wait', countMax: 10});
    for (let nowMs = 0; nowMs < 9_000; nowMs += 1_000) restless.failed('log', nowMs);
    expect(restless.advanced('log', 9_000, 500)).toEqual({
      sinceMs: 0,
      isOverdue: true,
      patience: {times: 2, waitMs: 1_000},
    });
    expect(restless.advanced('log', 9_000, 10_000).patience).toEqual({times: 10, waitMs: 20_000});
    expect([restless.hasAdvanced('log', 60_000), restless.hasAdvanced('log', 70_000)]).toEqual([true, false]);
    expect(restless.failed('log', 10_000).patience).toEqual(USUAL);
    expect(restless.hasAdvanced('log', 10_000)).toBe(false);
    restless.advanced('log', 11_000, 0);
    restless.lost();
    expect(restless.hasAdvanced('log', 11_000)).toBe(false);
    restless.advanced('log', 12_000, HOUR_MS);
    expect(restless.hasAdvanced('log', 2 * HOUR_MS)).toBe(true);
    expect(restless.hasAdvanced('log', 12_000 + 2 * HOUR_MS)).toBe(false);
  });
});

describe('a name that is given patience', () => {
  const dirty = (): DirtySet => {
    const set = new DirtySet({settleMs: 50, maxWaitMs: 2_000, countMax: 1_000});
    set.setPatience('d', 'log', {times: 4, waitMs: 0});
    return set;
  };

  test('is due after 200 ms at rest, or after 8 s', () => {
    const set = dirty();
    set.note('d', 'log', 0);
    expect([set.size, set.restlessCount, set.nextDueMs()]).toEqual([1, 1, 200]);
    for (let nowMs = 100; nowMs < 8_000; nowMs += 100) {
      set.note('d', 'log', nowMs);
      expect(set.take(nowMs, 10)).toEqual([]);
    }
    expect(set.take(8_000, 10)).toEqual([{path: 'd', names: ['log'], firstMs: 0}]);
    expect([set.size, set.restlessCount]).toEqual([0, 0]);
  });

  test('has it also when it is noted again, until it is taken back', () => {
    const set = dirty();
    set.note('d', 'log', 0);
    set.take(200, 10);
    set.note('d', 'log', 300);
    expect([set.restlessCount, set.nextDueMs()]).toEqual([1, 500]);
    set.setPatience('d', 'log', USUAL);
    expect([set.restlessCount, set.nextDueMs()]).toEqual([0, 350]);
  });

  test('is due at once, and is no exception, when everything is wanted now', () => {
    const set = dirty();
    set.note('d', 'log', 0);
    set.hurry(10);
    expect([set.restlessCount, set.take(10, 10)]).toEqual([0, [{path: 'd', names: ['log'], firstMs: 0}]]);
  });

  test('waits 5 s at rest and a minute in all at most, however much patience it is given', () => {
    const set = new DirtySet({settleMs: 1_000, maxWaitMs: 30_000, countMax: 1_000});
    set.setPatience('d', 'log', {times: 32, waitMs: 0});
    set.note('d', 'log', 0);
    expect(set.nextDueMs()).toBe(5_000);
    for (let nowMs = 1_000; nowMs < 60_000; nowMs += 1_000) set.note('d', 'log', nowMs);
    expect(set.nextDueMs()).toBe(60_000);
  });

  test('that took an hour to arrive is left alone for two while it goes on changing, and for 5 s once it rests', () => {
    const set = new DirtySet({settleMs: 1_000, maxWaitMs: 30_000, countMax: 1_000});
    set.setPatience('d', 'image', {times: 240, waitMs: 2 * HOUR_MS});
    for (let nowMs = 0; nowMs < 2 * HOUR_MS; nowMs += 1_000) set.note('d', 'image', nowMs);
    expect(set.nextDueMs()).toBe(2 * HOUR_MS);
    set.take(2 * HOUR_MS, 1);
    set.note('d', 'image', 3 * HOUR_MS);
    expect(set.nextDueMs()).toBe(3 * HOUR_MS + 5_000);
  });

  test('others in the set are no exception', () => {
    const set = dirty();
    set.note('d', 'log', 0);
    set.note('d', 'other', 0);
    set.note('e', 'log', 0);
    expect([set.size, set.restlessCount]).toEqual([3, 1]);
    expect(set.take(60, 10)).toEqual([
      {path: 'd', names: ['other'], firstMs: 0},
      {path: 'e', names: ['log'], firstMs: 0},
    ]);
    expect([set.size, set.restlessCount]).toEqual([1, 1]);
  });
});
