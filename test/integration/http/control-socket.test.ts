/** The control socket: server and client over a real unix socket, with an agent that answers what a test says. */
import {once} from 'node:events';
import {request as httpRequest} from 'node:http';
import {connect} from 'node:net';
import {describe, expect, onTestFinished, test, vi} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import {haltOf, linkOf, NOW_MS, reportOf, runOutcomeOf, volumeOf} from '../../scripted-agent.ts';
import {clientOf, failure, serve, type Served} from './served.ts';

/** A raw request; `body` is sent as it is. */
function ask(
  served: Served,
  line: string,
  body?: string | Buffer,
): Promise<{status: number; headers: NodeJS.Dict<string | string[]>; text: string}> {
  const [method = '', path = ''] = line.split(' ');
  return new Promise((resolve, reject) => {
    const request = httpRequest({socketPath: served.socketPath, method, path, agent: false});
    request.once('error', reject);
    request.once('response', (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.once('end', () => resolve({status: response.statusCode ?? 0, headers: response.headers, text}));
    });
    request.end(body);
  });
}

describe('routes', () => {
  test('every method reaches the agent with its fields, and its answer comes back', async () => {
    const {agent, folder} = await serve();
    const client = await clientOf(folder);
    agent.halted = [{peer: undefined, halt: haltOf()}];
    const report = JSON.parse(JSON.stringify(reportOf())) as object;
    expect(client.version).toBe('0.1.0');
    expect(await client.report()).toEqual(report);
    expect((await client.report('pgdata')).volumes).toHaveLength(1);
    expect(await client.halts('pgdata')).toEqual([{halt: haltOf()}]);
    expect(await client.flush({volume: undefined, timeoutMs: 500, isRescan: true, isQuiesced: false})).toMatchObject({
      exitCode: 0,
    });
    expect(await client.once({volumes: ['a', 'b'], timeoutMs: 0})).toMatchObject({links: [{peer: 'db-2'}]});
    await client.confirm({volume: 'pgdata', count: 1_234});
    await client.pause('pgdata');
    await client.resume('pgdata');
    await client.rescan('pgdata');
    await client.forget('pgdata');
    expect(await client.invite({addresses: ['h:1']})).toMatchObject({code: 'tl1-abc', addresses: ['h:1']});
    expect(await client.reload()).toEqual(['volume pgdata: settle is 1 s now']);
    expect(await client.rotate({isForced: true})).toEqual(['a new key was made']);
    expect(agent.asked).toEqual([
      ['flush', {volume: undefined, timeoutMs: 500, isRescan: true, isQuiesced: false}],
      ['once', {volumes: ['a', 'b'], timeoutMs: 0}],
      ['confirm', {volume: 'pgdata', count: 1_234}],
      ['pause', 'pgdata'],
      ['resume', 'pgdata'],
      ['rescan', 'pgdata'],
      ['forget', 'pgdata'],
      ['invite', {addresses: ['h:1']}],
      ['reload'],
      ['rotate', {isForced: true}],
    ]);
  });

  test.each([
    ['that are not UTF-8', '\xff\xfe/'],
    ['that are escaped in JSON and in a URL', '\x01\x02/'],
  ])('a page of pending paths and its cursor with 65,535 bytes %s survive the way', async (_, piece) => {
    const {agent, folder} = await serve();
    const client = await clientOf(folder);
    const path = piece.repeat(21_845);
    const problem = {path, code: 'unreadable', message: 'EIO', side: 'source', firstSeenMs: 1, lastSeenMs: 2} as const;
    const next = JSON.stringify([0, 'source', path]);
    agent.page = {...agent.page, problems: [{...problem, nextTryMs: 3, peer: 'db-2'}], problemCount: 1, next};
    const page = await client.pending({volume: 'pgdata', after: next, countMax: 7});
    expect(page.problems[0]!.path).toBe(path);
    expect(agent.asked).toEqual([['pending', {volume: 'pgdata', after: next, countMax: 7}]]);
  });

  test('errors of the agent are the same errors here, without a stack', async () => {
    const served = await serve();
    const client = await clientOf(served.folder);
    served.agent.fault = new TowlineError('REFUSED', 'it is 7 now', {reason: 'it is 7 now'});
    await expect(client.confirm({volume: 'pgdata', count: 1})).rejects.toMatchObject({
      name: 'TowlineError',
      code: 'REFUSED',
      message: 'it is 7 now',
      details: {reason: 'it is 7 now'},
    });
    await expect(client.report('nope')).rejects.toThrow(failure('USAGE'));
    served.agent.fault = new TypeError('x is not a function');
    await expect(client.reload()).rejects.toThrow(failure('BUG'));
    const raw = await ask(served, 'POST /v1/reload');
    expect(raw.status).toBe(500);
    expect(raw.text).toContain('x is not a function');
    expect(raw.text).not.toMatch(/\bat .*:\d+/);
  });
});

