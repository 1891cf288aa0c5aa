/**
 * H4, lab (c): SIGKILL at the Nth system call of a canonical scenario, of the target, of the source, or of both.
 *
 * Longer: TOWLINE_LAB_ROUNDS=5000 npx vitest run test/lab/kills.test.ts. A seed decides who is killed where. With
 * TOWLINE_LAB_KILLS=8 the next run is killed as well, and the one after it, until one comes to its end.
 */
import {appendFileSync, cpSync, existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {judge} from '../judge/judge.ts';
import {readByWalk} from '../judge/tools.ts';
import type {TreeFacts} from '../judge/facts.ts';

import {PROJECT} from '../source-rules.ts';
import {makeTmpDir} from '../tmp.ts';
import {campaignOf, recordResult} from './campaign.ts';
import {KillBench, VICTIMS, type Victim} from './kill-bench.ts';
import {checkJournalled, checkKept, checkRolledForward, checkSwept, checkWhole} from './kill-checks.ts';
import {SCENARIOS, type Scenario} from './kill-scenarios.ts';

/** Calls by which something comes to be on a disk or at the peer; some stand twice. */
const STATE_CALLS = ['pwrite64', 'pwrite64', 'fdatasync', 'write', 'writev'];
const VOLUME_CALLS = [
  'renameat2',
  'renameat2',
  'linkat',
  'unlinkat',
  'mkdirat',
  'fsync',
  'fchmod',
  'fchown',
  'utimensat',
];
const CALLS: Record<Victim, readonly string[]> = {
  target: [...VOLUME_CALLS, ...VOLUME_CALLS, ...STATE_CALLS, 'symlinkat', 'mknodat', 'fsetxattr'],
  sync: [...VOLUME_CALLS, ...VOLUME_CALLS, ...STATE_CALLS, 'syncfs'],
  source: STATE_CALLS,
};
const NTH_MAX = 24;
const AGAIN_NTH_MAX = 8; // less and less is left to do
const KILLS_A_ROUND = Number(process.env['TOWLINE_LAB_KILLS'] ?? 1);

interface Point {
  scenario: Scenario;
  victim: Victim;
  call: string;
  nth: number;
  /** Where the runs behind it are killed. */
  again: readonly {call: string; nth: number}[];
}

/** Every scenario and victim in turn; where, by the seed alone. */
function pointOf(seed: number): Point {
  const scenario = SCENARIOS[(seed - 1) % SCENARIOS.length]!;
  const victim = VICTIMS[Math.floor((seed - 1) / SCENARIOS.length + seed) % VICTIMS.length]!;
  const random = randomOf(seed);
  const calls = CALLS[victim];
  const oneOf = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)]!;
  const nthOf = (max: number): number => Math.ceil(max ** random());
  const [call, nth] = [oneOf(calls), nthOf(NTH_MAX)];
  // Whichever comes first, as there may be little left to do.
  const kinds = victim === 'source' ? [STATE_CALLS] : [VOLUME_CALLS, STATE_CALLS];
  const again = Array.from({length: KILLS_A_ROUND - 1}, () => ({
    call: [...new Set(oneOf(kinds))].join(','),
    nth: nthOf(AGAIN_NTH_MAX),
  }));
  return {scenario, victim, call, nth, again};
}

/** Source: mulberry32, public domain. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** One round. @returns how often somebody was killed, and what did not hold */
async function play(
  bench: KillBench,
  point: Point,
  isJudgedByAll: boolean,
): Promise<{kills: number; faults: string[]}> {
  const {scenario, victim, call} = point;
  const walk = async (...more: string[]): Promise<TreeFacts[]> => readByWalk(bench.target, bench.source, ...more);
  let killed = false;
  let old: TreeFacts = new Map();
  let wanted: TreeFacts = new Map();
  let now: TreeFacts = new Map();
  // A run that ends before its Nth call is played again with an earlier one.
  for (let nth = point.nth; nth >= 1 && !killed; nth = Math.floor(nth / 3)) {
    await bench.reset(victim, scenario.isFirstCopy === true);
    if (scenario.isFirstCopy !== true) appendFileSync(join(bench.target, 'theirs'), 'and what somebody wrote\n');
    scenario.change((path) => join(bench.source, path));
    if (scenario.isFirstCopy !== true) appendFileSync(join(bench.source, 'theirs'), 'changed on the source\n');
    [old, wanted] = (await walk()) as [TreeFacts, TreeFacts];
    killed = await bench.runKilled(victim, call, nth);
  }
  let kills = killed ? 1 : 0;
  const faults: string[] = [];
  const note = (when: string, found: readonly string[]): void =>
    void faults.push(...found.map((fault) => `${when}: ${fault}`));
  [now] = (await walk()) as [TreeFacts, TreeFacts];
  const moved = movedIn(old, scenario);
  const whole = (): string[] => checkWhole(old, wanted, now, moved);
  note('at once', whole());
  if (scenario.replaces !== undefined)
    note('at once', checkJournalled(join(bench.own(victim), 'staging'), bench.journalled(victim)));
  for (const next of killed ? point.again : []) {
    if (!(await bench.runKilled(victim, next.call, next.nth))) continue;
    kills++;
    [now] = (await walk()) as [TreeFacts, TreeFacts];
    note(`after kill ${kills} at ${next.call} ${next.nth}`, whole());
  }
  if (killed && victim !== 'sync') {
    const open = bench.journalled(victim);
    // What completes it may be killed as well.
    if (point.nth % 2 === 0 && (await bench.recoverKilled('renameat2', (point.nth % 5) + 1))) {
      kills++;
      [now] = (await walk()) as [TreeFacts, TreeFacts];
      note('after a killed recovery', whole());
    }
    const run = await bench.recover('--json');
    if (run.exitCode !== 0) note('recovery', [`exit code ${run.exitCode}: ${run.stdout}${run.stderr}`]);
    note('after the recovery', checkRolledForward(bench.target, open));
    note(
      'after the recovery',
      bench.journalled(victim).map(({kind, path}) => `still in the journal: ${kind} ${path}`),
    );
    [now] = (await walk()) as [TreeFacts, TreeFacts];
    note('after the recovery', whole());
  }
  for (const run of await bench.runOnce(victim))
    if (run.exitCode !== 0)
      note('the next run', [`exit code ${run.exitCode}: ${run.stdout.slice(-1_500)}${run.stderr}`]);
  note('at the end', await judge(bench.source, bench.target, isJudgedByAll ? {} : {by: 'descriptors'}));
  const own = bench.own(victim);
  const trash = join(own, 'trash');
  const [end, , kept = new Map()] = await walk(...(existsSync(trash) ? [trash] : []));
  note('at the end', [...checkSwept(join(own, 'staging')), ...checkKept(old, end!, kept)]);
  return {kills, faults};
}

