/**
 * What all labs share: how long they play, from which seed, and where their results are kept.
 *
 * A lab plays a few rounds in every run of the tests. `TOWLINE_LAB_ROUNDS=1000` makes one longer, `TOWLINE_LAB_SEED=51`
 * begins it at another seed, to go on where a run ended or to see one round again, and `TOWLINE_LAB_RECORD=1` appends its
 * counts to RESULTS.md.
 */
import {appendFileSync} from 'node:fs';

const RESULTS = new URL('RESULTS.md', import.meta.url);

export interface Campaign {
  /** How many rounds to play, one a seed. */
  rounds: number;
  firstSeed: number;
  /** The seeds to play, in order. */
  seeds: readonly number[];
}

/** @param rounds when nobody asks for more */
export function campaignOf(rounds: number): Campaign {
  const asked = countOf('TOWLINE_LAB_ROUNDS') ?? rounds;
  const firstSeed = countOf('TOWLINE_LAB_SEED') ?? 1;
  return {rounds: asked, firstSeed, seeds: Array.from({length: asked}, (_, index) => firstSeed + index)};
}

/**
 * Tells what was played, and keeps it where it is asked for.
 * @param lab its name, with what it was played on where there are several (`power cuts, xfs`)
 * @param counts what was done and found, `violations` among them
 */
export function recordResult(lab: string, {firstSeed, rounds}: Campaign, counts: {violations: number}): void {
  const seeds = rounds === 1 ? String(firstSeed) : `${firstSeed}–${firstSeed + rounds - 1}`;
  const found = Object.entries(counts)
    .map(([what, count]) => `${what} ${count.toLocaleString('en-US')}`)
    .join(', ');
  console.log(`${lab}: seeds ${seeds}: ${found}`);
  if (process.env['TOWLINE_LAB_RECORD'] !== '1') return;
  appendFileSync(RESULTS, `| ${new Date().toISOString().slice(0, 10)} | ${lab} | ${seeds} | ${found} |\n`);
}

function countOf(name: string): number | undefined {
  const text = process.env[name] ?? '';
  if (text === '') return undefined;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`${name} is ${JSON.stringify(text)}; it is a count from 1 on`);
  return Number(text);
}
