import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {NO_DELETE_LIMITS, type DeleteLimits, type Verdict} from '../../../src/reconcile/delete-guard.ts';
import {HOUR_MS, RollingHour} from '../../../src/reconcile/rolling-hour.ts';

const LIMITS: DeleteLimits = {count: 10_000, share: 0.5, shareFrom: 20};
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;

/** A tree of names that knows what it holds, whose deletes pass an account. */
class Tree {
  readonly names = new Set<string>();
  readonly hour = new RollingHour();
  readonly limits: DeleteLimits;
  nowMs = 10 * HOUR_MS;

  constructor(count: number, limits = LIMITS) {
    this.limits = limits;
    for (let index = 0; index < count; index++) this.names.add(`old${index}`);
  }

  create(name: string): void {
    if (!this.names.has(name)) this.hour.births.born(name, this.nowMs);
    this.names.add(name);
  }

  /** One that nobody saw coming: found by a scan. */
  appear(name: string): void {
    this.names.add(name);
  }

  rename(from: string, to: string): void {
    this.hour.renamed(from, to, {isDir: false, isOver: this.names.has(to)});
    this.names.delete(from);
    this.names.add(to);
  }

  /** Deletes unless the verdict is against it. */
  delete(...names: string[]): Verdict {
    const {nowMs, limits, hour} = this;
    const treeCount = this.names.size;
    const losses = names.map((name) => ({name, count: hour.countOf(name, 1, nowMs)}));
    const count = losses.reduce((sum, loss) => sum + loss.count, 0);
    for (const name of names) this.names.delete(name);
    const countAt = (name: string): number => (this.names.has(name) ? 1 : 0);
    const verdict = hour.judge(count, {treeCount, leftCount: this.names.size, limits, nowMs, countAt});
    for (const {name, count: each} of losses) {
      if (!verdict.go) this.names.add(name);
      else {
        hour.note(name, each, {treeCount, nowMs});
        hour.births.forget(name, false);
      }
    }
    return verdict;
  }
}

/** Deletes old names, `each` at a time, until something halts. @returns how many went, and the halt */
function trickle(tree: Tree, each: number, everyMs: number, rounds: number): {gone: number; verdict: Verdict} {
  let gone = 0;
  const old = [...tree.names].filter((name) => name.startsWith('old'));
  for (let round = 0; round < rounds; round++) {
    const names = old.slice(gone, gone + each);
    if (names.length === 0) break;
    const verdict = tree.delete(...names);
    if (!verdict.go) return {gone, verdict};
    gone += names.length;
    tree.nowMs += everyMs;
  }
  return {gone, verdict: {go: true}};
}

describe('what trickles is judged as a burst is', () => {
  test('F5 19 every 2 s of 100,000: halted before the 10,001st within the hour', () => {
    const {gone, verdict} = trickle(new Tree(100_000, {...LIMITS, share: 1}), 19, 2 * SECOND_MS, 10_000);
    expect(gone).toBe(9_994);
    expect(verdict).toEqual({go: false, kind: 'delete-count', count: 10_013, limit: 10_000});
  });

  test('F5 one every 2 s of 1,000 at 50 %: halted before the 501st', () => {
    const {gone, verdict} = trickle(new Tree(1_000), 1, 2 * SECOND_MS, 2_000);
    expect(gone).toBe(500);
    expect(verdict).toEqual({go: false, kind: 'delete-share', count: 501, limit: 500});
  });

  test('F5 one every 2 s of 30: 20 go whatever their share, the 21st does not', () => {
    const {gone, verdict} = trickle(new Tree(30), 1, 2 * SECOND_MS, 100);
    expect([gone, verdict.go ? '' : verdict.kind]).toEqual([20, 'delete-share']);
  });

  test('F2 one every 2 s of 15: the last one stays', () => {
    const {gone, verdict} = trickle(new Tree(15), 1, 2 * SECOND_MS, 100);
    expect([gone, verdict.go ? '' : verdict.kind]).toEqual([14, 'root-emptied']);
  });

  test('new entries beside do not make up for old ones that go', () => {
    const tree = new Tree(1_000);
    let gone = 0;
    for (let round = 0; round < 1_000 && tree.delete(`old${round}`).go; round++, gone++) {
      for (let count = 0; count < 3; count++) tree.create(`new${round}-${count}`);
      tree.nowMs += 2 * SECOND_MS;
    }
    expect(gone).toBe(500);
  });

  test('without limits everything goes', () => {
    expect(trickle(new Tree(2_000, NO_DELETE_LIMITS), 1, 0, 3_000)).toEqual({gone: 2_000, verdict: {go: true}});
  });

  test('a renamed old file is still old, also over a name that was counted', () => {
    const tree = new Tree(100);
    let gone = 0;
    for (let index = 0; index < 100; index++, gone++) {
      tree.create('bin');
      tree.rename(`old${index}`, 'bin');
      if (!tree.delete('bin').go) break;
      tree.nowMs += 2 * SECOND_MS;
    }
    expect(gone).toBe(50);
  });
});

