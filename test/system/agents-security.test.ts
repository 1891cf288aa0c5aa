/** What agents tell and give to whom: strangers, crowds, peers that were removed or ask for too much, clones. */
import {cpSync, existsSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, onTestFinished, test} from 'vitest';
import {createIdentity} from '../../src/transport/identity.ts';
import {readCode, writeCode} from '../../src/transport/pairing-code.ts';
import {PORT, TestAgent} from '../hosts/agent.ts';
import {invite, pair, untilInSync} from '../hosts/agents.ts';
import {connectionCount, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {type Host, makeNetwork} from '../hosts/namespaces.ts';
import {answer, call, crowd} from '../hosts/stranger.ts';
import {makeTmpDir} from '../tmp.ts';

const CROWD = Number(process.env['TOWLINE_TEST_CROWD'] ?? 1_000);
const CLOSED_MS_MAX = 30_000;
const CROWD_BYTES_MAX = 100 << 20; // what a thousand strangers may cost
const REMOVED_MS_MAX = 1_000;
const SECRETS = ['source-agent', 'target-agent', 'payroll', 'ledger.txt'];
const UPGRADE =
  'GET /towline/1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

needsHosts(describe)('two agents among strangers', {timeout: 120_000}, () => {
  let source: TestAgent;
  let target: TestAgent;
  let outside: Host;

  beforeAll(async () => {
    const base = makeTmpDir('file');
    const [here, there, elsewhere] = makeNetwork(3).hosts as [Host, Host, Host];
    outside = elsewhere;
    source = new TestAgent({name: 'source-agent', folder: join(base, 'source'), host: here});
    target = new TestAgent({name: 'target-agent', folder: join(base, 'target'), host: there});
    source.configure({volumes: {payroll: {at: source.volume('payroll'), send: [target.name]}}});
    target.configure({volumes: {payroll: {at: target.volume('payroll'), receive: source.name}}});
    await pair(source, target);
    writeFileSync(join(source.volume('payroll'), 'ledger.txt'), 'ledger');
    await startAll(source, target);
    await untilInSync(source, 'payroll');
  });
  afterAll(() => stopAll(source, target));

  const expectNothingTold = (text: string): void => {
    for (const secret of SECRETS) expect(text).not.toContain(secret);
  };

  test.for([
    ['without a certificate', false, UPGRADE],
    ['with an unknown identity', true, UPGRADE],
    ['with an unknown identity that asks for a page', true, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['with an unknown identity that says nothing', true, ''],
  ] as const)('I4 a caller %s is closed with a refusal that names nothing', async ([, hasKey, say]) => {
    const key = hasKey ? await createIdentity() : {};
    const heard = await call(outside, {host: target.host.ipv4, port: PORT, say, waitMs: CLOSED_MS_MAX, ...key});
    expect(heard.end).toBe('closed');
    expect(heard.text).toMatch(/^(HTTP\/1\.1 4\d\d [^\r]*\r\nConnection: close\r\nContent-Length: 0\r\n\r\n)?$/);
    expectNothingTold(heard.text + heard.certificate);
  });

  test('I4 an agent with another identity at a peer’s address is told nothing by the agent that dials', async () => {
    const impostor = await answer(outside, {port: PORT, waitMs: CLOSED_MS_MAX, ...(await createIdentity())});
    const near = new TestAgent({name: 'caller', folder: makeTmpDir(), host: source.host, listens: false});
    near.configure({volumes: {payroll: {at: near.volume('payroll'), send: ['other']}}});
    near.pin('other', await target.id(), `${outside.ipv4}:${PORT}`);
    onTestFinished(() => stopAll(near));
    await near.start();
    const heard = await impostor.next();
    expect(heard.text).not.toContain('HTTP');
    expectNothingTold(heard.text + heard.certificate);
    const [peer] = (await near.report()).peers;
    expect(peer).toMatchObject({name: 'other', isConnected: false});
    expect(peer!.reason).toBeTruthy();
  });

  test('I4 after five wrong codes an invitation is worth nothing', async () => {
    const {code} = await invite(target);
    const guest = new TestAgent({name: 'guest', folder: makeTmpDir(), host: outside, listens: false});
    const parts = readCode(code);
    const wrong = writeCode({...parts, secret: Buffer.from(parts.secret.map((byte) => byte ^ 1))});
    for (let count = 0; count < 5; count++) expect((await guest.command(['join', wrong])).exitCode).not.toBe(0);
    const late = await guest.command(['join', code]);
    expect(late.exitCode).not.toBe(0);
    expectNothingTold(late.stdout + late.stderr);
    expect((await target.report()).peers.map(({name}) => name)).not.toContain('guest');
    expect(existsSync(join(guest.folder, 'peers.d', `${target.name}.yaml`))).toBe(false);
  });

  test(`I5 ${CROWD} sockets that say nothing or a byte now and then are closed; the peer does not notice`, async () => {
    const before = target.memory();
    const strangers = crowd(outside, {host: target.host.ipv4, port: PORT, count: CROWD, waitMs: 60_000});
    let rounds = 0;
    // The peer that is there is not cut, and one that comes meanwhile is let in.
    await source.stop();
    await source.start();
    const ended = strangers.then(() => true);
    while (!(await Promise.race([ended, Promise.resolve(false)]))) {
      writeFileSync(join(source.volume('payroll'), 'during'), String(rounds++));
      await untilInSync(source, 'payroll', 10_000);
    }
    const report = await strangers;
    expect(report).toMatchObject({closed: CROWD});
    expect(report.ms).toBeLessThan(CLOSED_MS_MAX);
    expect(rounds).toBeGreaterThan(0);
    expect(target.memory().peakBytes - before.peakBytes).toBeLessThan(CROWD_BYTES_MAX);
    expect((await source.report()).peers).toMatchObject([{isConnected: true}]);
  });

  test('J16 I4 a peer that is removed is cut within a second, and told nothing from then on', async () => {
    expect(connectionCount(target)).toBe(1);
    await target.must('peer', 'remove', source.name);
    await target.until('the removed peer is cut', () => connectionCount(target) === 0, REMOVED_MS_MAX);
    writeFileSync(join(source.volume('payroll'), 'later'), 'not for somebody who removed us');
    await source.until('the source knows', async () => (await source.link('payroll', target.name)).state !== 'in-sync');
    await source.until('the source is refused', async () => {
      const [peer] = (await source.report()).peers;
      return !peer!.isConnected && peer!.reason !== undefined;
    });
    expect(existsSync(join(target.volume('payroll'), 'later'))).toBe(false);
  });
});

needsHosts(describe)('agents that do not agree', {timeout: 60_000}, () => {
  test('I7 what a peer was not given is refused and logged, on either side; what both gave is in sync', async () => {
    const {a, b} = makeAgents({
      a: {
        config: (agent) => ({
          volumes: {
            shared: {at: agent.volume('shared'), send: ['b']},
            private: {at: agent.volume('private')},
            unwanted: {at: agent.volume('unwanted'), send: ['b']},
            both: {at: agent.volume('both'), send: ['b']},
          },
        }),
      },
      b: {
        config: (agent) => ({
          volumes: {
            shared: {at: agent.volume('shared'), receive: 'a'},
            private: {at: agent.volume('private'), receive: 'a'},
            both: {at: agent.volume('both'), send: ['a']},
          },
        }),
      },
    });
    onTestFinished(() => stopAll(a, b));
    await pair(a, b);
    for (const name of ['shared', 'private', 'unwanted', 'both']) writeFileSync(join(a.volume(name), 'file'), name);
    await startAll(a, b);
    await untilInSync(a, 'shared');
    const settled = async (agent: TestAgent, volume: string, peer: string): Promise<string> => {
      await agent.until(`${volume} says why not`, async () => (await agent.link(volume, peer)).reason !== undefined);
      return (await agent.link(volume, peer)).state;
    };
    expect(['waiting', 'halted']).toContain(await settled(b, 'private', 'a'));
    expect(['waiting', 'halted']).toContain(await settled(a, 'unwanted', 'b'));
    expect(['waiting', 'halted']).toContain(await settled(a, 'both', 'b'));
    expect(existsSync(join(b.volume('private'), 'file'))).toBe(false);
    expect(existsSync(join(b.volume('both'), 'file'))).toBe(false);
    expect(a.log()).toMatch(/private/);
    expect(b.log()).toMatch(/unwanted/);
    expect(b.log()).toMatch(/both/);
  });

  test('H19 a copy of an agent’s state started on a third host: both halt, and nothing is changed', async () => {
    const base = makeTmpDir('file');
    const [one, two, three] = makeNetwork(3).hosts as [Host, Host, Host];
    const hub = new TestAgent({name: 'hub', folder: join(base, 'hub'), host: one});
    const original = new TestAgent({name: 'twin', folder: join(base, 'twin'), host: two, listens: false});
    hub.configure({volumes: {data: {at: hub.volume('data'), receive: 'twin'}}});
    original.configure({volumes: {data: {at: original.volume('data'), send: ['hub']}}});
    await pair(original, hub);
    writeFileSync(join(original.volume('data'), 'file'), 'of the original');
    await startAll(hub, original);
    onTestFinished(() => stopAll(hub, original));
    await untilInSync(original, 'data');

    const clone = new TestAgent({name: 'twin', folder: join(base, 'clone'), host: three, listens: false});
    for (const name of ['state', 'peers.d'])
      cpSync(join(original.folder, name), join(clone.folder, name), {recursive: true});
    rmSync(join(clone.stateFolder, 'control.sock'), {force: true});
    clone.configure({volumes: {data: {at: clone.volume('data'), send: ['hub']}}});
    writeFileSync(join(clone.volume('data'), 'file'), 'of the clone');
    onTestFinished(() => stopAll(clone));
    await clone.start();
    for (const agent of [original, clone]) {
      await agent.until('is halted', async () => (await agent.report()).halt !== undefined);
      expect((await agent.report()).halt!.message).toMatch(/identity/);
    }
    writeFileSync(join(original.volume('data'), 'later'), 'must stay here');
    expect((await hub.link('data', 'twin')).state).not.toBe('in-sync');
    expect(existsSync(join(hub.volume('data'), 'later'))).toBe(false);
  });
});
