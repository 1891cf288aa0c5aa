/** Parts of large files that nobody goes on with: when they go. */
import {expect, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {Volumes} from '../session/transfer-fixture.ts';

test('one of a week ago stays while a batch waits to be completed, which may need it', async () => {
  const volumes = new Volumes();
  const past = {...systemClock, nowMs: () => systemClock.nowMs() - 8 * 86_400_000};
  const part = {stage: 't1-1', path: 'image', sizeBytes: 9e6, ino: 1, btime: {s: 1, ns: 0}};
  volumes.keepParts(past).partials!.note(part);
  const {partials} = volumes.keepParts();
  volumes.journal.append({id: 1, body: Buffer.from('a batch')});
  await partials!.prune();
  expect(partials!.paths()).toEqual(['image']);
  volumes.journal.drop(1);
  await partials!.prune();
  expect(partials!.paths()).toEqual([]);
});
