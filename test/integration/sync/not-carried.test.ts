/** What this version leaves behind is told: holes are problems until they are carried. */
import {rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {command, makePair, syncOnce} from '../../sync/harness.ts';

test('G8 1 MiB of hole ends a run with 1, is listed in it and in the next, and goes when it is gone', async () => {
  const pair = makePair();
  writeFileSync(join(pair.source, 'plain'), 'plain');
  command('truncate', '-s', '1M', join(pair.source, 'hole'));
  for (const round of ['first', 'second']) {
    const {exitCode, result} = await syncOnce(pair);
    const problems = result.problems.map(({path, code}) => ({path, code}));
    expect({round, exitCode, inSync: result.inSync, problems}).toEqual({
      round,
      exitCode: 1,
      inSync: false,
      problems: [{path: 'hole', code: 'attributes'}],
    });
  }
  rmSync(join(pair.source, 'hole'));
  const {exitCode, result} = await syncOnce(pair);
  expect({exitCode, problems: result.problems}).toEqual({exitCode: 0, problems: []});
});
