/**
 * J14: an agent beside one of an older version, which is recorded: what it said, frame by frame.
 *
 * `TOWLINE_TEST_RECORD=FILE` keeps what this version says: to be done once, before one that speaks otherwise, and the file
 * put beside the others.
 */
import {execFileSync} from 'node:child_process';
import {once} from 'node:events';
import {linkSync, lutimesSync, mkdirSync, symlinkSync, utimesSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {describe, expect, test} from 'vitest';
import {PORT, type TestAgent} from '../hosts/agent.ts';
import {makeAgents, needsHosts} from '../hosts/lab.ts';
import {differencesOf, pair, untilInSync} from '../hosts/agents.ts';
import type {PeerTask} from './peer-process.ts';

const NODE = join(import.meta.dirname, '../../node_modules/.bin/node');
const PROGRAM = join(import.meta.dirname, 'peer-process.ts');
const RECORDING = join(import.meta.dirname, 'version-1.jsonl');
const PORT_BETWEEN = 7430;
const LARGE_BYTES = 70_000;

/** Always the same, down to the times: what is said of it is, too. */
function makeTree(root: string): void {
  const at = (name: string): string => join(root, name);
  mkdirSync(at('folder'), {mode: 0o755});
  writeFileSync(at('folder/small'), 'a small file\n', {mode: 0o644});
  writeFileSync(at('empty'), '', {mode: 0o600});
  writeFileSync(at('large'), Buffer.alloc(LARGE_BYTES, 'these words come again and again '), {mode: 0o640});
  linkSync(at('folder/small'), at('second name'));
  symlinkSync('folder/small', at('link'));
  execFileSync('mkfifo', ['-m', '600', at('fifo')]);
  execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', at('empty')]);
  lutimesSync(at('link'), 1e9, 1e9);
  for (const name of ['folder/small', 'empty', 'large', 'fifo', 'folder', '.']) utimesSync(at(name), 1e9, 1e9);
}

/** Starts the process between, or in the place of, two agents. @returns its lines */
function startPeer(agent: TestAgent, task: PeerTask): AsyncIterator<Record<string, unknown>> {
  const child = agent.host.spawn([NODE, PROGRAM, JSON.stringify(task)], {stdio: ['ignore', 'pipe', 'inherit']});
  async function* lines(): AsyncGenerator<Record<string, unknown>> {
    for await (const line of createInterface({input: child.stdout!})) yield JSON.parse(line) as Record<string, unknown>;
    if (child.exitCode === null) await once(child, 'exit');
    throw new Error(`the recorded peer ended with ${child.exitCode}`);
  }
  return lines();
}

function keep(recorded: readonly string[]): void {
  const file = process.env['TOWLINE_TEST_RECORD'];
  if (file !== undefined) writeFileSync(file, `${recorded.join('\n')}\n`);
}

interface Ends {
  source: TestAgent;
  target: TestAgent;
  task: Omit<PeerTask & {do: 'relay'}, 'do'>;
}

/** Two agents; the source finds the target by way of the process between. */
async function makeEnds(): Promise<Ends> {
  const {source, target} = makeAgents({
    source: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), send: ['target']}}})},
    target: {config: (agent) => ({volumes: {data: {at: agent.volume('data'), receive: 'source'}}})},
  });
  await pair(source, target, {aDials: {host: '127.0.0.1', port: PORT_BETWEEN}});
  makeTree(source.volume('data'));
  const keys = {source: source.stateFolder, target: target.stateFolder};
  return {source, target, task: {keys, port: PORT_BETWEEN, host: target.host.ipv4, targetPort: PORT}};
}

needsHosts(describe)('J14 an agent and a recorded one of version 1, without any feature', () => {
  test('between two of this version: in sync, whoever passes on what they say', async () => {
    const {source, target, task} = await makeEnds();
    await target.start();
    const lines = startPeer(source, {...task, do: 'relay'});
    expect((await lines.next()).value).toEqual({listening: true});
    await source.start();
    const recorded: string[] = [];
    const recording = (async () => {
      for (;;) recorded.push(JSON.stringify((await lines.next()).value));
    })();
    recording.catch(() => undefined);
    await untilInSync(source, 'data');
    await source.until('the target was told', async () => (await target.link('data', 'source')).state === 'in-sync');
    expect(recorded.length).toBeGreaterThan(0);
    keep(recorded);
    await Promise.all([source.stop(), target.stop()]);
  });

  test('the recorded source: its tree is on the target, proved', async () => {
    const {source, target, task} = await makeEnds();
    await target.start();
    const lines = startPeer(source, {...task, do: 'play', as: 'source', recording: RECORDING});
    expect((await lines.next()).value).toEqual({played: true});
    await target.until('in sync', async () => (await target.link('data', 'source')).state === 'in-sync');
    expect(await differencesOf(source.volume('data'), target.volume('data'))).toBe('');
    await target.stop();
  });

  test('the recorded target: the source sends it everything and is in sync', async () => {
    const {source, task} = await makeEnds();
    const lines = startPeer(source, {...task, do: 'play', as: 'target', recording: RECORDING});
    expect((await lines.next()).value).toEqual({listening: true});
    await source.start();
    expect((await lines.next()).value).toEqual({played: true});
    await source.until('in sync', async () => (await source.link('data', 'target')).state === 'in-sync');
    await source.stop();
  });
});
