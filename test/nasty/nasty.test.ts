/** The generator of nasty trees itself: same seed, same tree; and everything that it promises occurs. */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import {judge} from '../judge/judge.ts';
import {readByGetfattr, readByWalk} from '../judge/tools.ts';
import type {EntryFacts, TreeFacts} from '../judge/facts.ts';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {changeNastyTree, makeNastyTree} from './nasty.ts';

const SEEDS = 12;

/** One tree with a seed, changed twice. @returns what was done to it */
function grow(root: string, seed: number): string[] {
  mkdirSync(root, {recursive: true});
  makeNastyTree(root, seed);
  return [1, 2].flatMap((round) => changeNastyTree(root, seed, round, 30));
}

const describeTrees = needsLoopMounts(needsCommands('python3', 'getfattr', 'rsync')(describe));

describeTrees('nasty trees', () => {
  let base: string;
  const done: string[] = [];
  const trees: TreeFacts[] = [];
  let entries: [path: string, facts: EntryFacts][] = [];
  const count = (fits: (facts: EntryFacts, path: string) => boolean): number =>
    entries.filter(([path, facts]) => fits(facts, path)).length;

  beforeAll(async () => {
    base = makeLoopFilesystem('ext4', 600).path;
    const roots = Array.from({length: SEEDS}, (_, seed) => join(base, `tree-${seed}`));
    for (const [seed, root] of roots.entries()) done.push(...grow(root, seed));
    trees.push(...(await readByWalk(...roots)));
    entries = trees.flatMap((tree) => [...tree]);
  }, 60_000);

  test('the same seed makes the same tree and the same changes', async () => {
    const again = grow(join(base, 'again'), 3);
    expect(done.join('\n')).toContain(again.join('\n'));
    expect(await judge(join(base, 'tree-3'), join(base, 'again'), {leaveOut: ['times']})).toEqual([]);
    expect(await judge(join(base, 'tree-4'), join(base, 'again'), {leaveOut: ['times']})).not.toEqual([]);
  });

  test.each(['f', 'd', 'l', 'p', 's', 'c', 'b'])(
    'every type occurs, with hard links of it but for directories: %s',
    (type) => {
      expect(count((facts) => facts['type'] === type)).toBeGreaterThan(3);
      if (type !== 'd')
        expect(count((facts) => facts['type'] === type && Number(facts['links']) > 1)).toBeGreaterThan(0);
    },
  );

  test.each<[string, (facts: EntryFacts, path: string) => boolean]>([
    ['names of 255 bytes', (_, path) => path.split('/').some((name) => name.length === 255)],
    ['names that are no UTF-8', (_, path) => Buffer.from(path, 'latin1').includes(0xff)],
    ['names with newlines', (_, path) => path.includes('\n')],
    ['four levels', (_, path) => path.split('/').length > 4],
    ['files of several leaves', ({type, size}) => type === 'f' && Number(size) > 262_144],
    ['files with holes', ({size, data}) => Number(size) > Number(data) + 1_000_000],
    ['times before 1970', ({mtime}) => mtime!.startsWith('-')],
    ['times after 2038', ({mtime}) => Number(mtime) > 2 ** 31 * 1e9],
    ['setuid files', ({type, mode}) => type === 'f' && (Number.parseInt(mode!, 8) & 0o4000) !== 0],
    ['directories without rights', ({type, mode}) => type === 'd' && mode === '0'],
    ['owners beyond 31 bits', ({uid}) => Number(uid) > 2 ** 31],
    ['symbolic links of 4,095 bytes', ({link}) => link?.length === 4_095],
    ['device numbers beyond a byte', ({device}) => device === '7:262143'],
    ['whiteouts', ({type, device}) => type === 'c' && device === '0:0'],
  ])('there are %s', (_, fits) => {
    expect(count(fits)).toBeGreaterThan(0);
  });

  test.each<[string, RegExp, string]>([
    ['attributes of files', /^user\./, 'f'],
    ['attributes of directories', /^user\./, 'd'],
    ['attributes of symbolic links', /^trusted\./, 'l'],
    ['attributes of FIFOs and sockets', /^trusted\./, 'ps'],
    ['attributes of devices', /^trusted\./, 'bc'],
    ['capabilities', /^security\.capability$/, 'f'],
    ['ACLs of files', /^system\.posix_acl_access$/, 'f'],
    ['ACLs of FIFOs, sockets and devices', /^system\.posix_acl_access$/, 'psbc'],
    ['ACLs of directories', /^system\.posix_acl_access$/, 'd'],
    ['default ACLs', /^system\.posix_acl_default$/, 'd'],
  ])('there are %s', (_, name, types) => {
    const isFact = (fact: string): boolean => fact.startsWith('xattr ') && name.test(fact.slice('xattr '.length));
    expect(count((facts) => types.includes(facts['type']!) && Object.keys(facts).some(isFact))).toBeGreaterThan(0);
  });

  test('attributes are empty, binary, and as large as there is room', async () => {
    const all = await Promise.all(trees.map((_, seed) => readByGetfattr(join(base, `tree-${seed}`))));
    const values = all.flatMap((tree) => [...tree.values()].flatMap((facts) => Object.values(facts)));
    expect(values).toContain('');
    expect(values.some((value) => /^(..)*00/.test(value))).toBe(true);
    expect(Math.max(...values.map((value) => value.length / 2))).toBeGreaterThan(3_700);
  });

  test('every kind of change is made', () => {
    const kinds = new Set(done.map((line) => line.split(':')[0]));
    expect(kinds.size).toBe(27);
  });
});
