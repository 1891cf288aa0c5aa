/**
 * Attackers in both volumes, as processes of containers, for as long as Towline does everything that it does to a volume.
 * What lies outside is neither read nor changed. Longer: TOWLINE_TEST_ATTACK_OPS=1000000 operations under attack.
 */
import {readFileSync, readlinkSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {expect, test} from 'vitest';
import {attack, IGNORE_FLAGS, makeArena, tidy, unmountInner, type Arena} from '../attack/arena.ts';
import {endure, FLAGS, PACE, type Endured} from '../attack/endure.ts';
import {leaksIn} from '../attack/outside.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {compareByRsync, startLive, syncOnce} from '../sync/harness.ts';

const OPERATIONS = Number(process.env['TOWLINE_TEST_ATTACK_OPS'] ?? 0);
const OPERATIONS_MIN = Math.max(2_000, OPERATIONS / 10);
const OPS = ['put-file', 'put-symlink', 'make-dir', 'set-meta', 'delete', 'replace', 'rename'];
const SEED = Number(process.env['TOWLINE_TEST_SEED'] ?? Date.now() % 1_000_000);
const LIMIT_MS = 120_000 + OPERATIONS; // a thousand operations a second is less than any machine does
// In a long run more is done between two starts, and in a larger tree.
const LIVE_MS = OPERATIONS > 0 ? 30_000 : 7_000;
const LONG_ARENA = OPERATIONS > 0 ? {moreFiles: 300} : {};
const CHOKIDAR_MS = 6_000;
const MS_MAX = LIMIT_MS - 60_000;
const attackTest = needsLoopMounts(needsCommands('unshare', 'setpriv', 'rsync', 'mkfifo', 'mknod')(test));

function expectUnharmed({source, target, pair}: Arena): void {
  for (const side of [source, target]) {
    unmountInner(side);
    expect(side.witness.faults()).toEqual([]);
  }
  expect(leaksIn(target.root, pair.state)).toEqual([]);
}

function tell({operations, swaps, applied, runs, restored}: Endured): void {
  const done = Object.entries(applied).map(([op, count]) => `${count} ${op}`);
  console.log(
    `seed ${SEED}: ${operations} operations in attacked volumes and ${swaps} swaps in ${runs} runs; ${done.join(', ')}; ` +
      `trash: ${JSON.stringify(restored)}`,
  );
}

/** That the attack was one, and Towline was at work. */
function expectFought({operations, swaps, applied, restored}: Endured, ops: string[]): void {
  expect(operations).toBeGreaterThanOrEqual(OPERATIONS_MIN);
  expect(swaps).toBeGreaterThan(operations / 10);
  expect(Object.keys(applied)).toEqual(expect.arrayContaining(ops));
  expect(restored?.restored).toBeGreaterThan(0);
}

attackTest(
  "I1 directories, files, symlinks, FIFOs, devices and mount points are swapped in both volumes and in Towline's own folders: nothing outside is read or changed, and no unmount is kept from its work",
  async () => {
    const arena = makeArena({places: 'in-root', hasMounts: true, ...LONG_ARENA});
    const {pair} = arena;
    const endured = await endure(arena, {
      seed: SEED,
      operationsMin: OPERATIONS,
      liveMs: LIVE_MS,
      msMin: 20_000,
      msMax: MS_MAX,
      ops: OPS,
    });
    tell(endured);
    expectUnharmed(arena);
    expectFought(endured, OPS);

    // And afterwards it goes on as if nothing had been.
    for (const side of [arena.source, arena.target]) tidy(side);
    const after = await syncOnce(pair, FLAGS, {timeoutMs: 40_000});
    expect(after.result.problems.filter(({code}) => code !== 'attributes')).toEqual([]);
    const excluded = IGNORE_FLAGS.filter((word) => word !== '--ignore').map((pattern) => `--exclude=${pattern}`);
    expect(compareByRsync(pair.source, pair.target, ...excluded)).toBe('');

    const live = startLive(pair, FLAGS);
    // With attributes that are not carried it says `problems`, but rests all the same.
    await live.waitForEvent(({event, state}) => event === 'status' && (state === 'in-sync' || state === 'problems'));
    // The target first: without its source the run ends, and tidies up there.
    for (const {disk, witness} of [arena.target, arena.source]) {
      witness[Symbol.dispose]();
      disk.umount(); // throws when anything keeps it busy
    }
    expect([0, 3]).toContain((await live.stop()).exitCode); // 3: it has seen that already
  },
  LIMIT_MS,
);

attackTest(
  "I1 the same with Towline's folders out of reach, where attackers still hold directories that went to the trash",
  async () => {
    const arena = makeArena({places: 'in-state', ...LONG_ARENA});
    const ops = ['put-file', 'make-dir', 'delete'];
    const endured = await endure(arena, {
      seed: SEED + 1,
      operationsMin: OPERATIONS / 10,
      liveMs: LIVE_MS,
      msMin: 8_000,
      msMax: MS_MAX,
      ops,
    });
    tell(endured);
    expectUnharmed(arena);
    expectFought(endured, ops);
  },
  LIMIT_MS,
);

attackTest(
  'I1 the same where changes are noticed by chokidar, which works by paths: its process sees the volume alone',
  async () => {
    const arena = makeArena({places: 'in-state'});
    const attackers = await attack(arena, {seed: SEED + 2, ...PACE});
    const live = startLive(arena.pair, [...FLAGS, '--watch', 'chokidar']);
    await live.waitFor(() => rootsOfChildren(live.pid).includes(arena.source.root));
    await sleep(CHOKIDAR_MS); // how long it is attacked
    expect(rootsOfChildren(live.pid)).toEqual([arena.source.root]);
    await attackers.stop();
    await live.stop('SIGKILL');
    expectUnharmed(arena);
  },
  60_000,
);

function rootsOfChildren(pid: number): string[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
  return children.filter((child) => child !== '').map((child) => readlinkSync(`/proc/${child}/root`));
}