describe('bad requests', () => {
  test.each([
    ['GET /v1/nothing', undefined, 404, 'USAGE'],
    ['GET /', undefined, 404, 'USAGE'],
    ['GET /v1/pause?volume=pgdata', undefined, 405, 'USAGE'],
    ['GET /v1/flush', undefined, 405, 'USAGE'],
    ['POST /v1/report', '{}', 405, 'USAGE'],
    ['DELETE /v1/report', undefined, 405, 'USAGE'],
    ['GET /v1/report?volumes=a', undefined, 400, 'USAGE'],
    ['GET /v1/pending?volume=a&countMax=0', undefined, 400, 'USAGE'],
    ['GET /v1/pending?volume=a&countMax=1e9', undefined, 400, 'USAGE'],
    ['POST /v1/pause', '{"volume":', 400, 'USAGE'],
    ['POST /v1/pause', Buffer.from([0x22, 0xff, 0x22]), 400, 'USAGE'],
    ['POST /v1/pause', '["pgdata"]', 400, 'USAGE'],
    ['POST /v1/pause', 'null', 400, 'USAGE'],
    ['POST /v1/pause', '', 400, 'USAGE'],
    ['POST /v1/pause', `${'['.repeat(30_000)}${']'.repeat(30_000)}`, 400, 'USAGE'],
    ['POST /v1/pause', `{"volume": ${'['.repeat(30_000)}${']'.repeat(30_000)}}`, 400, 'USAGE'],
    ['POST /v1/pause', '{"volume": ""}', 400, 'USAGE'],
    ['POST /v1/pause', `{"volume": "${'a'.repeat(4_097)}"}`, 400, 'USAGE'],
    ['POST /v1/pause', '{"volume": "a", "__proto__": {"volume": "b"}}', 400, 'USAGE'],
    ['POST /v1/pause', '{"volume": "a", "force": true}', 400, 'USAGE'],
    ['POST /v1/confirm', '{"volume": "a", "count": -1}', 400, 'USAGE'],
    ['POST /v1/confirm', '{"volume": "a", "count": 1.5}', 400, 'USAGE'],
    ['POST /v1/flush', '{"timeoutMs": 1, "isRescan": "yes"}', 400, 'USAGE'],
    ['POST /v1/once', '{"timeoutMs": 1, "volumes": "a"}', 400, 'USAGE'],
    ['POST /v1/once', '{"timeoutMs": 1, "volumes": [1]}', 400, 'USAGE'],
    ['POST /v1/sync', '{"address": "/a", "peer": "b"}', 400, 'USAGE'],
    ['POST /v1/pause', `{"volume": "${'a'.repeat(65_536)}"}`, 413, 'USAGE'],
  ] as const)('%s with %s is answered with %d and reaches nothing', async (line, body, status, code) => {
    const served = await serve();
    const answer = await ask(served, line, body);
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toMatchObject({code, message: expect.any(String), details: {}});
    if (status === 405) expect(answer.headers['allow']).toMatch(/^(GET|POST)$/);
    expect(served.agent.asked).toEqual([]);
  });

  test('a body of 10 MiB without a length is cut at 64 KiB', async () => {
    const served = await serve();
    const request = httpRequest({socketPath: served.socketPath, method: 'POST', path: '/v1/pause', agent: false});
    request.on('error', () => {}); // the server ends it in the middle
    const answered = once(request, 'response') as Promise<[{statusCode: number}]>;
    const chunk = Buffer.alloc(65_536, 0x20);
    for (let count = 0; count < 160; count++) request.write(chunk);
    const [response] = await answered;
    expect(response.statusCode).toBe(413);
    request.destroy();
  });

  test('a request that trickles is cut at its deadline', async () => {
    const served = await serve({requestMsMax: 150});
    // A write after the server has closed ends the client's socket with the answer unread: then it asks again.
    let text = '';
    for (let tries = 0; text === '' && tries < 20; tries++) text = await trickle(served.socketPath);
    expect(text).toMatch(/^HTTP\/1.1 408 /);
    expect(served.agent.asked).toEqual([]);
  });
});

