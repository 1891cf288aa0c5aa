/**
 * Random nasty trees, every type of entry and every kind of metadata, synchronised and then changed at random three
 * times: after each run, also after one that was killed, and live after each burst of changes, independent programs
 * find no difference (test/judge).
 *
 * A seed is a whole history. `TOWLINE_TEST_TREES=500` plays the first 500 seeds, `100-400` those from 100 to 399.
 */
import {mkdirSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import {judge} from '../judge/judge.ts';
import {makeLoopFilesystem, type LoopFilesystem} from '../loop-fs.ts';
import {changeNastyTree, makeNastyTree, NASTY_KINDS, type NastyKind} from '../nasty/nasty.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {makePair, startLive, syncOnce, type Pair} from '../sync/harness.ts';
import {untilEqual} from '../sync/live.ts';

const ROUNDS = 3;
const CHANGES_MAX = 40;
const DIFFERENCES_SHOWN = 60;
const [FROM, TO] = seeds(process.env['TOWLINE_TEST_TREES'] ?? '10');
const KINDS = (process.env['TOWLINE_TEST_KINDS']?.split(',') as NastyKind[]) ?? NASTY_KINDS;
const OPTIONS = ['--delete-limit', 'none', ...(KINDS.includes('devices') ? ['--devices'] : [])]; // no test of the guard

function seeds(words: string): [from: number, to: number] {
  const [from = 1, to] = words.split('-').map(Number);
  return to === undefined ? [1, from + 1] : [from, to];
}

const HOWS = ['live', 'in runs', 'after killed runs'] as const;
type How = (typeof HOWS)[number];

interface History {
  seed: number;
  pair: Pair;
  /** What happened, and in the end what is wrong. */
  lines: string[];
}

/** Compares both sides. @returns whether they are equal; the differences go to the history */
async function isEqual({pair, lines}: History, said: readonly string[]): Promise<boolean> {
  const differences = await judge(pair.source, pair.target);
  if (differences.length === 0 && said.length === 0) return true;
  const shown = differences.slice(0, DIFFERENCES_SHOWN);
  lines.push(`-- ${differences.length} differences`, ...shown, ...said);
  return false;
}

function change({seed, pair, lines}: History, round: number): void {
  const count = 5 + ((seed * 7 + round * 11) % CHANGES_MAX);
  lines.push(`-- round ${round}`, ...changeNastyTree(pair.source, seed, round, count, KINDS));
}

/** A run for each round, perhaps after one that is killed somewhere. */
async function playRuns(history: History, isKilled: boolean): Promise<boolean> {
  const {seed, pair} = history;
  for (let round = 0; round <= ROUNDS; round++) {
    if (round > 0) change(history, round);
    if (isKilled) {
      const run = startLive(pair, OPTIONS);
      await new Promise((resolve) => setTimeout(resolve, 200 + ((seed * 137 + round * 211) % 500)));
      await run.stop('SIGKILL');
    }
    const {exitCode, stderr, result} = await syncOnce(history.pair, OPTIONS);
    const problems = result.problems.map(
      ({path, code, message}) => `${path.slice(0, 100)} ${code}: ${message.slice(-200)}`,
    );
    const said = exitCode === 0 ? [] : [`exit code ${exitCode}`, stderr, ...problems];
    if (!(await isEqual(history, said))) return false;
  }
  return true;
}

/** One run that follows all rounds. */
async function playLive(history: History): Promise<boolean> {
  const {pair, lines} = history;
  const live = startLive(pair, OPTIONS);
  try {
    await live.waitInSync();
    if (!(await isEqual(history, []))) return false;
    for (let round = 1; round <= ROUNDS; round++) {
      change(history, round);
      await untilEqual(live, pair);
      if (!(await isEqual(history, []))) return false;
    }
    return (await live.stop()).exitCode === 0;
  } catch (error) {
    lines.push(String(error));
    await isEqual(history, []);
    return false;
  } finally {
    await live.stop('SIGKILL');
  }
}

/** Plays a seed's history. @returns '' or what is wrong, with what led to it */
async function play(seed: number, kind: string, how: How, filesystem: LoopFilesystem): Promise<string> {
  const base = join(filesystem.path, `seed-${seed}`);
  mkdirSync(base);
  const history: History = {seed, pair: makePair('test', base), lines: []};
  makeNastyTree(history.pair.source, seed, KINDS);
  const isFaithful = await (how === 'live' ? playLive(history) : playRuns(history, how === 'after killed runs'));
  rmSync(base, {recursive: true});
  if (isFaithful) return '';
  return [`seed ${seed}, on ${kind}, ${how}`, ...history.lines].join('\n');
}

const describeTrees = needsLoopMounts(
  needsCommands('python3', 'rsync', 'getfattr', 'getfacl', 'getcap', 'mkfs.xfs')(describe),
);

describeTrees(`random nasty trees, seeds ${FROM} to ${TO - 1}`, {timeout: 120_000}, () => {
  const filesystems = new Map<string, LoopFilesystem>();
  beforeAll(() => {
    for (const kind of ['ext4', 'xfs'] as const) filesystems.set(kind, makeLoopFilesystem(kind, 900));
  });

  const all = Array.from({length: TO - FROM}, (_, index) => {
    const seed = FROM + index;
    return [seed, seed % 4 === 0 ? 'xfs' : 'ext4', HOWS[seed % 3]!] as const;
  });
  test.each(all)('A5 G1 G3 G4 G5 G7 everything arrives as it was: seed %i, on %s, %s', async (seed, kind, how) => {
    expect(await play(seed, kind, how, filesystems.get(kind)!)).toBe('');
  });
});
