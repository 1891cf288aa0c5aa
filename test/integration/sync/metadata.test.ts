/**
 * Permissions, times and symlinks as they are on the source: of everything, and right after a change.
 *
 * Judged by find and rsync. Everything is copied by a single run first, then changed while it is followed.
 */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts, needsRoot} from '../../needs.ts';
import {
  command,
  compareByRsync,
  makePair,
  startLive,
  syncOnce,
  type Pair,
  type RunOptions,
} from '../../sync/harness.ts';
import {untilEqual} from '../../sync/live.ts';
import {makeTmpDir} from '../../tmp.ts';

const rootTest = needsRoot(needsCommands('rsync')(test));
const rsyncTest = needsCommands('rsync')(test);
const MODES = Array.from({length: 0o10000}, (_, mode) => mode);
const octal = (mode: number): string => mode.toString(8).padStart(4, '0');

/** Every entry below a root with type, mode, owner, ns mtime and link target, as find sees it. */
function seen(root: string): string {
  const format = '%P %y %m %U:%G %T@ %l\n';
  return command('find', root, '-mindepth', '1', '-name', '.last-change', '-o', '-printf', format)
    .split('\n')
    .toSorted()
    .join('\n');
}

/** Copies by a single run, then follows while `change` works on the source; both trees are equal after each. */
async function onceThenLive(pair: Pair, change: () => void, options: RunOptions = {}): Promise<void> {
  const run = await syncOnce(pair, [], options);
  expect([run.exitCode, run.result.problems], run.stderr).toEqual([0, []]);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  expect(seen(pair.target)).toBe(seen(pair.source));
  const live = startLive(pair, ['--delete-limit', 'none'], options);
  await untilEqual(live, pair);
  change();
  await untilEqual(live, pair, 40_000);
  expect(seen(pair.target)).toBe(seen(pair.source));
  const ended = await live.stop();
  expect([ended.exitCode, ended.result.problems], ended.stderr).toEqual([0, []]);
}

