/**
 * What two connected agents cost while nothing happens. Longer, as the case has it: TOWLINE_TEST_IDLE=100000, which
 * waits until what was just written has been read for the second time, and then for a minute.
 */
import {mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {LOOSE, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';

const FILES = Number(process.env['TOWLINE_TEST_IDLE'] ?? 2_000);
const IS_LONG = process.env['TOWLINE_TEST_IDLE'] !== undefined;
const SETTLED_MS = IS_LONG ? 100_000 : 4_000;
const IDLE_MS = IS_LONG ? 60_000 : 16_000;
/** In CI a busy machine makes everything dearer; a loop that polls is far beyond it all the same. */
const CPU_MS_MAX = IS_LONG ? 100 : 160;
const IN_SYNC_MS_MAX = 300_000;

needsHosts(describe)('two agents that have nothing to do', {timeout: 600_000}, () => {
  const {source, target} = makeAgents({source: {}, target: {}});

  beforeAll(async () => {
    await pair(source, target);
    for (let index = 0; index < FILES; index++) {
      const folder = join(source.volume('data'), String(Math.floor(index / 100)));
      if (index % 100 === 0) mkdirSync(folder);
      writeFileSync(join(folder, String(index)), String(index));
    }
    source.configure({volumes: {data: {at: source.volume('data'), send: ['target'], ...LOOSE}}});
    target.configure({volumes: {data: {at: target.volume('data'), receive: 'source', ...LOOSE}}});
    await startAll(source, target);
    await untilInSync(source, 'data', IN_SYNC_MS_MAX);
  }, IN_SYNC_MS_MAX);
  afterAll(() => stopAll(source, target));

  test(`D8 ${FILES} files, ${IDLE_MS / 1_000} s without a change: at most ${CPU_MS_MAX} ms of processor time each`, async () => {
    await sleep(SETTLED_MS);
    const before = [source, target].map(cpuMs);
    await sleep(IDLE_MS);
    const used = [source, target].map((agent, index) => cpuMs(agent) - before[index]!);
    console.log(`processor time: source ${used[0]!.toFixed(1)} ms, target ${used[1]!.toFixed(1)} ms`);
    expect(Math.max(...used)).toBeLessThan(CPU_MS_MAX);
    expect(Math.min(...used)).toBeGreaterThan(0); // it was measured
  });
});

/** Of all threads so far. Source: Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat. */
function cpuMs({pid}: TestAgent): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const ns = tasks.map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]));
  return ns.reduce((sum, each) => sum + each, 0) / 1e6;
}
