/**
 * One source and five targets, one of them behind a slow line: what the other four reach without it, and beside it.
 */
import {randomFillSync} from 'node:crypto';
import {mkdirSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {besideSlow, FAST_BITS, SLOW_BITS} from '../../test/hosts/slow-target.ts';
import {type Hosts, makeHosts} from '../agents/hosts.ts';
import {median} from '../numbers.ts';
import {type Case, rowsOf} from './case.ts';
import {change, contentOf, untilThere} from './changes.ts';

const VOLUME = 'tree';
const TARGETS = 5;
const FILE_BYTES = 1 << 20;
const SMALL_BYTES = 1_000;
const CHANGES = 20;
const PAUSE_MS = 100;
const SHARE_MIN = 0.9;

interface Reached {
  /** Of each fast target, to have all files. */
  seconds: number[];
  /** Of a small change afterwards, until all fast targets have it. */
  changeMs: number;
}

export const five: Case = async (context) => {
  const rows = rowsOf('five', context);
  const fileCount = context.isQuick ? 12 : 100;
  const hosts = await makeHosts({base: context.base, targetCount: TARGETS, room: {sizeMiB: 1_024}});
  const {source, targets, addVolume, end} = hosts;
  for (const {path} of [source, ...targets]) mkdirSync(join(path, VOLUME));
  writeFileSync(join(source.path, VOLUME, 'small'), contentOf(-1, SMALL_BYTES));
  for (const {agent} of targets.slice(0, -1)) agent.host.limitRate(FAST_BITS);
  await addVolume(VOLUME);
  const slow = targets.at(-1)!.agent;
  const {without, withSlow, peakGrowthBytes} = await besideSlow({source: source.agent, slow}, (name) =>
    reach(hosts, name, fileCount),
  );
  const {state} = await source.agent.link(VOLUME, slow.name);
  if (state === 'in-sync') throw new Error('the slow target was not slow');
  const megabytes = (fileCount * FILE_BYTES) / 1e6;
  const each = without.seconds.map((seconds, index) => seconds / withSlow.seconds[index]!);
  const sum = (seconds: readonly number[]): number => seconds.reduce((all, one) => all + megabytes / one, 0);
  rows.tell(`all four without the fifth, lines of ${FAST_BITS / 1e6} Mbit/s`, sum(without.seconds), 'MB/s');
  rows.tell(`all four beside the fifth, its line ${SLOW_BITS / 1e3} kbit/s`, sum(withSlow.seconds), 'MB/s');
  rows.atLeast('beside it, all four', (sum(withSlow.seconds) / sum(without.seconds)) * 100, '%', SHARE_MIN * 100);
  rows.atLeast('beside it, the one that lost most', Math.min(...each) * 100, '%', SHARE_MIN * 100);
  rows.tell('a small change on all four without the fifth', without.changeMs, 'ms');
  rows.tell('a small change on all four beside the fifth', withSlow.changeMs, 'ms');
  rows.tell('memory of the source', source.agent.memory().peakBytes / 1e6, 'MB');
  rows.tell('of it, grown beside the fifth', peakGrowthBytes / 1e6, 'MB');
  await end();
  return rows.all;
};

/** A folder of new files appears at once, then a small file changes several times. */
async function reach({source, targets}: Hosts, name: string, fileCount: number): Promise<Reached> {
  const made = join(source.path, name);
  mkdirSync(made);
  const content = Buffer.alloc(FILE_BYTES);
  for (let index = 0; index < fileCount; index++) writeFileSync(join(made, String(index)), randomFillSync(content));
  const fast = targets.slice(0, -1);
  renameSync(made, join(source.path, VOLUME, name));
  const startMs = performance.now();
  const seconds = await Promise.all(
    fast.map(async ({path}) => {
      await untilThere(Array.from({length: fileCount}, (_, index) => join(path, VOLUME, name, String(index))));
      return (performance.now() - startMs) / 1_000;
    }),
  );
  const times: number[] = [];
  for (let index = 0; index < CHANGES; index++) {
    const seen = fast.map(({path}) => join(path, VOLUME, 'small'));
    times.push(await change(join(source.path, VOLUME, 'small'), seen, contentOf(index, SMALL_BYTES)));
    await sleep(PAUSE_MS);
  }
  return {seconds, changeMs: median(times)};
}
