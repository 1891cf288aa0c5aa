import {expect, test} from 'vitest';
import {openStore, newFolder} from './state-fixture.ts';

const LATEST_MS = 1_000_000;

test('what is noted comes out once it is due, together with what is due at the same moment, until it is done', () => {
  const {freshReads} = openStore();
  expect([freshReads.nextDueMs(), freshReads.due(99_999, LATEST_MS)]).toEqual([undefined, undefined]);
  for (const ino of [11, 12, 11]) freshReads.note(ino, 5_000);
  freshReads.note(13, 9_000);
  expect(freshReads.nextDueMs()).toBe(5_000);
  expect(freshReads.due(4_999, LATEST_MS)).toBeUndefined();
  const first = freshReads.due(5_000, LATEST_MS);
  expect(first?.inodes).toEqual([11, 12]);
  expect(freshReads.due(5_000, LATEST_MS)?.inodes).toEqual([11, 12]);
  first?.done();
  expect([freshReads.nextDueMs(), freshReads.due(8_999, LATEST_MS)]).toEqual([9_000, undefined]);
  freshReads.due(9_000, LATEST_MS)?.done();
  expect(freshReads.nextDueMs()).toBeUndefined();
});

test('what is due later than it can be, because the clock was set back, is due', () => {
  const {freshReads} = openStore();
  freshReads.note(11, LATEST_MS + 1);
  expect(freshReads.due(0, LATEST_MS)?.inodes).toEqual([11]);
});

test('of 10,000 at one moment at most 4,096 come out at once, and all in the end', () => {
  const {freshReads} = openStore();
  for (let ino = 1; ino <= 10_000; ino++) freshReads.note(ino, 5_000);
  const found: number[] = [];
  for (let group = freshReads.due(5_000, LATEST_MS); group !== undefined; group = freshReads.due(5_000, LATEST_MS)) {
    expect(group.inodes.length).toBeLessThanOrEqual(4_096);
    found.push(...group.inodes);
    group.done();
  }
  expect(found).toEqual(Array.from({length: 10_000}, (_, index) => index + 1));
});

test('it survives a stop, and a kill once it was committed', () => {
  const place = {folder: newFolder()};
  const first = openStore({place});
  first.freshReads.note(11, 5_000);
  first.close();
  const second = openStore({place});
  expect(second.freshReads.due(5_000, LATEST_MS)?.inodes).toEqual([11]);
  second.nextSeq(); // something is written, so that there is something to commit
  second.freshReads.note(12, 6_000);
  second.flush();
  second.abandon();
  const third = openStore({place});
  expect(third.freshReads.due(5_000, LATEST_MS)?.inodes).toEqual([11]);
  third.freshReads.due(5_000, LATEST_MS)?.done();
  expect(third.freshReads.due(6_000, LATEST_MS)?.inodes).toEqual([12]);
});
