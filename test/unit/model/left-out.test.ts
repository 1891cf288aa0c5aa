import {expect, test} from 'vitest';
import {acceptWord, leftOutProblem, lostKinds, LEFT_OUT_COUNT_MAX} from '../../../src/model/left-out.ts';
import {inPrecision} from '../../../src/model/tree.ts';
import {narrowedView, PLAIN_VIEW, sameView} from '../../../src/model/view.ts';

const OFFERED = {...PLAIN_VIEW, devices: true};

test('each kind that a target does not hold is lost by itself, and none that the source does not offer', () => {
  const nothing = {
    timePrecisionNs: 2_000_000_000,
    xattrs: [],
    special: 'skip',
    devices: false,
    owners: false,
    modes: false,
    setuid: false,
  } as const;
  expect(lostKinds(OFFERED, narrowedView(OFFERED, OFFERED))).toEqual(['flags']);
  expect(lostKinds(OFFERED, narrowedView(OFFERED, nothing)).toSorted()).toEqual([
    'acl',
    'capability',
    'devices',
    'flags',
    'modes',
    'owners',
    'setuid',
    'special',
    'timePrecisionNs',
    'trusted',
    'user',
  ]);
  const modest = {...OFFERED, special: 'skip', devices: false, xattrs: ['user']} as const;
  const kinds = lostKinds(modest, narrowedView(modest, nothing));
  expect(kinds.toSorted()).toEqual(['flags', 'modes', 'owners', 'setuid', 'timePrecisionNs', 'user']);
});

test('every limit makes another view', () => {
  const views = [
    OFFERED,
    ...(['devices', 'owners', 'modes', 'setuid'] as const).map((key) => ({...OFFERED, [key]: false})),
    {...OFFERED, timePrecisionNs: 1_000},
    {...OFFERED, special: 'skip' as const},
    {...OFFERED, ids: ['0-1:5']},
    {...OFFERED, xattrs: ['user']},
  ];
  for (const [at, a] of views.entries())
    for (const [other, b] of views.entries()) expect(sameView(a, b)).toBe(at === other);
});

test.each([
  [
    {kind: 'devices', count: 1, examples: ['dev/null']},
    'policy',
    '1 device is not carried (dev/null): the receiver does not accept that; do it',
  ],
  [
    {kind: 'devices', count: 4, examples: ['a', 'b\n', 'c']},
    'privilege',
    '4 devices are not carried (a, b\\n, c …): the target does not run as root',
  ],
  [
    {kind: 'acl', count: LEFT_OUT_COUNT_MAX + 1, examples: ['a', 'b', 'c']},
    'filesystem',
    "more than 10000 entries arrive without their ACLs (a, b, c …): the target's filesystem, or what this user may do there, does not allow it",
  ],
  [
    {kind: 'timePrecisionNs', count: 2, examples: ['a', '']},
    'filesystem',
    "2 entries have their times cut (a, .): the target's filesystem keeps times to 2 s",
  ],
] as const)('%j by %s', (left, cause, message) => {
  const reason = {cause, timePrecisionNs: 2_000_000_000, advice: 'do it'};
  const problem = leftOutProblem({...left, examples: [...left.examples]}, reason);
  expect(problem).toMatchObject({path: `/${left.kind}`, message});
});

test('the advice keeps what is accepted already', () => {
  expect(acceptWord('acl', ['user'])).toEqual({key: 'xattrs: [user, acl]', option: '--xattrs user,acl'});
  expect(acceptWord('devices', [])).toEqual({key: 'devices: true', option: '--devices'});
  expect(acceptWord('owners', [])).toMatchObject({key: 'owners: any'});
});

test.each([
  [1, {s: 5, ns: 999_999_999}],
  [1_000, {s: 5, ns: 999_999_000}],
  [1_000_000_000, {s: 5, ns: 0}],
  [2_000_000_000, {s: 4, ns: 0}],
])('a time of 5.999,999,999 s in a precision of %i ns', (precision, cut) => {
  expect(inPrecision({s: 5, ns: 999_999_999}, precision)).toEqual(cut);
});

test('a time before 1970 is cut downwards', () => {
  expect(inPrecision({s: -3, ns: 1}, 2_000_000_000)).toEqual({s: -4, ns: 0});
});
