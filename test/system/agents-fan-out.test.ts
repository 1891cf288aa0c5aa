/** One source with many targets, and relays: three and five agents on as many hosts. */
import {existsSync, mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {differencesOf, pair, untilInSync} from '../hosts/agents.ts';
import {connectionCount, LOOSE, makeAgents, type Made, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {changeRandomly, makeRandomTree, Random} from '../sync/random-tree.ts';

const ROUNDS = Number(process.env['TOWLINE_TEST_ROUNDS'] ?? 2);
const VOLUME = 'data';

needsHosts(describe)('many agents', {timeout: 120_000}, () => {
  /** Agents whose volume goes along the arrows, started and paired; each sender dials. */
  async function makeTopology(count: number, targetsOf: (index: number) => number[]): Promise<TestAgent[]> {
    const indices = Array.from({length: count}, (_, index) => index);
    const nameOf = (index: number): string => `host-${index}`;
    const sourceOf = (target: number): number | undefined => indices.find((index) => targetsOf(index).includes(target));
    const made: Record<string, Made> = {};
    for (const index of indices) {
      const [send, source] = [targetsOf(index).map(nameOf), sourceOf(index)];
      const links = {...(send.length > 0 ? {send} : {}), ...(source === undefined ? {} : {receive: nameOf(source)})};
      made[nameOf(index)] = {
        config: (agent) => ({volumes: {[VOLUME]: {at: agent.volume(VOLUME), ...links, ...LOOSE}}}),
      };
    }
    const agents = Object.values(makeAgents(made));
    onTestFinished(() => stopAll(...agents));
    for (const index of indices) {
      for (const target of targetsOf(index)) await pair(agents[index]!, agents[target]!);
    }
    makeRandomTree(agents[0]!.volume(VOLUME), 200, new Random(count));
    await startAll(...agents);
    return agents;
  }

  test.each([3, 5])('one source keeps the copies of all others equal, %i agents', async (count) => {
    const agents = await makeTopology(count, (index) => (index === 0 ? range(1, count) : []));
    const [source] = agents as [TestAgent];
    await untilInSync(source, VOLUME);
    const random = new Random(7 * count);
    for (let round = 0; round < ROUNDS; round++) {
      changeRandomly(source.volume(VOLUME), 60, random);
      await untilInSync(source, VOLUME);
    }
    expect(connectionCount(source)).toBe(count - 1);
  });

  test('a target that was away gets what it missed; the others did not wait for it', async () => {
    const agents = await makeTopology(3, (index) => (index === 0 ? [1, 2] : []));
    const [source, near, away] = agents as [TestAgent, TestAgent, TestAgent];
    await untilInSync(source, VOLUME);
    await away.stop();
    changeRandomly(source.volume(VOLUME), 60, new Random(3));
    const isNearEqual = async (): Promise<boolean> =>
      (await differencesOf(source.volume(VOLUME), near.volume(VOLUME))) === '';
    await source.until('the copy that is there is equal', isNearEqual);
    expect((await source.link(VOLUME, away.name)).state).not.toBe('in-sync');
    await away.start();
    await untilInSync(source, VOLUME);
  });

  test.each([3, 5])('a change goes from relay to relay, %i agents', async (count) => {
    const agents = await makeTopology(count, (index) => range(index + 1, Math.min(index + 2, count)));
    const [source] = agents as [TestAgent];
    const random = new Random(5 * count);
    const untilAllInSync = async (): Promise<void> => {
      for (const agent of agents.slice(0, -1)) await untilInSync(agent, VOLUME);
      expect(await differencesOf(source.volume(VOLUME), agents.at(-1)!.volume(VOLUME))).toBe('');
    };
    await untilAllInSync();
    for (let round = 0; round < ROUNDS; round++) {
      changeRandomly(source.volume(VOLUME), 60, random);
      // The links say in sync of what they know: the last one knows when this file is there.
      writeFileSync(join(source.volume(VOLUME), `round-${round}`), 'all of this round was written before');
      const there = join(agents.at(-1)!.volume(VOLUME), `round-${round}`);
      await source.until('the last agent has the round', () => existsSync(there));
      await untilAllInSync();
    }
  });

  test('what is changed on a target is repaired, and what a relay got is not taken for a change of its own', async () => {
    const agents = await makeTopology(3, (index) => range(index + 1, Math.min(index + 2, 3)));
    const [source, relay, last] = agents as [TestAgent, TestAgent, TestAgent];
    await untilInSync(source, VOLUME);
    await untilInSync(relay, VOLUME);
    mkdirSync(join(last.volume(VOLUME), 'intruder'));
    writeFileSync(join(relay.volume(VOLUME), 'intruder'), 'not from the source');
    await untilInSync(source, VOLUME, 60_000);
    await untilInSync(relay, VOLUME, 60_000);
    expect(await differencesOf(source.volume(VOLUME), last.volume(VOLUME))).toBe('');
  });
});

function range(from: number, to: number): number[] {
  return Array.from({length: Math.max(0, to - from)}, (_, index) => from + index);
}
