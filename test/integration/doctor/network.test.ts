/** What `doctor` finds of ports, peers and engines, on real sockets. */
import {createServer as createHttpServer} from 'node:http';
import {createServer, type AddressInfo, type Server} from 'node:net';
import {join} from 'node:path';
import {request} from 'node:http';
import {expect, onTestFinished, test} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import type {AgentConfig} from '../../../src/config/agent-config.ts';
import type {Finding} from '../../../src/control/doctor/finding.ts';
import {createIdentity, type Identity} from '../../../src/transport/identity.ts';
import {listen} from '../../../src/transport/listen.ts';
import {makeTmpDir} from '../../tmp.ts';
import {configOf, diagnose, findingsOf, own, peer, volumeOf} from './agent.ts';

const stranger = await createIdentity();

/** A real listener of an agent, and how many channels it gave out. */
async function agentAt(identity: Identity, known: Identity): Promise<{port: number; channelCount(): number}> {
  let channelCount = 0;
  const listener = await listen(
    {identity, host: '127.0.0.1', port: 0, isKnownPeer: (id) => id === known.id, onChannel: () => channelCount++},
    {frameBytesMax: 1024},
  );
  onTestFinished(() => listener.close());
  return {port: listener.address.port, channelCount: () => channelCount};
}

async function portOf(server: Server): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

function peersAt(port: number, over: Partial<AgentConfig> = {}): AgentConfig {
  const peers = [{name: 'db-2', id: peer.id, address: {host: '127.0.0.1', port}, file: ''}];
  return configOf({stateFolder: makeTmpDir(), peers, ...over});
}

test('a peer that knows us is ok, and no session was opened there', async () => {
  const at = await agentAt(peer, own);
  expect(await findingsOf('peer db-2', peersAt(at.port))).toEqual([
    {
      area: 'peer db-2',
      level: 'ok',
      what: `this agent reaches it at 127.0.0.1:${at.port}, and is known there`,
      fix: undefined,
    },
  ]);
  expect(at.channelCount()).toBe(0);
});

test('a clock that is an hour off is told', async () => {
  const at = await agentAt(peer, own);
  const clock = {nowMs: () => Date.now() + 3_600_000, monotonicMs: () => 0, sleep: () => Promise.resolve()};
  const [, clockFinding] = await findingsOf('peer db-2', peersAt(at.port), {clock});
  expect(clockFinding).toMatchObject({level: 'warn'});
  expect(clockFinding!.what).toMatch(/^its clock is (3599|3600|3601) s behind this one/);
});

test.each([
  {
    title: 'shows another key than the pinned one',
    open: async () => (await agentAt(stranger, own)).port,
    what: / is agent \w{12}, not \w{12}: check the peer's address and ID$/,
    fix: /towline invite/,
  },
  {
    title: 'does not know us',
    open: async () => (await agentAt(peer, stranger)).port,
    what: /does not know this agent \(\w{12}\): pair the two agents$/,
    fix: /towline invite/,
  },
  {
    title: 'is something else',
    open: () => portOf(createServer((socket) => socket.end('220 mail ready\r\n'))),
    what: /does not speak TLS 1.3 as an agent does$/,
    fix: /correct the address$/,
  },
  {
    title: 'is not there',
    open: async () => {
      const server = createServer();
      const port = await portOf(server);
      server.close();
      return port;
    },
    what: /cannot be reached at 127\.0\.0\.1:\d+: nothing listens there$/,
    fix: /start the agent there, and open TCP port \d+ from here to 127\.0\.0\.1/,
  },
])('a peer that $title is bad, with its fix', async ({open, what, fix}) => {
  const [found, ...more] = await findingsOf('peer db-2', peersAt(await open()));
  expect(more).toEqual([]);
  expect(found).toMatchObject({level: 'bad'});
  expect(found!.what).toMatch(what);
  expect(found!.fix).toMatch(fix);
});

test('peers that say nothing cost 5 s together', async () => {
  const port = await portOf(createServer(() => {}));
  const one = peersAt(port).peers[0]!;
  const config = peersAt(port, {peers: ['db-2', 'db-3', 'db-4'].map((name) => ({...one, name}))});
  const startMs = performance.now();
  const [found] = await findingsOf('peer db-3', config);
  expect(performance.now() - startMs).toBeLessThan(12_000);
  expect(found).toMatchObject({level: 'bad', what: expect.stringContaining('did not finish the handshake') as unknown});
});

