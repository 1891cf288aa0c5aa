/**
 * Killed at system calls in the middle of a run, and at odd moments of a live one: the next plain run ends equal, with
 * nothing half done left behind and nothing of somebody else's lost. More kills: TOWLINE_TEST_KILLS=200.
 */
import {
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {needsCommands} from '../needs.ts';
import {makeTmpDir} from '../tmp.ts';
import {compareByRsync, makePair, startLive, syncOnce, trashOf, type Pair} from '../sync/harness.ts';

const KILLS = Number(process.env['TOWLINE_TEST_KILLS'] ?? 10);
const MIB = 1024 * 1024;
/** Where the data's way to the target can be cut, in the program's own calls. */
const SYSCALLS = [
  'renameat2',
  'linkat',
  'unlinkat',
  'pwrite64',
  'fsync',
  'fdatasync',
  'syncfs',
  'fchmod',
  'utimensat',
  'mkdirat',
];

const straced = needsCommands('strace', 'rsync')(test);

/** Files in batches, one large file, a swap of types, renames, links: everything that has a way of its own. */
function mutate(source: string, round: number): void {
  const at = (name: string): string => join(source, name);
  const isEven = round % 2 === 0;
  for (let index = 0; index < 40; index++) writeFileSync(at(`kept-${index}`), `kept ${index} in round ${round}\n`);
  for (const name of ['new', 'gone', 'swap', 'moved-to', 'moved', 'linked', 'link'])
    rmSync(at(`${name}-${isEven ? 'even' : 'odd'}`), {recursive: true, force: true});
  rmSync(at('flip'), {recursive: true, force: true});
  if (isEven) {
    mkdirSync(at('flip'));
    writeFileSync(at('flip/inside'), `${round}\n`);
  } else symlinkSync(`target-of-${round}`, at('flip'));
  mkdirSync(at(`new-${isEven ? 'even' : 'odd'}`));
  for (let index = 0; index < 40; index++)
    writeFileSync(at(`new-${isEven ? 'even' : 'odd'}/${index}`), `${round} ${index}\n`);
  // A directory takes the name of the one that it was in, which goes elsewhere or is deleted.
  rmSync(at('was-up'), {recursive: true, force: true});
  renameSync(at('up'), at('was-up'));
  renameSync(at('was-up/inner'), at('up'));
  if (isEven) rmSync(at('was-up'), {recursive: true});
  mkdirSync(at('up/inner'));
  writeFileSync(at('up/inner/file'), `up ${round}\n`);
  renameSync(at('renamed/a'), at('renamed/c'));
  renameSync(at('renamed/b'), at('renamed/a'));
  renameSync(at('renamed/c'), at('renamed/b'));
  rmSync(at('overwritten'), {force: true});
  renameSync(at(`old-${round}`), at('overwritten'));
  writeFileSync(at(`old-${round + 1}`), `${round + 1}\n`);
  rmSync(at('hard'), {force: true});
  linkSync(at(`kept-${round % 40}`), at('hard'));
  const large = readFileSync(at('large'));
  large.writeUInt32LE(round, (round * 37 * 4096) % large.length);
  writeFileSync(at('large'), large);
}

async function firstCopy(): Promise<Pair> {
  const pair = makePair();
  mkdirSync(join(pair.source, 'renamed'));
  mkdirSync(join(pair.source, 'up/inner'), {recursive: true});
  writeFileSync(join(pair.source, 'up/inner/first'), 'first\n');
  writeFileSync(join(pair.source, 'renamed/a'), 'a\n');
  writeFileSync(join(pair.source, 'renamed/b'), 'b\n');
  writeFileSync(join(pair.source, 'old-0'), '0\n');
  writeFileSync(join(pair.source, 'theirs'), 'the source has this\n');
  writeFileSync(join(pair.source, 'large'), Buffer.alloc(2 * MIB, 'towline '));
  mutate(pair.source, 0);
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(0);
  return pair;
}

/** A plain run, judged. @param strangers what somebody wrote over `theirs` on the target before the killed runs */
async function expectRecovery(pair: Pair, strangers: readonly string[], what: string): Promise<void> {
  const run = await syncOnce(pair);
  expect(run.exitCode, `${what}\n${run.stdout.slice(-2_000)}${run.stderr}`).toBe(0);
  expect(compareByRsync(pair.source, pair.target), what).toBe('');
  const {staging, trash} = run.result.folders;
  expect(readdirSync(staging), what).toEqual([]);
  const kept = trashOf(trash)
    .filter(({at, path}) => path === 'theirs' && statSync(at, {throwIfNoEntry: false}) !== undefined)
    .map(({at}) => readFileSync(at, 'utf8'));
  expect(kept.toSorted(), what).toEqual([...strangers].toSorted());
}

/** How often a run of the next round makes each call. */
async function countCalls(pair: Pair): Promise<Map<string, number>> {
  const log = join(makeTmpDir(), 'calls');
  await syncOnce(pair, [], {wrapper: ['strace', '-f', '-qq', '-o', log, '-e', `trace=${SYSCALLS.join(',')}`]});
  const names = readFileSync(log, 'utf8').matchAll(/^\d+ +(\w+)\(/gm);
  const counts = new Map<string, number>();
  for (const [, name = ''] of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

straced(
  `H4 killed at ${KILLS} random system calls of single runs: equal after a plain run, staging empty, nothing lost`,
  async () => {
    const pair = await firstCopy();
    mutate(pair.source, 1);
    const counts = [...(await countCalls(pair))];
    expect(counts.length).toBeGreaterThan(5);
    const strangers: string[] = [];
    let killed = 0;
    for (let round = 2; round < KILLS + 2; round++) {
      mutate(pair.source, round);
      strangers.push(`somebody in round ${round}\n`);
      writeFileSync(join(pair.target, 'theirs'), strangers.at(-1)!);
      const [syscall, count] = counts[Math.floor(Math.random() * counts.length)]!;
      const when = 1 + Math.floor(Math.random() * count);
      const inject = ['-e', `trace=${syscall}`, '-e', `inject=${syscall}:signal=KILL:when=${when}`];
      const run = await syncOnce(pair, [], {wrapper: ['strace', '-f', '-qq', '-o', '/dev/null', ...inject]});
      if (run.exitCode !== 0) killed++;
      await expectRecovery(pair, strangers, `round ${round}: killed at ${syscall} number ${when} of ${count}`);
    }
    expect(killed).toBeGreaterThan(KILLS / 3);
  },
  60_000 + KILLS * 10_000,
);

needsCommands('rsync')(test)(
  'H4 a live run killed 3 times while it carries changes: equal after a plain run, staging empty',
  async () => {
    const pair = await firstCopy();
    for (let round = 1; round <= 3; round++) {
      const live = startLive(pair);
      await live.waitInSync();
      mutate(pair.source, round);
      // At whatever it does when it has applied the first, the tenth or the thirtieth change.
      const seen = live.events.length;
      await live.waitFor(
        () =>
          live.events.filter(({event}, index) => index >= seen && event === 'applied').length >=
          [1, 10, 30][round - 1]!,
      );
      await live.stop('SIGKILL');
      await expectRecovery(pair, [], `killed in round ${round}`);
    }
  },
  60_000,
);
