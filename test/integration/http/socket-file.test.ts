/** The control socket as a file: its rights, its place, who holds it, and who answers on it. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {chmodSync, existsSync, lstatSync, mkdirSync, statSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {connectControl} from '../../../src/http/control-client.ts';
import {serveControl} from '../../../src/http/control-server.ts';
import {controlSocketOf} from '../../../src/http/socket-path.ts';
import {SILENT_LOG} from '../../../src/telemetry/log.ts';
import {ScriptedAgent} from '../../scripted-agent.ts';
import {makeTmpDir} from '../../tmp.ts';
import {clientOf, failure, serve} from './served.ts';

describe('the socket', () => {
  test('is 0600 in a folder of 0700, whatever they were before, and gone after close', async () => {
    const folder = join(makeTmpDir(), 'state');
    mkdirSync(folder, {mode: 0o755});
    const {socketPath, close} = await serve({folder});
    expect(statSync(folder).mode & 0o7777).toBe(0o700);
    expect(lstatSync(socketPath).mode & 0o7777).toBe(0o600);
    await close();
    expect(existsSync(socketPath)).toBe(false);
    expect(await connectControl(folder)).toBeUndefined();
  });

  test('a second agent on a folder is refused with code 6, the first goes on', async () => {
    const {folder, agent} = await serve();
    const second = serveControl({socketPath: controlSocketOf(folder), control: agent, log: SILENT_LOG});
    await expect(second).rejects.toThrow(failure('LOCKED'));
    expect(await (await clientOf(folder)).report()).toMatchObject({name: 'web-1'});
  });

  test('the socket of an agent that was killed is replaced', async () => {
    const folder = makeTmpDir();
    const socketPath = controlSocketOf(folder);
    const script = `require('net').createServer().listen(${JSON.stringify(socketPath)}, () => console.log('up'))`;
    const child = spawn(process.execPath, ['-e', script], {stdio: ['ignore', 'pipe', 'inherit']});
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(existsSync(socketPath)).toBe(true);
    expect(await connectControl(folder)).toBeUndefined();
    await serve({folder});
    expect(await (await clientOf(folder)).report()).toMatchObject({name: 'web-1'});
  });

  test('what is no socket stays, and so does a folder that others can write', async () => {
    const folder = makeTmpDir();
    const served = (): Promise<unknown> =>
      serveControl({socketPath: controlSocketOf(folder), control: new ScriptedAgent(), log: SILENT_LOG});
    writeFileSync(controlSocketOf(folder), 'mine');
    await expect(served()).rejects.toThrow(failure('REFUSED'));
    expect(existsSync(controlSocketOf(folder))).toBe(true);
    chmodSync(folder, 0o777);
    await expect(served()).rejects.toThrow(failure('REFUSED'));
  });

  test('works in a state folder of 1,000 bytes, for which a socket has no name', async () => {
    const folder = join(makeTmpDir(), ...Array.from({length: 5}, () => 'd'.repeat(200)));
    expect(await connectControl(folder)).toBeUndefined();
    const {close} = await serve({folder});
    const client = await clientOf(folder);
    expect(await client.report()).toMatchObject({name: 'web-1'});
    await close();
    expect(existsSync(controlSocketOf(folder))).toBe(false);
    await expect(client.report()).rejects.toThrow(failure('PEER_LOST'));
  });

  test('an agent that hangs is told from one that takes its time', async () => {
    const folder = makeTmpDir();
    const deaf = createServer();
    deaf.listen(controlSocketOf(folder));
    await once(deaf, 'listening');
    onTestFinished(() => void deaf.close());
    await expect(connectControl(folder, {silenceMsMax: 100})).rejects.toMatchObject({
      code: 'PEER_LOST',
      message: expect.stringContaining('does not answer') as string,
    });
  });

  test('a run of 600 ms is no silence of 300 ms: the agent shows that it lives', async () => {
    const {agent, folder} = await serve({signOfLifeMs: 50});
    const client = await clientOf(folder, {silenceMsMax: 300});
    agent.runs = new Promise((resolve) => setTimeout(resolve, 600));
    expect(
      await client.flush({volume: undefined, timeoutMs: 10_000, isRescan: false, isQuiesced: false}),
    ).toMatchObject({exitCode: 0});
  });

  test('an agent of another version is named as such', async () => {
    const folder = makeTmpDir();
    const other = createServer((socket) => {
      const body = '{"api":2,"version":"9.1.0"}';
      socket.once('data', () => socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`));
    });
    other.listen(controlSocketOf(folder));
    await once(other, 'listening');
    onTestFinished(() => void other.close());
    await expect(connectControl(folder)).rejects.toThrow(/version 9\.1\.0.*restart the agent/);
  });
});
