import {rmSync} from 'node:fs';
import {createServer} from 'node:net';
import {spawnSync} from 'node:child_process';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import type {EngineEvent} from '../../../src/engine/answers.ts';
import {EngineClient, engineNameFault} from '../../../src/engine/engine-client.ts';
import {makeTmpDir} from '../../tmp.ts';
import {raw, standIn} from './stand-in.ts';

const VOLUME = {Name: 'data', Driver: 'local', Mountpoint: '/v/data/_data', Options: null};

async function faultOf(call: Promise<unknown>): Promise<{errno: string; message: string}> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof TowlineError) || error.code !== 'SYSTEM')
    throw new Error(`not a SYSTEM error: ${String(error)}`);
  return {errno: (error as TowlineError<'SYSTEM'>).details.errno, message: error.message};
}

describe('an engine that cannot be asked', () => {
  test('without a socket: ENOENT, and the path in the sentence', async () => {
    const socket = join(makeTmpDir(), 'none.sock');
    const client = new EngineClient({engine: 'podman', socket, isConfigured: false});
    const fault = await faultOf(client.volume('data'));
    expect(fault.errno).toBe('ENOENT');
    expect(fault.message).toBe(
      `podman cannot be asked: there is no socket ${socket}; the engine is not installed or not running`,
    );
  });

  test('a socket that its engine has left behind: ECONNREFUSED', async () => {
    const socket = join(makeTmpDir(), 'stale.sock');
    // A process that is killed leaves its socket.
    const script = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    const client = new EngineClient({engine: 'docker', socket, isConfigured: true});
    expect((await faultOf(client.volume('data'))).errno).toBe('ECONNREFUSED');
  });

  test('one that takes a connection and says nothing is given up at the deadline', async () => {
    const socket = join(makeTmpDir(), 'silent.sock');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const client = new EngineClient({engine: 'docker', socket, isConfigured: true}, {deadlineMs: 50});
    const fault = await faultOf(client.volume('data'));
    expect(fault.errno).toBe('ETIMEDOUT');
    expect(fault.message).toContain('within 50 ms');
    server.close();
    rmSync(socket, {force: true});
  });

  test('an answer that trickles does not outlast the deadline', async () => {
    const {at} = await standIn({
      '/volumes/data': (_question, response) => {
        const timer = setInterval(() => response.write(' '), 5);
        response.on('close', () => clearInterval(timer));
      },
    });
    const client = new EngineClient(at, {deadlineMs: 80});
    expect((await faultOf(client.volume('data'))).errno).toBe('ETIMEDOUT');
  });

  test('an answer above 16 MiB is not kept', async () => {
    const {at} = await standIn({
      '/volumes/data': (_question, response) => {
        const part = Buffer.alloc(1 << 20, 0x20);
        const write = (): void => {
          while (!response.destroyed && response.write(part));
          response.once('drain', write);
        };
        write();
      },
    });
    expect((await faultOf(new EngineClient(at).volume('data'))).errno).toBe('EMSGSIZE');
  });

  test('what is no JSON, or no engine, says so', async () => {
    const {at, answers} = await standIn({'/volumes/data': raw(200, '<html>')});
    const client = new EngineClient(at);
    expect(await faultOf(client.volume('data'))).toEqual({
      errno: 'EPROTO',
      message: expect.stringContaining('something else than JSON') as string,
    });
    // A list that is not there must not pass for "no containers".
    expect((await faultOf(client.containers())).errno).toBe('EPROTO');
    answers['/containers/json?all=1'] = [{Id: 'x', State: ''}];
    expect((await faultOf(client.containers())).errno).toBe('EPROTO');
    answers['/version'] = {};
    expect((await faultOf(new EngineClient(at).volume('data'))).message).toContain('does not tell its API version');
  });

  test('500: the words of the engine, one line, nothing that moves a cursor', async () => {
    const {at} = await standIn({
      '/volumes/data': raw(500, JSON.stringify({message: `no\n\u001b[2J${'x'.repeat(9_999)}`})),
    });
    const fault = await faultOf(new EngineClient(at).volume('data'));
    expect(fault.errno).toBe('EIO');
    expect(fault.message).toContain('answered 500 to GET /v1.41/volumes/data: no\\n\\x1b[2Jxxx');
    expect(fault.message.length).toBeLessThan(500);
  });
});

describe('versions', () => {
  test('an engine that is too old is named with what is needed', async () => {
    const {at} = await standIn({'/version': {ApiVersion: '1.40', MinAPIVersion: '1.12'}});
    const fault = await faultOf(new EngineClient(at).volume('data'));
    expect(fault.message).toContain('speaks API 1.40, too old: Towline needs 1.41; update it');
  });

  test('an engine that has dropped 1.41 is asked in the oldest that it speaks', async () => {
    const {at, asked} = await standIn({
      '/version': {ApiVersion: '1.52', MinAPIVersion: '1.44'},
      '/volumes/data': VOLUME,
    });
    expect(await new EngineClient(at).volume('data')).toMatchObject({mountpoint: '/v/data/_data', options: {}});
    expect(asked).toEqual(['/version', '/v1.44/volumes/data']);
  });

  test('one that was exchanged for a newer one while nobody asked is asked anew', async () => {
    const {at, answers} = await standIn({'/volumes/data': VOLUME});
    const client = new EngineClient(at);
    await client.volume('data');
    answers['/version'] = {ApiVersion: '1.52', MinAPIVersion: '1.44'};
    answers['/volumes/data'] = (question, response) =>
      question.url?.startsWith('/v1.44/') === true
        ? response.end(JSON.stringify(VOLUME))
        : response.writeHead(400).end('{"message":"client version 1.41 is too old"}');
    expect((await faultOf(client.volume('data'))).message).toContain('client version 1.41 is too old');
    expect((await client.volume('data'))?.name).toBe('data');
  });
});

