/** What `doctor` finds of volumes and of the state, on real filesystems; what it leaves there: nothing. */
import {spawn, spawnSync} from 'node:child_process';
import {once} from 'node:events';
import {lstatSync, mkdirSync, readdirSync, symlinkSync, truncateSync, watch, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {describe, expect, onTestFinished, test} from 'vitest';
import {examineFolder} from '../../../src/control/doctor/examine-folder.ts';
import {makeFat, needsFat} from '../../fat-fs.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts, needsRoot} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';
import {configOf, diagnose, findingsOf, volumeOf} from './agent.ts';

const levels = (findings: {level: string; what: string}[]): string[] =>
  findings.map(({level, what}) => `${level}: ${what}`);

async function volumeFindings(path: string, direction: 'send' | 'receive', stateFolder?: string): Promise<string[]> {
  const config = configOf({stateFolder: stateFolder ?? makeTmpDir(), volumes: [volumeOf('data', path, direction)]});
  return levels(await findingsOf('volume data', config));
}

const matching = (pattern: RegExp): unknown => expect.arrayContaining([expect.stringMatching(pattern)]);

needsLoopMounts(describe)('volumes', () => {
  test('I1 a link in the place of its own folder in the root leads it nowhere', async () => {
    const {path} = makeLoopFilesystem('ext4', 16);
    for (const folder of ['root', 'outside', 'outside/staging']) mkdirSync(join(path, folder), {mode: 0o700});
    symlinkSync('../outside', join(path, 'root', '.towline'));
    const before = lstatSync(join(path, 'outside/staging')).ctimeMs;
    const request = {path: join(path, 'root'), stateFolder: makeTmpDir(), places: [], countMs: 0};
    const {facts} = await examineFolder(request, 5_000);
    expect(facts).toMatchObject({canLink: undefined, isReservedTaken: true});
    expect(lstatSync(join(path, 'outside/staging')).ctimeMs).toBe(before);
  });

  test('a target on XFS is fine: marks, ns times, clones, exchange; a place beside the state is found', async () => {
    const {path} = makeLoopFilesystem('xfs', 300);
    mkdirSync(join(path, 'root'));
    mkdirSync(join(path, 'state'), {mode: 0o700});
    const found = await volumeFindings(join(path, 'root'), 'receive', join(path, 'state'));
    expect(found).toEqual([expect.stringMatching(/^ok: .*\/root is on xfs with .* free$/)]);
    const request = {path: join(path, 'root'), stateFolder: join(path, 'state'), countMs: 1_000};
    const {facts, tree} = await examineFolder(
      {...request, places: ['/proc', join(path, 'state', 'none', 'yet')]},
      5_000,
    );
    expect(facts).toMatchObject({canMark: true, canClone: true, canLink: true, canExchange: true, keptNs: 123_456_789});
    expect(facts).toMatchObject({place: join(path, 'state', 'none', 'yet'), isReservedTaken: false, isEmpty: true});
    expect(tree).toEqual({dirCount: 1, isWhole: true});
    expect(readdirSync(join(path, 'state'))).toEqual([]);
  });

  test.each([
    {
      title: 'a staging place of its own: a watcher on the root sees no event',
      own: ['.towline/staging'],
      seen: /^end$/,
    },
    {title: 'none: a watcher sees a file without a name at most', own: [], seen: /^(#\d+|end)$/},
  ])('nothing gets a name in the root, with $title', async ({own, seen}) => {
    const {path} = makeLoopFilesystem('ext4', 8);
    for (const name of own) mkdirSync(join(path, name), {recursive: true, mode: 0o700});
    const before = readdirSync(path, {recursive: true});
    const events: string[] = [];
    const watcher = watch(path, (_, name) => events.push(name ?? ''));
    onTestFinished(() => watcher.close());
    expect(await volumeFindings(path, 'receive')).toEqual(matching(/^ok: /));
    expect(readdirSync(path, {recursive: true})).toEqual(before);
    writeFileSync(join(path, 'end'), '');
    await expect.poll(() => events).toContain('end');
    expect(events.filter((name) => !seen.test(name))).toEqual([]);
  });

  test('an ext4 that is mounted read-only is bad for a target, and a warning for a source', async () => {
    const filesystem = makeLoopFilesystem('ext4', 8);
    filesystem.remount('ro');
    expect(await volumeFindings(filesystem.path, 'receive')).toEqual(
      matching(/^bad: .* is mounted read-only: nothing can be received$/),
    );
    expect(await volumeFindings(filesystem.path, 'send')).toEqual(
      matching(/^warn: .* is mounted read-only: its root cannot be marked$/),
    );
  });

  test('whole seconds and missing birth times of an ext4 with inodes of 128 bytes are told', async () => {
    const folder = makeTmpDir('file');
    const image = join(folder, 'image');
    writeFileSync(image, '');
    truncateSync(image, 8 * 1024 * 1024);
    const mountPoint = join(folder, 'mnt');
    mkdirSync(mountPoint);
    spawnSync('mkfs.ext4', ['-q', '-F', '-I', '128', image]);
    expect(spawnSync('mount', ['-o', 'loop', image, mountPoint]).status).toBe(0);
    onTestFinished(() => void spawnSync('umount', [mountPoint]));
    const found = await volumeFindings(mountPoint, 'send');
    expect(found).toEqual(matching(/^warn: ext4 here keeps times in whole seconds/));
    expect(found).toEqual(matching(/^note: ext4 here has no birth times/));
  });

  test('a filesystem without attributes cannot be marked, and what a target leaves out there is told', async () => {
    const mountPoint = makeTmpDir('file');
    expect(spawnSync('mount', ['-t', 'ramfs', '-o', 'noexec', 'ramfs', mountPoint]).status).toBe(0);
    onTestFinished(() => void spawnSync('umount', [mountPoint]));
    expect(await volumeFindings(mountPoint, 'send')).toEqual(
      matching(/^warn: roots cannot be marked on ramfs \((ENOTSUP|EOPNOTSUPP)\)/),
    );
    expect(await volumeFindings(mountPoint, 'receive')).toEqual(
      matching(/^warn: ramfs here keeps no user attributes, ACLs, file capabilities: what has some arrives without/),
    );
  });

  test('a target that is 99.9 % full is bad, and the state on it a warning', async () => {
    const {path} = makeLoopFilesystem('tmpfs', 8);
    mkdirSync(join(path, 'state'), {mode: 0o700});
    writeFileSync(join(path, 'fill'), Buffer.alloc(8 * 1024 * 1024 - 16_384));
    expect(await volumeFindings(path, 'receive')).toEqual(matching(/^bad: .* has 16\.0 KiB free of 8\.0 MiB$/));
    const config = configOf({stateFolder: join(path, 'state')});
    expect(levels(await findingsOf('state', config))).toEqual([
      expect.stringMatching(/^warn: .* nothing is acknowledged when it is full$/),
      expect.stringMatching(/^warn: .* is in memory: after a boot the identity is gone/),
    ]);
  });
});

needsFat(test)(
  'a target that takes names that differ in case alone for one is told, before anything is lost',
  async () => {
    const path = await makeFat();
    writeFileSync(join(path, 'Some.txt'), '');
    expect(await volumeFindings(path, 'receive')).toEqual(
      matching(/^warn: .* takes names that differ in case alone for one: of two such files one stays behind/),
    );
  },
);

needsRoot(needsCommands('python3')(test))(
  'a hung mount costs 5 s and is named; the volumes beside it are looked at',
  async () => {
    const folder = makeTmpDir();
    const hung = join(folder, 'hung');
    mkdirSync(hung);
    // A FUSE filesystem whose server never answers: whoever looks at it sleeps in the kernel.
    const server = spawn('python3', ['-c', FUSE_SERVER, hung], {stdio: ['pipe', 'pipe', 'inherit']});
    const lines = createInterface({input: server.stdout})[Symbol.asyncIterator]();
    onTestFinished(async () => {
      spawnSync('umount', ['-l', hung]);
      server.kill('SIGKILL');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
    });
    expect((await lines.next()).value).toBe('mounted');
    const config = configOf({
      stateFolder: makeTmpDir(),
      volumes: [volumeOf('hung', hung, 'send'), volumeOf('well', makeTmpDir(), 'send')],
    });
    const startMs = performance.now();
    const areas = ['volume hung', 'volume well'] as const;
    const [first, second] = await Promise.all(areas.map((area) => findingsOf(area, config)));
    expect(performance.now() - startMs).toBeLessThan(12_000);
    expect(first).toEqual([
      {
        area: 'volume hung',
        level: 'bad',
        what: `${hung} does not answer: its filesystem hangs`,
        fix: expect.stringContaining(`umount -l ${hung}`) as unknown,
      },
    ]);
    expect(second![0]).toMatchObject({level: 'ok'});
  },
);

const FUSE_SERVER = `
import ctypes, os, sys
fd = os.open('/dev/fuse', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
data = 'fd=%d,rootmode=40000,user_id=0,group_id=0' % fd
if libc.mount(b'hung', sys.argv[1].encode(), b'fuse.hung', 0, data.encode()) != 0:
    sys.exit('mount: %s' % os.strerror(ctypes.get_errno()))
print('mounted', flush=True)
sys.stdin.read()
`;

test('a root that is missing, a file, the same as another, inside another or around the state is bad', async () => {
  const folder = makeTmpDir();
  for (const name of ['a', 'a/b', 'a/state']) mkdirSync(join(folder, name), {mode: 0o700});
  writeFileSync(join(folder, 'file'), '');
  symlinkSync('a', join(folder, 'link'));
  const volumes = ['a', 'link', 'a/b', 'file', 'none'].map((name) =>
    volumeOf(name.replace('/', '-'), join(folder, name), 'send'),
  );
  const config = configOf({stateFolder: join(folder, 'a/state'), volumes});
  const found = await diagnose(config);
  const bad = (area: string): string[] =>
    found.filter((one) => one.area === area && one.level === 'bad').map(({what}) => what);
  expect(bad('volume none')).toEqual([`${folder}/none does not exist`]);
  expect(bad('volume file')).toEqual([`${folder}/file is not a folder`]);
  expect(bad('volume link')).toEqual([`volume link has the same root as volume a (${folder}/a)`]);
  expect(bad('volume a-b')).toEqual([
    `volume a-b lies inside volume a (${folder}/a)`,
    `volume a-b lies inside volume link (${folder}/a)`,
  ]);
  expect(bad('state')).toContain(`the state folder ${folder}/a/state lies inside volume a`);
});

test('a name that is reserved and not ours is told, as bad where the staging would lie there', async () => {
  const root = makeTmpDir();
  mkdirSync(join(root, '.towline'), {mode: 0o755});
  expect(await volumeFindings(root, 'receive')).toEqual(
    matching(/^warn: .*\/\.towline is there, but not as a private/),
  );
  expect(await volumeFindings(root, 'receive', '/proc/none')).toEqual(matching(/^bad: .*\/\.towline is there/));
});

test('directories are counted, Towline’s own and links to others left out', async () => {
  const root = makeTmpDir();
  for (const name of ['a/b/c', 'd', '.towline/staging/x']) mkdirSync(join(root, name), {recursive: true});
  symlinkSync('/usr', join(root, 'usr'));
  const request = {path: root, stateFolder: '/nonexistent', places: [], countMs: 1_000};
  expect((await examineFolder(request, 5_000)).tree).toEqual({dirCount: 5, isWhole: true});
  const config = configOf({stateFolder: makeTmpDir(), volumes: [volumeOf('data', root, 'send')]});
  expect(levels(await findingsOf('watching', config))).toEqual([
    expect.stringMatching(/^ok: the volumes have 5 directories/),
  ]);
});

test('a state folder that others can write is bad, one that is not there yet a note', async () => {
  const folder = makeTmpDir();
  const open = join(folder, 'open');
  mkdirSync(open);
  spawnSync('chmod', ['777', open]);
  expect(await findingsOf('state', configOf({stateFolder: open}))).toMatchObject([
    {level: 'bad', fix: expect.stringContaining(`chmod 700 ${open}`) as unknown},
  ]);
  expect(await findingsOf('state', configOf({stateFolder: join(folder, 'none')}))).toMatchObject([{level: 'note'}]);
});