/** What the server says to a request that sends a byte each 20 ms and would go on for ever. */
async function trickle(socketPath: string): Promise<string> {
  const socket = connect(socketPath);
  socket.on('error', () => {});
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  socket.write('POST /v1/pause HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n{');
  const timer = setInterval(() => socket.write(' '), 20);
  await new Promise((resolve) => socket.once('data', resolve).once('close', resolve));
  clearInterval(timer);
  socket.destroy();
  return text;
}

describe('watching', () => {
  test('tells the report at once and again when it is another one, at most ten times a second', async () => {
    const {agent, folder} = await serve();
    const client = await clientOf(folder);
    const end = new AbortController();
    const counts: (number | undefined)[] = [];
    const startMs = performance.now();
    let timer: NodeJS.Timeout | undefined;
    onTestFinished(() => clearInterval(timer));
    let index = 0;
    const change = (): void => agent.change(reportOf({volumes: [volumeOf({entryCount: ++index})]}));
    for await (const report of client.watch('pgdata', end.signal)) {
      counts.push(report.volumes[0]!.entryCount);
      timer ??= setInterval(change, 5);
      if (counts.length === 6) break;
    }
    expect(performance.now() - startMs).toBeGreaterThan(490);
    expect(counts[0]).toBe(1_234);
    expect(counts.slice(1).every((count, at) => count! > (at === 0 ? 0 : counts[at]!))).toBe(true);
    await vi.waitFor(() => expect(agent.watcherCount).toBe(0));
  });

  test('a report that differs in nothing but its time is not told again', async () => {
    const {agent, folder} = await serve();
    const client = await clientOf(folder);
    const reports = client.watch(undefined, new AbortController().signal)[Symbol.asyncIterator]();
    await reports.next();
    agent.change(reportOf({nowMs: NOW_MS + 1_000}));
    await vi.waitFor(() => expect(agent.reportCount).toBe(3)); // version, first, this one
    agent.change(reportOf({name: 'web-2'}));
    expect((await reports.next()).value).toMatchObject({name: 'web-2'});
    await reports.return?.();
  });

  test('a reader that does not read costs a handful of reports, and ends with its socket', async () => {
    const served = await serve();
    const {agent, socketPath} = served;
    const links = Array.from({length: 5_000}, (_, index) => linkOf({peer: `peer-${index}`}));
    agent.reported = reportOf({volumes: [volumeOf({links})]});
    const socket = connect(socketPath);
    socket.pause();
    socket.write('GET /v1/watch HTTP/1.1\r\nhost: a\r\n\r\n');
    await vi.waitFor(() => expect(agent.watcherCount).toBe(1));
    for (let count = 0; count < 4; count++) {
      agent.change({...agent.reported, name: `web-${count}`});
      await new Promise((resolve) => setTimeout(resolve, 110)); // the stream's own pace, not a wait for something
    }
    expect(agent.reportCount).toBeLessThan(4);
    socket.destroy();
    await vi.waitFor(() => expect(agent.watcherCount).toBe(0));
  });

  test('an unknown volume is an error, one that goes away later too, and the end of the agent is PEER_LOST', async () => {
    const {agent, folder, close} = await serve();
    const client = await clientOf(folder);
    const read = async (volume: string | undefined): Promise<void> => {
      for await (const _ of client.watch(volume, new AbortController().signal)) agent.change(reportOf({volumes: []}));
    };
    await expect(read('nope')).rejects.toThrow(failure('USAGE'));
    await expect(read('pgdata')).rejects.toThrow(failure('USAGE'));
    const reading = read(undefined);
    await vi.waitFor(() => expect(agent.watcherCount).toBe(1));
    await Promise.all([expect(reading).rejects.toThrow(failure('PEER_LOST')), close()]);
  });
});