describe('permissions', {timeout: 120_000}, () => {
  rootTest(
    'G1 all 4,096 modes of files, and of directories with what is in them, copied, then 2,048 of them changed',
    async () => {
      const pair = makePair();
      for (const kind of ['files', 'dirs']) mkdirSync(join(pair.source, kind));
      const file = (mode: number): string => join(pair.source, 'files', octal(mode));
      const dir = (mode: number): string => join(pair.source, 'dirs', octal(mode));
      for (const mode of MODES) {
        writeFileSync(file(mode), `file ${mode}`);
        chmodSync(file(mode), mode);
        mkdirSync(dir(mode));
        writeFileSync(join(dir(mode), 'inside'), `inside ${mode}`);
        chmodSync(dir(mode), mode);
      }
      const modesIn = (root: string, kind: string): Set<number> =>
        new Set(readdirSync(join(root, kind)).map((name) => lstatSync(join(root, kind, name)).mode & 0o7777));
      await onceThenLive(pair, () => {
        expect(['files', 'dirs'].map((kind) => modesIn(pair.target, kind).size)).toEqual([4_096, 4_096]);
        for (const mode of MODES.filter((each) => each % 4 === 0)) {
          chmodSync(file(mode), (mode * 5 + 3) & 0o7777);
          chmodSync(dir(mode), (mode * 3 + 1) & 0o7777);
        }
      });
    },
  );

  describe.each(['root', 'an ordinary user'])('as %s', (who) => {
    const asUser = {wrapper: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']};
    const isUser = who !== 'root';

    needsCommands('setpriv')(rootTest)(
      `G9 a file of mode 0400 and what is in directories of mode 0555 updated by ${who}: edits, names that come, go and move`,
      async () => {
        const pair = makePair();
        const at = (path: string): string => join(pair.source, path);
        mkdirSync(at('closed/sub'), {recursive: true});
        mkdirSync(at('open'));
        for (const name of ['secret', 'closed/a', 'closed/b', 'closed/sub/c', 'closed/sub/d'])
          writeFileSync(at(name), `first version of ${name}`);
        writeFileSync(at('large'), Buffer.alloc(300_000, 'content '));
        writeFileSync(at('.last-change'), ''); // untilEqual's file, which must be the user's like all others
        const close = (): void => {
          if (isUser) command('chown', '-R', '65534:65534', join(pair.source, '..'));
          for (const name of ['secret', 'closed/a', 'large']) chmodSync(at(name), 0o400);
          for (const name of ['closed', 'closed/sub', 'closed/new dir', 'open/moved'])
            if (existsSync(at(name))) chmodSync(at(name), 0o555);
        };
        close();
        await onceThenLive(
          pair,
          () => {
            for (const name of ['secret', 'closed/a', 'large', 'closed/sub/c']) appendFileSync(at(name), ' and more');
            writeFileSync(at('closed/new'), 'new');
            mkdirSync(at('closed/new dir/below'), {recursive: true});
            writeFileSync(at('closed/new dir/below/file'), 'new');
            unlinkSync(at('closed/b'));
            renameSync(at('closed/sub/d'), at('closed/e'));
            renameSync(at('closed/sub'), at('open/moved'));
            symlinkSync('a', at('closed/link'));
            close();
          },
          isUser ? asUser : {},
        );
        // Deleted with what is in them, while nothing runs.
        rmSync(at('closed'), {recursive: true});
        const run = await syncOnce(pair, ['--delete-limit', 'none'], isUser ? asUser : {});
        expect([run.exitCode, run.result.problems], run.stderr).toEqual([0, []]);
        expect(compareByRsync(pair.source, pair.target)).toBe('');
        expect(statSync(join(pair.target, 'open/moved')).mode & 0o7777).toBe(0o555);
      },
    );
  });

  rootTest(
    'G10 umask 077, a target whose setgid and sticky bits its new entries would inherit: modes and groups as on the source',
    async () => {
      const pair = makePair();
      const at = (path: string): string => join(pair.source, path);
      mkdirSync(pair.target);
      chownSync(pair.target, 1_000, 2_000);
      chmodSync(pair.target, 0o3777);
      mkdirSync(at('shared'));
      mkdirSync(at('plain'));
      chownSync(at('shared'), 3, 4);
      chmodSync(at('shared'), 0o2775);
      mkdirSync(at('tmp'));
      chmodSync(at('tmp'), 0o1777);
      const fill = (name: string): void => {
        for (const [index, dir] of ['shared', 'plain', 'tmp', '.'].entries()) {
          mkdirSync(at(`${dir}/dir ${name}`));
          writeFileSync(at(`${dir}/file ${name}`), name);
          writeFileSync(at(`${dir}/large ${name}`), Buffer.alloc(100_000, name));
          symlinkSync('nowhere', at(`${dir}/link ${name}`));
          for (const kind of ['dir', 'file', 'large']) {
            chmodSync(at(`${dir}/${kind} ${name}`), 0o666 + index); // more than the umask leaves
            chownSync(at(`${dir}/${kind} ${name}`), 100 + index, 200 + index);
          }
          lchownSync(at(`${dir}/link ${name}`), 300 + index, 400 + index);
        }
      };
      fill('first');
      const wrapper = ['sh', '-c', 'umask 077; exec "$0" "$@"'];
      await onceThenLive(pair, () => fill('second'), {wrapper});
      expect(statSync(pair.target).mode).toBe(statSync(pair.source).mode);
    },
  );
});

/** Sets the mtime to the nanosecond, of a symlink too. @returns whether the filesystem keeps it */
function setTimes(times: readonly {path: string; ns: bigint}[]): string[] {
  const script = `
import json, os, sys
for path, ns in json.load(sys.stdin):
    os.utime(path, ns=(0, int(ns)), follow_symlinks=False)
    if os.stat(path, follow_symlinks=False).st_mtime_ns == int(ns):
        print(path)
`;
  const input = JSON.stringify(times.map(({path, ns}) => [path, String(ns)]));
  return command('sh', '-c', `printf %s "$1" | python3 -c "$0"`, script, input).trimEnd().split('\n');
}

describe('times', {timeout: 60_000}, () => {
  const S = 1_000_000_000n;
  const TIMES: Record<string, bigint> = {
    epoch: 0n,
    'the first nanosecond': 1n,
    'before 1970': -1n,
    'before 1970 by more': -1_234_567_890_123_456_789n,
    'the first second of 32 bits': -(2n ** 31n) * S,
    'with all nine digits': 1_234_567_890_123_456_789n,
    'the last second of 32 bits': (2n ** 31n - 1n) * S + 999_999_999n,
    'after 2038': 2n ** 31n * S,
    'after 2106': 2n ** 32n * S + 1n,
    'the last nanosecond of ext4, in 2446': 15_032_385_535n * S + 999_999_999n,
  };

  needsCommands('python3')(rsyncTest)(
    'G3 ns times of files, directories and symlinks from before 1970 to 2446, copied and then each changed',
    async () => {
      const pair = makePair();
      const names = Object.keys(TIMES);
      const at = (kind: string, name: string): string => join(pair.source, kind, name);
      for (const kind of ['file', 'dir', 'link']) mkdirSync(join(pair.source, kind));
      for (const name of names) {
        writeFileSync(at('file', name), name);
        mkdirSync(at('dir', name));
        writeFileSync(join(at('dir', name), 'inside'), name);
        symlinkSync('nowhere', at('link', name));
      }
      const timesFrom = (shift: number): {path: string; ns: bigint}[] =>
        ['file', 'dir', 'link'].flatMap((kind) =>
          names.map((name, index) => ({path: at(kind, name), ns: TIMES[names[(index + shift) % names.length]!]!})),
        );
      const kept = setTimes(timesFrom(0));
      expect(kept.length).toBeGreaterThanOrEqual(3 * (names.length - 3)); // a filesystem of 32 bits lacks three
      await onceThenLive(pair, () => void setTimes(timesFrom(1)));
      const nsOf = (path: string): bigint => lstatSync(path, {bigint: true}).mtimeNs;
      for (const {path} of timesFrom(1)) expect(nsOf(path.replace(pair.source, pair.target)), path).toBe(nsOf(path));
    },
  );

  needsLoopMounts(needsCommands('mkfs.xfs')(test))(
    'G3 times that the target cannot hold are problems with the reason; everything else of the entries arrives',
    async () => {
      const xfs = makeLoopFilesystem('xfs', 300, '', ['-m', 'bigtime=0']); // from 1901 to 2038
      const pair = {...makePair(), target: join(xfs.path, 'target')};
      for (const name of ['late', 'in time']) writeFileSync(join(pair.source, name), name);
      mkdirSync(join(pair.source, 'dir'));
      symlinkSync('nowhere', join(pair.source, 'link'));
      const at = Date.UTC(2100, 0, 1) / 1_000;
      for (const name of ['late', 'dir']) utimesSync(join(pair.source, name), at, at);
      lutimesSync(join(pair.source, 'link'), at, at);
      for (const round of ['first', 'second']) {
        const {exitCode, result} = await syncOnce(pair);
        const message = expect.stringMatching(
          /its time 2100-01-01T00:00:00.0{9}Z cannot be kept, it became 2038-01-19T/,
        );
        const problems = ['dir', 'late', 'link'].map((path) => ({path, code: 'attributes', side: 'target', message}));
        expect({round, exitCode, inSync: result.inSync}).toEqual({round, exitCode: 1, inSync: false});
        expect(result.problems).toMatchObject(problems);
      }
      expect(readFileSync(join(pair.target, 'late'), 'utf8')).toBe('late');
      const now = new Date();
      for (const name of ['late', 'dir']) utimesSync(join(pair.source, name), now, now);
      lutimesSync(join(pair.source, 'link'), now, now);
      const after = await syncOnce(pair);
      expect([after.exitCode, after.result.problems], after.stderr).toEqual([0, []]);
      expect(compareByRsync(pair.source, pair.target)).toBe('');
    },
  );

  rsyncTest('G3 the time of a directory right after what is in it came, went, was renamed and replaced', async () => {
    const pair = makePair();
    const dirs = Array.from({length: 30}, (_, index) => join(pair.source, `dir${index}`));
    for (const dir of dirs) {
      mkdirSync(dir);
      for (const name of ['gone', 'renamed', 'replaced']) writeFileSync(join(dir, name), name);
    }
    await onceThenLive(pair, () => {
      for (const [index, dir] of dirs.entries()) {
        writeFileSync(join(dir, 'new'), 'new');
        unlinkSync(join(dir, 'gone'));
        renameSync(join(dir, 'renamed'), join(dir, 'another name'));
        writeFileSync(join(dir, '.tmp'), 'another version');
        renameSync(join(dir, '.tmp'), join(dir, 'replaced'));
        if (index % 2 === 0) setTimes([{path: dir, ns: BigInt(index) * S + 123_456_789n}]);
      }
    });
  });
});

rsyncTest(
  'G6 symlinks dangling, absolute, with `..`, of 4,095 bytes and of odd bytes arrive verbatim; none is followed',
  async () => {
    const pair = makePair();
    const outside = makeTmpDir();
    mkdirSync(join(outside, 'dir'));
    for (const name of ['file', 'dir/below']) writeFileSync(join(outside, name), 'outside');
    const outsideSeen = (): string => command('find', outside, '-printf', '%p %y %i %m %s %A@ %T@ %C@\n');
    const targets = [
      'nowhere',
      join(outside, 'file'),
      join(outside, 'dir'),
      '../../../../../../../../etc/passwd',
      '..',
      '.',
      '/',
      './a//b/../c/',
      'loop',
      `${'long/'.repeat(818)}12345`, // 4,095 bytes
      Buffer.from('\xff\xfe not UTF-8', 'latin1'),
      'new\nline \x1b[31m',
      ' ',
    ];
    const put = (prefix: string, shift: number): void => {
      for (const index of targets.keys()) {
        const path = join(pair.source, index === 8 ? 'loop' : `${prefix}${index}`);
        rmSync(path, {force: true});
        symlinkSync(targets[(index + (index === 8 ? 0 : shift)) % targets.length]!, path);
      }
    };
    put('link', 0);
    let before = outsideSeen();
    while (outsideSeen() !== before) before = outsideSeen(); // the first looks change the access times of directories
    await onceThenLive(pair, () => {
      put('link', 1); // each leads elsewhere now
      put('new', 0);
    });
    const bytesOf = (folder: string): string[] =>
      readdirSync(folder)
        .filter((name) => name !== '.last-change')
        .map((name) => `${name} ${readlinkSync(join(folder, name), {encoding: 'buffer'}).toString('hex')}`);
    expect(bytesOf(pair.target)).toEqual(bytesOf(pair.source));
    expect(bytesOf(pair.target).length).toBe(2 * targets.length - 1);
    expect(outsideSeen()).toBe(before);
  },
);
