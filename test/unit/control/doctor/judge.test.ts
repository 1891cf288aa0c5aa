import {expect, test} from 'vitest';
import {exitCodeOf, finding} from '../../../../src/control/doctor/finding.ts';
import {judgeVolume, type VolumeRole} from '../../../../src/control/doctor/judge-folder.ts';
import {judgeHost, type HostFacts} from '../../../../src/control/doctor/judge-host.ts';
import {judgeWatches} from '../../../../src/control/doctor/judge-watch.ts';
import type {FolderFacts} from '../../../../src/control/doctor/probe-folder.ts';
import {DEFAULTS} from '../../../../src/config/link-settings.ts';
import type {XattrClass} from '../../../../src/model/attrs.ts';
import {readHost, readWatchLimits} from '../../../../src/control/doctor/read-host.ts';

const HOST: HostFacts = {
  release: '6.1.0-18-amd64',
  openat2Fault: undefined,
  chrootFault: undefined,
  inotifyFault: undefined,
  uid: 0,
  capabilities: 0x1ffffffffffn,
  isInitialUserNamespace: true,
  openFilesMax: 1_048_576,
  clock: {isSynchronised: true, errorUs: 300},
};

const shown = (facts: Partial<HostFacts>): string[] =>
  judgeHost({...HOST, ...facts})
    .filter(({level}) => level !== 'ok')
    .map(({area, level, what}) => `${area} ${level}: ${what}`);

test('a host with all it takes is ok in three areas', () => {
  expect(judgeHost(HOST).map(({area, level}) => `${area} ${level}`)).toEqual([
    'kernel ok',
    'privileges ok',
    'clock ok',
  ]);
});