describe('sync', () => {
  const REQUEST = {address: 'docker:a', peer: 'db-2', peerVolume: 'pgdata', isOnce: true, special: 'keep', ids: []};

  test('events arrive in order and the outcome ends it', async () => {
    const {agent, folder} = await serve();
    const client = await clientOf(folder);
    agent.onSync = async (_, onEvent) => {
      for (let count = 0; count < 100; count++) onEvent({kind: 'notice', count});
      return runOutcomeOf({exitCode: 1});
    };
    const events: object[] = [];
    const outcome = await client.sync(REQUEST, (event) => events.push(event), new AbortController().signal);
    expect(outcome.exitCode).toBe(1);
    expect(events).toEqual(Array.from({length: 100}, (_, count) => ({kind: 'notice', count})));
    expect(agent.asked).toEqual([['sync', REQUEST]]);
  });

  test('a client that goes away ends it at the agent', async () => {
    const {agent, folder} = await serve();
    const client = await clientOf(folder);
    const ended: unknown[] = [];
    agent.onSync = (_, onEvent, signal) =>
      new Promise((_resolve, reject) => {
        onEvent({kind: 'notice'});
        signal.addEventListener('abort', () => {
          ended.push(signal.reason);
          reject(signal.reason as Error);
        });
      });
    const end = new AbortController();
    const cancelled = new TowlineError('CANCELLED', 'ended by SIGINT', {signal: 'SIGINT'});
    await expect(client.sync(REQUEST, () => end.abort(cancelled), end.signal)).rejects.toBe(cancelled);
    await vi.waitFor(() => expect(ended).toMatchObject([{code: 'CANCELLED'}]));
  });

  test('an error after events, and the end of the agent, are errors with their codes', async () => {
    const {agent, folder, close} = await serve();
    const client = await clientOf(folder);
    agent.onSync = async (_, onEvent) => {
      onEvent({kind: 'notice'});
      throw new TowlineError('HALTED', 'halted', {kind: 'root-emptied', volume: 'a', count: 1, limit: 0});
    };
    const signal = new AbortController().signal;
    await expect(client.sync(REQUEST, () => {}, signal)).rejects.toThrow(failure('HALTED'));
    agent.onSync = (_, onEvent, ended) =>
      new Promise((_resolve, reject) => {
        onEvent({kind: 'notice'});
        ended.addEventListener('abort', () => reject(ended.reason as Error));
      });
    await expect(client.sync(REQUEST, () => void close(), signal)).rejects.toThrow(failure('CANCELLED'));
  });

  test('a reader that stops reading costs 4 MiB at most, and is told how much it missed', async () => {
    const served = await serve();
    const event = {kind: 'applied', path: 'x'.repeat(10_000)};
    let tellMore = (): void => {};
    served.agent.onSync = async (_, onEvent) => {
      for (let count = 0; count < 2_000; count++) onEvent(event);
      await new Promise<void>((resolve) => (tellMore = resolve));
      return runOutcomeOf();
    };
    const request = httpRequest({socketPath: served.socketPath, method: 'POST', path: '/v1/sync', agent: false});
    request.end(JSON.stringify(REQUEST));
    const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream];
    tellMore();
    let text = '';
    for await (const chunk of response) text += chunk.toString();
    const lines = text.trimEnd().split('\n');
    expect(text.length).toBeLessThan(8 << 20);
    expect(lines.at(-2)).toMatch(/"level":"warn","message":"1\d\d\d events were left out/);
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({outcome: {exitCode: 0}});
  });
});