describe('honest work goes on for hours', () => {
  test('a journal that comes and goes every second in a tree of 30', () => {
    const tree = new Tree(30);
    for (let round = 0; round < 8_000; round++) {
      tree.create('journal');
      tree.nowMs += SECOND_MS;
      expect(tree.delete('journal').go).toBe(true);
    }
    expect(tree.hour.lostCount(tree.nowMs)).toBe(0);
  });

  test('100 logs an hour rotated out of 1,000', () => {
    const tree = new Tree(1_000);
    for (let round = 0; round < 500; round++) {
      tree.create(`log${round}`);
      expect(tree.delete(round < 100 ? `old${round}` : `log${round - 100}`).go).toBe(true);
      tree.nowMs += 36 * SECOND_MS;
    }
  });

  test('a spool where 20,000 an hour come, and go after 30 minutes', () => {
    const tree = new Tree(30);
    let halts = 0;
    for (let round = 0; round < 30_000; round++) {
      tree.create(`s${round}`);
      if (round >= 10_000 && !tree.delete(`s${round - 10_000}`).go) halts++;
      tree.nowMs += 180;
    }
    expect(halts).toBe(0);
  });

  test('files that are written anew by deleting them first, each at its time', () => {
    const tree = new Tree(100);
    for (let round = 0; round < 400; round++) {
      expect(tree.delete(`old${round % 100}`).go).toBe(true);
      tree.nowMs += 2 * SECOND_MS;
      tree.appear(`old${round % 100}`);
    }
  });

  test('40 % an hour, for six hours', () => {
    const tree = new Tree(1_000);
    for (let hour = 0; hour < 6; hour++) {
      const count = Math.floor(tree.names.size * 0.4);
      expect(trickle(tree, 1, Math.ceil(HOUR_MS / count), count)).toMatchObject({gone: count});
      tree.nowMs += 2 * MINUTE_MS;
    }
  });

  test('a delete that is sent again counts once', () => {
    const tree = new Tree(100);
    for (let round = 0; round < 1_000; round++) {
      expect(tree.delete(...Array.from({length: 30}, (_, index) => `old${index}`)).go).toBe(true);
      tree.nowMs += SECOND_MS;
    }
    expect(tree.hour.lostCount(tree.nowMs)).toBe(30);
  });
});

describe('the operator’s word', () => {
  test('F5 501 of 1,000: the 501st goes after it, then half of the 500 before it', () => {
    const tree = new Tree(1_000);
    expect(trickle(tree, 1, SECOND_MS, 2_000).verdict).toMatchObject({count: 501});
    tree.hour.confirmed(501, tree.nowMs);
    expect(tree.hour.lostCount(tree.nowMs)).toBe(0);
    expect(trickle(tree, 1, SECOND_MS, 2_000)).toMatchObject({gone: 1 + 250, verdict: {go: false, limit: 250}});
  });

  test('F2 the last one goes after it', () => {
    const tree = new Tree(15);
    expect(trickle(tree, 1, SECOND_MS, 100).verdict).toMatchObject({kind: 'root-emptied', count: 15});
    tree.hour.confirmed(15, tree.nowMs);
    expect(trickle(tree, 1, SECOND_MS, 100)).toEqual({gone: 1, verdict: {go: true}});
  });

  test('given before anything went it lets so many go at once, within an hour', () => {
    const tree = new Tree(100);
    tree.hour.confirmed(60, tree.nowMs);
    const names = [...tree.names].slice(0, 60);
    expect(tree.delete(...names).go).toBe(true);
    const late = new Tree(100);
    late.hour.confirmed(60, late.nowMs);
    late.nowMs += HOUR_MS;
    expect(late.delete(...names).go).toBe(false);
  });
});

test('whatever comes when: within 60 minutes no more old entries go than the limits allow', () => {
  const action = fc.record({
    kind: fc.constantFrom('delete', 'delete', 'create', 'delete-new', 'rename'),
    count: fc.integer({min: 1, max: 30}),
    afterMs: fc.integer({min: 0, max: 10 * MINUTE_MS}),
  });
  const shares = fc.constantFrom(0.1, 0.5, 0.9);
  fc.assert(
    fc.property(fc.array(action, {maxLength: 60}), fc.integer({min: 5, max: 200}), shares, (actions, size, share) => {
      const tree = new Tree(size, {count: 40, share, shareFrom: 5});
      const gone: {atMs: number; treeCount: number}[] = [];
      let next = 0;
      for (const {kind, count, afterMs} of actions) {
        tree.nowMs += afterMs;
        const old = [...tree.names].filter((name) => name.startsWith('old')).slice(0, count);
        const young = [...tree.names].filter((name) => name.startsWith('new')).slice(0, count);
        if (kind === 'create') for (let index = 0; index < count; index++) tree.create(`new${next++}`);
        else if (kind === 'rename') for (const name of old) tree.rename(name, `old-${next++}`);
        else {
          const treeCount = tree.names.size;
          const names = kind === 'delete' ? old : young;
          if (tree.delete(...names).go && kind === 'delete')
            for (const _ of names) gone.push({atMs: tree.nowMs, treeCount});
        }
        const within = gone.filter(({atMs}) => atMs > tree.nowMs - HOUR_MS);
        expect(within.length).toBeLessThanOrEqual(40);
        const treeCount = Math.max(within[0]?.treeCount ?? 0, within.length + 1);
        expect(within.length).toBeLessThanOrEqual(Math.max(5, share * Math.max(treeCount, size)));
      }
    }),
    {numRuns: 300},
  );
});
