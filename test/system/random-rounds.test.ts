/**
 * Random trees that change between runs, while runs are going on, and while runs are killed: whenever a run says that
 * both sides are in sync, rsync finds nothing to do.
 *
 * A seed is a whole history. `TOWLINE_TEST_SEEDS=100-400` plays more of them than the few that are played each time.
 */
import {rmSync} from 'node:fs';
import {expect, test} from 'vitest';
import {CHANGE_NAMES, changeRandomly, makeRandomTree, Random} from '../sync/random-tree.ts';
import {compareByRsync, makePair, type Pair, startLive, syncOnce} from '../sync/harness.ts';

const ROUNDS = 6;
const STEPS_MAX = 40;
const [FROM = 1, TO = 4] = (process.env['TOWLINE_TEST_SEEDS'] ?? '').split('-').filter(Boolean).map(Number);
const OPTIONS = ['--delete-limit', 'none'];
/** What replaces one thing by another; the rest of the changes is as likely by itself. */
const REPLACING = CHANGE_NAMES.filter((name) => /becomes|anew|has its name|takes|goes into|change names/.test(name));

type Before = (pair: Pair, random: Random, change: () => string[]) => Promise<string[]>;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

/** Changes a bit at a time, from some moment of a run on. */
async function changeMeanwhile(random: Random, change: () => string[]): Promise<string[]> {
  await sleep(random.below(350));
  const done: string[] = [];
  for (let step = 0; step < 10; step++) {
    done.push(...change());
    await sleep(random.below(10));
  }
  return done;
}

/** What happens before the run that is judged. */
const BEFORE: Record<string, Before> = {
  'nothing but changes': (_pair, _random, change) => Promise.resolve(change()),
  'a dry run': async (pair, _random, change) => {
    const done = change();
    await syncOnce(pair, ['-n', ...OPTIONS]);
    return done;
  },
  'changes during a run': async (pair, random, change) => {
    const [, done] = await Promise.all([syncOnce(pair, OPTIONS), changeMeanwhile(random, change)]);
    return done;
  },
  'a run that is interrupted': async (pair, random, change) => {
    const done = change();
    const run = startLive(pair, OPTIONS);
    await sleep(150 + random.below(300));
    await run.stop(random.below(2) === 0 ? 'SIGINT' : 'SIGKILL');
    return done;
  },
  'a live run that is interrupted during changes': async (pair, random, change) => {
    const run = startLive(pair, OPTIONS);
    const done = await changeMeanwhile(random, change);
    await run.stop(random.below(2) === 0 ? 'SIGTERM' : 'SIGKILL');
    return done;
  },
};

/** Plays a seed's history. @returns '' or what is wrong, with what led to it */
async function play(seed: number): Promise<string> {
  const random = new Random(seed * 7_919);
  const pair = makePair();
  const {source, target} = pair;
  makeRandomTree(source, 20 + random.below(60), random);
  const history: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const names = random.below(2) === 0 ? REPLACING : CHANGE_NAMES;
    const before = random.of(Object.keys(BEFORE));
    const change = (): string[] => changeRandomly(source, 1 + random.below(STEPS_MAX / 4), random, names);
    history.push(`-- ${before}`, ...(await BEFORE[before]!(pair, random, change)));
    const {exitCode, stderr, result} = await syncOnce(pair, OPTIONS);
    const differences = compareByRsync(source, target);
    if (exitCode === 0 && differences === '') continue;
    const said = exitCode === 0 ? '' : `${stderr}\n${JSON.stringify(result.problems)}`;
    return [`seed ${seed}, exit code ${exitCode}`, ...history, '-- differences', differences, said].join('\n');
  }
  for (const folder of Object.values(pair) as string[]) rmSync(folder, {recursive: true, force: true});
  return '';
}

for (let seed = FROM; seed < TO; seed++) {
  test(`what a run leaves behind is equal, whatever came before, seed ${seed}`, async () => {
    expect(await play(seed)).toBe('');
  }, 180_000);
}
