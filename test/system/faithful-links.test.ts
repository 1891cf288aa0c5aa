/**
 * What goes wrong with hard links when metadata and content belong to an inode but are told of names: found by random
 * trees (faithful-trees.test.ts), here one by one. All cases are folders of one tree, judged by independent programs.
 */
import {mkdirSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import {judge} from '../judge/judge.ts';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command, makePair, startLive, syncOnce, type Pair} from '../sync/harness.ts';
import {untilEqual} from '../sync/live.ts';

interface Case {
  what: string;
  make: string;
  change: string;
}

const CASES: readonly Case[] = [
  {
    what: 'one name becomes a file of its own with the same content and other rights, owner and time',
    make: 'echo 1 > a; ln a b; chmod 640 a; chown 7:8 a; touch -d @1000.5 a',
    change: 'cp b x; mv x b',
  },
  {
    what: 'the same with an attribute',
    make: 'echo 1 > a; ln a b; setfattr -n user.x -v 1 a',
    change: 'cp -p b x; mv x b; setfattr -n user.x -v 2 b',
  },
  {
    what: 'two groups exchange a name',
    make: 'echo 1 > a; ln a b; echo 1 > c; ln c d; chmod 600 a; chmod 666 c',
    change: 'ln -f a d; ln -f c b',
  },
  {
    what: 'a name of a file with holes becomes a file of its own',
    make: 'truncate -s 2M a; echo 1 >> a; ln a b; truncate -s 2M c; echo 2 >> c; ln c d',
    change: 'cp --sparse=always b x; chmod 600 x; mv x b; cp d x; mv x c; echo 3 >> c',
  },
  {
    what: 'a symbolic link of two names, then of one with another owner',
    make: 'ln -s x a; ln -P a b',
    change: 'rm b; ln -s x b; chown -h 7:8 b',
  },
  {
    what: 'a FIFO of two names, then of one with other rights',
    make: 'mkfifo -m 600 a; ln a b; ln a c',
    change: 'rm b; mkfifo -m 644 b; chmod 620 c',
  },
  {
    what: 'a file is edited under a name that another file takes at once',
    make: 'mkdir d; echo 1 > d/a; ln d/a b',
    change: 'echo 2 > d/a; touch -d @5 d/a; echo 3 > d/x; mv d/x d/a',
  },
  {
    what: 'a file gets other rights under a name that goes at once',
    make: 'mkdir d; echo 1 > d/a; ln d/a b',
    change: 'chmod 600 d/a; rm d/a',
  },
  {
    what: 'a file is edited and gets other rights below a directory that goes at once',
    make: 'mkdir -p d/e; echo 1 > d/e/a; ln d/e/a b; mkfifo d/e/p; ln d/e/p q',
    change: 'echo 22 > d/e/a; chmod 600 d/e/a; chown 7 d/e/p; rm -r d',
  },
  {
    what: 'a file gets other rights below a directory of which a file takes the place',
    make: 'mkdir d; echo 1 > d/a; ln d/a b',
    change: 'chmod 600 d/a; rm -r d; echo 3 > d',
  },
  {
    what: 'a file gets other rights under a name that another name of something else takes',
    make: 'mkdir d; echo 1 > d/a; ln d/a b; echo 2 > c',
    change: 'chmod 600 d/a; mv c d/a',
  },
];

const folderOf = (index: number): string => `case-${String(index).padStart(2, '0')}`;
const describeTrees = needsLoopMounts(
  needsCommands('python3', 'rsync', 'getfattr', 'getfacl', 'getcap', 'mkfs.xfs')(describe),
);

describeTrees.each(['in runs', 'live'])('G5 hard links, %s', (how) => {
  let differences: string[];
  let first: string[];

  function inEach(pair: Pair, script: (found: Case) => string): void {
    for (const [index, found] of CASES.entries()) {
      const folder = join(pair.source, folderOf(index));
      mkdirSync(folder, {recursive: true});
      command('bash', '-ceu', `cd "$0"; ${script(found)}`, folder);
    }
  }

  async function run(pair: Pair): Promise<string[]> {
    const {result} = await syncOnce(pair, ['--delete-limit', 'none']);
    return [...result.problems.map(({message}) => message), ...(await judge(pair.source, pair.target))];
  }

  beforeAll(async () => {
    const pair = makePair('file', makeLoopFilesystem('ext4', 100).path);
    inEach(pair, ({make}) => make);
    first = await run(pair);
    if (how === 'in runs') {
      inEach(pair, ({change}) => change);
      differences = await run(pair);
      return;
    }
    const live = startLive(pair, ['--delete-limit', 'none', '--settle', '300ms']); // more than a case takes
    await live.waitInSync();
    inEach(pair, ({change}) => change);
    await untilEqual(live, pair).catch(() => undefined); // the judge tells
    differences = await judge(pair.source, pair.target);
    await live.stop();
  }, 60_000);

  test('the first copy is equal', () => {
    expect(first).toEqual([]);
  });

  test.each(CASES.map(({what}, index) => [what, folderOf(index)] as const))('%s', (_, folder) => {
    expect(differences.filter((line) => line.includes(folder))).toEqual([]);
  });

  test('nothing else differs', () => {
    expect(differences.filter((line) => !line.includes('case-'))).toEqual([]);
  });
});

needsLoopMounts(needsCommands('mkfs.ext4', 'chattr')(test))(
  'G5 what cannot be made equal elsewhere keeps no names apart, and no others together',
  async () => {
    const pair = makePair('test', makeLoopFilesystem('ext4', 20).path);
    const inSource = (script: string): string => command('bash', '-ceu', `cd "$0"; ${script}`, pair.source);
    inSource('echo 1 > locked; mkdir d; echo 2 > d/a; cp -p d/a d/b; echo 3 > d/c; ln d/c d/e; cp -p d/a f');
    expect((await syncOnce(pair)).exitCode).toBe(0);
    inSource('echo 9 > locked; ln -f d/a d/b; cp -p d/e x; mv x d/e; ln -f d/a f');
    command('chattr', '+i', join(pair.target, 'locked'));
    try {
      const {result} = await syncOnce(pair);
      expect(result.problems.map(({path}) => path)).toEqual(['locked']);
    } finally {
      command('chattr', '-i', join(pair.target, 'locked'));
    }
    const inode = (name: string): number => statSync(join(pair.target, name)).ino;
    expect([inode('d/b'), inode('f')]).toEqual([inode('d/a'), inode('d/a')]);
    expect(inode('d/e')).not.toBe(inode('d/c'));
    expect((await syncOnce(pair)).exitCode).toBe(0);
    expect(await judge(pair.source, pair.target)).toEqual([]);
  },
);