/** What was in the directory that is renamed, under its new path. */
function movedIn(old: TreeFacts, {renamed}: Scenario): TreeFacts {
  if (renamed === undefined) return new Map();
  const {from, to} = renamed;
  return new Map(
    [...old].flatMap(([path, facts]) => (path.startsWith(`${from}/`) ? [[to + path.slice(from.length), facts]] : [])),
  );
}

const labTest = needsLoopMounts(needsCommands('strace', 'rsync', 'setfattr', 'setfacl', 'getfacl', 'getcap')(test));
let made: KillBench | undefined;
/** Made when it is needed: not everybody may mount. */
const theBench = (): KillBench => (made ??= new KillBench());
const campaign = campaignOf(12);

labTest(
  `H4 ${campaign.rounds} kills over ${SCENARIOS.length} scenarios: every path old or new, batches whole or absent, then equal`,
  async () => {
    let kills = 0;
    const violations: string[] = [];
    for (const seed of campaign.seeds) {
      const point = pointOf(seed);
      const {kills: killed, faults} = await play(theBench(), point, seed % 4 === 0);
      kills += killed;
      const {scenario, victim, call, nth} = point;
      if (faults.length > 0) {
        violations.push(
          `seed ${seed}: ${scenario.name}, ${victim} killed at ${call} ${nth}:\n  ${faults.join('\n  ')}`,
        );
        console.log(violations.at(-1));
      }
    }
    const counts = {kills, scenarios: SCENARIOS.length, violations: violations.length};
    recordResult('kills at system calls', campaign, counts);
    expect(violations).toEqual([]);
    expect(kills).toBeGreaterThan(campaign.rounds / 3);
  },
  60_000 + campaign.rounds * 30_000,
);

/** The built program with one line of it replaced. */
function planted(replace: readonly [line: RegExp, by: string][]): string {
  const folder = makeTmpDir();
  const dist = join(folder, 'dist');
  cpSync(join(PROJECT, 'dist'), dist, {recursive: true});
  for (const name of ['node_modules', 'package.json']) symlinkSync(join(PROJECT, name), join(folder, name));
  for (const [line, by] of replace) {
    const found = readdirSync(dist).filter((name) => line.test(readFileSync(join(dist, name), 'utf8')));
    expect(found, String(line)).toHaveLength(1);
    const path = join(dist, found[0]!);
    writeFileSync(path, readFileSync(path, 'utf8').replace(line, by));
  }
  return join(dist, 'main.js');
}

const REPLACED = SCENARIOS.find(({replaces}) => replaces !== undefined)!;

/** Kills one after the other until something is noticed. */
async function playUntilNoticed(
  main: string,
  point: Pick<Point, 'victim' | 'call'>,
  nths: readonly number[],
): Promise<string> {
  const bench = theBench();
  bench.main = main;
  try {
    for (const nth of nths) {
      const {faults} = await play(bench, {...point, scenario: REPLACED, nth, again: []}, false);
      if (faults.length > 0) return faults.join('\n');
    }
    return '';
  } finally {
    bench.main = undefined;
  }
}

labTest(
  'control: a file that is removed before its new version takes its place is noticed',
  async () => {
    const line = /renameAt\$?\d*\(stagingFd, record\.stage, dirFd, name, [^;]*;/;
    const main = planted([
      [line, 'removeTree(dirFd, name); renameAt$1(stagingFd, record.stage, dirFd, name, "no-replace");'],
    ]);
    expect(await playUntilNoticed(main, {victim: 'sync', call: 'renameat2'}, [1, 2])).toMatch(
      /at once: [^\n]*: is missing/,
    );
  },
  120_000,
);

labTest(
  'control: a batch that is journalled after it was switched is noticed',
  async () => {
    const main = planted([
      [/journal\.append\(\{/, 'const journalled = () => journal.append({'],
      [/(const \{ switched, dirs \} = await jobs\.run\("switch-batch"[^;]*;)/, '$1 journalled();'],
    ]);
    expect(await playUntilNoticed(main, {victim: 'target', call: 'renameat2'}, [5, 4, 6])).toContain('half a batch');
  },
  120_000,
);