test.each<{facts: Partial<HostFacts>; found: RegExp[]}>([
  {facts: {release: '5.4.0-150'}, found: [/^kernel bad: Linux 5\.4\.0-150 is older than 5\.6$/]},
  {facts: {release: '5.6.1'}, found: [/^kernel note: Linux 5\.6\.1 does not tell mounts apart/]},
  {facts: {release: '10.0.0'}, found: []},
  {facts: {openat2Fault: 'EPERM'}, found: [/^kernel warn: openat2 is refused \(EPERM\)/]},
  {facts: {inotifyFault: 'EMFILE'}, found: [/^kernel bad: no inotify instance is left for this user$/]},
  {facts: {chrootFault: 'EPERM'}, found: [/^privileges warn: chroot is refused \(EPERM\)/]},
  {
    facts: {uid: 1000, capabilities: 0n},
    found: [/^privileges warn: user 1000 is not root and lacks CAP_CHOWN \(owners/],
  },
  {
    facts: {capabilities: 0x1ffffffffffn & ~(1n << 21n)},
    found: [/^privileges warn: root lacks CAP_SYS_ADMIN \(roots cannot be marked\)$/],
  },
  {facts: {isInitialUserNamespace: false}, found: [/^privileges warn: this runs in a user namespace/]},
  {facts: {openFilesMax: 1024}, found: [/^privileges note: at most 1024 files may be open/]},
  {facts: {clock: {isSynchronised: false, errorUs: 0}}, found: [/^clock warn: nothing keeps the clock right/]},
  {facts: {clock: undefined}, found: [/^clock note: /]},
])('of a host with $facts it says $found', ({facts, found}) => {
  expect(shown(facts)).toEqual(found.map((pattern) => expect.stringMatching(pattern) as unknown));
});

test('each finding that is a warning or bad says what to type', () => {
  const all = judgeHost({
    ...HOST,
    release: '5.4.0',
    openat2Fault: 'ENOSYS',
    inotifyFault: 'EMFILE',
    uid: 1000,
    capabilities: 0n,
    isInitialUserNamespace: false,
    clock: {isSynchronised: false, errorUs: 0},
  });
  const graveOnes = all.filter(({level}) => level === 'warn' || level === 'bad');
  expect(graveOnes.length).toBeGreaterThan(4);
  expect(graveOnes.filter(({fix}) => fix === undefined)).toEqual([]);
});

test('the host of this test is read: a kernel that is new enough, and the limits of watching', () => {
  const facts = readHost();
  expect(facts.openat2Fault).toBeUndefined();
  expect(facts.chrootFault === undefined).toBe(process.getuid?.() === 0);
  expect(facts.uid).toBe(process.geteuid?.());
  expect(readWatchLimits().watchesMax).toBeGreaterThan(0);
});

test('watches are weighed against the directories of all volumes', () => {
  const limits = {watchesMax: 10_000, queuedEventsMax: 16_384, instancesMax: 128};
  const judged = (dirCount: number, over: object = {}): [string, string | undefined] => {
    const trees = [
      {dirCount, isWhole: true},
      {dirCount: 1, isWhole: true},
    ];
    const [first] = judgeWatches({...limits, ...over}, trees);
    return [first!.level, first!.fix];
  };
  expect(judged(4_999)).toEqual(['ok', undefined]);
  expect(judged(5_000)[0]).toBe('warn');
  expect(judged(10_000)).toEqual(['bad', expect.stringContaining('fs.inotify.max_user_watches=524288')]);
  expect(judged(600_000)).toEqual(['bad', expect.stringContaining('fs.inotify.max_user_watches=2097152')]);
  expect(judged(1, {queuedEventsMax: 1024})[0]).toBe('note');
  expect(judged(1, {watchesMax: Number.NaN})[0]).toBe('ok');
  const [cut] = judgeWatches(limits, [{dirCount: 2_000_000, isWhole: false}]);
  expect(cut!.what).toContain('at least 2000000 directories');
});

const HELD = {
  timePrecisionNs: 1,
  xattrs: ['user', 'trusted', 'acl', 'capability'] as XattrClass[],
  owners: true,
  modes: true,
};
const {accept} = DEFAULTS;

const FOLDER: FolderFacts = {
  realPath: '/srv/data',
  filesystem: 'xfs',
  isReadOnly: false,
  isEmpty: false,
  totalBytes: 2 ** 40,
  freeBytes: 2 ** 39,
  freeInodes: 1_000_000,
  hasBirthTime: true,
  isCaseInsensitive: false,
  uid: 0,
  mode: 0o755,
  namelessFault: undefined,
  markFault: undefined,
  canMark: true,
  canClone: true,
  keptNs: 123_456_789,
  held: HELD,
  processUid: 0,
  canLink: true,
  canExchange: true,
  place: '/var/lib/towline',
  isReservedTaken: false,
};

test.each<{facts: Partial<FolderFacts>; found: RegExp[]}>([
  {facts: {}, found: [/^ok/]},
  {facts: {filesystem: 'nfs4'}, found: [/^ok/, /^note: nfs4 tells nothing of changes that other hosts make/]},
  {facts: {filesystem: 'fuse.sshfs'}, found: [/^ok/, /^note: fuse.sshfs tells nothing/]},
  {facts: {isCaseInsensitive: true}, found: [/^warn: \/srv\/data takes names that differ in case alone for one/]},
  {facts: {canMark: false, markFault: 'EPERM'}, found: [/^warn: roots cannot be marked on xfs \(EPERM\)/]},
  {facts: {keptNs: 123_456_000}, found: [/^warn: xfs here keeps times in microseconds/]},
  {
    facts: {keptNs: 0, held: {...HELD, timePrecisionNs: 2_000_000_000, modes: false}},
    found: [/^warn: xfs here keeps times in steps of 2 s/, /^warn: permissions are not kept on xfs: they are listed/],
  },
  {facts: {held: {...HELD, xattrs: ['user', 'acl', 'capability']}}, found: [/^ok/]}, // trusted is not accepted anyway
  {
    facts: {held: {...HELD, xattrs: ['trusted'], owners: false}},
    found: [
      /^warn: owners are not kept on xfs: entries of others are listed/,
      /^warn: xfs here keeps no user attributes, ACLs, file capabilities: what has some arrives without/,
    ],
  },
  {
    facts: {processUid: 1000, held: {...HELD, xattrs: ['user'], owners: false}},
    found: [
      /^warn: this user may not set owners: entries of others are listed/,
      /^warn: this user may not set file capabilities: what has some is listed/,
      /^warn: xfs here keeps no ACLs: what has some arrives without/,
    ],
  },
  {facts: {held: undefined}, found: [/^ok/]},
  {
    facts: {held: undefined, filesystem: 'vfat'},
    found: [/^warn: vfat keeps no owners, permissions, attributes and links/],
  },
  {facts: {canLink: false, canExchange: undefined}, found: [/^warn: xfs has no hard links/]},
  {facts: {canExchange: false}, found: [/^warn: xfs cannot exchange two names/]},
  {facts: {freeBytes: 2 ** 35}, found: [/^warn: \/srv\/data has 32\.0 GiB free of 1\.0 TiB/]},
  {facts: {freeBytes: 2 ** 33}, found: [/^bad: \/srv\/data has 8\.0 GiB free of 1\.0 TiB/]},
  {facts: {freeInodes: 0}, found: [/^bad: \/srv\/data has room for 0 more files only/]},
  {
    facts: {place: undefined},
    found: [/^ok/, /^note: what is on its way, and the trash, lie in \/srv\/data\/\.towline/],
  },
])('of a target with $facts it says $found', ({facts, found}) => {
  const role: VolumeRole = {name: 'data', path: '/srv/data', sends: false, receives: true, accept, isPolled: false};
  const examined = {facts: {...FOLDER, ...facts}, tree: undefined, fault: undefined};
  const judged = judgeVolume(role, examined).map(({level, what}) => `${level}: ${what}`);
  expect(judged).toEqual(found.map((pattern) => expect.stringMatching(pattern) as unknown));
});

test('a path goes into a shell quoted where it must be', () => {
  const role: VolumeRole = {name: 'x', path: "/srv/a b's", sends: true, receives: false, accept, isPolled: false};
  const [found] = judgeVolume(role, {facts: undefined, tree: undefined, fault: 'ENOENT'});
  expect(found!.fix).toContain(String.raw`mkdir -p '/srv/a b'\''s'`);
});

test('warnings end with 0, one bad thing with 1', () => {
  const warning = finding('clock', 'warn', 'x', 'y');
  expect([exitCodeOf([]), exitCodeOf([warning]), exitCodeOf([warning, finding('state', 'bad', 'x')])]).toEqual([
    0, 0, 1,
  ]);
});
