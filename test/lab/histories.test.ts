/**
 * Random histories of volumes under two live agents, with restarts, kills, cuts and pauses while both sides change; then
 * quiet: both sides are equal for programs that are not Towline's, nothing of what others had on the target is lost, and
 * a reader of fixed files has never seen one that was not whole.
 *
 * Longer: TOWLINE_LAB_ROUNDS=1000, from another seed: TOWLINE_LAB_SEED=51. Histories of one group share the agents and
 * what happens to them: to see a seed again, begin with the first of its group, which the message names.
 */
import {afterAll, beforeAll, describe, expect, onTestFinished, test} from 'vitest';
import {needsHosts} from '../hosts/lab.ts';
import {needsCommands} from '../needs.ts';
import {makeTmpDir} from '../tmp.ts';
import {Random} from '../sync/random-tree.ts';
import {campaignOf, recordResult} from './campaign.ts';
import {History, type HistoryFolders, ROUNDS_MAX, type VolumeState} from './history.ts';
import {FAULT_NAMES, type FaultName, LabPair, type LabVolume} from './pair.ts';
import {plantedAgent} from './planted/planted.ts';
import {FixedFiles, startReader} from './reader.ts';

const GROUP = 5; // histories at once
const CAMPAIGN = campaignOf(GROUP);
const SECONDS_EACH = 60;
const HOOK_MS_MAX = 180_000; // on a machine that is busy with other things
const READER = 'fixed';
const PUT_EVERY_MS = 15;
const ACCEPTS = {accept: {devices: true, xattrs: ['user', 'acl', 'capability', 'trusted']}};

const describeHistories = needsHosts(needsCommands('python3', 'getfattr', 'getfacl', 'getcap')(describe));

/** How a volume stands, on both sides. */
async function stateOf({source, target}: LabPair, volume: string): Promise<VolumeState> {
  const reports = await Promise.all([source, target].map((agent) => agent.volumeReport(volume)));
  const links = reports.flatMap(({links}) => links);
  return {
    isInSync: links.length === 2 && links.every(({state}) => state === 'in-sync'),
    told: async () => `${JSON.stringify(reports)}\n${(await source.command(['pending', volume])).stdout}`,
    staging: reports[1]!.staging,
    trash: reports[1]!.trash,
  };
}

interface Group {
  histories: History[];
  wrong: string[];
}

/** Plays histories at once, with faults for all of them, and ends with their volumes gone. */
async function play(lab: LabPair, seeds: readonly number[], others: LabVolume[], faults = FAULT_NAMES): Promise<Group> {
  const random = new Random(seeds[0]! * 6_007);
  const histories = seeds.map((seed) => new History(seed, foldersOf(lab, `history-${seed}`)));
  const names = histories.map(({name}) => name);
  await Promise.all(histories.map((history) => history.prepare()));
  await lab.serve([...others, ...names.map((name) => ({name, accepts: ACCEPTS}))]);
  const happened: string[] = [];
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const playing = histories.filter(({rounds}) => round < rounds);
    const fault = lab.fail(random, faults).then((what) => happened.push(what));
    await Promise.all([fault, ...playing.map((history) => history.playRound())]);
  }
  await lab.heal();
  const found = await Promise.all(histories.map((history) => history.check(() => stateOf(lab, history.name))));
  const wrong = found.flat();
  if (wrong.length > 0) wrong.push(`-- group of seed ${seeds[0]}: ${happened.join(', ')}`, ...tellLogs(lab));
  await lab.serve(others);
  lab.clear(names);
  return {histories, wrong};
}

/** What the lab itself could not do is a violation too; the next group begins with everything running. */
async function brokenOff(lab: LabPair, seeds: readonly number[], error: unknown): Promise<Group> {
  await lab.heal();
  return {histories: [], wrong: [`seed ${seeds[0]} and its group: ${String(error)}`]};
}

