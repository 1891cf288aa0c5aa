/**
 * Errors of random system calls, on the source's and the target's side: a full disk, a failing one, rights that are
 * missing, no descriptors left, interruptions. Nothing ends as a bug, no file is lost or mixed, whoever is not equal
 * says why, and when it is over both sides become equal by themselves.
 *
 * Longer: TOWLINE_LAB_ROUNDS=500, from another seed: TOWLINE_LAB_SEED=51.
 */
import {lstatSync, mkdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {untilInSync} from '../hosts/agents.ts';
import {needsHosts} from '../hosts/lab.ts';
import {needsCommands} from '../needs.ts';
import {compareByRsync, makePair, syncOnce, type Pair, type Run} from '../sync/harness.ts';
import {changeRandomly, makeRandomTree, Random} from '../sync/random-tree.ts';
import {makeTmpDir} from '../tmp.ts';
import {campaignOf, recordResult} from './campaign.ts';
import {injectedCount, injectInto, randomInjection, straceWords, tell} from './inject.ts';
import {LabPair} from './pair.ts';
import {MAIN, plantedOptions} from './planted/planted.ts';
import {FixedFiles, startReader} from './reader.ts';

const LIVE = campaignOf(4);
const RUNS = campaignOf(2);
const VOLUME = 'data';
const READER = 'fixed';
const PUT_EVERY_MS = 30;
const FAULT_MS = 600;
const HOOK_MS_MAX = 180_000; // on a machine that is busy with other things
const HEAL_MS_MAX = 100_000; // pauses between tries have grown up to a minute
const MORE_MAX = 10;
const LIVE_FIRST_MAX = 25;
const RUN_FIRST_MAX = 40;
const RUN_MS_MAX = 180_000; // a machine that is busy with other things
const LARGE_BYTES = 700_000;
const BUG = /internal error|please report|TypeError|RangeError|ReferenceError|AssertionError/;

const describeErrors = needsHosts(needsCommands('strace')(describe));

describeErrors('errors of system calls', {timeout: 60_000 + LIVE.rounds * 30_000}, () => {
  let lab: LabPair;
  let outputs: string;
  beforeAll(async () => {
    outputs = makeTmpDir('file');
    lab = await LabPair.start();
    await lab.serve([{name: VOLUME}, {name: READER}]);
    makeRandomTree(lab.source.volume(VOLUME), 60, new Random(LIVE.firstSeed));
  }, HOOK_MS_MAX);
  afterAll(() => lab.stop());

  /** @returns what is wrong */
  async function play(seed: number): Promise<{wrong: string[]; injected: number}> {
    const random = new Random(seed * 7_919);
    const agent = random.of([lab.source, lab.target]);
    const injection = randomInjection(random, LIVE_FIRST_MAX, false);
    const logFrom = [lab.source, lab.target].map((each) => each.log().length);
    const stop = await injectInto(agent.pid, injection, join(outputs, String(seed)));
    change(lab.source.volume(VOLUME), random);
    await sleep(random.below(FAULT_MS));
    change(lab.source.volume(VOLUME), random);
    await sleep(random.below(FAULT_MS));
    const injected = await stop();
    const wrong = [...(await endOf(agent))];
    await untilInSync(lab.source, VOLUME, HEAL_MS_MAX).catch((error: unknown) => void wrong.push(String(error)));
    const said = [lab.source, lab.target].map((each, side) => each.log().slice(logFrom[side]));
    wrong.push(
      ...said.filter((text) => BUG.test(text)).map((text) => `it says that it has a bug:\n${text.slice(-3_000)}`),
    );
    const name = `seed ${seed}, ${agent.name}, ${tell(injection)}, ${injected} calls failed`;
    return {injected, wrong: wrong.map((line) => `${name}: ${line}`)};
  }

  test(`H12 ${LIVE.rounds} rounds of errors in live agents: no bug, no file that is not whole, and equal when it is over`, async () => {
    const fixed = new FixedFiles(lab.source.volume(READER));
    const reader = await startReader(lab.target.volume(READER));
    fixed.start(PUT_EVERY_MS);
    const wrong: string[] = [];
    let injected = 0;
    const lastSeed = LIVE.firstSeed + LIVE.rounds - 1;
    // A few rounds may all choose a call that is not made in time: then more are played.
    for (let seed = LIVE.firstSeed; seed <= lastSeed || (injected === 0 && seed <= lastSeed + MORE_MAX); seed++) {
      const round = await play(seed);
      injected += round.injected;
      wrong.push(...round.wrong);
      if (round.wrong.length > 0) console.log(round.wrong.join('\n'));
    }
    await fixed.stop();
    await untilInSync(lab.source, READER, HEAL_MS_MAX);
    const {looks, faults} = await reader.stop();
    const counts = {rounds: LIVE.rounds, 'failed calls': injected, looks, violations: wrong.length + faults.length};
    recordResult('errors of system calls, live', LIVE, counts);
    expect(faults).toEqual([]);
    expect(wrong.join('\n')).toBe('');
    expect(injected).toBeGreaterThan(0);
  });
});

/** An agent may end with a reason; it is started again, as its supervisor would. @returns what is wrong with that */
async function endOf(agent: TestAgent): Promise<string[]> {
  if (agent.isRunning) return [];
  const {exitCode} = await agent.stop();
  const told = agent.failure(`ended with ${exitCode}`).message;
  await agent.start();
  return exitCode === null || exitCode === 70 ? [told] : [];
}

function change(root: string, random: Random): void {
  changeRandomly(root, 8, random);
  const large = join(root, 'large');
  if (lstatSync(large, {throwIfNoEntry: false})?.isFile() !== true) rmSync(large, {recursive: true, force: true});
  writeFileSync(large, random.bytes(LARGE_BYTES), {flag: random.below(2) === 0 ? 'w' : 'a'});
}

const testErrors = needsCommands('strace', 'rsync')(test);

testErrors(
  `H12 ${RUNS.rounds} seeds of errors in single runs: an exit code with a reason, and the next run makes both equal`,
  {timeout: 60_000 + RUNS.rounds * 30_000},
  async () => {
    const wrong: string[] = [];
    let injected = 0;
    for (const seed of RUNS.seeds) {
      const round = await playRuns(seed);
      injected += round.injected;
      wrong.push(...round.wrong);
      if (round.wrong.length > 0) console.log(round.wrong.join('\n'));
    }
    const counts = {rounds: RUNS.rounds, 'failed calls': injected, violations: wrong.length};
    recordResult('errors of system calls, single runs', RUNS, counts);
    expect(wrong.join('\n')).toBe('');
    expect(injected).toBeGreaterThan(0);
  },
);

/** A first copy and a run after changes, each with errors, then one without. */
async function playRuns(seed: number): Promise<{wrong: string[]; injected: number}> {
  const random = new Random(seed * 104_729);
  const base = makeTmpDir('file');
  const pair = makePair('file', join(base));
  makeRandomTree(pair.source, 30, random);
  mkdirSync(pair.target);
  const wrong: string[] = [];
  let injected = 0;
  for (const step of ['first', 'later']) {
    const injection = randomInjection(random, RUN_FIRST_MAX, true);
    const output = join(base, step);
    change(pair.source, random);
    const run = await syncOnce(pair, ['--delete-limit', 'none'], {
      wrapper: straceWords(injection, output),
      timeoutMs: RUN_MS_MAX,
    });
    injected += injectedCount(output);
    const name = `seed ${seed}, ${step} run, ${tell(injection)}, ${injectedCount(output)} calls failed`;
    wrong.push(...judgeRun(run, pair).map((line) => `${name}: ${line}`));
  }
  const {exitCode, stderr, result} = await syncOnce(pair, ['--delete-limit', 'none'], {timeoutMs: RUN_MS_MAX});
  const left = compareByRsync(pair.source, pair.target);
  if (exitCode !== 0 || left !== '')
    wrong.push(
      `seed ${seed}, the run without errors: ${exitCode} ${stderr} ${JSON.stringify(result.problems)}\n${left}`,
    );
  return {wrong, injected};
}

function judgeRun({exitCode, signal, stderr, stdout}: Run, pair: Pair): string[] {
  if (exitCode === null || exitCode === 70) return [`ended with ${exitCode ?? signal}: ${stderr.slice(-3_000)}`];
  if (BUG.test(stderr)) return [`it says that it has a bug: ${stderr.slice(-3_000)}`];
  if (exitCode === 0) {
    const left = compareByRsync(pair.source, pair.target);
    return left === '' ? [] : [`ended with 0, and rsync has to do: ${left}`];
  }
  const hasReason = stderr.trim() !== '' || /"(problem|message)"/.test(stdout);
  return hasReason ? [] : [`ended with ${exitCode} without a reason`];
}

testErrors('H12 an error of a path that ends the run as a bug is found out', {timeout: 120_000}, async () => {
  const pair = makePair();
  mkdirSync(join(pair.source, 'folder'));
  const injection = {call: 'mkdirat', error: 'EIO', when: '1+'};
  const wrapper = straceWords(injection, join(makeTmpDir(), 'calls'));
  const env = {NODE_OPTIONS: plantedOptions('no-problems')};
  const planted = await syncOnce(pair, [], {wrapper, main: MAIN, env, timeoutMs: RUN_MS_MAX});
  expect(judgeRun(planted, pair)).toEqual([expect.stringMatching(/70|bug/)]);
  const run = await syncOnce(pair, [], {wrapper, timeoutMs: RUN_MS_MAX});
  expect(judgeRun(run, pair)).toEqual([]);
  expect(run.exitCode).toBe(1);
});
