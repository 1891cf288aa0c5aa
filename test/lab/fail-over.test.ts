/**
 * Kills during fail-over: `promote` and `follow` are done or not done, whatever is killed at whatever moment, and an old
 * source never changes a promoted copy.
 *
 * In each round the source dies with a change unsent, its copy is promoted while one of the agents is killed, the old
 * source follows while one of them is killed, and in the end both are equal. Then the other way round. A seed decides who
 * is killed, and when.
 */
import {createHash} from 'node:crypto';
import {copyFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilAlone, untilInSync} from '../hosts/agents.ts';
import {makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {judge} from '../judge/judge.ts';
import {needsCommands} from '../needs.ts';
import {campaignOf, recordResult} from './campaign.ts';

const WAIT_MS = 60_000;
const LATEST_KILL_MS = 400; // a command takes about as long here, with its start
const FILES = 20;

interface Side {
  agent: TestAgent;
  root: string;
}

/** Content, times and inodes: a file that was replaced by an equal one is another. */
function listing(root: string): string {
  const names = readdirSync(root).toSorted();
  return names
    .map((name) => {
      const {ino, mtimeMs, ctimeMs, mode} = statSync(join(root, name));
      const sum = createHash('sha256')
        .update(readFileSync(join(root, name)))
        .digest('hex');
      return `${name} ${ino} ${mtimeMs} ${ctimeMs} ${mode} ${sum}`;
    })
    .join('\n');
}

/** Small, and good enough to choose times: xorshift32. */
function randomOf(seed: number): () => number {
  let state = seed * 2_654_435_761 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const epochOf = async ({agent}: Side): Promise<number> => (await agent.volumeReport('data')).role?.epoch ?? 1;

/** Runs a command of one agent and kills one, at a moment of the seed; then runs it until it is done. */
async function withKill(
  side: Side,
  killed: Side,
  {delayMs, args, isDone}: {delayMs: number; args: string[]; isDone: () => Promise<boolean>},
): Promise<void> {
  const command = side.agent.startCommand(args);
  await sleep(delayMs);
  await killed.agent.kill9();
  await command.end();
  await killed.agent.start();
  for (let tries = 0; !(await isDone()); tries++) {
    if (tries > 20) throw side.agent.failure(`towline ${args.join(' ')} is not done after ${tries} tries`);
    await side.agent.command(args);
    await sleep(200);
  }
}

/** What is wrong with a round; nothing when an old source changed nothing and both are equal in the end. */
async function round(source: Side, copy: Side, random: () => number): Promise<string[]> {
  const epoch = await epochOf(copy);
  copy.agent.host.unplug();
  writeFileSync(join(source.root, 'unsent'), `of epoch ${epoch}`);
  await source.agent.kill9();
  copy.agent.host.plug();
  await withKill(copy, copy, {
    delayMs: random() * LATEST_KILL_MS,
    args: ['promote', 'data', '--yes'],
    isDone: async () => (await epochOf(copy)) > epoch,
  });
  const wrong = (await epochOf(copy)) === epoch + 1 ? [] : [`epoch ${await epochOf(copy)} after ${epoch}`];
  writeFileSync(join(copy.root, 'promoted'), `${epoch}`);
  const before = listing(copy.root);
  await source.agent.start();
  await source.agent.until('is halted', async () => isHalted(source), WAIT_MS);
  await withKill(source, random() < 0.5 ? source : copy, {
    delayMs: random() * 2 * LATEST_KILL_MS,
    args: ['follow', 'data', copy.agent.name, '--yes'],
    isDone: async () => (await source.agent.volumeReport('data')).role?.source === copy.agent.name,
  });
  await untilInSync(copy.agent, 'data', WAIT_MS);
  if (listing(copy.root) !== before) wrong.push(`the promoted copy changed:\n${before}\n${listing(copy.root)}`);
  const trash = await source.agent.must('trash', 'list', 'data', '--json');
  if (!trash.includes('"path":"unsent"')) wrong.push('what was not sent is not in the trash');
  return [...wrong, ...(await judge(copy.root, source.root))];
}

const isHalted = async ({agent}: Side): Promise<boolean> =>
  (await agent.volumeReport('data')).links.some(({state}) => state === 'halted');

needsHosts(needsCommands('setfattr')(describe))('kills during fail-over', () => {
  const campaign = campaignOf(2);
  let sides: [Side, Side];

  beforeAll(async () => {
    const {a, b} = makeAgents({
      a: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), send: ['b']}}})},
      b: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), receive: 'a'}}})},
    });
    sides = [
      {agent: a, root: a.volume('data')},
      {agent: b, root: b.volume('data')},
    ];
    for (let file = 0; file < FILES; file++) writeFileSync(join(sides[0].root, `f${file}`), `${file}`);
    await pair(a, b, {bDials: 'ipv4'});
    await startAll(a, b);
    await untilInSync(a, 'data', WAIT_MS);
  });
  afterAll(() => stopAll(...sides.map(({agent}) => agent)));

  test(
    'H18 promote and follow are done or not, whatever is killed when, and no old source changes a copy',
    {timeout: 60_000 + campaign.rounds * 60_000},
    async () => {
      let violations = 0;
      for (const seed of campaign.seeds) {
        const wrong = await round(sides[0], sides[1], randomOf(seed));
        if (wrong.length > 0) console.error(`seed ${seed}: ${wrong.join('\n')}`);
        violations += wrong.length;
        sides.reverse();
      }
      recordResult('fail-over, kills', campaign, {violations});
      expect(violations).toBe(0);
    },
  );

  test('the control: a promotion that is forgotten by a kill is found', {timeout: 120_000}, async () => {
    const [source, copy] = sides;
    const file = join(copy.agent.stateFolder, 'agent.db');
    await copy.agent.stop();
    copyFileSync(file, `${file}.kept`);
    await copy.agent.start();
    await untilInSync(source.agent, 'data', WAIT_MS);
    copy.agent.host.unplug();
    writeFileSync(join(source.root, 'unsent-by-control'), 'x');
    await source.agent.kill9();
    copy.agent.host.plug();
    await untilAlone(copy.agent, WAIT_MS);
    await copy.agent.must('promote', 'data', '--yes');
    // The planted bug: as if the decision had not been durable, and the folder not been marked with it.
    copy.agent.host.run('setfattr', '-x', 'trusted.towline.epoch', copy.root);
    await copy.agent.kill9();
    for (const end of ['-wal', '-shm']) rmSync(`${file}${end}`, {force: true});
    copyFileSync(`${file}.kept`, file);
    const before = listing(copy.root);
    await startAll(source.agent, copy.agent);
    await untilInSync(source.agent, 'data', WAIT_MS);
    expect(listing(copy.root)).not.toBe(before);
  });
});
