import {spawnSync} from 'node:child_process';
import {mkdirSync} from 'node:fs';
import type {IncomingMessage, ServerResponse} from 'node:http';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {openEngines, type EngineChange} from '../../../src/engine/engines.ts';
import type {Address} from '../../../src/model/address.ts';
import {makeTmpDir} from '../../tmp.ts';
import {until} from '../../until.ts';
import {standIn} from './stand-in.ts';

const PROJECT = join(import.meta.dirname, '../../..');
const EVENTS = '/events?filters=%7B%22type%22%3A%5B%22volume%22%2C%22container%22%5D%7D';
const VOLUME = {Name: 'data', Driver: 'local', Mountpoint: '/v/data/_data'};
const ADDRESS: Address = {kind: 'volume', engine: 'docker', volume: 'data'};

test('without an engine and without a container’s address nothing keeps a process: no connection, no timer', () => {
  const folder = makeTmpDir();
  mkdirSync(join(folder, 'data'));
  const script = `
    import {openEngines} from ${JSON.stringify(join(PROJECT, 'src/engine/engines.ts'))};
    import {systemClock} from ${JSON.stringify(join(PROJECT, 'src/base/clock.ts'))};
    const sockets = ['docker', 'podman'].map((engine) => ({engine, socket: '${folder}/none.sock', isConfigured: false}));
    const engines = openEngines(sockets, {clock: systemClock});
    engines.onChange((change) => console.log(change));
    console.log(await engines.protectedBelow('${folder}/data'));
    console.log((await engines.findRoot({kind: 'path', path: '${folder}/data'})).what);`;
  const node = join(PROJECT, 'node_modules/.bin/node');
  const run = spawnSync(node, ['--input-type=module', '-e', script], {encoding: 'utf8', timeout: 10_000});
  expect({status: run.status, stdout: run.stdout}).toEqual({status: 0, stdout: `[]\nthe folder ${folder}/data\n`});
});

test('an engine that an address needs is followed, with what happened since, after each end of its events', async () => {
  const {at, answers, asked} = await standIn({'/volumes/data': VOLUME});
  const streams: ServerResponse[] = [];
  const event = {Type: 'volume', Action: 'create', Actor: {ID: 'data'}, timeNano: 7_250_000_000};
  const stream = (_question: IncomingMessage, response: ServerResponse): void => {
    response.write(`${JSON.stringify(event)}\n`);
    streams.push(response);
  };
  answers[EVENTS] = stream;
  answers[`${EVENTS}&since=7.250`] = stream;
  const engines = openEngines([at], {clock: systemClock});
  onTestFinished(() => engines.close());
  const changes: EngineChange[] = [];
  const end = engines.onChange((change) => changes.push(change));
  expect(await engines.findRoot(ADDRESS)).toEqual({
    path: '/v/data/_data',
    beside: '/v/data',
    what: 'the docker volume data',
  });
  const told = {kind: 'volume', engine: 'docker', volume: 'data', action: 'create'};
  await until(() => changes.length === 1);
  streams[0]!.end();
  await until(() => changes.length === 4);
  expect(changes).toEqual([
    told,
    {kind: 'gone', engine: 'docker', reason: 'the engine ended the stream of its events'},
    {kind: 'back', engine: 'docker'},
    told,
  ]);
  end();
  engines.close();
  await until(() => streams[1]!.destroyed);
  await engines.findRoot(ADDRESS);
  expect(changes).toHaveLength(4);
  expect(asked.filter((path) => path.includes('/events'))).toHaveLength(2);
});

test('an engine that no address needs is not followed again by itself after its events have ended', async () => {
  const {at, answers, asked} = await standIn({'/containers/json?all=1': []});
  const streams: ServerResponse[] = [];
  answers[EVENTS] = (_question, response) => {
    response.flushHeaders();
    streams.push(response);
  };
  const engines = openEngines([at], {clock: systemClock});
  onTestFinished(() => engines.close());
  const changes: EngineChange[] = [];
  engines.onChange((change) => changes.push(change));
  await engines.protectedBelow('/v/data/_data');
  await until(() => streams.length === 1);
  streams[0]!.end();
  await until(() => changes.length === 1);
  const followed = (): number => asked.filter((path) => path.includes('/events')).length;
  await new Promise((resolve) => setImmediate(resolve));
  expect(followed()).toBe(1);
  await engines.protectedBelow('/v/data/_data');
  await until(() => followed() === 2);
});

test('two engines that have mounts below one root are both heard', async () => {
  const id = (digit: string): string => digit.repeat(64);
  const engineWith = async (digit: string, below: string) =>
    (
      await standIn({
        '/containers/json?all=1': [{Id: id(digit), State: 'running'}],
        [`/containers/${id(digit)}/json`]: {
          Id: id(digit),
          Name: '/c',
          Mounts: [{Type: 'bind', Source: '/srv/data', Destination: '/data'}],
          HostConfig: {Tmpfs: {[`/data/${below}`]: ''}},
        },
      })
    ).at;
  const podman = {...(await engineWith('a', 'x')), engine: 'podman' as const};
  const engines = openEngines([await engineWith('b', 'y'), podman], {clock: systemClock});
  onTestFinished(() => engines.close());
  expect(await engines.protectedBelow('/srv/data')).toEqual(['x', 'y']);
});
