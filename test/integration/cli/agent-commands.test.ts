/** Commands that ask a running agent: real command line, real socket, an agent that answers what a test says. */
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test, vi} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import {serveControl} from '../../../src/http/control-server.ts';
import {controlSocketOf} from '../../../src/http/socket-path.ts';
import {SILENT_LOG} from '../../../src/telemetry/log.ts';
import {
  haltOf,
  linkOf,
  linkOutcomeOf,
  NOW_MS,
  reportOf,
  runOutcomeOf,
  ScriptedAgent,
  volumeOf,
} from '../../scripted-agent.ts';
import {makeTmpDir} from '../../tmp.ts';
import {linesOf, problemOf, type Ran, runScripted, type Script} from '../../unit/cli/scripted.ts';

interface Running {
  agent: ScriptedAgent;
  state: string;
  /** Runs a command against it. */
  run: (typed: string, script?: Script) => Promise<Ran>;
  close: () => Promise<void>;
}

async function startAgent(): Promise<Running> {
  const state = join(makeTmpDir(), 'state');
  const agent = new ScriptedAgent();
  const server = await serveControl({socketPath: controlSocketOf(state), control: agent, log: SILENT_LOG});
  onTestFinished(() => server.close());
  const run = (typed: string, script?: Script): Promise<Ran> =>
    runScripted([...typed.split(' '), '--state', state], script);
  return {agent, state, run, close: () => server.close()};
}

const eventsOf = (ran: Ran): Record<string, unknown>[] =>
  linesOf(ran.stdout).map((line) => JSON.parse(line) as Record<string, unknown>);

describe('no agent', () => {
  test.each([
    'status',
    'status --watch',
    'pending a',
    'flush',
    'pause a',
    'resume a',
    'rescan a',
    'forget a',
    'confirm a',
    'promote a --yes',
    'follow a b',
    'sync /a db-2:b',
  ])('"towline %s" is one sentence with the command that starts it, and exit code 5', async (typed) => {
    const state = join(makeTmpDir(), "my agent's");
    const ran = await runScripted([...typed.split(' '), '--state', state]);
    expect(ran).toMatchObject({exitCode: 5, stdout: ''});
    expect(ran.stderr).toBe(
      `Error: no agent runs on the state in ${state}; to start it, type: towline agent --state '${state.replace("'", "'\\''")}'\n`,
    );
  });

  test('the folder is that of the configuration, also of one that is broken elsewhere', async () => {
    const {state} = await startAgent();
    const file = join(makeTmpDir(), 'towline.yaml');
    writeFileSync(file, `agent: {name: web-1, state: ${state}}\nvolumes: [\n`);
    expect(await runScripted(['status', '--config', file])).toMatchObject({exitCode: 0, stderr: ''});
    const missing = await runScripted(['status', '--config', `${file}.old`]);
    expect(missing).toMatchObject({exitCode: 2});
    expect(missing.stderr).toContain('name the configuration of the agent with --config');
  });
});

