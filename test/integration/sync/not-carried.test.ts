/**
 * What this version leaves behind is told: special files, attributes and holes are problems until they are carried.
 */
import {spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {needsCommands, needsRoot} from '../../needs.ts';
import {makePair, syncOnce} from '../../sync/harness.ts';

function run(...words: [string, ...string[]]): void {
  const {status, stderr} = spawnSync(words[0], words.slice(1), {encoding: 'utf8'});
  if (status !== 0) throw new Error(`${words.join(' ')}: ${stderr}`);
}

needsRoot(needsCommands('setfattr', 'setcap')(test))(
  'G4 G7 G8 a FIFO, an attribute, a capability and 1 MiB of hole end a run with 1, are listed in it and in the next, and go when they are gone',
  async () => {
    const pair = makePair();
    for (const name of ['aa', 'attribute', 'capability', 'plain']) writeFileSync(join(pair.source, name), name);
    run('setfattr', '-n', 'user.a', '-v', 'b', join(pair.source, 'attribute'));
    run('setcap', 'cap_net_raw+ep', join(pair.source, 'capability'));
    run('truncate', '-s', '1M', join(pair.source, 'hole'));
    run('mkfifo', join(pair.source, 'pipe'));
    const listed = [
      {path: 'attribute', code: 'attributes'},
      {path: 'capability', code: 'attributes'},
      {path: 'hole', code: 'attributes'},
      {path: 'pipe', code: 'not-carried'},
    ];
    for (const round of ['first', 'second']) {
      const {exitCode, result} = await syncOnce(pair);
      const problems = result.problems.map(({path, code}) => ({path, code}));
      expect({round, exitCode, inSync: result.inSync, problems}).toEqual({
        round,
        exitCode: 1,
        inSync: false,
        problems: listed,
      });
    }
    run('setfattr', '-x', 'user.a', join(pair.source, 'attribute'));
    run('setcap', '-r', join(pair.source, 'capability'));
    run('rm', join(pair.source, 'hole'), join(pair.source, 'pipe'));
    const {exitCode, result} = await syncOnce(pair);
    expect({exitCode, problems: result.problems}).toEqual({exitCode: 0, problems: []});
  },
);
