/**
 * What of a source's metadata is carried, by whose choice, and what is told of the rest: special files, owners, classes
 * of attributes, what a target's filesystem or user cannot hold. The judges are find, getfacl, getfattr and stat.
 */
import {chmodSync, chownSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {expect, test} from 'vitest';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts, needsRoot} from '../../needs.ts';
import {command, makePair, startLive, syncOnce, type Pair, type ResultEvent} from '../../sync/harness.ts';

const rootTest = needsRoot(needsCommands('setfacl', 'setfattr', 'setpriv')(test));
const diskTest = needsLoopMounts(needsCommands('mkfs.xfs', 'setfattr', 'chattr')(rootTest));

function told({problems}: ResultEvent): {path: string; code: string; message: string}[] {
  return problems.map(({path, code, message}) => ({path, code, message}));
}

/** Type, owner and device number of every entry. */
function listing(folder: string): string[] {
  const lines = command('find', folder, '-mindepth', '1', '-printf', '%P %y %U:%G\n').trim().split('\n').toSorted();
  return lines.filter((line) => line !== '');
}

function makeSocket(path: string): void {
  command('python3', '-c', 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])', path);
}

function fillSpecial({source}: Pair): void {
  writeFileSync(join(source, 'plain'), 'plain');
  command('mkfifo', join(source, 'pipe'));
  makeSocket(join(source, 'sock'));
  command('mknod', join(source, 'null'), 'c', '1', '3');
  command('mknod', join(source, 'disk'), 'b', '7', '300');
}

rootTest(
  'G7 a FIFO and a socket are made again; two devices are one problem with a count until they are gone or --devices is given',
  async () => {
    const pair = makePair();
    fillSpecial(pair);
    const first = await syncOnce(pair);
    expect({exitCode: first.exitCode, problems: told(first.result)}).toEqual({
      exitCode: 1,
      problems: [{path: '.', code: 'not-carried', message: expect.stringMatching(/^2 devices .*--devices$/) as string}],
    });
    expect(listing(pair.target)).toEqual(['pipe p 0:0', 'plain f 0:0', 'sock s 0:0']);
    const second = await syncOnce(pair, ['--devices']);
    expect({exitCode: second.exitCode, problems: second.result.problems}).toEqual({exitCode: 0, problems: []});
    for (const name of ['null', 'disk']) {
      const shown = [pair.source, pair.target].map((folder) => command('stat', '-c', '%F %t:%T', join(folder, name)));
      expect(shown[1]).toBe(shown[0]);
    }
    rmSync(join(pair.source, 'null'));
    rmSync(join(pair.source, 'disk'));
    expect((await syncOnce(pair)).exitCode).toBe(0);
  },
);

rootTest('G7 with --special skip nothing of it is carried, which is no problem: it was asked for', async () => {
  const pair = makePair();
  fillSpecial(pair);
  const {exitCode, result} = await syncOnce(pair, ['--special', 'skip', '--devices']);
  expect({exitCode, problems: result.problems}).toEqual({exitCode: 0, problems: []});
  expect(listing(pair.target)).toEqual(['plain f 0:0']);
});

rootTest('G7 live: a device that appears is told, and solved when it goes', async () => {
  const pair = makePair();
  const run = startLive(pair);
  await run.waitInSync();
  command('mknod', join(pair.source, 'null'), 'c', '1', '3');
  await run.waitForEvent(({event, code}) => event === 'problem' && code === 'not-carried');
  const mark = run.events.length;
  rmSync(join(pair.source, 'null'));
  await run.waitForEventAfter(mark, ({event, path}) => event === 'solved' && path === '.');
  await run.stop();
});

const NOBODYS = 3_000_000_001; // in no passwd, and above 2^31

