/**
 * That the attack is one: with plain paths instead of walls (test/plain) it gets out within seconds. And each of the two
 * walls keeps it in by itself.
 */
import {setTimeout as sleep} from 'node:timers/promises';
import {expect, test} from 'vitest';
import {attack, makeArena, type Arena, type Side} from '../attack/arena.ts';
import {endure, FLAGS, PACE} from '../attack/endure.ts';
import {Counted} from '../attack/program.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {startLive, syncOnce} from '../sync/harness.ts';

const ESCAPE_MS_MAX = 5_000;
const DAMAGE_MS_MAX = 30_000; // for names that are listed to become content that is read, or a change
const HOLD_MS = 6_000;
const SEED = Number(process.env['TOWLINE_TEST_SEED'] ?? Date.now() % 1_000_000);
const attackTest = needsLoopMounts(needsCommands('unshare', 'setpriv', 'mkfifo', 'mknod')(test));

/** What happened outside a volume, without what happened to lures in it. */
function outside({witness, outside: folder}: Side): string[] {
  return witness.seen().filter((line) => line.includes(folder));
}

/** What got out: content that was read, names that were listed, whatever was changed. */
function escapes({source, target}: Arena): {read: number; listed: number; changed: number} {
  const lines = [...outside(source), ...outside(target)];
  const count = (pattern: RegExp): number => lines.filter((line) => pattern.test(line)).length;
  return {
    read: count(/^read .*\/f\d+$/),
    listed: count(/^read .*\/[ds]\d$/),
    changed: count(/^(changed|attributes|moved|created|deleted)/),
  };
}

attackTest(
  'I1 the control, plain paths under the same attack: names outside are read within 5 s, and content is read or changed',
  async () => {
    const arena = makeArena({places: 'in-state'});
    const attackers = await attack(arena, {seed: SEED, ...PACE});
    const live = startLive(arena.pair, FLAGS, new Counted().options('paths,jail'));
    await live.waitForEvent(({state}) => state === 'scanning');
    const beganMs = performance.now();
    const ms: Partial<Record<'read' | 'listed' | 'changed', number>> = {};
    const isOver = (): boolean => ms.read !== undefined || ms.changed !== undefined || live.hasEnded;
    while (!isOver() && performance.now() - beganMs < DAMAGE_MS_MAX) {
      await sleep(20);
      for (const [what, count] of Object.entries(escapes(arena)))
        if (count > 0) ms[what as 'read'] ??= Math.round(performance.now() - beganMs);
    }
    await attackers.stop();
    await live.stop('SIGKILL');
    console.log(`seed ${SEED}: out after ms: ${JSON.stringify(ms)}; how often: ${JSON.stringify(escapes(arena))}`);
    expect(Math.min(...Object.values(ms))).toBeLessThanOrEqual(ESCAPE_MS_MAX);
    expect(ms.read ?? ms.changed).toBeLessThanOrEqual(DAMAGE_MS_MAX);
  },
  90_000,
);

attackTest(
  'I1 the first wall alone, without the jail, keeps everything in',
  async () => {
    const arena = makeArena({places: 'in-root', hasMounts: true});
    await endure(arena, {
      seed: SEED,
      operationsMin: 0,
      liveMs: HOLD_MS,
      msMin: HOLD_MS,
      msMax: HOLD_MS,
      ops: [],
      without: 'jail',
    });
    expect([...arena.source.witness.faults(), ...arena.target.witness.faults()]).toEqual([]);
  },
  120_000,
);

attackTest(
  'I1 the jail alone, with plain paths in it, keeps everything in that works in it',
  async () => {
    const arena = makeArena({places: 'in-root'});
    const counted = new Counted();
    const attackers = await attack(arena, {seed: SEED, ...PACE});
    const beganMs = performance.now();
    while (performance.now() - beganMs < HOLD_MS) await syncOnce(arena.pair, FLAGS, counted.options('paths'));
    await attackers.stop();
    expect(counted.count).toBeGreaterThan(500);
    expect([...outside(arena.source), ...outside(arena.target)]).toEqual([]);
  },
  120_000,
);
