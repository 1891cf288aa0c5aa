/** A batch that was dropped leaves the file by itself: an agent that is killed at rest has nothing to complete. */
import {afterEach, expect, test, vi} from 'vitest';
import {openJournalStore} from '../../../src/state/journal-store.ts';
import {makeTmpDir} from '../../tmp.ts';

afterEach(() => vi.useRealTimers());

test.each([
  {afterMs: 499, left: [1]},
  {afterMs: 500, left: []},
])('killed $afterMs ms after its last batch was dropped, $left is left of it', ({afterMs, left}) => {
  vi.useFakeTimers();
  const place = {folder: makeTmpDir()};
  const store = openJournalStore({place, bootId: 'a'});
  store.append({id: 1, body: Buffer.from('first')});
  store.drop(1);
  vi.advanceTimersByTime(afterMs);
  store.abandon();
  const again = openJournalStore({place, bootId: 'a'});
  expect(again.pending().map(({id}) => id)).toEqual(left);
  again.close();
});

test('what is appended before that takes it along, and is not taken itself', () => {
  vi.useFakeTimers();
  const place = {folder: makeTmpDir()};
  const store = openJournalStore({place, bootId: 'a'});
  store.append({id: 1, body: Buffer.from('first')});
  store.drop(1);
  store.append({id: 2, body: Buffer.from('second')});
  vi.advanceTimersByTime(10_000);
  store.abandon();
  const again = openJournalStore({place, bootId: 'a'});
  expect(again.pending().map(({id}) => id)).toEqual([2]);
  again.close();
});