describe('status', () => {
  test('of everything, of one volume by name, address and path, and of an unknown one', async () => {
    const {agent, run} = await startAgent();
    agent.reported = reportOf({
      volumes: [volumeOf(), volumeOf({name: 'logs', address: '/srv/logs', path: '/srv/logs'})],
    });
    const all = await run('status');
    expect(all).toMatchObject({exitCode: 0, stderr: ''});
    expect(all.stdout).toContain('db-2  connected');
    expect(all.stdout).not.toContain('\u001b');
    for (const typed of ['logs', '/srv/logs', 'path:/srv/logs']) {
      expect((await run(`status ${typed}`)).stdout).toContain('\naddress  /srv/logs\n');
    }
    const unknown = await run('status nope');
    expect(unknown).toMatchObject({exitCode: 2, stderr: 'Error: there is no volume "nope"; there are: pgdata, logs\n'});
  });

  test('has colours on a terminal, and its exit code with --json too', async () => {
    const {agent, run} = await startAgent();
    agent.reported = reportOf({volumes: [volumeOf({links: [linkOf({state: 'halted', halt: haltOf()})]})]});
    expect((await run('status', {isTerminal: true})).stdout).toContain('\u001b[31mHALTED');
    expect((await run('status', {isTerminal: true, env: {NO_COLOR: '1'}})).stdout).not.toContain('\u001b');
    const ran = await run('status --json');
    expect(ran.exitCode).toBe(3);
    expect(eventsOf(ran)).toMatchObject([
      {
        event: 'report',
        agent: {name: 'web-1', now: new Date(NOW_MS).toISOString(), halt: null},
        volumes: [
          {name: 'pgdata', reason: null, links: [{state: 'halted', halt: {kind: 'delete-share', count: 1_234}}]},
        ],
      },
      {event: 'result', exitCode: 3},
    ]);
  });

  test('--watch draws over itself on a terminal, leaves it as it was, and ends with 0 on Ctrl-C', async () => {
    const {agent, run} = await startAgent();
    let frameCount = 0;
    const ran = await run('status --watch', {
      isTerminal: true,
      rows: 8,
      onStdout: (text, signals) => {
        if (!text.includes('\u001b[H')) return;
        frameCount++;
        expect(text.split('\r\n').length).toBeLessThanOrEqual(8);
        if (frameCount === 1) agent.change(reportOf({name: 'web-2'}));
        else signals.emit('SIGINT');
      },
    });
    expect(ran).toMatchObject({exitCode: 0, stderr: ''});
    expect(frameCount).toBe(2);
    expect(ran.stdout.startsWith('\u001b[?1049h')).toBe(true);
    const left = ran.stdout.slice(ran.stdout.indexOf('\u001b[?1049l'));
    expect(left).toContain('web-2: agent 0.1.0');
    await vi.waitFor(() => expect(agent.watcherCount).toBe(0));
  });

  test('--watch elsewhere appends what changed, as lines or objects', async () => {
    const {agent, run} = await startAgent();
    const change = reportOf({
      volumes: [volumeOf({links: [linkOf({state: 'sending', pendingCount: 5, rateBytes: 7})]})],
    });
    const watch = (typed: string): Promise<Ran> => {
      agent.reported = reportOf();
      return run(typed, {
        onStdout: (text, signals) => {
          if (text.includes('sending')) signals.emit('SIGTERM');
          else agent.change(change);
        },
      });
    };
    const ran = await watch('status --watch');
    expect(ran).toMatchObject({exitCode: 0, stderr: ''});
    expect(linesOf(ran.stdout).map((line) => line.replace(/^.{17}/, ''))).toEqual([
      'db-2: connected',
      'pgdata → db-2: in sync',
      'pgdata → db-2: sending',
    ]);
    expect(eventsOf(await watch('status --watch --json'))).toMatchObject([{event: 'report'}, {event: 'report'}]);
  });

  test('--watch of an agent that ends says so, with exit code 5', async () => {
    const {run, close} = await startAgent();
    const ran = await run('status --watch', {onStdout: () => void close()});
    expect(ran.exitCode).toBe(5);
    expect(ran.stderr).toContain('ended before it answered; see its log, and start it again');
  });
});

