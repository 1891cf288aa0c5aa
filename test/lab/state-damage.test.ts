/**
 * State files that are lost, cut short, flipped, older than they were or another's, at random: the next runs, three at most,
 * make both sides equal again, as programs judge that are not Towline's. Where nothing had changed they send no byte of
 * content and touch no path of the target.
 *
 * Longer: TOWLINE_LAB_ROUNDS=500.
 */
import {cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {afterAll, expect, test} from 'vitest';
import {judge} from '../judge/judge.ts';
import {needsCommands} from '../needs.ts';
import {makePair, startLive, syncOnce, type Pair, type Run} from '../sync/harness.ts';
import {changeRandomly, makeRandomTree, Random, setTime} from '../sync/random-tree.ts';
import {makeTmpDir} from '../tmp.ts';
import {campaignOf, recordResult} from './campaign.ts';

const RUNS_MAX = 3;
const PAGE_BYTES = 8_192;
const LOOSE = ['--delete-limit', '100%'];

interface Damage {
  /** The file, and what stood there at the beginning. */
  path: string;
  older: string;
  /** A state file of the other end. */
  other: string;
  random: Random;
}

const DAMAGES: Record<string, (damage: Damage) => void> = {
  deleted: ({path}) => rmSync(path),
  'cut short': ({path, random}) => truncateSync(path, random.below(statSync(path).size)),
  'cut at a page': ({path, random}) =>
    truncateSync(path, PAGE_BYTES * random.below(Math.ceil(statSync(path).size / PAGE_BYTES))),
  'one bit flipped': ({path, random}) => flip(path, 1, random),
  'another bit flipped': ({path, random}) => flip(path, 1, random),
  'ten bits flipped': ({path, random}) => flip(path, 10, random),
  'a page of zeros': ({path, random}) => {
    const bytes = readFileSync(path);
    const at = PAGE_BYTES * random.below(Math.ceil(bytes.length / PAGE_BYTES));
    writeFileSync(path, bytes.fill(0, at, at + PAGE_BYTES));
  },
  garbage: ({path, random}) => writeFileSync(path, random.bytes(30_000)),
  older: ({path, older}) => (existsSync(older) ? cpSync(older, path) : rmSync(path)),
  'of the other end': ({path, other}) => (existsSync(other) ? cpSync(other, path) : rmSync(path)),
};

function flip(path: string, count: number, random: Random): void {
  const bytes = readFileSync(path);
  for (let index = 0; index < count && bytes.length > 0; index++)
    bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
  writeFileSync(path, bytes);
}

/** @returns what is wrong, nothing at best */
async function play(seed: number, counts: {runs: number}): Promise<string[]> {
  const random = new Random(seed * 104_729);
  const pair = makePair('file');
  makeRandomTree(pair.source, 60, random);
  const must = async (): Promise<void> => {
    const run = await syncOnce(pair, LOOSE);
    if (run.exitCode !== 0) throw new Error(`before any damage: ${run.exitCode} ${run.stderr}`);
  };
  await must();
  const folder = join(
    pair.state,
    readdirSync(pair.state).find((name) => name.startsWith('sync-'))!,
  );
  const older = join(makeTmpDir('file'), 'older');
  cpSync(folder, older, {recursive: true});
  changeRandomly(pair.source, 15, random);
  if (random.below(2) === 0) await must();
  else {
    const live = startLive(pair, LOOSE); // its logs are left
    await live.waitInSync(60_000);
    await live.stop('SIGKILL');
  }
  const end = random.of(['source', 'target']);
  const file = random.of(readdirSync(join(folder, end)).filter((name) => name.includes('.db')));
  const what = random.of(Object.keys(DAMAGES));
  const other = join(folder, end === 'source' ? 'target' : 'source', file);
  DAMAGES[what]!({path: join(folder, end, file), older: join(older, end, file), other, random});
  const isQuiet = random.below(2) === 0;
  if (!isQuiet) changeRandomly(pair.source, 10, random);
  const wrong = await recovered(pair, isQuiet, counts);
  return wrong.map(
    (line) => `seed ${seed}, ${end}/${file} ${what}, ${isQuiet ? 'nothing' : 'something'} changed: ${line}`,
  );
}

async function recovered(pair: Pair, isQuiet: boolean, counts: {runs: number}): Promise<string[]> {
  const wrong: string[] = [];
  let run: Run;
  let count = 0;
  do {
    run = await syncOnce(pair, LOOSE);
    counts.runs++;
    const applied = run.events
      .filter(({event}) => event === 'applied')
      .map(({op, path}) => `${String(op)} ${String(path)}`);
    if (isQuiet && applied.length > 0) wrong.push(`nothing was to be done, but ${applied.slice(0, 5).join(', ')}`);
    if (run.exitCode === 70) wrong.push(`internal error: ${run.stderr.slice(0, 500)}`);
  } while (run.exitCode !== 0 && ++count < RUNS_MAX);
  if (run.exitCode !== 0) wrong.push(`exit code ${run.exitCode} after ${RUNS_MAX} runs: ${run.stderr.slice(0, 500)}`);
  return [...wrong, ...(await judge(pair.source, pair.target))];
}

const campaign = campaignOf(4);
const counts = {runs: 0, violations: 0};
afterAll(() => recordResult('state damage', campaign, counts));

needsCommands('rsync')(test)(
  `H8 state damaged at random, ${campaign.rounds} times: equal after ${RUNS_MAX} runs at most, nothing lost, nothing sent again`,
  async () => {
    const found: string[] = [];
    for (const seed of campaign.seeds) {
      const wrong = await play(seed, counts).catch((error: unknown) => [`seed ${seed}: ${String(error)}`]);
      if (wrong.length > 0) counts.violations++;
      if (wrong.length > 0) console.log(wrong.slice(0, 5).join('\n'));
      found.push(...wrong.slice(0, 5));
    }
    expect(found).toEqual([]);
  },
  60_000 + campaign.rounds * 60_000,
);

needsCommands('rsync')(test)(
  'H8 control: a state that lies so that nobody can find it is seen by the judge',
  async () => {
    const pair = makePair();
    makeRandomTree(pair.source, 10, new Random(1));
    writeFileSync(join(pair.source, 'told wrong'), 'true\n');
    expect((await syncOnce(pair)).exitCode).toBe(0);
    const path = join(pair.target, 'told wrong');
    const {mtimeNs} = statSync(path, {bigint: true});
    writeFileSync(path, 'lies\n');
    setTime(`@${mtimeNs / 10n ** 9n}.${String(mtimeNs % 10n ** 9n).padStart(9, '0')}`, path);
    const {ctimeNs} = statSync(path, {bigint: true});
    const folder = join(
      pair.state,
      readdirSync(pair.state).find((name) => name.startsWith('sync-'))!,
      'target',
    );
    const db = new DatabaseSync(join(folder, 'volume.db'));
    db.prepare("UPDATE entries SET ctime_s = ?, ctime_ns = ? WHERE name = 'told wrong'").run(
      Number(ctimeNs / 10n ** 9n),
      Number(ctimeNs % 10n ** 9n),
    );
    db.close();
    expect(await recovered(pair, true, {runs: 0})).not.toEqual([]);
  },
  60_000,
);
