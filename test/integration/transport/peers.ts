/** Both ends of connections for the tests: channels with what they gave written down, and raw sockets that misbehave. */
import {connect, type ConnectionOptions, type TLSSocket} from 'node:tls';
import {onTestFinished} from 'vitest';
import type {TowlineError} from '../../../src/base/errors.ts';
import type {Channel} from '../../../src/transport/channel.ts';
import {dial, type DialTarget} from '../../../src/transport/dial.ts';
import {createIdentity, type Identity} from '../../../src/transport/identity.ts';
import type {TransportOptions} from '../../../src/transport/limits.ts';
import {listen, type Listener, type ListenTarget} from '../../../src/transport/listen.ts';

export const FRAME_BYTES_MAX = 1024 * 1024;
export const server: Identity = await createIdentity();
export const client: Identity = await createIdentity();
export const stranger: Identity = await createIdentity();

/** A channel's frames and end. */
export class Tap {
  readonly channel: Channel;
  readonly frames: Buffer[] = [];
  readonly ended: Promise<TowlineError>;
  #wake: () => void = () => {};

  constructor(channel: Channel) {
    this.channel = channel;
    this.ended = new Promise((resolve) => {
      channel.onClose = resolve;
    });
    channel.onFrame = (frame) => {
      this.frames.push(frame);
      this.#wake();
    };
    onTestFinished(() => channel.close());
  }

  async have(count: number): Promise<Buffer[]> {
    while (this.frames.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.frames;
  }
}

export interface Host {
  listener: Listener;
  port: number;
  troubles: TowlineError[];
  channels: Channel[];
  /** The next channel that a peer opens. */
  accepted(): Promise<Channel>;
}

/** A listener that knows `client`, closed when the test ends. */
export async function host(options: Partial<TransportOptions> = {}, target: Partial<ListenTarget> = {}): Promise<Host> {
  const troubles: TowlineError[] = [];
  const channels: Channel[] = [];
  let taken = 0;
  let wake: () => void = () => {};
  const listener = await listen(
    {
      identity: server,
      host: '127.0.0.1',
      port: 0,
      isKnownPeer: (id) => id === client.id,
      onChannel: (channel) => {
        channels.push(channel);
        wake();
      },
      onTrouble: (trouble) => troubles.push(trouble),
      ...target,
    },
    {frameBytesMax: FRAME_BYTES_MAX, ...options},
  );
  onTestFinished(() => listener.close());
  const accepted = async (): Promise<Channel> => {
    while (channels.length <= taken) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return channels[taken++]!;
  };
  return {listener, port: listener.address.port, troubles, channels, accepted};
}

export function call(
  port: number,
  target: Partial<DialTarget> = {},
  options: Partial<TransportOptions> = {},
): Promise<Channel> {
  return dial(
    {identity: client, host: '127.0.0.1', port, peerId: server.id, ...target},
    {frameBytesMax: FRAME_BYTES_MAX, ...options},
  );
}

/** Two taps on one connection. */
export async function pair(options: Partial<TransportOptions> = {}): Promise<{near: Tap; far: Tap; at: Host}> {
  const at = await host(options);
  const near = new Tap(await call(at.port, {}, options));
  return {near, far: new Tap(await at.accepted()), at};
}

/** A TLS client of its own making, after its handshake; rejects with what the socket says. */
export function rawTls(port: number, options: ConnectionOptions = {}, identity?: Identity): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const keys = identity === undefined ? {} : {key: identity.keyPem, cert: identity.certificatePem};
    const socket = connect({host: '127.0.0.1', port, rejectUnauthorized: false, ...keys, ...options}, () =>
      resolve(socket),
    );
    socket.on('error', reject);
    onTestFinished(() => void socket.destroy());
  });
}

/** Everything a socket says until it ends, as text. */
export function saidBy(socket: TLSSocket): Promise<string> {
  return new Promise((resolve) => {
    let said = '';
    socket.on('data', (bytes: Buffer) => (said += bytes.toString('latin1')));
    socket.on('close', () => resolve(said));
  });
}

export function upgradeRequest(path: string, header = ''): string {
  const key = 'dGhlIHNhbXBsZSBub25jZQ==';
  return (
    `GET ${path} HTTP/1.1\r\nHost: towline\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n${header}\r\n`
  );
}

/** A raw WebSocket of `client`, just opened, that answers nothing. */
export async function rawWebSocket(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = await rawTls(port, options, client);
  socket.write(upgradeRequest('/towline/1'));
  await new Promise((resolve) => {
    socket.once('data', resolve);
  });
  return socket;
}

/** Header of a masked WebSocket frame with a mask of zeros. @param first FIN and opcode, @param size of the payload */
export function frameHeader(first: number, size: number): Buffer {
  const header = Buffer.alloc(14);
  header[0] = first;
  header[1] = 0x80 | 127;
  header.writeUIntBE(size, 4, 6);
  return header;
}