describe('names', () => {
  test.each(['', '.', '..', '../x', 'a/b', 'a b', 'a?b', 'a%2fb', 'ä', '-x', 'x'.repeat(256)])('%j is none', (name) => {
    expect(engineNameFault(name)).toBeDefined();
  });

  test.each(['data', 'a', 'A-1_2.3', '0123456789abcdef'])('%s is one', (name) => {
    expect(engineNameFault(name)).toBeUndefined();
  });

  test('a container that only begins with the same digits is another', async () => {
    const Id = `db${'0'.repeat(62)}`;
    const other = {Id, Name: '/other', Mounts: []};
    const {at} = await standIn({
      '/containers/db/json': other,
      [`/containers/${Id.slice(0, 12)}/json`]: other,
      '/containers/other/json': other,
      '/volumes/da': VOLUME,
    });
    const client = new EngineClient(at);
    expect(await client.container('db')).toBeUndefined();
    expect((await client.container(Id.slice(0, 12)))?.name).toBe('other');
    expect((await client.container('other'))?.id).toBe(Id);
    expect(await client.volume('da')).toBeUndefined();
    expect(await client.volume('gone')).toBeUndefined();
  });

  test('what a container has mounted is read from all the places that tell it', async () => {
    const {at} = await standIn({
      '/containers/web/json': {
        Id: 'f'.repeat(64),
        Name: '/web',
        ResolvConfPath: '/run/resolv.conf',
        HostsPath: '',
        Mounts: [
          {Type: 'volume', Name: 'data', Source: '/v/data/_data', Destination: '/data/'},
          {Type: 'volume', Name: 'part', Source: '/v/part/_data', Destination: '/part'},
          {Type: 'bind', Source: '/srv/x/../y', Destination: '/data/./y'},
          {Type: 'bind', Source: '/srv', Destination: 'not/absolute'},
          {Type: 7, Source: {}, Destination: `/${'x'.repeat(4_096)}`},
          null,
        ],
        HostConfig: {
          Tmpfs: {'/data/cache': 'size=1m', '/data': ''},
          Mounts: [{Target: '/part', VolumeOptions: {Subpath: 'in/it'}}],
        },
      },
    });
    const mount = {volume: '', source: '', subpath: ''};
    expect((await new EngineClient(at).container('web'))?.mounts).toEqual([
      {...mount, type: 'volume', volume: 'data', source: '/v/data/_data', destination: '/data'},
      {...mount, type: 'volume', volume: 'part', source: '/v/part/_data', subpath: 'in/it', destination: '/part'},
      {...mount, type: 'bind', source: '/srv/y', destination: '/data/y'},
      {...mount, type: 'tmpfs', destination: '/data/cache'},
      {...mount, type: 'engine', destination: '/etc/resolv.conf'},
    ]);
  });
});

describe('events', () => {
  const FILTERS = encodeURIComponent('{"type":["volume","container"]}');
  const follow = async (lines: string[], sinceMs?: number) => {
    const since = sinceMs === undefined ? '' : '&since=1.500';
    const {at} = await standIn({
      [`/events?filters=${FILTERS}${since}`]: (_question, response) => {
        for (const line of lines) response.write(line);
        response.end();
      },
    });
    const events: EngineEvent[] = [];
    const signal = new AbortController().signal;
    await new EngineClient(at).events({
      sinceMs,
      onOpen: () => undefined,
      onEvent: (event) => events.push(event),
      signal,
    });
    return events;
  };

  test('are read across the borders of what arrives, others left out', async () => {
    const event = {
      Type: 'container',
      Action: 'start',
      Actor: {ID: 'f00', Attributes: {name: 'web'}},
      timeNano: 1_795_254_683_423_000_000,
    };
    const check = {...event, Action: 'exec_create: sh'};
    const text = `${JSON.stringify(event)}\n${JSON.stringify(check)}\n{"Type":"image"}\nnull\n`;
    expect(await follow([text.slice(0, 20), text.slice(20, 60), text.slice(60)])).toEqual([
      {kind: 'container', action: 'start', name: 'web', id: 'f00', atMs: 1_795_254_683_423},
    ]);
  });

  test('since a time', async () => {
    const volume = {Type: 'volume', Action: 'destroy', Actor: {ID: 'data'}};
    expect(await follow([`${JSON.stringify(volume)}\n`], 1_500)).toEqual([
      {kind: 'volume', action: 'destroy', name: 'data', id: 'data', atMs: 0},
    ]);
  });

  test('a line without end is not kept', async () => {
    expect((await faultOf(follow(['x'.repeat(300_000)]))).errno).toBe('EMSGSIZE');
    expect((await faultOf(follow([`${'x'.repeat(300_000)}\n`]))).errno).toBe('EMSGSIZE');
  });

  test('end at once when they are not wanted any more', async () => {
    const {at, asked} = await standIn({
      [`/events?filters=${FILTERS}`]: (_question, response) => response.flushHeaders(),
    });
    const wanted = new AbortController();
    const options = {sinceMs: undefined, onEvent: () => undefined, signal: wanted.signal};
    await new EngineClient(at).events({...options, onOpen: () => wanted.abort()});
    await new EngineClient(at).events({...options, onOpen: () => expect.unreachable()});
    expect(asked.filter((path) => path.includes('events'))).toHaveLength(1);
  });
});
