/**
 * `sync --once` over names that no program makes by accident, and any container can.
 */
import {renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test, vi} from 'vitest';
import {needsCommands} from '../../needs.ts';
import {compareByRsync, makePair, syncOnce} from '../../sync/harness.ts';

vi.setConfig({testTimeout: 120_000}); // seconds on a quiet machine

needsCommands('rsync')(test)('a swap beside files named with control bytes leaves them where they are', async () => {
  const pair = makePair();
  for (const name of ['a', 'b', '\u0001exchange', '\u0001', '\u007f'])
    writeFileSync(join(pair.source, name), `content of ${name}`);
  expect((await syncOnce(pair)).exitCode).toBe(0);
  renameSync(join(pair.source, 'a'), join(pair.source, 't'));
  renameSync(join(pair.source, 'b'), join(pair.source, 'a'));
  renameSync(join(pair.source, 't'), join(pair.source, 'b'));
  const run = await syncOnce(pair);
  expect([run.exitCode, run.result.stats.contentBytes], run.stderr).toEqual([0, 0]);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});
