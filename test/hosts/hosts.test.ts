/** The hosts, lines and proxies that tests of agents use, each shown by what goes through. */
import {spawnSync} from 'node:child_process';
import {once} from 'node:events';
import {existsSync} from 'node:fs';
import {connect, createServer, type Socket} from 'node:net';
import {join} from 'node:path';
import {buffer} from 'node:stream/consumers';
import {describe, expect, onTestFinished, test} from 'vitest';
import {isRunning} from './clean-up.ts';
import {needsHosts} from './lab.ts';
import {type Host, makeNetwork, removeRunNetworks} from './namespaces.ts';
import {startProxy} from './proxy.ts';

const PORT = 7420;
const NODE = join(import.meta.dirname, '../../node_modules/.bin/node');
const ECHO = `require('net').createServer((socket) => socket.on('error', () => {}).pipe(socket))
  .listen(${PORT}, '::', () => console.log('up'))`;
/** Says hello over one connection each time that it is asked by a line, and prints how that went. */
const ASK = `
const socket = require('net').connect(${PORT}, process.argv[1]);
let failed;
let heard = () => {};
socket.on('data', () => heard('answered')).on('error', ({code}) => heard(failed = code));
require('readline').createInterface({input: process.stdin}).on('line', () => {
  if (failed) return console.log(failed);
  heard = (what) => { heard = () => {}; clearTimeout(timer); console.log(what); };
  const timer = setTimeout(() => heard('silence'), 400);
  socket.write('hello');
});`;

needsHosts(describe)('hosts in namespaces', () => {
  /** Two hosts, of which the second answers what it is told. */
  async function twoHosts(): Promise<{here: Host; there: Host}> {
    const network = makeNetwork(2);
    onTestFinished(() => network.close());
    const [here, there] = network.hosts;
    const echo = there!.spawn([NODE, '-e', ECHO]);
    await once(echo.stdout!, 'data');
    return {here: here!, there: there!};
  }

  /** Over a connection that stays. @returns asks once and says what came */
  function asker(here: Host, address: string): () => Promise<string> {
    const child = here.spawn([NODE, '-e', ASK, address]);
    return async () => {
      child.stdin!.write('\n');
      const [said] = (await once(child.stdout!, 'data')) as [Buffer];
      return said.toString().trim();
    };
  }

  test('a host answers on its IPv4 and its IPv6 address; a network that is not its own is unreachable', async () => {
    const {here, there} = await twoHosts();
    const answers = [there.ipv4, there.ipv6, '192.0.2.1'].map((address) => asker(here, address)());
    expect(await Promise.all(answers)).toEqual(['answered', 'answered', 'ENETUNREACH']);
  });

  test('a connection outlives a pulled cable and a black hole, and not a reset', async () => {
    const {here, there} = await twoHosts();
    const ask = asker(here, there.ipv6);
    expect(await ask()).toBe('answered');
    for (const [cut, mend] of [
      [() => there.unplug(), () => there.plug()],
      [() => there.dropPackets(here), () => there.openFirewall()],
    ] as const) {
      cut();
      expect(await ask()).toBe('silence');
      mend();
      await expect.poll(ask, {timeout: 10_000}).toBe('answered');
    }
    there.rejectPackets(here);
    expect(await ask()).toBe('ECONNRESET');
  });

  test('a name in its own /etc/hosts leads to the new address after a change; the old one is silent', async () => {
    const {here, there} = await twoHosts();
    here.nameHosts({peer: there.ipv4});
    const waiting = here.spawn(['sh', '-c', 'while read -r line; do getent hosts peer; done']);
    const lookUp = async (): Promise<string> => {
      waiting.stdin!.write('\n');
      return String((await once(waiting.stdout!, 'data'))[0]).split(' ')[0]!;
    };
    expect(await lookUp()).toBe(there.ipv4);
    there.changeAddress(99);
    here.nameHosts({peer: there.ipv4});
    expect(there.ipv4).toMatch(/\.99$/);
    expect(await lookUp()).toBe(there.ipv4);
    expect(await asker(here, 'peer')()).toBe('answered');
    expect(await asker(here, there.ipv4.replace(/99$/, '2'))()).toMatch(/silence|EHOSTUNREACH/);
  });

  test('a line of 8 Mbit/s takes a second for a megabyte, each way', async () => {
    const {here, there} = await twoHosts();
    there.limitRate(8_000_000);
    const script = `const s = require('net').connect(${PORT}, '${there.ipv4}'); let n = 0; s.write(Buffer.alloc(1e6));
      s.on('data', (data) => { if ((n += data.length) === 1e6) process.exit(); })`;
    const seconds = await timed(() => once(here.spawn([NODE, '-e', script]), 'exit'));
    expect(seconds).toBeGreaterThan(0.9);
    expect(seconds).toBeLessThan(3);
    there.limitRate(undefined);
    expect(await timed(() => once(here.spawn([NODE, '-e', script]), 'exit'))).toBeLessThan(0.9);
  });

  test('networks of a run that is over are removed with what runs in them; those of this run stay', async () => {
    const {pid: deadPid} = spawnSync('true');
    const name = `towline-test-${deadPid}-1000-1-0-net`; // 1000 seconds after the epoch
    const network = makeNetwork(1);
    spawnSync('ip', ['netns', 'add', name]);
    const sleeper = spawnSync('sh', ['-c', `ip netns exec ${name} sleep 1000 >/dev/null 2>&1 & echo $!`]);
    const inside = (): string => spawnSync('ip', ['netns', 'pids', name], {encoding: 'utf8'}).stdout;
    await expect.poll(inside).toBe(sleeper.stdout.toString());
    removeRunNetworks('dead-runs');
    expect(existsSync(`/run/netns/${name}`)).toBe(false);
    await expect.poll(() => isRunning(Number(sleeper.stdout))).toBe(false);
    expect(network.hosts[0]!.run('echo', 'still here')).toBe('still here\n');
    network.close();
    expect(existsSync(`/run/netns/${network.hosts[0]!.namespace}`)).toBe(false);
  });
});