rootTest('G2 owners without an entry in passwd arrive as numbers', async () => {
  const pair = makePair();
  for (const [name, uid, gid] of [
    ['a', 4242, 4343],
    ['b', NOBODYS, NOBODYS],
  ] as const) {
    writeFileSync(join(pair.source, name), name);
    chownSync(join(pair.source, name), uid, gid);
  }
  expect((await syncOnce(pair)).exitCode).toBe(0);
  expect(listing(pair.target)).toEqual(['a f 4242:4343', `b f ${NOBODYS}:${NOBODYS}`]);
});

function fillOwned({source}: Pair): void {
  mkdirSync(join(source, 'dir'));
  writeFileSync(join(source, 'dir/root'), 'root');
  writeFileSync(join(source, 'www'), 'www');
  writeFileSync(join(source, 'other'), 'other');
  command('mkfifo', join(source, 'pipe'));
  command('ln', '-s', 'www', join(source, 'link'));
  command('chown', '-h', '33:999', join(source, 'www'), join(source, 'link'));
  command('chown', '1000:5', join(source, 'other'));
  command('setfacl', '-m', 'u:33:rw,u:1000:r,g:7:rx', join(source, 'www'));
  command('setfacl', '-d', '-m', 'u:34:rwx', join(source, 'dir'));
}

const MAP = ['--ids', '0-32:100000', '--ids', '33:1033', '--ids', '34-999:100034'];
const MAPPED = [
  'dir d 100000:100000',
  'dir/root f 100000:100000',
  'link l 1033:100999',
  'other f 1000:100005',
  'pipe p 100000:100000',
  'www f 1033:100999',
];

function aclOf(path: string): string[] {
  const lines = command('getfacl', '-n', '-p', '-c', path).split('\n');
  return lines
    .filter((line) => /^(default:)?(user|group):\d+:/.test(line))
    .map((line) => line.split('\t')[0] as string);
}

rootTest('G2 an id map is applied to owners and to ids in ACLs, once, and a second run sends nothing', async () => {
  const pair = makePair();
  fillOwned(pair);
  expect((await syncOnce(pair, MAP)).exitCode).toBe(0);
  expect(listing(pair.target)).toEqual(MAPPED);
  expect(aclOf(join(pair.target, 'www'))).toEqual(['user:1000:r--', 'user:1033:rw-', 'group:100007:r-x']);
  expect(aclOf(join(pair.target, 'dir'))).toEqual(['default:user:100034:rwx']);
  const {stats, inSync} = (await syncOnce(pair, MAP)).result;
  expect({inSync, metaChanged: stats['metaChanged'], filesSent: stats['filesSent']}).toEqual({
    inSync: true,
    metaChanged: 0,
    filesSent: 0,
  });
});

rootTest('G2 another map, and then none, changes every owner and sends no content', async () => {
  const pair = makePair();
  fillOwned(pair);
  await syncOnce(pair, MAP);
  for (const args of [['--ids', '0-999:200000'], []]) {
    const {exitCode, result} = await syncOnce(pair, args);
    expect({exitCode, contentBytes: result.stats['contentBytes']}).toEqual({exitCode: 0, contentBytes: 0});
    const shift = args.length === 0 ? 0 : 200_000;
    const expected = [`dir d ${shift}:${shift}`, `dir/root f ${shift}:${shift}`, `link l ${shift + 33}:${shift + 999}`];
    expect(listing(pair.target).slice(0, 3)).toEqual(expected);
  }
});

rootTest('G2 live: an id map is applied to what is made and chowned', async () => {
  const pair = makePair();
  const run = startLive(pair, ['--ids', '0-999:100000']);
  await run.waitInSync();
  fillOwned(pair);
  await run.waitFor(() => listing(pair.target).includes('www f 100033:100999'));
  await run.waitInSync();
  expect(aclOf(join(pair.target, 'www'))).toEqual(['user:1000:r--', 'user:100033:rw-', 'group:100007:r-x']);
  chownSync(join(pair.source, 'other'), 12, 34);
  await run.waitFor(() => listing(pair.target).includes('other f 100012:100034'));
  await run.stop();
});

const USER = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups'];

