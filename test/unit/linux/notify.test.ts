import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {expect, onTestFinished, test} from 'vitest';
import {notifySystemd, reloadingFields, watchdogIntervalMs} from '../../../src/linux/notify.ts';
import {needsCommands} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';

// A service manager's end: binds a datagram socket (Node has none) and prints each datagram as a line of JSON.
const RECEIVER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', '\\0', 1) if sys.argv[1][0] == '@' else sys.argv[1])
print('"bound"', flush=True)
while True:
    print(json.dumps(s.recv(65536).decode()), flush=True)
`;

/** @param isDeaf it never takes anything from its queue */
async function receive(name: string, isDeaf = false): Promise<() => Promise<string>> {
  const code = isDeaf ? `${RECEIVER.split('while')[0]}\nsys.stdin.read()` : RECEIVER;
  const child = spawn('python3', ['-c', code, name], {stdio: ['pipe', 'pipe', 'inherit']});
  onTestFinished(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const lines = createInterface({input: child.stdout})[Symbol.asyncIterator]();
  const next = async (): Promise<string> => JSON.parse(((await lines.next()) as {value: string}).value) as string;
  expect(await next()).toBe('bound');
  return next;
}

needsCommands('python3')(test).each([
  {what: 'a socket file', name: (folder: string) => join(folder, 'notify')},
  {what: 'an abstract socket', name: () => `@towline-test/${process.pid}/notify`},
])('each message is one datagram to $what', async ({name}) => {
  const path = name(makeTmpDir());
  const next = await receive(path);
  const env = {NOTIFY_SOCKET: path};
  for (const fields of ['READY=1', 'STATUS=2 volumes, in sync – ✓', 'WATCHDOG=1', 'STOPPING=1']) {
    expect(notifySystemd(fields, env)).toBe(true);
    expect(await next()).toBe(fields);
  }
  const uptimeUs = Number(process.hrtime.bigint() / 1000n);
  expect(notifySystemd(reloadingFields(), env)).toBe(true);
  const [, us] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(await next()) ?? [];
  expect(Number(us)).toBeGreaterThanOrEqual(uptimeUs);
  expect(Number(us)).toBeLessThan(uptimeUs + 60e6);
});

test.each([
  {what: 'no variable', socket: undefined},
  {what: 'an empty variable', socket: ''},
  {what: 'a socket that is not there', socket: '/nonexistent/notify'},
  {what: 'a vsock', socket: 'vsock:2:1234'},
  {what: 'a path of 200 bytes', socket: `/tmp/${'x'.repeat(195)}`},
])('nothing is sent, and nothing is thrown, with $what', ({socket}) => {
  expect(notifySystemd('READY=1', {NOTIFY_SOCKET: socket})).toBe(false);
});

needsCommands('python3')(test)('a manager that reads nothing costs a second, not the agent', async () => {
  const path = join(makeTmpDir(), 'notify');
  await receive(path, true);
  const startMs = performance.now();
  let sentCount = 0;
  while (sentCount < 100_000 && notifySystemd('WATCHDOG=1', {NOTIFY_SOCKET: path})) sentCount++;
  expect(existsSync(path)).toBe(true);
  expect(sentCount).toBeLessThan(100_000);
  expect(performance.now() - startMs).toBeLessThan(5_000);
});

test('the watchdog wants a message in half of its time, from this process or the one that its launcher started', () => {
  const own = {pid: 20, ppid: 10};
  const interval = (usec?: string, pid?: string) => watchdogIntervalMs({WATCHDOG_USEC: usec, WATCHDOG_PID: pid}, own);
  expect([interval('30000000'), interval('30000000', '20'), interval('30000000', '10')]).toEqual([15e3, 15e3, 15e3]);
  expect([interval(), interval(''), interval('0'), interval('soon'), interval('30000000', '7')]).toEqual(
    Array.from({length: 5}, () => undefined),
  );
  expect(interval('1000')).toBe(1);
});
