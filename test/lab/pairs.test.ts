/**
 * Whole pairs in one process: scanner, state, links, sessions, codec and applier of both ends over real folders, with the
 * clock, the network, the order of events and all faults from a seed.
 *
 * A round is one story of some hundred events. The same seed tells the same story, to the frame.
 */
import {readdirSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {loadXxhash} from '../../src/delta/hash.ts';
import {campaignOf, recordResult} from './campaign.ts';
import {tellStory, type Told} from './pairs/story.ts';

await loadXxhash();

const TRACE_LINES_SHOWN = 200;
const COUNTED = ['changes', 'foreign', 'kills', 'cuts', 'faults'] as const;
const campaign = campaignOf(6);
const timeout = 120_000 + campaign.rounds * 20_000;

test(
  'M2 cuts, kills, failing jobs and changes by others, then quiet: equal, what others wrote is in the trash, no file missing or mixed',
  {timeout},
  async () => {
    const counts = {histories: 0, events: 0, changes: 0, foreign: 0, kills: 0, cuts: 0, faults: 0, violations: 0};
    try {
      for (const seed of campaign.seeds) {
        const told = await tellStory(seed);
        counts.histories++;
        counts.events += told.trace.length;
        for (const key of COUNTED) counts[key] += told[key];
        if (told.fault !== undefined) counts.violations++;
        expect(told.fault === undefined ? 'nothing wrong' : again(seed, told)).toBe('nothing wrong');
      }
    } finally {
      recordResult('pairs in one process', campaign, counts);
    }
  },
);

test('the same seed tells the same story twice, to the frame', {timeout}, async () => {
  const [first, second] = [await tellStory(campaign.firstSeed), await tellStory(campaign.firstSeed)];
  expect(first.trace.length).toBeGreaterThan(100);
  expect(second.trace).toEqual(first.trace);
});

test('a planted trash that keeps nothing of what it was given is found', {timeout}, async () => {
  const emptied = (trash: string): void => {
    for (const name of readdirSync(trash)) rmSync(join(trash, name), {recursive: true}); // its folder stays: an end holds it
  };
  const faults: (string | undefined)[] = [];
  for (let seed = 1; seed <= 3; seed++) faults.push((await tellStory(seed, emptied)).fault);
  expect(faults.join('\n')).toContain('neither there nor in the trash');
});

function again(seed: number, {fault, trace}: Told): string {
  const last = trace.slice(-TRACE_LINES_SHOWN).join('\n');
  return `${fault}\n  again with TOWLINE_LAB_SEED=${seed} TOWLINE_LAB_ROUNDS=1; the last of it:\n${last}`;
}