/** Folders that user 1000 may enter, and a target and a state that are its own. */
function makeOwnPair(): Pair {
  const pair = makePair();
  chmodSync(dirname(pair.source), 0o711);
  for (const folder of [pair.target, pair.state]) {
    mkdirSync(folder);
    chownSync(folder, 1000, 1000);
  }
  chownSync(pair.source, 1000, 1000);
  return pair;
}

rootTest(
  'G11 not root: owners that cannot be set are one problem with their count, everything else arrives',
  async () => {
    const pair = makeOwnPair();
    const own = {uid: 1000, gid: 1000};
    for (const [name, {uid, gid}] of Object.entries({
      mine: own,
      roots: {uid: 0, gid: 0},
      group: {uid: 1000, gid: 33},
    })) {
      writeFileSync(join(pair.source, name), name, {mode: 0o644});
      command('setfattr', '-n', 'user.note', '-v', name, join(pair.source, name));
      chownSync(join(pair.source, name), uid, gid);
    }
    const {exitCode, result} = await syncOnce(pair, [], {wrapper: USER});
    const message = expect.stringMatching(
      /^2 entries do not get their owners \(.*\): the target does not run as root$/,
    );
    expect({exitCode, problems: told(result)}).toEqual({
      exitCode: 1,
      problems: [{path: '.', code: 'owner-refused', message: message as string}],
    });
    expect(listing(pair.target)).toEqual(['group f 1000:1000', 'mine f 1000:1000', 'roots f 1000:1000']);
    for (const name of ['group', 'mine', 'roots']) {
      expect(readFileSync(join(pair.target, name), 'utf8')).toBe(name);
      expect(command('getfattr', '--only-values', '-n', 'user.note', join(pair.target, name))).toBe(name);
    }
    chownSync(join(pair.source, 'roots'), 1000, 1000);
    chownSync(join(pair.source, 'group'), 1000, 1000);
    expect((await syncOnce(pair, [], {wrapper: USER})).exitCode).toBe(0);
  },
);

rootTest('classes of attributes that --xattrs leaves out stay behind, each as one problem', async () => {
  const pair = makePair();
  writeFileSync(join(pair.source, 'file'), 'x');
  command('setfattr', '-n', 'user.a', '-v', '1', join(pair.source, 'file'));
  command('setfattr', '-n', 'trusted.a', '-v', '1', join(pair.source, 'file'));
  command('setfacl', '-m', 'u:5:r', join(pair.source, 'file'));
  const {exitCode, result} = await syncOnce(pair, ['--xattrs', 'user']);
  expect(exitCode).toBe(1);
  expect(told(result).map(({message}) => message.split(' (')[0])).toEqual([
    '1 entry arrives without its ACLs',
    '1 entry arrives without its trusted attributes',
  ]);
  const names = command('getfattr', '-d', '-m', '-', join(pair.target, 'file'));
  expect(names).toContain('user.a');
  expect(names).not.toMatch(/trusted|posix_acl/);
  expect((await syncOnce(pair)).exitCode).toBe(0);
  expect(command('getfattr', '-d', '-m', '-', join(pair.target, 'file'))).toMatch(
    /trusted[^]*user\.a|user\.a[^]*trusted/,
  );
});

diskTest(
  'a target that keeps whole seconds: times that were cut are one problem, and a second run sends nothing',
  async () => {
    const disk = makeLoopFilesystem('ext4', 16, '', ['-I', '128']);
    const pair = {...makePair(), target: disk.path};
    for (const [name, time] of [
      ['whole', 1_600_000_000],
      ['fine', 1_600_000_000.25],
    ] as const) {
      writeFileSync(join(pair.source, name), name);
      utimesSync(join(pair.source, name), time, time);
    }
    utimesSync(pair.source, 1_600_000_000, 1_600_000_000);
    const first = await syncOnce(pair);
    expect({exitCode: first.exitCode, problems: told(first.result)}).toEqual({
      exitCode: 1,
      problems: [
        {
          path: '.',
          code: 'not-carried',
          message: "1 entry has its time cut (fine): the target's filesystem keeps times to 1 s",
        },
      ],
    });
    const {stats, problemCount} = (await syncOnce(pair)).result;
    expect({sent: stats['filesSent'], metaChanged: stats['metaChanged'], problemCount}).toEqual({
      sent: 0,
      metaChanged: 0,
      problemCount: 1,
    });
    utimesSync(join(pair.source, 'fine'), 1_600_000_001, 1_600_000_001);
    expect((await syncOnce(pair)).exitCode).toBe(0);
  },
);