describe('runs', () => {
  test('J13 agent --once beside a running agent is done by it, its worst link is the exit code', async () => {
    const {agent, run} = await startAgent();
    const problems = [problemOf('a\nb')];
    agent.outcome = runOutcomeOf({
      exitCode: 1,
      links: [
        linkOutcomeOf(),
        linkOutcomeOf({peer: 'dr-1', exitCode: 1, digest: undefined, problemCount: 30, problems}),
      ],
    });
    const ran = await run('agent --once docker:pgdata --timeout 2s');
    expect(agent.asked).toEqual([['once', {volumes: ['pgdata'], timeoutMs: 2_000}]]);
    expect(ran).toMatchObject({exitCode: 1, stderr: ''});
    expect(linesOf(ran.stdout)).toEqual([
      'pgdata → db-2: in sync, digest 7d017d017d01…',
      'pgdata → dr-1: not in sync: some paths have problems',
      '  ! a\\nb: permission denied (source)',
      '  … and 29 more (--json lists up to 1,000)',
    ]);
    expect(eventsOf(await run('agent --once --json'))).toMatchObject([
      {event: 'link', peer: 'db-2', exitCode: 0},
      {event: 'link', peer: 'dr-1', digest: null, problems: [{path: 'a\\nb', pathBytes: expect.any(String) as string}]},
      {event: 'result', exitCode: 1},
    ]);
  });

  test('agent --once without one is done here, and Ctrl-C ends either with 130', async () => {
    const options: object[] = [];
    const onceStandalone = async (given: object): Promise<ReturnType<typeof runOutcomeOf>> => {
      options.push(given);
      return runOutcomeOf({exitCode: 5, links: [linkOutcomeOf({exitCode: 5, reason: 'db-2 does not answer'})]});
    };
    const alone = await runScripted('agent --once a b --state /nonexistent/s'.split(' '), {agent: {onceStandalone}});
    expect(alone).toMatchObject({exitCode: 5, stdout: 'pgdata → db-2: not in sync: db-2 does not answer\n'});
    expect(options).toMatchObject([{stateFolder: '/nonexistent/s', volumes: ['a', 'b'], timeoutMs: 300_000}]);

    const {agent, run} = await startAgent();
    const asked = Promise.withResolvers<void>();
    agent.once = () => {
      asked.resolve();
      return new Promise(() => {});
    };
    const onSignals: Script['onSignals'] = (signals) => void asked.promise.then(() => signals.emit('SIGINT'));
    expect(await run('agent --once', {onSignals})).toMatchObject({exitCode: 130, stdout: '', stderr: ''});
  });

  test('agent runs until a signal and ends with 0; its errors keep their codes', async () => {
    const given: object[] = [];
    const untilSignal: Script = {
      agent: {
        runAgent: (options, {signal}) => {
          given.push(options);
          return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
        },
      },
      onSignals: (signals) => {
        signals.emit('SIGHUP'); // the daemon's own business
        setImmediate(() => signals.emit('SIGTERM'));
      },
    };
    expect(await runScripted(['agent', '--config', '/c.yaml'], untilSignal)).toMatchObject({exitCode: 0, stderr: ''});
    expect(given).toEqual([{configFile: '/c.yaml', stateFolder: undefined}]);
    const locked = new TowlineError('LOCKED', 'another agent runs', {path: '/s', holder: '7'});
    const ran = await runScripted(['agent'], {agent: {runAgent: () => Promise.reject(locked)}});
    expect(ran).toMatchObject({exitCode: 6, stderr: 'Error: another agent runs\n'});
  });

  test('flush takes its time limit and --rescan and --quiesce along', async () => {
    const {agent, run} = await startAgent();
    expect(await run('flush')).toMatchObject({exitCode: 0, stdout: 'pgdata → db-2: in sync, digest 7d017d017d01…\n'});
    agent.outcome = runOutcomeOf({
      exitCode: 5,
      links: [linkOutcomeOf({exitCode: 5, reason: '3 changes are not there yet'})],
    });
    const late = await run('flush pgdata --rescan --quiesce --timeout 500ms');
    expect(late).toMatchObject({exitCode: 5, stdout: 'pgdata → db-2: not in sync: 3 changes are not there yet\n'});
    expect(agent.asked).toEqual([
      ['flush', {volume: undefined, timeoutMs: 60_000, isRescan: false, isQuiesced: false}],
      ['flush', {volume: 'pgdata', timeoutMs: 500, isRescan: true, isQuiesced: true}],
    ]);
  });

  test('sync to a peer shows events as sync does, and ends with the outcome', async () => {
    const {agent, run} = await startAgent();
    agent.onSync = async (_, onEvent) => {
      onEvent({kind: 'status', status: {kind: 'in-sync', asOfMs: NOW_MS, digest: 'aa'}});
      onEvent({kind: 'applied', op: 'delete', path: 'old', sizeBytes: 0});
      onEvent({kind: 'problem', problem: problemOf('locked')});
      return runOutcomeOf({exitCode: 3, links: [linkOutcomeOf({exitCode: 3, reason: 'halted'})]});
    };
    const ran = await run('sync docker:pg db-2:pgdata -v --special skip --ids 0-9:100');
    const sent = {special: 'skip', ids: ['0-9:100']};
    const request = {address: 'docker:pg', peer: 'db-2', peerVolume: 'pgdata', isOnce: false, ...sent};
    expect(agent.asked).toEqual([['sync', request]]);
    expect(ran).toMatchObject({exitCode: 3, stderr: ''});
    expect(linesOf(ran.stdout)).toEqual([
      expect.stringMatching(/^In sync as of .*, watching for changes/),
      '- old',
      '! locked: permission denied (source)',
      'pgdata → db-2: not in sync: halted',
    ]);
    const json = await run('sync docker:pg db-2:pgdata --once --json');
    expect(eventsOf(json).map(({event}) => event)).toEqual(['status', 'applied', 'problem', 'link', 'result']);
  });

  test.each([
    ['sync /a db-2:b', 0],
    ['sync /a db-2:b --once', 130],
  ])('Ctrl-C ends "%s" with %d, and the link at the agent', async (typed, exitCode) => {
    const {agent, run} = await startAgent();
    let isEnded = false;
    const started = Promise.withResolvers<void>();
    agent.onSync = (_, _onEvent, signal) =>
      new Promise((_resolve, reject) => {
        started.resolve();
        signal.addEventListener('abort', () => {
          isEnded = true;
          reject(signal.reason as Error);
        });
      });
    const ran = await run(typed, {onSignals: (signals) => void started.promise.then(() => signals.emit('SIGINT'))});
    expect(ran).toMatchObject({exitCode, stdout: '', stderr: ''});
    await vi.waitFor(() => expect(isEnded).toBe(true));
  });
});