test('a peer without an address is the one that dials; without our listener nobody does', async () => {
  const peers = [{name: 'db-2', id: peer.id, address: undefined, file: ''}];
  const stateFolder = makeTmpDir();
  const silent = await findingsOf('peer db-2', configOf({stateFolder, peers}));
  expect(silent).toMatchObject([{level: 'bad', what: expect.stringMatching(/^neither side dials/) as unknown}]);
  const config = configOf({stateFolder, peers, listen: {host: '127.0.0.1', port: 0}});
  expect(await findingsOf('peer db-2', config)).toMatchObject([{level: 'ok'}]);
});

test('our port is free, ours, taken by another program, or not of this host', async () => {
  const listener = async (port: number, host = '127.0.0.1'): Promise<Finding> =>
    (await findingsOf('listener', configOf({stateFolder: makeTmpDir(), listen: {host, port}})))[0]!;
  const free = createServer();
  const freePort = await portOf(free);
  await new Promise((resolve) => {
    free.close(resolve);
  });
  expect(await listener(freePort)).toMatchObject({level: 'note', fix: 'systemctl start towline'});
  expect(await listener((await agentAt(own, peer)).port)).toMatchObject({level: 'ok'});
  for (const port of [(await agentAt(stranger, peer)).port, await portOf(createServer((socket) => socket.end('x')))]) {
    expect(await listener(port)).toMatchObject({level: 'bad', what: `127.0.0.1:${port} is held by another program`});
  }
  expect(await listener(7420, '192.0.2.1')).toMatchObject({level: 'bad'});
});

test('without an identity peers are not tried, and what to do is said', async () => {
  const at = await agentAt(peer, own);
  const none = await diagnose(peersAt(at.port), {loadIdentity: () => undefined});
  expect(none.find(({area}) => area === 'peer db-2')).toMatchObject({level: 'note'});
  expect(none.find(({area}) => area === 'identity')).toMatchObject({level: 'bad', fix: 'towline init'});
  const loadIdentity = (): never => {
    throw new TowlineError('STATE_DAMAGED', 'identity.json is damaged', {path: '', what: ''});
  };
  const damaged = await findingsOf('identity', peersAt(at.port), {loadIdentity});
  expect(damaged).toMatchObject([{level: 'bad', what: 'identity.json is damaged'}]);
});

test('a configuration that is wrong is a finding, and the host is looked at all the same', async () => {
  const parts = {
    loadConfig: (): never => {
      throw new TowlineError('USAGE', 'towline.yaml:3: volumes: expected a map', {hint: ''});
    },
  };
  const config = configOf({stateFolder: '/'});
  expect(await findingsOf('configuration', config, parts)).toMatchObject([
    {
      level: 'bad',
      what: 'towline.yaml:3: volumes: expected a map',
      fix: 'correct the file, then: towline config check',
    },
  ]);
  expect(await findingsOf('kernel', config, parts)).toMatchObject([{level: 'ok'}]);
});

test('an engine answers with its version; one that is needed and missing is bad, another is left out', async () => {
  const socket = join(makeTmpDir(), 'docker.sock');
  const server = createHttpServer((asked, response) => {
    response.end(asked.url === '/version' ? JSON.stringify({Version: '20.10.24', ApiVersion: '1.41'}) : '');
  });
  await new Promise<void>((resolve) => {
    server.listen(socket, resolve);
  });
  onTestFinished(() => void server.close());
  const askEngine = (engine: {socket: string}, path: string): Promise<{status: number; body: Buffer}> =>
    new Promise((resolve) => {
      request({socketPath: engine.socket, path, agent: false}, (response) => {
        response.on('data', (body: Buffer) => resolve({status: response.statusCode!, body}));
      }).end();
    });
  const docker = {engine: 'docker', socket, isConfigured: false} as const;
  const config = configOf({stateFolder: makeTmpDir(), engines: [docker]});
  expect(await findingsOf('engine docker', config, {askEngine})).toMatchObject([
    {level: 'ok', what: `version 20.10.24 answers at ${socket}, API 1.41`},
  ]);
  expect(await findingsOf('engine docker', config)).toEqual([]);
  const volume = {
    ...volumeOf('pgdata', '/', 'send'),
    at: {kind: 'volume', engine: 'docker', volume: 'pgdata'},
  } as const;
  const needing = {...config, volumes: [volume]};
  expect(await findingsOf('engine docker', needing)).toMatchObject([
    {level: 'bad', fix: expect.stringMatching(/^systemctl start docker/) as unknown},
  ]);
  expect(await findingsOf('volume pgdata', needing)).toMatchObject([
    {level: 'bad', fix: 'docker volume ls; docker volume create pgdata'},
  ]);
});
