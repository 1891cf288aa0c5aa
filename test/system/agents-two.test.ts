/** Two agents on two hosts, paired as people do: real work both ways, over one connection, whoever dials. */
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, onTestFinished, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, pairByInvite, type PairOptions, untilInSync} from '../hosts/agents.ts';
import {connectionCount, LOOSE, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {changeRandomly, makeRandomTree, Random} from '../sync/random-tree.ts';
import {cloneRepository, workLikeAnInstaller, workOnDatabase, workOnRepository} from '../sync/workloads.ts';
import {needsCommands} from '../needs.ts';
import {allocatedBytes, makeHole, punch, writeAt} from '../sync/sparse.ts';
import {until} from '../until.ts';

// From the end of the work to equal copies: a few seconds on a quiet machine.
const EQUAL_MS = Number(process.env['TOWLINE_TEST_EQUAL_MS'] ?? 30_000);
const ROUNDS = Number(process.env['TOWLINE_TEST_ROUNDS'] ?? 3);

needsHosts(needsCommands('git')(describe))('two agents paired by an invitation', {timeout: 120_000}, () => {
  let left: TestAgent;
  let right: TestAgent;

  /** `there` goes from left to right, `back` from right to left. */
  beforeAll(async () => {
    ({left, right} = makeAgents({left: {}, right: {listens: false}}));
    await startAll(left, right);
    await pairByInvite(left, right);
    left.configure({
      volumes: {
        there: {at: left.volume('there'), send: ['right'], ...LOOSE},
        back: {at: left.volume('back'), receive: 'right', ...LOOSE},
      },
    });
    right.configure({
      volumes: {
        there: {at: right.volume('there'), receive: 'left', ...LOOSE},
        back: {at: right.volume('back'), send: ['left'], ...LOOSE},
      },
    });
    await Promise.all([left.reload(), right.reload()]);
    await expectBothInSync();
  });
  afterAll(() => stopAll(left, right));

  async function expectBothInSync(): Promise<void> {
    await untilInSync(left, 'there', EQUAL_MS);
    await untilInSync(right, 'back', EQUAL_MS);
  }

  test('random trees under random changes, both ways at once: equal after each round, over one connection', async () => {
    const random = new Random(11);
    const sources = [left.volume('there'), right.volume('back')];
    for (const source of sources) makeRandomTree(source, 300, random);
    await expectBothInSync();
    for (let round = 0; round < ROUNDS; round++) {
      for (const source of sources) changeRandomly(source, 60, random);
      await expectBothInSync();
    }
    expect(connectionCount(left)).toBe(1);
    expect((await left.report()).peers).toMatchObject([{name: 'right', isConnected: true, dialledBy: 'peer'}]);
    expect((await right.report()).peers).toMatchObject([{name: 'left', isConnected: true, dialledBy: 'us'}]);
  });

  test('a repository under commits, checkouts and gc: equal after the last command', async () => {
    const clone = await cloneRepository(left.volume('there'));
    await workOnRepository(clone, 3);
    await expectBothInSync();
  });

  test.each(['DELETE', 'WAL'] as const)(
    'a database under 3,000 inserts with journal mode %s: equal once it rests',
    async (mode) => {
      await workOnDatabase(join(right.volume('back'), `${mode}.db`), mode);
      await expectBothInSync();
    },
  );

  test('G8 a file with holes takes no more on the other host, and zeros that are punched give their space back', () =>
    expectHolesToFollow({from: left.volume('there'), to: right.volume('there')}, expectBothInSync));

  test('an installation of packages, both ways at once: equal once it rests', async () => {
    const folders = [left.volume('there'), right.volume('back')].map((volume) => join(volume, 'packages'));
    for (const folder of folders) mkdirSync(folder);
    await Promise.all(folders.map(workLikeAnInstaller));
    await expectBothInSync();
    expect(connectionCount(left)).toBe(1);
  });
});

async function expectHolesToFollow(
  volume: {from: string; to: string},
  untilBothInSync: () => Promise<void>,
): Promise<void> {
  const bytesOf = (name: string): number[] => [volume.from, volume.to].map((path) => allocatedBytes(join(path, name)));
  const [holes, zeros] = [join(volume.from, 'holes'), join(volume.from, 'zeros')];
  makeHole(holes, 256 << 20);
  writeAt(holes, 128 << 20, Buffer.alloc(64 * 1024, 'data'));
  writeFileSync(zeros, Buffer.alloc(48 << 20));
  await untilBothInSync();
  expect(bytesOf('holes')).toEqual([64 * 1024, 64 * 1024]);
  expect(Math.min(...bytesOf('zeros'))).toBeGreaterThanOrEqual(48 << 20);
  punch(zeros, 0, 48 << 20);
  await untilBothInSync();
  await until(() => Math.max(...bytesOf('zeros')) < 1 << 20, EQUAL_MS);
  await untilBothInSync();
}

/** Who dials, and over what; the other one only listens, unless both dial. */
const WAYS: Record<string, PairOptions> = {
  'the source dials over IPv4': {aDials: 'ipv4', bDials: 'none'},
  'the source dials over IPv6': {aDials: 'ipv6', bDials: 'none'},
  'the target dials over IPv6': {aDials: 'none', bDials: 'ipv6'},
  'both dial, one over IPv4 and one over IPv6': {aDials: 'ipv4', bDials: 'ipv6'},
};

needsHosts(describe)('whoever dials', {timeout: 60_000}, () => {
  test.for(Object.entries(WAYS))('%s: in sync, over one connection', async ([, way]) => {
    const {a, b} = makeAgents({
      a: {
        listens: way.bDials !== 'none',
        config: (agent) => ({volumes: {data: {at: agent.volume('data'), send: ['b']}}}),
      },
      b: {
        listens: way.aDials !== 'none',
        config: (agent) => ({volumes: {data: {at: agent.volume('data'), receive: 'a'}}}),
      },
    });
    onTestFinished(() => stopAll(a, b));
    await pair(a, b, way);
    writeFileSync(join(a.volume('data'), 'before'), 'written before the start');
    await startAll(a, b);
    await untilInSync(a, 'data');
    writeFileSync(join(a.volume('data'), 'after'), 'written while it runs');
    await untilInSync(a, 'data');
    expect([connectionCount(a), connectionCount(b)]).toEqual([1, 1]);
  });
});
