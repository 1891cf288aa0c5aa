/**
 * Power cuts under a running `sync`, at random moments, on four filesystems. What the target's disk then shows is of each
 * path a version that the source has had since both were last in sync, whole, and never an older one: that was
 * acknowledged. Then the next run makes both equal, as programs judge that are not Towline's.
 *
 * By its seed a round has the state on the target's disk, or on one of its own that is cut before or after, or it is the
 * source's disk that is cut, with what it had not synced. Longer: TOWLINE_LAB_ROUNDS=170 plays 510 cuts a filesystem.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {expect, test} from 'vitest';
import {judge} from '../judge/judge.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {
  bootedAnew,
  makePoweredDisk,
  POWER_COMMANDS,
  POWERED_KINDS,
  type PoweredDisk,
  type PoweredKind,
} from '../power.ts';
import {command, startLive, type Pair, type Running} from '../sync/harness.ts';
import {Random} from '../sync/random-tree.ts';
import {makeTmpDir} from '../tmp.ts';
import {ChangingTree, latestIn, strangeIn} from './cuts/changes.ts';
import {campaignOf, recordResult} from './campaign.ts';

const CUTS_A_ROUND = 3;
const SYNC_MS_MAX = 120_000;
/** The planted bug: whatever is to be synced is not, and is said to be. */
const UNSYNCED = ['strace', '-D', '-f', '--seccomp-bpf', '-qq', '-o', '/dev/null'].concat(
  ['trace', 'inject'].flatMap((what) => [
    '-e',
    `${what}=fsync,fdatasync,syncfs${what === 'inject' ? ':retval=0' : ''}`,
  ]),
);

interface Counts {
  cuts: number;
  changes: number;
  'paths looked at': number;
  violations: number;
}

interface Round {
  kind: PoweredKind;
  seed: number;
  cuts: number;
  /** Put before the runs that are cut. */
  wrapper?: readonly string[];
}

const CUT = ['target with state', 'target, state elsewhere', 'source with state'] as const;

/** @returns what is wrong, nothing at best */
async function play({kind, seed, cuts, wrapper = []}: Round, counts: Counts): Promise<string[]> {
  const random = new Random(seed * 7_919 + POWERED_KINDS.indexOf(kind));
  const cut = CUT[seed % CUT.length]!;
  const disks = [makePoweredDisk(kind), ...(cut === 'target, state elsewhere' ? [makePoweredDisk(kind)] : [])];
  const away = makeTmpDir('file');
  const [first, second] = disks.map(({path}) => path) as [string, string | undefined];
  const pair: Pair = {
    source: join(cut === 'source with state' ? first : away, 'source'),
    target: join(cut === 'source with state' ? away : first, 'target'),
    state: join(second ?? first, 'state'),
  };
  const aside = join(cut === 'source with state' ? first : away, 'aside');
  for (const folder of [pair.source, aside]) mkdirSync(folder);
  const tree = new ChangingTree({root: pair.source, aside}, random);
  command('sync', '-f', pair.source); // a root that is lost halts, and rightly
  if (wrapper.length > 0) {
    mkdirSync(pair.target);
    command('sync', '-f', pair.target);
  }
  try {
    for (let count = 0; count <= cuts; count++) {
      const isLast = count === cuts;
      const boot = cut === 'source with state' || random.below(2) === 0 ? bootedAnew(away) : [];
      const live = startLive(pair, [], {wrapper: [...boot, ...(isLast ? [] : wrapper)]});
      await live.waitInSync(SYNC_MS_MAX);
      const unequal = await judge(pair.source, pair.target);
      if (unequal.length > 0) return unequal;
      tree.settled();
      if (isLast) {
        await live.stop();
        return [];
      }
      counts.changes += await changeUntilCut(live, {copy: pair.target, tree, random, disks});
      await live.stop('SIGKILL');
      for (const disk of disks) disk.powerUp();
      counts.cuts++;
      if (cut === 'source with state') continue; // its own bytes went: what the target has may never have been on it
      counts['paths looked at'] += tree.paths.length;
      const strange = strangeIn(pair.target, tree);
      if (strange.length > 0) return strange;
    }
    return [];
  } finally {
    for (const disk of disks) disk.destroy();
  }
}

/** Changes, waits for a proof, and changes on until the power goes. @returns count of changes */
async function changeUntilCut(
  live: Running,
  {copy, tree, random, disks}: {copy: string; tree: ChangingTree; random: Random; disks: PoweredDisk[]},
): Promise<number> {
  let changes = 0;
  const changeFor = async (ms: number, pauseMs: number): Promise<void> => {
    for (const endMs = performance.now() + ms; performance.now() < endMs; changes++) {
      tree.change();
      await sleep(random.below(pauseMs));
    }
  };
  if (random.below(3) > 0) {
    await changeFor(random.below(150), 20);
    // What is seen may not be acknowledged yet; what was applied after it says that it is.
    await live.waitFor(() => latestIn(copy, tree), SYNC_MS_MAX);
    const seen = live.events.length;
    const path = tree.mark();
    await live.waitForEventAfter(seen, (event) => event.event === 'applied' && event['path'] === path, SYNC_MS_MAX);
    tree.settled();
  }
  await changeFor(random.below(400), 1 + random.below(40));
  for (const disk of random.below(2) === 0 ? disks : disks.toReversed()) disk.cut();
  return changes;
}

const powered = needsLoopMounts(needsCommands('rsync', 'strace', ...POWER_COMMANDS)(test));
const campaign = campaignOf(1);
for (const kind of POWERED_KINDS)
  powered(
    `H5 H14 ${kind}: ${campaign.rounds * CUTS_A_ROUND} power cuts; each file is old or new, what was proved is there, and the next run makes both equal`,
    async () => {
      const counts: Counts = {cuts: 0, changes: 0, 'paths looked at': 0, violations: 0};
      const found: string[] = [];
      for (const seed of campaign.seeds) {
        const wrong = await play({kind, seed, cuts: CUTS_A_ROUND}, counts).catch((error: unknown) => [String(error)]);
        if (wrong.length > 0) counts.violations++;
        found.push(...wrong.slice(0, 5).map((line) => `${kind}, seed ${seed}, ${CUT[seed % CUT.length]}: ${line}`));
      }
      recordResult(`power cuts, ${kind}`, campaign, {...counts});
      expect(found).toEqual([]);
    },
    60_000 + campaign.rounds * 120_000,
  );

for (const kind of ['ext4 noauto_da_alloc', 'btrfs'] as const)
  powered(
    `H5 control, ${kind}: a build that syncs nothing is caught within 6 cuts`,
    async () => {
      const counts: Counts = {cuts: 0, changes: 0, 'paths looked at': 0, violations: 0};
      for (const seed of [3, 6]) {
        const [wrong = ''] = await play({kind, seed, cuts: 3, wrapper: UNSYNCED}, counts);
        if (wrong.includes('not one of')) return;
      }
      expect.fail('nothing was found');
    },
    120_000,
  );
