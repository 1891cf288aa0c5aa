/**
 * A long time of random load, kills of the other agent and cuts, with volumes both ways: the agent that stays alive
 * takes no more memory and no more descriptors, scans nothing without saying why, and in the end both are equal.
 *
 * Short, it only shows that it can be played. TOWLINE_LAB_MINUTES=30 plays it as the acceptance case asks, and prints a
 * line a minute; the seed is TOWLINE_LAB_SEED.
 */
import {closeSync, openSync, readdirSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {untilInSync} from '../hosts/agents.ts';
import {needsHosts} from '../hosts/lab.ts';
import {changeRandomly, makeRandomTree, pathsBelow, Random} from '../sync/random-tree.ts';
import {campaignOf, recordResult} from './campaign.ts';
import {type FaultName, LabPair} from './pair.ts';
import {FixedFiles, startReader} from './reader.ts';

const MINUTES = Number(process.env['TOWLINE_LAB_MINUTES'] ?? 0.2);
const LONG_MINUTES = 20; // from here on the figures are judged
const WARM_MINUTES = 10; // pools are filled, code is compiled
const MINUTE_MS = 60_000;
const GROWTH_BYTES_MAX = 10 << 20;
const DESCRIPTORS_MAX = 5;
const ENTRIES_MAX = 1_500; // random changes make more than they take away
const STEP_MS = 250;
const FAULT_EVERY_MS = 4_000;
const HOOK_MS_MAX = 180_000; // on a machine that is busy with other things
const HEAL_MS_MAX = 120_000;
const SAMPLES = 5;
const READER = 'fixed';
const THERE = 'there';
const BACK = 'back';
const CAMPAIGN = {...campaignOf(1), rounds: 1};
/** The source stays alive. */
const FAULTS: FaultName[] = [
  'kill of the target',
  'restart of the target',
  'pause of the target',
  'cuts',
  'cut at a byte',
  'half-open',
  'pause of the network',
  'refused connections',
];
/** Why a whole volume may be scanned. */
const EXPLAINED = [
  /^the watcher lost events \(/,
  /^that is done once in a while$/,
  /^directories changed while they were scanned$/,
  /^directories moved faster than they were looked at$/,
  /^more changed than is kept one by one$/,
];

interface Minute {
  minute: number;
  residentMiB: number;
  descriptors: number;
  changes: number;
  faults: number;
  scans: number;
}

interface Figures {
  residentBytes: number;
  descriptors: number;
}

/** The least of a few looks: between them the garbage collector may run. */
async function figuresOf(agent: Pick<TestAgent, 'memory' | 'descriptors'>): Promise<Figures> {
  const looks: Figures[] = [];
  for (let look = 0; look < SAMPLES; look++) {
    looks.push({residentBytes: agent.memory().residentBytes, descriptors: agent.descriptors()});
    await sleep(200);
  }
  return {
    residentBytes: Math.min(...looks.map(({residentBytes}) => residentBytes)),
    descriptors: Math.min(...looks.map(({descriptors}) => descriptors)),
  };
}

/** What has grown between minute 10 and the end. @returns what is too much */
function growth(warm: Figures, last: Figures): string[] {
  const grownBytes = last.residentBytes - warm.residentBytes;
  const grown = last.descriptors - warm.descriptors;
  return [
    ...(grownBytes > GROWTH_BYTES_MAX ? [`memory has grown by ${grownBytes} bytes`] : []),
    ...(Math.abs(grown) > DESCRIPTORS_MAX ? [`${grown} descriptors more`] : []),
  ];
}

/** Why volumes were scanned again, as an agent's log says. */
function scansOf(agent: TestAgent): string[] {
  return agent
    .log()
    .split('\n')
    .filter((line) => line.includes('"the volume is scanned"'))
    .map((line) => String((JSON.parse(line) as {why?: string}).why));
}

interface Load {
  changes: number;
  faults: number;
  /** Faults that did not end as they should. */
  broken: string[];
  ended: Promise<unknown>;
}

/** Changes both volumes and plays faults, side by side, until the signal is aborted. */
function startLoad(lab: LabPair, sources: readonly string[], random: Random, over: AbortSignal): Load {
  const load: Load = {changes: 0, faults: 0, broken: [], ended: Promise.resolve()};
  const change = async (): Promise<void> => {
    while (!over.aborted) {
      for (const root of sources) {
        load.changes += changeRandomly(root, 1 + random.below(6), random).length;
        if (pathsBelow(root).length > ENTRIES_MAX) changeRandomly(root, 200, random, ['delete a file']);
      }
      await sleep(random.below(STEP_MS));
    }
  };
  const fail = async (): Promise<void> => {
    while (!over.aborted) {
      await sleep(random.below(FAULT_EVERY_MS));
      await lab.fail(random, FAULTS).catch(async (error: unknown) => {
        load.broken.push(String(error));
        await lab.heal();
      });
      load.faults++;
    }
  };
  load.ended = Promise.all([change(), fail()]);
  return load;
}

needsHosts(describe)('a soak', {timeout: (MINUTES + 5) * MINUTE_MS}, () => {
  let lab: LabPair;
  const random = new Random(CAMPAIGN.firstSeed);
  beforeAll(async () => {
    lab = await LabPair.start();
  }, HOOK_MS_MAX);
  afterAll(() => lab.stop());

  test(`H11 H1 ${MINUTES} minutes of load, kills of the other agent and cuts: memory and descriptors flat, equal at the end`, async () => {
    const {source, target} = lab;
    const sources = [source.volume(THERE), target.volume(BACK)];
    for (const root of sources) makeRandomTree(root, 200, random);
    const fixed = new FixedFiles(source.volume(READER));
    await lab.serve([{name: THERE}, {name: BACK, isBack: true}, {name: READER}]);
    await untilInSync(source, THERE, HEAL_MS_MAX);
    await untilInSync(target, BACK, HEAL_MS_MAX);
    const reader = await startReader(target.volume(READER));
    fixed.start(40);

    const endMs = performance.now() + MINUTES * MINUTE_MS;
    const minutes: Minute[] = [];
    let warm: Figures | undefined;
    const over = new AbortController();
    const load = startLoad(lab, sources, random, over.signal);
    for (let minute = 1; performance.now() < endMs; minute++) {
      await sleep(Math.min(MINUTE_MS, endMs - performance.now()));
      const figures = await figuresOf(source);
      if (minute === WARM_MINUTES) warm = figures;
      const {residentBytes, descriptors} = figures;
      const scans = scansOf(source).length;
      minutes.push({
        minute,
        residentMiB: Math.round(residentBytes / 1_048_576),
        descriptors,
        changes: load.changes,
        faults: load.faults,
        scans,
      });
      console.log(JSON.stringify(minutes.at(-1)));
    }
    over.abort();
    await load.ended;
    const {changes, faults, broken} = load;
    await fixed.stop();
    await lab.heal();
    await untilInSync(source, THERE, HEAL_MS_MAX);
    await untilInSync(target, BACK, HEAL_MS_MAX);
    await untilInSync(source, READER, HEAL_MS_MAX);
    const {looks, faults: seen} = await reader.stop();
    const last = await figuresOf(source);
    const scans = scansOf(source);
    const unexplained = scans.filter((why) => !EXPLAINED.some((reason) => reason.test(why)));
    const counts = {
      minutes: Math.round(MINUTES * 10) / 10,
      changes,
      faults,
      looks,
      scans: scans.length,
      'unexplained scans': unexplained.length,
      'MiB at minute 10': Math.round((warm?.residentBytes ?? 0) / 1_048_576),
      'MiB at the end': Math.round(last.residentBytes / 1_048_576),
      'descriptors at minute 10': warm?.descriptors ?? 0,
      'descriptors at the end': last.descriptors,
      violations: seen.length + unexplained.length + broken.length,
    };
    console.table(minutes);
    recordResult('soak', CAMPAIGN, counts);
    expect(seen).toEqual([]);
    expect(unexplained).toEqual([]);
    expect(broken).toEqual([]);
    expect(changes).toBeGreaterThan(10);
    if (warm !== undefined && MINUTES >= LONG_MINUTES) expect(growth(warm, last)).toEqual([]);
  });

  test('what the soak is worth: a process that keeps 12 MiB and six descriptors is found out', async () => {
    const own = {
      memory: () => ({residentBytes: process.memoryUsage.rss(), peakBytes: 0}),
      descriptors: () => readdirSync('/proc/self/fd').length,
    };
    const before = await figuresOf(own);
    const kept = Buffer.alloc(24 << 20, 1); // half of it may take the place of what was free
    const open = Array.from({length: DESCRIPTORS_MAX + 1}, () => openSync('/dev/null', 'r'));
    const found = growth(before, await figuresOf(own));
    open.forEach((fd) => closeSync(fd));
    expect(kept[0]).toBe(1);
    expect(found).toEqual([expect.stringContaining('memory'), `${DESCRIPTORS_MAX + 1} descriptors more`]);
  });
});
