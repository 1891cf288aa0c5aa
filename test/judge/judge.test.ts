/**
 * The judge itself: a copy by rsync is equal to what it was made from, and every kind of planted difference is found, by
 * each of the programs that can see it.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {makeNastyTree} from '../nasty/nasty.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command} from '../sync/harness.ts';
import {judge, type Kind} from './judge.ts';
import {PLANTS} from './plants.ts';

const ALL_KINDS: Kind[] = [
  ...(['owners', 'times', 'devices', 'specials', 'xattrs', 'acls', 'hard-links', 'holes'] as const),
  ...(['trusted', 'capabilities'] as const),
];
const DEEP = `
import os, sys
os.chdir(sys.argv[1])
for level in range(30):
    os.mkdir('d' * 200)
    os.chdir('d' * 200)
open('file', 'w').write(sys.argv[2])
os.utime('file', ns=(0, 123456789))
for level in range(31):
    os.utime('.', ns=(0, level))
    os.chdir('..')
`;

const describeTrees = needsLoopMounts(needsCommands('rsync', 'getfattr', 'getfacl', 'getcap', 'python3')(describe));

function copy(source: string, target: string): void {
  command('rsync', '-aHAXS', '--modify-window=-1', '--filter=-x system.*', `${source}/`, `${target}/`);
}

/** The folder of a plant, in both trees. */
const folderOf = (index: number): string => `p${String(index).padStart(2, '0')}`;

/** A shell script in a folder; names in it may be any bytes ($'\xff'). */
const inFolder = (folder: string, script: string): string => command('bash', '-ceu', `cd "$0"; ${script}`, folder);

describeTrees('the judge', () => {
  let base: string;
  const make = (...names: string[]): string[] => names.map((name) => join(base, name));

  beforeAll(() => {
    base = makeLoopFilesystem('ext4', 600).path;
  });

  test.each([2, 3, 5])('a copy by rsync of a tree with everything is equal, seed %i', async (seed) => {
    const [source, target] = make(`source-${seed}`, `target-${seed}`) as [string, string];
    mkdirSync(source);
    mkdirSync(join(target, '.towline/trash'), {recursive: true});
    makeNastyTree(source, seed);
    copy(source, target);
    command('setfattr', '-n', 'trusted.towline.mark', '-v', 'x', target);
    command('touch', join(target, '.towline/trash/x'));
    command('touch', '-r', source, target);
    expect(await judge(source, target)).toEqual([]);
  });

  describe('planted differences', () => {
    let lines: string[];
    let linesLeftOut: string[];

    beforeAll(async () => {
      const [source, target] = make('planted-source', 'planted-target') as [string, string];
      const folders = PLANTS.map((_, index) => folderOf(index));
      for (const [index, {make: script}] of PLANTS.entries()) {
        mkdirSync(join(source, folders[index]!), {recursive: true});
        inFolder(join(source, folders[index]!), `${script}; touch -hd @1600000000.123456789 * || true`);
      }
      copy(source, target);
      expect(await judge(source, target)).toEqual([]);
      for (const [index, {plant}] of PLANTS.entries()) inFolder(join(target, folders[index]!), plant);
      for (const folder of folders) command('touch', '-r', join(source, folder), join(target, folder));
      lines = await judge(source, target);
      linesLeftOut = await judge(source, target, {leaveOut: ALL_KINDS});
    }, 60_000);

    test.each(PLANTS.map((plant, index) => [plant.what, plant.by.join(', '), plant, folderOf(index)] as const))(
      '%s: found by %s',
      (_what, _programs, {by, says, kind}, folder) => {
        const ofThis = (all: string[]): string[] => all.filter((line) => line.includes(`${folder}/`));
        expect(new Set(ofThis(lines).map((line) => line.split(':')[0]))).toEqual(new Set(by));
        expect(ofThis(lines).join('\n')).toMatch(says);
        if (kind === undefined) expect(ofThis(linesLeftOut)).not.toEqual([]);
        else expect(ofThis(linesLeftOut)).toEqual([]);
      },
    );

    test('nothing else is found', () => {
      expect(lines.filter((line) => !/\bp\d\d\//.test(line))).toEqual([]);
    });
  });

  test('paths longer than PATH_MAX are compared by the walk on descriptors', async () => {
    const trees = make('deep', 'deep-equal', 'deep-other');
    trees.forEach((tree, index) => {
      mkdirSync(tree);
      command('python3', '-c', DEEP, tree, index < 2 ? 'abc' : 'abd');
    });
    const [source, equal, other] = trees as [string, string, string];
    expect(await judge(source, equal)).toEqual([]);
    const found = await judge(source, other);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^walk: (dddddddddddddddd~\w{8}\/){30}file: content is /);
    expect(await judge(source, other, {by: 'descriptors'})).toEqual(found);
  });

  test('what cannot be looked at is an error, not equal', async () => {
    const [source] = make('here') as [string];
    mkdirSync(source);
    await expect(judge(source, join(base, 'not-there'))).rejects.toThrow('not-there');
  });
});