diskTest(
  'times that the target’s filesystem does not reach are problems of their paths, everything else arrives',
  async () => {
    const disk = makeLoopFilesystem('ext4', 16, '', ['-I', '128']);
    const pair = {...makePair(), target: disk.path};
    for (const name of ['far', 'near', 'dir/inside']) {
      mkdirSync(join(pair.source, name, '..'), {recursive: true});
      writeFileSync(join(pair.source, name), name);
    }
    const whole = Math.floor(Date.now() / 1_000);
    for (const [name, time] of [
      ['far', 2_500_000_000],
      ['near', whole],
      ['dir/inside', whole],
      ['dir', 2_500_000_000],
    ] as const)
      utimesSync(join(pair.source, name), time, time);
    utimesSync(pair.source, whole, whole);
    const {exitCode, result} = await syncOnce(pair);
    expect(exitCode).toBe(1);
    const problems = result.problems.map(({path, code}) => `${path} ${code}`).toSorted();
    expect(problems).toEqual(['dir attributes', 'far attributes']);
    expect(command('diff', '-r', '--exclude=lost+found', '--exclude=.towline', pair.source, pair.target)).toBe('');
    for (const name of ['far', 'dir']) utimesSync(join(pair.source, name), whole, whole);
    expect((await syncOnce(pair)).exitCode).toBe(0);
  },
);

diskTest('a target without attributes and ACLs: one problem for each class, everything else arrives', async () => {
  const disk = makeLoopFilesystem('ramfs', 16);
  const pair = {...makePair(), target: disk.path};
  for (const name of ['a', 'b', 'c', 'd', 'plain']) writeFileSync(join(pair.source, name), name);
  for (const name of ['a', 'b', 'c', 'd']) command('setfattr', '-n', 'user.x', '-v', name, join(pair.source, name));
  command('setfacl', '-m', 'u:5:r', join(pair.source, 'a'));
  const {exitCode, result} = await syncOnce(pair);
  expect(exitCode).toBe(1);
  expect(told(result).map(({code, message}) => `${code}: ${message.split(':')[0]}`)).toEqual([
    'attributes: 1 entry arrives without its ACLs (a)',
    expect.stringMatching(/^attributes: 4 entries arrive without their user attributes \(\w, \w, \w …\)$/) as string,
  ]);
  expect(command('diff', '-r', '--exclude=.towline', pair.source, pair.target)).toBe('');
});

diskTest(
  'an attribute of 60,000 bytes from XFS finds no room on ext4: a problem of its file, the rest of which arrives',
  async () => {
    const xfs = makeLoopFilesystem('xfs', 300);
    const ext4 = makeLoopFilesystem('ext4', 16);
    const pair = {...makePair(), source: join(xfs.path, 'data'), target: join(ext4.path, 'copy')};
    mkdirSync(pair.source);
    mkdirSync(pair.target);
    const file = join(pair.source, 'file');
    writeFileSync(file, 'content');
    setLarge(file, 60_000);
    command('setfattr', '-n', 'user.small', '-v', 'kept', file);
    const {exitCode, result} = await syncOnce(pair);
    expect({exitCode, problems: result.problems.map(({path, code}) => ({path, code}))}).toEqual({
      exitCode: 1,
      problems: [{path: 'file', code: 'attributes'}],
    });
    expect(readFileSync(join(pair.target, 'file'), 'utf8')).toBe('content');
    expect(command('getfattr', '--only-values', '-n', 'user.small', join(pair.target, 'file'))).toBe('kept');
    command('setfattr', '-x', 'user.large', file);
    expect((await syncOnce(pair)).exitCode).toBe(0);
  },
);

