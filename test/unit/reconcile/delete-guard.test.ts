import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {
  BURST_HELD_MS_MAX,
  BURST_QUIET_MS,
  judgeAtMs,
  judgeDeletes,
  NO_DELETE_LIMITS,
  noteDeletes,
  type Burst,
  type DeleteLimits,
} from '../../../src/reconcile/delete-guard.ts';

const LIMITS: DeleteLimits = {count: 10_000, share: 0.5, shareFrom: 20};

describe('a burst is judged whole', () => {
  test.each([
    {title: 'nothing', deleted: 0, of: 0, verdict: 'go'},
    {title: 'F5 50 of 100', deleted: 50, of: 100, verdict: 'go'},
    {title: 'F5 51 of 100', deleted: 51, of: 100, verdict: 'delete-share, limit 50'},
    {title: '50 of 99, where half is 49.5', deleted: 50, of: 99, verdict: 'delete-share, limit 49'},
    {title: '20 of 21, too few to have a share', deleted: 20, of: 21, verdict: 'go'},
    {title: '21 of 22', deleted: 21, of: 22, verdict: 'delete-share, limit 11'},
    {title: 'the only entry', deleted: 1, of: 1, verdict: 'go'},
    {title: 'both of 2', deleted: 2, of: 2, verdict: 'root-emptied, limit 1'},
    {title: 'F16 all 15, by cutting them to 0 bytes', deleted: 15, of: 15, verdict: 'root-emptied, limit 14'},
    {title: '10,000 of a million', deleted: 10_000, of: 1_000_000, verdict: 'go'},
    {title: '10,001 of a million', deleted: 10_001, of: 1_000_000, verdict: 'delete-count, limit 10000'},
  ])('$title: $verdict', ({deleted, of, verdict}) => {
    const judged = judgeDeletes(deleted, of, LIMITS, 0);
    expect(judged.go ? 'go' : `${judged.kind}, limit ${judged.limit}`).toBe(verdict);
    if (!judged.go) expect(judged.count).toBe(deleted);
  });

  test.each([
    {title: 'with the confirmed count', confirmed: 51, go: true},
    {title: 'with one less', confirmed: 50, go: false},
  ])('F5 51 of 100 $title', ({confirmed, go}) => {
    expect(judgeDeletes(51, 100, LIMITS, confirmed).go).toBe(go);
  });

  test('without limits everything goes, also the whole tree', () => {
    expect(judgeDeletes(1_000, 1_000, NO_DELETE_LIMITS, 0)).toEqual({go: true});
  });

  test('a limit of 100 % still asks before the tree is empty', () => {
    expect(judgeDeletes(100, 100, {...LIMITS, share: 1}, 0).go).toBe(false);
    expect(judgeDeletes(99, 100, {...LIMITS, share: 1}, 0).go).toBe(true);
  });
});

describe('a burst as it goes on', () => {
  test('20 of 25 single deletes go at once, the last 5 are held', () => {
    const {isHeld, burst} = run(Array(25).fill(1), 0);
    expect(isHeld).toEqual([...Array(20).fill(false), ...Array(5).fill(true)]);
    expect(burst).toMatchObject({released: 20, held: 5, treeCount: 101});
  });

  test('a directory of 30 entries is held whole, and what follows it waits too', () => {
    expect(run([1, 30, 1], 0).isHeld).toEqual([false, true, true]);
  });

  test('a burst is over after a quiet second, and the next has its own 20', () => {
    const first = run(Array(20).fill(1), 0).burst;
    expect(noteDeletes(first, 1, 100, BURST_QUIET_MS - 1, LIMITS).isHeld).toBe(true);
    const next = noteDeletes(first, 1, 80, BURST_QUIET_MS, LIMITS);
    expect(next).toMatchObject({isHeld: false, burst: {released: 1, treeCount: 81, startMs: BURST_QUIET_MS}});
  });

  test('one that holds deletes is not over before it was judged, however long that takes', () => {
    const {burst} = run([21], 0);
    expect(noteDeletes(burst, 1, 100, 10 * BURST_QUIET_MS, LIMITS)).toMatchObject({isHeld: true, burst: {held: 22}});
  });

  test('it is judged after a quiet second, at most 30 s after the first held delete', () => {
    let burst: Burst | undefined;
    for (let nowMs = 0; nowMs <= 60_000; nowMs += 500) {
      burst = noteDeletes(burst, 21, 1_000, nowMs, LIMITS).burst;
      expect(judgeAtMs(burst)).toBe(Math.min(nowMs + BURST_QUIET_MS, BURST_HELD_MS_MAX));
    }
  });

  test('never more than 20 go unjudged within a burst, whatever comes when', () => {
    const deletes = fc.array(
      fc.record({count: fc.integer({min: 1, max: 40}), afterMs: fc.integer({min: 0, max: 999})}),
    );
    fc.assert(
      fc.property(deletes, (all) => {
        let burst: Burst | undefined;
        let nowMs = 0;
        let [released, noted] = [0, 0];
        for (const {count, afterMs} of all) {
          nowMs += afterMs;
          const {burst: next, isHeld} = noteDeletes(burst, count, 1_000 - noted, nowMs, LIMITS);
          burst = next;
          noted += count;
          if (!isHeld) released += count;
        }
        expect(released).toBeLessThanOrEqual(LIMITS.shareFrom);
        expect((burst?.released ?? 0) + (burst?.held ?? 0)).toBe(noted);
        if (burst !== undefined) expect(burst.treeCount).toBe(1_000 + (all[0]?.count ?? 0));
      }),
    );
  });
});

/** Notes deletes at one moment, one after the other. */
function run(counts: number[], nowMs: number): {isHeld: boolean[]; burst: Burst} {
  let burst: Burst | undefined;
  const isHeld = counts.map((count) => {
    const noted = noteDeletes(burst, count, 100, nowMs, LIMITS);
    burst = noted.burst;
    return noted.isHeld;
  });
  return {isHeld, burst: burst as Burst};
}
