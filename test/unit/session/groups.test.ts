import fc from 'fast-check';
import {expect, test} from 'vitest';
import type {Entry} from '../../../src/model/entry.ts';
import type {RelPath} from '../../../src/model/path.ts';
import {repairGroups} from '../../../src/session/groups.ts';
import {entry} from '../state/state-fixture.ts';

const entryAt = (path: RelPath): Entry => entry(path);

/** What is done, as `link b to a` and `copy b`. */
function plan(ours: RelPath[][], theirs: RelPath[][]): string[] {
  return repairGroups(ours, theirs, entryAt).map(({path, ...step}) => {
    if (step.kind !== 'op') return step.kind;
    return step.op.kind === 'link' ? `link ${path} to ${step.op.to}` : `copy ${path}`;
  });
}

test.each([
  {title: 'equal groups', ours: [['a', 'b']], theirs: [['a', 'b']], steps: []},
  {title: 'two files become one', ours: [['a', 'b', 'c']], theirs: [], steps: ['link b to a', 'link c to a']},
  {title: 'a third name', ours: [['a', 'b', 'c']], theirs: [['a', 'b']], steps: ['link c to a']},
  {title: 'one becomes two files', ours: [], theirs: [['a', 'b']], steps: ['copy b']},
  {title: 'the first name leaves', ours: [['b', 'c']], theirs: [['a', 'b', 'c']], steps: ['copy b', 'link c to b']},
  {title: 'the last name leaves', ours: [['a', 'b']], theirs: [['a', 'b', 'c']], steps: ['copy c']},
  {
    title: 'two groups swap a name',
    ours: [
      ['a', 'd'],
      ['b', 'c'],
    ],
    theirs: [
      ['a', 'b'],
      ['c', 'd'],
    ],
    steps: ['copy b', 'link d to a', 'link c to b'],
  },
  {
    title: 'a group of 3 names in two lists that share their first',
    ours: [['a', 'b', 'c']],
    theirs: [
      ['a', 'b'],
      ['a', 'c'],
    ],
    steps: [],
  },
])('$title: $steps', ({ours, theirs, steps}) => {
  expect(plan(ours, theirs)).toEqual(steps);
});

test('a name whose content was not read yet is left alone: a copy of it could not be checked', () => {
  const unread = (path: RelPath): Entry => entry(path, {content: undefined});
  expect(repairGroups([], [['a', 'b']], unread)).toEqual([]);
});

test('of any two groupings of 8 names, the steps make the target that of the source, and destroy nothing', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  const grouping = fc.array(fc.nat(4), {minLength: names.length, maxLength: names.length});
  fc.assert(
    fc.property(grouping, grouping, (ours, theirs) => {
      const inodeOf = new Map(names.map((name, index) => [name, theirs[index] as number]));
      let lastInode = 100;
      for (const step of repairGroups(groupsOf(names, ours), groupsOf(names, theirs), entryAt)) {
        expect(step).toMatchObject({kind: 'op', destroys: 0});
        if (step.kind !== 'op') continue;
        const {op, path} = step;
        inodeOf.set(path, op.kind === 'link' ? (inodeOf.get(op.to) as number) : ++lastInode);
      }
      expect(groupsOf(names, [...inodeOf.values()])).toEqual(groupsOf(names, ours));
    }),
    {numRuns: 500},
  );
});

/** Groups of at least two names, sorted, as a state lists them. */
function groupsOf(names: readonly string[], inodes: readonly number[]): RelPath[][] {
  const groups = Map.groupBy(names, (_, index) => inodes[index]).values();
  return [...groups].filter(({length}) => length > 1);
}