describe('a proxy', () => {
  async function echoBehindProxy(options: {delayMs?: number; bytesPerSecond?: number} = {}) {
    const upstreams: Socket[] = [];
    const server = createServer((socket) => {
      upstreams.push(socket.on('error', () => undefined));
      socket.pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const {port} = server.address() as {port: number};
    const proxy = await startProxy({to: {host: '127.0.0.1', port}, ...options});
    const client = connect(proxy.port, proxy.host);
    await once(client, 'connect');
    onTestFinished(async () => {
      client.destroy();
      await proxy.stop();
      upstreams.forEach((socket) => socket.destroy());
      server.close();
    });
    return {proxy, client, upstreams};
  }

  const closed = (socket: Socket): Promise<void> =>
    new Promise((resolve) => void socket.once('close', () => resolve()));
  const answer = async (client: Socket): Promise<string> => String((await once(client, 'data'))[0]);

  test('delays each way by 40 ms', async () => {
    const {client} = await echoBehindProxy({delayMs: 40});
    for (let round = 0; round < 3; round++) {
      const seconds = await timed(() => {
        client.write('hello');
        return answer(client);
      });
      expect(seconds).toBeGreaterThan(0.079);
      expect(seconds).toBeLessThan(0.2);
    }
  });

  test('hands on 2 MiB/s each way, whole, and the end too', async () => {
    const {client, proxy} = await echoBehindProxy({bytesPerSecond: 2 << 20, delayMs: 20});
    const sent = Buffer.alloc(1 << 20, 'towline');
    const seconds = await timed(async () => {
      client.end(sent);
      expect((await buffer(client)).equals(sent)).toBe(true);
    });
    expect(seconds).toBeGreaterThan(0.5);
    expect(seconds).toBeLessThan(1.5);
    expect(await proxy.report()).toMatchObject({acceptedCount: 1, forwardBytes: 1 << 20, backBytes: 1 << 20});
  });

  test('frozen it hands on nothing and loses nothing; cut, both sides are reset', async () => {
    const {client, proxy, upstreams} = await echoBehindProxy();
    await proxy.freeze();
    client.write('hello');
    const early = await Promise.race([answer(client), proxy.report()]);
    expect(early).toMatchObject({openCount: 1, forwardBytes: 0});
    const late = answer(client);
    await proxy.thaw();
    expect(await late).toBe('hello');
    client.on('error', () => undefined);
    const resets = [client, upstreams[0]!].map(closed);
    await proxy.cut();
    await Promise.all(resets);
    await expect.poll(async () => (await proxy.report()).openCount).toBe(0);
  });

  test('half-open: the listening side is reset, the other still writes', async () => {
    const {client, proxy, upstreams} = await echoBehindProxy();
    client.write('hello');
    expect(await answer(client)).toBe('hello');
    const lost = closed(upstreams[0]!);
    await proxy.halfOpen();
    await lost;
    client.write('anybody?');
    expect((await proxy.report()).openCount).toBe(1);
    expect(client.destroyed).toBe(false);
  });
});

async function timed(run: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await run();
  return (performance.now() - startMs) / 1_000;
}