describe('one volume', () => {
  test('pause, resume and rescan reach it and say what comes next; what the agent refuses is said', async () => {
    const {agent, state, run} = await startAgent();
    expect((await run('pause docker:pgdata')).stdout).toBe(
      `pgdata is paused until: towline resume pgdata --state ${state}\n`,
    );
    expect(await run('resume pgdata')).toMatchObject({exitCode: 0});
    expect(eventsOf(await run('rescan pgdata --json'))).toMatchObject([
      {event: 'result', exitCode: 0, volume: 'pgdata'},
    ]);
    expect(agent.asked).toEqual([
      ['pause', 'pgdata'],
      ['resume', 'pgdata'],
      ['rescan', 'pgdata'],
    ]);
    agent.fault = new TowlineError('REFUSED', 'pgdata is halted', {reason: 'halted'});
    expect(await run('pause pgdata')).toMatchObject({exitCode: 8, stderr: 'Error: pgdata is halted\n'});
  });

  test('forget asks for the name, and takes one that is no longer configured', async () => {
    const {agent, run} = await startAgent();
    expect(await run('forget pgdata', {answer: 'yes'})).toMatchObject({exitCode: 8});
    expect(await run('forget pgdata')).toMatchObject({exitCode: 8});
    expect(agent.asked).toEqual([]);
    expect(await run('forget pgdata', {answer: 'pgdata'})).toMatchObject({exitCode: 0});
    expect(await run('forget old --yes')).toMatchObject({exitCode: 0, stdout: 'old is forgotten; its files stay\n'});
    expect(agent.asked).toEqual([
      ['forget', 'pgdata'],
      ['forget', 'old'],
    ]);
  });

  test('confirm says what waits of all links together, and lets it go on with that count only', async () => {
    const {agent, run} = await startAgent();
    agent.halted = [
      {peer: 'db-2', halt: haltOf()},
      {peer: undefined, halt: haltOf({kind: 'root-replaced', count: 1, message: 'another folder is there'})},
    ];
    const right = await run('confirm pgdata', {answer: '1,235'});
    expect(right).toMatchObject({exitCode: 0, stderr: ''});
    expect(linesOf(right.stdout)).toEqual([
      expect.stringMatching(/^Halted since .*: pgdata with db-2: 1,234 of 2,000 entries would be deleted$/),
      'Confirmed, it may delete 1,234 entries from pgdata on db-2 (into the trash)',
      expect.stringMatching(/^Halted since .*: pgdata: another folder is there$/),
      'Confirmed, it may take the folder that is there now for the root',
      'Confirmed: pgdata goes on; towline status shows it',
    ]);
    expect(agent.asked).toEqual([['confirm', {volume: 'pgdata', count: 1_235}]]);
    expect(await run('confirm pgdata --yes 1234')).toMatchObject({exitCode: 8});
    expect((await run('confirm pgdata')).stderr).toContain('towline confirm pgdata --state');
    expect(await run('confirm pgdata --yes 1235 --json')).toMatchObject({exitCode: 0});
    agent.halted = [];
    expect(await run('confirm pgdata')).toMatchObject({exitCode: 0, stdout: 'Nothing of pgdata is halted\n'});
    expect(await run('confirm pgdata --yes 1')).toMatchObject({exitCode: 8});
  });

  test('pending shows a page, or follows all pages', async () => {
    const {agent, run} = await startAgent();
    expect(await run('pending pgdata')).toMatchObject({exitCode: 0, stdout: 'pgdata: nothing is pending\n'});
    const page = (path: string, next: string | undefined): typeof agent.page => ({
      volume: 'pgdata',
      problems: [{...problemOf(path), peer: 'db-2'}],
      problemCount: 2,
      pendingCount: 1,
      next,
    });
    agent.page = page('a', 'a');
    const first = await run('pending pgdata');
    expect(first.exitCode).toBe(1);
    expect(linesOf(first.stdout)).toEqual([
      'pgdata: 2 paths with problems, 1 on their way',
      '! a: permission denied (source)',
      expect.stringMatching(/^… and 2 more: towline pending pgdata --state .* --all$/),
    ]);
    agent.pending = (query) => (query.after === undefined ? page('a', 'a') : page('b\xff', undefined));
    const events = eventsOf(await run('pending pgdata --all --json'));
    expect(events).toMatchObject([
      {event: 'problem', peer: 'db-2', path: 'a'},
      {event: 'problem', path: 'b\\xff', pathBytes: 'Yv8='},
      {event: 'result', exitCode: 1, problemCount: 2, complete: true},
    ]);
  });
});

test('a folder without an agent in the way of the socket is no agent', async () => {
  const state = makeTmpDir();
  mkdirSync(controlSocketOf(state));
  expect(await runScripted(['status', '--state', state])).toMatchObject({exitCode: 5});
});