function setLarge(path: string, sizeBytes: number): void {
  const script = 'import os, sys; os.setxattr(sys.argv[1], "user.large", b"x" * int(sys.argv[2]))';
  command('python3', '-c', script, path, String(sizeBytes));
}

diskTest('what is immutable on the target is a problem of its path with advice, and the rest arrives', async () => {
  const disk = makeLoopFilesystem('ext4', 16);
  const pair = {...makePair(), target: join(disk.path, 'copy')};
  mkdirSync(join(pair.source, 'dir'), {recursive: true});
  for (const name of ['held', 'free', 'dir/below']) writeFileSync(join(pair.source, name), 'old');
  expect((await syncOnce(pair)).exitCode).toBe(0);
  command('chattr', '+i', join(pair.target, 'held'), join(pair.target, 'dir'));
  try {
    for (const name of ['held', 'free', 'dir/new']) writeFileSync(join(pair.source, name), 'newer');
    const {exitCode, result} = await syncOnce(pair);
    expect(exitCode).toBe(1);
    const paths = result.problems.map(({path}) => path);
    expect(paths).toContain('held');
    expect(paths).toContain('dir/new');
    for (const {message} of result.problems) expect(message).toContain('chattr -i');
    expect(readFileSync(join(pair.target, 'free'), 'utf8')).toBe('newer');
    expect(readFileSync(join(pair.target, 'held'), 'utf8')).toBe('old');
  } finally {
    command('chattr', '-i', join(pair.target, 'held'), join(pair.target, 'dir'));
  }
  expect((await syncOnce(pair)).exitCode).toBe(0);
});

diskTest(
  'immutable and append-only entries of a source arrive without that, which is one problem until it is gone',
  async () => {
    const disk = makeLoopFilesystem('ext4', 16);
    const pair = {...makePair(), source: join(disk.path, 'data')};
    mkdirSync(pair.source);
    for (const name of ['held', 'log', 'free']) writeFileSync(join(pair.source, name), name);
    command('chattr', '+i', join(pair.source, 'held'));
    command('chattr', '+a', join(pair.source, 'log'));
    try {
      const {exitCode, result} = await syncOnce(pair);
      const message = expect.stringMatching(
        /^2 entries arrive without their flags of chattr \((held, log|log, held)\): /,
      );
      expect({exitCode, problems: told(result)}).toEqual({
        exitCode: 1,
        problems: [{path: '.', code: 'attributes', message: message as string}],
      });
      expect(command('diff', '-r', pair.source, pair.target)).toBe('');
    } finally {
      command('chattr', '-ia', join(pair.source, 'held'), join(pair.source, 'log'));
    }
    expect((await syncOnce(pair)).exitCode).toBe(0);
  },
);

needsCommands('btrfs', 'mkfs.btrfs')(diskTest)(
  'a quota that is used up: no-space for what finds no room, what is small arrives',
  async () => {
    const disk = makeLoopFilesystem('btrfs', 120);
    command('btrfs', 'quota', 'enable', disk.path);
    command('btrfs', 'subvolume', 'create', join(disk.path, 'copy'));
    command('btrfs', 'qgroup', 'limit', '4M', join(disk.path, 'copy'));
    const pair = {...makePair(), target: join(disk.path, 'copy')};
    writeFileSync(join(pair.source, 'large'), Buffer.alloc(16 << 20, 1));
    writeFileSync(join(pair.source, 'small'), 'small');
    const {exitCode, result} = await syncOnce(pair);
    expect(exitCode).toBe(1);
    expect(result.problems.map(({path, code}) => ({path, code}))).toEqual([{path: 'large', code: 'no-space'}]);
    expect(result.problems[0]?.message).toContain('EDQUOT');
    expect(readFileSync(join(pair.target, 'small'), 'utf8')).toBe('small');
  },
);
