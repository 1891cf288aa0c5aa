/**
 * Every decoder under random and changed inputs: what peers send, what lies in the state, what the kernel, engines, the
 * command line and configuration files say. Each gives a value or an error with a code, in bounded time and memory.
 *
 * A round is 1,000 inputs from one seed: `TOWLINE_LAB_ROUNDS=1000` plays 1,000,000 for each decoder.
 */
import {afterAll, describe, expect, test} from 'vitest';
import {campaignOf, recordResult} from './campaign.ts';
import {Attacker} from './decoders/attacker.ts';
import {DECODERS} from './decoders/decoders.ts';
import {DECODERS as PLANTS} from './decoders/plants.ts';

const HANG_MS = 20_000; // many times what the slowest input may take
const campaign = campaignOf(5);

const attacker = new Attacker({module: './decoders.ts', decoders: DECODERS, hangMs: HANG_MS});
const control = new Attacker({module: './plants.ts', decoders: PLANTS, hangMs: 2_000});
afterAll(() => Promise.all([attacker.close(), control.close()]));

describe('M3 B10 I6 a value or an error with a code, never a crash, a hang or unbounded memory', () => {
  test.each(DECODERS.map(({name}) => name))('%s', {timeout: 60_000 + campaign.rounds * 20_000}, async (name) => {
    const {inputs, refused, fault, rssGrowthBytes} = await attacker.attack(name, campaign);
    const counts = {inputs, refused, 'MiB more at most': Math.ceil(rssGrowthBytes / 2 ** 20)};
    recordResult(`decoders, ${name}`, campaign, {...counts, violations: fault === undefined ? 0 : 1});
    expect(fault === undefined ? 'nothing wrong' : attacker.shown(name, fault)).toBe('nothing wrong');
    expect(inputs).toBe(campaign.rounds * 1_000);
  });
});

describe('a decoder that is planted with a bug is found, and its seed shows it again', () => {
  test.each(PLANTS.map(({name}) => name))('%s', {timeout: 60_000}, async (name) => {
    const {fault} = await control.attack(name, {firstSeed: 1, rounds: 3});
    expect(fault).toBeDefined();
    const {seed, index} = fault!;
    expect((await control.attack(name, {firstSeed: seed, rounds: 1})).fault?.index).toBe(index);
    expect(control.shown(name, fault!)).toContain(`TOWLINE_LAB_SEED=${seed}`);
  });
});
