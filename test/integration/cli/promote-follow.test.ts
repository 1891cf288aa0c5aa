/** `promote` and `follow` on the real command line, with an agent that answers what a test says. */
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import type {FollowPlan} from '../../../src/control/agent-api.ts';
import {serveControl} from '../../../src/http/control-server.ts';
import {controlSocketOf} from '../../../src/http/socket-path.ts';
import {fromText} from '../../../src/model/path.ts';
import {SILENT_LOG} from '../../../src/telemetry/log.ts';
import {linkOf, NOW_MS, reportOf, ScriptedAgent, volumeOf} from '../../scripted-agent.ts';
import {makeTmpDir} from '../../tmp.ts';
import {runScripted, type Ran, type Script} from '../../unit/cli/scripted.ts';

async function startAgent(): Promise<{agent: ScriptedAgent; run: (typed: string, script?: Script) => Promise<Ran>}> {
  const state = join(makeTmpDir(), 'state');
  const agent = new ScriptedAgent();
  const server = await serveControl({socketPath: controlSocketOf(state), control: agent, log: SILENT_LOG});
  onTestFinished(() => server.close());
  return {agent, run: (typed, script) => runScripted([...typed.split(' '), '--state', state], script)};
}

const plan = (over: Partial<FollowPlan> = {}): FollowPlan => ({
  volume: 'pgdata',
  peer: 'db-2',
  peerVolume: 'pgdata',
  epoch: 2,
  promotedMs: NOW_MS,
  goneCount: 2,
  comingCount: 1,
  metaCount: 0,
  gone: [
    {path: fromText('base/1'), type: 'file'},
    {path: fromText('base/new\nline'), type: 'dir'},
  ],
  ...over,
});

describe('promote', () => {
  const received = reportOf({
    volumes: [
      volumeOf({links: [linkOf({direction: 'receive', peer: 'db-2', state: 'waiting', inSyncAtMs: NOW_MS - 12_000})]}),
    ],
  });

  test('says how old the copy is, asks for the name, and promotes', async () => {
    const {agent, run} = await startAgent();
    agent.reported = received;
    const ran = await run('promote pgdata', {isTerminal: true, answer: 'pgdata'});
    expect(ran.exitCode, ran.stderr).toBe(0);
    expect(ran.stdout).toMatch(/received from db-2, which is connected/);
    expect(ran.stdout).toMatch(/last in sync 12(\.0)? s ago/);
    expect(ran.stdout).toContain('in epoch 2: it may be written here');
    expect(agent.asked).toEqual([['promote', {volume: 'pgdata', isForced: false}]]);
  });

  test.each([
    ['another answer', {isTerminal: true, answer: 'yes'}, 'not confirmed'],
    ['nobody to ask', {}, 'towline promote pgdata --state'],
  ])('%s changes nothing and ends with 8', async (_, script: Script, said) => {
    const {agent, run} = await startAgent();
    agent.reported = received;
    const ran = await run('promote pgdata', script);
    expect(ran).toMatchObject({exitCode: 8});
    expect(ran.stderr).toContain(said);
    expect(agent.asked).toEqual([]);
  });

  test('--yes --force --json', async () => {
    const {agent, run} = await startAgent();
    const ran = await run('promote pgdata --yes --force --json');
    expect(JSON.parse(ran.stdout.trim().split('\n').at(-1)!)).toMatchObject({event: 'result', exitCode: 0, epoch: 2});
    expect(agent.asked).toEqual([['promote', {volume: 'pgdata', isForced: true}]]);
  });
});

describe('follow', () => {
  const looked = ['followPlan', {volume: 'pgdata', peer: 'db-2', peerVolume: 'pgdata'}];

  test('lists what goes, escaped, and follows with the count that was typed', async () => {
    const {agent, run} = await startAgent();
    agent.plan = plan();
    const ran = await run('follow pgdata db-2', {isTerminal: true, answer: '2'});
    expect(ran.exitCode, ran.stderr).toBe(0);
    expect(ran.stdout).toContain('file base/1');
    expect(ran.stdout).toContain('dir base/new\\nline');
    expect(ran.stdout).toContain('2 entries of pgdata are not on db-2 as here: what was not sent goes to the trash');
    expect(ran.stdout).toContain('1 entry will come from db-2');
    expect(agent.asked).toEqual([looked, ['follow', {...(looked[1] as object), count: 2}]]);
  });

  test.each([
    ['--yes 3', 'it is 2 now'],
    ['--json', 'nobody to ask'],
    ['', 'towline follow pgdata db-2 --state'],
  ])('%s: nothing is followed, and exit code 8', async (options, said) => {
    const {agent, run} = await startAgent();
    agent.plan = plan();
    const ran = await run(`follow pgdata db-2 ${options}`.trim());
    expect(ran.exitCode).toBe(8);
    expect(ran.stderr + ran.stdout).toContain(said);
    expect(agent.asked).toEqual([looked]);
  });

  test('--dry-run looks alone; a plain --yes takes the count as it is; a name of its own at the peer', async () => {
    const {agent, run} = await startAgent();
    agent.plan = plan();
    expect((await run('follow pgdata db-2 --dry-run')).exitCode).toBe(0);
    expect(agent.asked).toEqual([looked]);
    expect((await run('follow pgdata db-2:other --yes')).exitCode).toBe(0);
    expect(agent.asked.at(-1)).toEqual(['follow', {volume: 'pgdata', peer: 'db-2', peerVolume: 'other', count: 2}]);
    expect((await run('follow pgdata db-2: --yes')).exitCode).toBe(2);
  });
});
