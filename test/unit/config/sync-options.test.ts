/** Settings of a sync: defaults, limits, order of ignore rules, and errors that name the option. */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {isTowlineError} from '../../../src/base/errors.ts';
import {
  defaultStateFolder,
  makeSyncOptions,
  parseDeleteLimit,
  type SyncFlags,
} from '../../../src/config/sync-options.ts';
import {makeTmpDir} from '../../tmp.ts';

const make = (flags: SyncFlags) => makeSyncOptions('/a', '/b', flags);

test('fills in every default, and is frozen', () => {
  const options = make({});
  expect(options).toEqual({
    source: '/a',
    target: '/b',
    isOnce: false,
    isDryRun: false,
    isQuick: false,
    ignore: [],
    special: 'keep',
    ids: [],
    accept: {setuid: true, devices: false, owners: 'any', xattrs: ['user', 'trusted', 'acl', 'capability']},
    deleteLimit: {count: 10_000, share: 0.5, shareFrom: 20},
    durability: 'batch',
    settleMs: 50,
    maxWaitMs: 2_000,
    hot: 'wait',
    watch: 'auto',
    stateFolder: undefined,
    rescanMs: 3_600_000,
  });
  expect(Object.isFrozen(options) && Object.isFrozen(options.ignore) && Object.isFrozen(options.deleteLimit)).toBe(
    true,
  );
});

test.each([
  ['500', {count: 500, share: 1, shareFrom: 20}],
  ['30%', {count: Number.MAX_SAFE_INTEGER, share: 0.3, shareFrom: 20}],
  ['500,30%', {count: 500, share: 0.3, shareFrom: 20}],
  ['30%, 500', {count: 500, share: 0.3, shareFrom: 20}],
  ['5', {count: 5, share: 1, shareFrom: 5}],
  ['0', {count: 0, share: 1, shareFrom: 0}],
  ['0%', {count: Number.MAX_SAFE_INTEGER, share: 0, shareFrom: 0}],
  ['none', {count: Number.MAX_SAFE_INTEGER, share: 1, shareFrom: 20}],
])('a delete limit of %s', (text, limit) => expect(parseDeleteLimit(text)).toEqual(limit));

test('a dry run ends by itself', () => expect(make({dryRun: true})).toMatchObject({isOnce: true, isDryRun: true}));

test('a settle time of 5 s lifts the default maximum of 2 s with it', () =>
  expect(make({settle: '5s'})).toMatchObject({settleMs: 5_000, maxWaitMs: 5_000}));

test('patterns and files of patterns keep the order they were typed in', () => {
  const file = join(makeTmpDir(), 'rules');
  writeFileSync(file, '\ufeff# comment\r\n*.log\r\n\r\n!keep.log\\ \n');
  const ignoreRules = [
    {kind: 'pattern', pattern: '*.tmp'},
    {kind: 'file', path: file},
    {kind: 'pattern', pattern: '!a.tmp'},
  ] as const;
  expect(make({ignoreRules}).ignore).toEqual(['*.tmp', '*.log', '!keep.log\\ ', '!a.tmp']);
});

test.each<[string, SyncFlags, RegExp]>([
  ['a unit that is missing', {settle: '50'}, /^--settle: "50" is not a duration/],
  ['a settle time of 2 h', {settle: '2h'}, /^--settle: got 2h; allowed is at most 1 h 00 m$/],
  ['a rescan too often', {rescan: '10ms'}, /^--rescan: got 10ms/],
  ['a maximum below the settle time', {settle: '1s', maxWait: '10ms'}, /^--max-wait: is shorter/],
  ['a watch that is none', {watch: 'poll'}, /^--watch: got "poll"; allowed is auto, inotify, chokidar$/],
  ['a durability that is none', {durability: 'yes'}, /^--durability/],
  ['a delete limit of words', {deleteLimit: 'few'}, /^--delete-limit: got "few"; allowed is 500, 30%/],
  ['two shares', {deleteLimit: '30%,40%'}, /^--delete-limit/],
  ['a share of 130 %', {deleteLimit: '130%'}, /^--delete-limit: "130%" is not a share/],
  ['an empty state folder', {state: ''}, /^--state/],
  ['a pattern of 5,000 bytes', {ignoreRules: [{kind: 'pattern', pattern: 'a'.repeat(5_000)}]}, /^--ignore: .*too long/],
  [
    'a file of patterns that is missing',
    {ignoreRules: [{kind: 'file', path: '/nowhere/x'}]},
    /^--ignore-from: .*ENOENT/,
  ],
])('refuses %s and names the option', (_, flags, message) => {
  let thrown: unknown;
  try {
    make(flags);
  } catch (error) {
    thrown = error;
  }
  expect(isTowlineError(thrown) && thrown.code).toBe('USAGE');
  expect((thrown as Error).message).toMatch(message);
});

test('refuses a file of patterns that is not UTF-8', () => {
  const file = join(makeTmpDir(), 'rules');
  writeFileSync(file, Buffer.from([0x2a, 0xff, 0x0a]));
  expect(() => make({ignoreRules: [{kind: 'file', path: file}]})).toThrow(/is not UTF-8/);
});

test('state is kept where XDG says, and a relative value is ignored', () => {
  expect(defaultStateFolder({XDG_STATE_HOME: '/x/state', HOME: '/h'})).toBe('/x/state/towline');
  expect(defaultStateFolder({XDG_STATE_HOME: 'state', HOME: '/h'})).toBe('/h/.local/state/towline');
  expect(defaultStateFolder({HOME: '/h'})).toBe('/h/.local/state/towline');
});