function foldersOf(lab: LabPair, name: string): HistoryFolders {
  return {source: lab.source.volume(name), target: lab.target.volume(name), aside: lab.aside(lab.target, name)};
}

function tellLogs({source, target}: LabPair): string[] {
  return [source, target].map((agent) => agent.failure('the end of its log').message);
}

function groupsOf(seeds: readonly number[]): number[][] {
  const groups: number[][] = [];
  for (let index = 0; index < seeds.length; index += GROUP) groups.push(seeds.slice(index, index + GROUP));
  return groups;
}

describeHistories('two live agents', {timeout: 120_000 + CAMPAIGN.rounds * SECONDS_EACH * 1_000}, () => {
  let lab: LabPair;
  beforeAll(async () => {
    lab = await LabPair.start();
  }, HOOK_MS_MAX);
  afterAll(() => lab.stop());

  test(`M2 H1 ${CAMPAIGN.rounds} histories: equal, nothing of others lost, and a reader of fixed files sees only whole ones`, async () => {
    const fixed = new FixedFiles(lab.source.volume(READER));
    const steady = [{name: READER}];
    await lab.serve(steady);
    const reader = await startReader(lab.target.volume(READER));
    fixed.start(PUT_EVERY_MS);
    const wrong: string[] = [];
    let versions = 0;
    for (const seeds of groupsOf(CAMPAIGN.seeds)) {
      const group = await play(lab, seeds, steady).catch((error: unknown) => brokenOff(lab, seeds, error));
      wrong.push(...group.wrong);
      if (group.wrong.length > 0) console.log(group.wrong.join('\n'));
      for (const {versionCount} of group.histories) versions += versionCount;
      if (wrong.length > 0 && CAMPAIGN.rounds <= GROUP) break;
    }
    await fixed.stop();
    const {looks, seconds, changes, faults} = await reader.stop();
    const counts = {
      histories: CAMPAIGN.rounds,
      faults: [...lab.faults.values()].reduce((sum, count) => sum + count, 0),
      'versions of others': versions,
      looks,
      'looks a second': Math.round(looks / seconds),
      'versions seen': changes,
      violations: wrong.filter((line) => line.startsWith('seed ')).length + faults.length,
    };
    recordResult('histories', CAMPAIGN, counts);
    expect(faults).toEqual([]);
    expect(wrong.join('\n')).toBe('');
    expect(changes).toBeGreaterThan(10);
  });
});

describeHistories('what the lab is worth', {timeout: 180_000}, () => {
  test('M2 a trash that drops what others have written is found out', async () => {
    const lab = await LabPair.start({target: plantedAgent('forgetful-trash')});
    onTestFinished(() => lab.stop());
    const calm: FaultName[] = ['nothing'];
    const {wrong} = await play(lab, [1, 2, 3], [], calm);
    expect(wrong.filter((line) => line.startsWith('lost: what others had')).length).toBeGreaterThan(0);
    expect(wrong.filter((line) => /^seed|^lost/.test(line)).length).toBeGreaterThanOrEqual(2);
  });

  test('M2 the same seed asks for the same operations', async () => {
    const traces = await Promise.all(
      [0, 1].map(async () => {
        const folders = {source: makeTmpDir(), target: makeTmpDir(), aside: makeTmpDir()};
        const history = new History(7, folders);
        await history.prepare();
        for (let round = 0; round < history.rounds; round++) await history.playRound();
        return history.trace;
      }),
    );
    expect(traces[0]).toBe(traces[1]);
  });

  test('H1 a file that is rewritten in place is found out by the reader', async () => {
    const folder = makeTmpDir();
    const fixed = new FixedFiles(folder);
    const reader = await startReader(folder);
    await fixed.rewriteInPlace(200);
    const {faults, looks} = await reader.stop();
    expect(looks).toBeGreaterThan(100);
    expect(faults.join('\n')).toMatch(/mixed|short/);
  });
});
