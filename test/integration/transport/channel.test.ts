/** What a channel carries, how it holds back, how it ends. Real sockets on the loopback interface. */
import {networkInterfaces} from 'node:os';
import {expect, test, vi} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import {call, FRAME_BYTES_MAX, frameHeader, host, pair, rawWebSocket, Tap} from './peers.ts';

const BINARY = 0x82;
const TEXT = 0x81;

const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some((one) => one.address === '::1'));
test.each(hasIpv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'])(
  'frames of 0 bytes to 1 MiB arrive whole and in order over %s',
  async (address) => {
    const at = await host({}, {host: address});
    const near = new Tap(await call(at.port, {host: address}));
    const far = new Tap(await at.accepted());
    const sizes = [0, 1, 125, 126, 200, 65_535, 65_536, 262_144, FRAME_BYTES_MAX];
    const frames = sizes.map((size, index) => Buffer.alloc(size, index + 1));
    for (const frame of frames) {
      near.channel.send(frame);
      far.channel.send(frame);
    }
    expect((await far.have(sizes.length)).map((frame, index) => frame.equals(frames[index]!))).not.toContain(false);
    expect((await near.have(sizes.length)).map((frame, index) => frame.equals(frames[index]!))).not.toContain(false);
    expect(near.channel.bytesReceived).toBeGreaterThan(sizes.reduce((sum, size) => sum + size, 0));
    expect(far.channel.bytesSent).toBeGreaterThan(sizes.reduce((sum, size) => sum + size, 0));
  },
);

test('a received frame of 64 KiB or more can be transferred: its ArrayBuffer is its own', async () => {
  const {near, far} = await pair();
  for (const size of [64 * 1024, 100_001, 256 * 1024]) near.channel.send(Buffer.alloc(size, 7));
  for (const frame of await far.have(3)) {
    expect(frame.buffer.byteLength).toBe(frame.length);
    const moved = structuredClone(frame.buffer, {transfer: [frame.buffer as ArrayBuffer]}) as ArrayBuffer;
    expect(new Uint8Array(moved).every((byte) => byte === 7)).toBe(true);
    expect(frame.length).toBe(0);
  }
});

test('the bytes that are sent stay as they were: nothing masks them in place', async () => {
  const {near, far} = await pair();
  const frame = Buffer.alloc(300_000, 0x5a);
  near.channel.send(frame);
  await far.have(1);
  expect(frame.equals(Buffer.alloc(300_000, 0x5a))).toBe(true);
});

test('a paused channel gives no frame, also none of those that came with the one it paused at', async () => {
  const {near, far, at} = await pair();
  const other = new Tap(await call(at.port));
  const otherFar = new Tap(await at.accepted());
  const seen: number[] = [];
  far.channel.onFrame = (frame) => {
    seen.push(frame[0]!);
    if (seen.length === 2) far.channel.pause(); // the first travels alone, the other 99 in one TLS record
  };
  for (let index = 0; index < 100; index++) near.channel.send(Buffer.from([index]));
  for (let turn = 1; turn <= 20; turn++) {
    other.channel.send(Buffer.from([turn]));
    await otherFar.have(turn);
  }
  expect(seen).toEqual([0, 1]);
  far.channel.onFrame = (frame) => seen.push(frame[0]!);
  far.channel.resume();
  near.channel.send(Buffer.from([100]));
  await near.channel.drained();
  far.channel.send(Buffer.alloc(1));
  near.channel.close();
  await far.ended;
  expect(seen).toEqual(Array.from({length: 101}, (_, index) => index));
});

test('drained waits while 32 MiB go to a peer that does not read, and resolves when it reads', async () => {
  const {near, far} = await pair();
  far.channel.pause();
  for (let index = 0; index < 32; index++) near.channel.send(Buffer.alloc(FRAME_BYTES_MAX));
  expect(near.channel.bytesBuffered).toBeGreaterThan(4 * 1024 * 1024);
  let isDrained = false;
  const drained = near.channel.drained().then(() => (isDrained = true));
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  expect(isDrained).toBe(false);
  far.channel.resume();
  await drained;
  expect(near.channel.bytesBuffered).toBeLessThan(4 * 1024 * 1024);
  await far.have(32);
});

test('drained rejects with the reason when the channel ends first', async () => {
  const {near, far} = await pair({closeMs: 50});
  far.channel.pause();
  for (let index = 0; index < 32; index++) near.channel.send(Buffer.alloc(FRAME_BYTES_MAX));
  const drained = near.channel.drained();
  near.channel.close(new TowlineError('REFUSED', 'no more', {reason: 'test'}));
  await expect(drained).rejects.toMatchObject({code: 'REFUSED'});
  await near.channel.closed;
});

test('closing delivers what was sent before, and tells the peer why without control characters', async () => {
  const {near, far} = await pair();
  near.channel.send(Buffer.alloc(500_000, 1));
  near.channel.close(new TowlineError('REFUSED', 'enough \u001b[31mfor today', {reason: 'test'}));
  expect(near.channel.isOpen).toBe(false);
  near.channel.send(Buffer.alloc(10)); // does nothing
  const reason = await far.ended;
  expect(far.frames.map((frame) => frame.length)).toEqual([500_000]);
  expect(reason).toMatchObject({code: 'PEER_LOST'});
  expect(reason.message).toContain('enough \\x1b[31mfor today');
  expect(await near.ended).toMatchObject({code: 'REFUSED'});
  await near.channel.closed;
});

test("closing a channel that does not read ends by the peer's answer, not by the deadline of 60 s", async () => {
  const {near, far} = await pair({closeMs: 60_000});
  near.channel.pause();
  for (let index = 0; index < 4; index++) far.channel.send(Buffer.alloc(FRAME_BYTES_MAX));
  near.channel.close();
  await Promise.all([near.channel.closed, far.channel.closed]);
  expect(near.frames).toEqual([]);
});

test('what a frame handler throws ends the channel with it', async () => {
  const {near, far} = await pair();
  far.channel.onFrame = () => {
    throw new TowlineError('INTEGRITY', 'wrong digest', {path: 'a', expected: 'b', actual: 'c'});
  };
  near.channel.send(Buffer.alloc(1));
  expect(await far.ended).toMatchObject({code: 'INTEGRITY'});
  expect((await near.ended).message).toContain('wrong digest');
});

test.each([
  [new TypeError('x is not a function'), 'BUG', 'internal error: x is not a function; please report it'],
  [Object.assign(new Error('EIO: i/o error'), {code: 'EIO', syscall: 'read'}), 'SYSTEM', 'a system call failed: EIO'],
])('what a frame handler throws without a code, %s, gets %s', async (thrown, code, message) => {
  const {near, far} = await pair();
  far.channel.onFrame = () => {
    throw thrown;
  };
  near.channel.send(Buffer.alloc(1));
  expect(await far.ended).toMatchObject({code, message: expect.stringContaining(message) as string});
});

test('sending a frame above the limit is a bug of the sender, before a byte leaves', async () => {
  const {near} = await pair();
  expect(() => near.channel.send(Buffer.alloc(FRAME_BYTES_MAX + 1))).toThrow(expect.objectContaining({code: 'BUG'}));
});

test.each([
  {what: 'a text message', bytes: Buffer.concat([frameHeader(TEXT, 5), Buffer.from('hello')]), rule: 'type'},
  {what: 'the header of a frame of 1 MiB + 1', bytes: frameHeader(BINARY, FRAME_BYTES_MAX + 1), rule: 'size in bytes'},
  {what: 'the header of a frame of 2^47 bytes', bytes: frameHeader(BINARY, 2 ** 47), rule: 'size in bytes'},
  {
    what: 'a message in two fragments',
    bytes: Buffer.concat([frameHeader(0x02, 1), Buffer.alloc(1), frameHeader(0x80, 1), Buffer.alloc(1)]),
    rule: 'count of pieces',
  },
  {what: 'a frame without a mask', bytes: Buffer.from([BINARY, 1, 0]), rule: 'form'},
  {what: 'a compressed frame', bytes: Buffer.from([0xc2, 0x81, 0, 0, 0, 0, 0]), rule: 'form'},
])('$what ends the channel as PROTOCOL', async ({bytes, rule}) => {
  const at = await host({closeMs: 50});
  const socket = await rawWebSocket(at.port);
  const far = new Tap(await at.accepted());
  socket.write(bytes);
  const reason = await far.ended;
  expect(reason).toMatchObject({code: 'PROTOCOL', details: {rule}});
  expect(far.frames).toEqual([]);
  await far.channel.closed;
});

test('a frame of 1 MiB in records of 512 bytes is refused before it fills memory with pieces', async () => {
  const at = await host({closeMs: 50});
  const socket = await rawWebSocket(at.port, {maxSendFragment: 512} as object);
  socket.setMaxSendFragment(512);
  socket.on('error', () => {});
  const far = new Tap(await at.accepted());
  socket.write(Buffer.concat([frameHeader(BINARY, FRAME_BYTES_MAX), Buffer.alloc(FRAME_BYTES_MAX - 1)]));
  expect(await far.ended).toMatchObject({code: 'PROTOCOL', details: {rule: 'count of pieces'}});
});

test('a peer cut in the middle of a frame of 256 KiB is lost, and the half frame is not given', async () => {
  const at = await host();
  const socket = await rawWebSocket(at.port);
  const far = new Tap(await at.accepted());
  socket.write(Buffer.concat([frameHeader(BINARY, 256 * 1024), Buffer.alloc(128 * 1024)]), () => socket.destroy());
  expect(await far.ended).toMatchObject({code: 'PEER_LOST'});
  expect(far.frames).toEqual([]);
});

test('a peer that stops reading and answering is lost after the heartbeat deadline', async () => {
  const at = await host({heartbeatMs: 20, peerDeadMs: 100});
  const socket = await rawWebSocket(at.port);
  socket.pause();
  const far = new Tap(await at.accepted());
  for (let index = 0; index < 8; index++) far.channel.send(Buffer.alloc(FRAME_BYTES_MAX)); // and is in the way of pings
  const reason = await far.ended;
  expect(reason).toMatchObject({code: 'PEER_LOST'});
  expect((reason as TowlineError<'PEER_LOST'>).details.idleMs).toBeGreaterThanOrEqual(100);
  await far.channel.closed;
});

test('a silent link stays open on heartbeats alone, three times as long as a dead peer is waited for', async () => {
  const {near, far} = await pair({heartbeatMs: 10, peerDeadMs: 200});
  const pings = 60; // of 10 ms each
  await vi.waitUntil(() => Math.min(near.channel.bytesReceived, far.channel.bytesReceived) > 200 + pings * 2);
  expect([near.channel.isOpen, far.channel.isOpen]).toEqual([true, true]);
});

test('while a channel does not read, its silent peer is not called lost', async () => {
  const at = await host({heartbeatMs: 10, peerDeadMs: 50});
  const socket = await rawWebSocket(at.port);
  const far = new Tap(await at.accepted());
  far.channel.pause();
  const before = socket.bytesRead;
  await vi.waitUntil(() => socket.bytesRead - before >= 20 * 2); // 20 pings of 2 bytes: 200 ms of silence on our side
  expect(far.channel.isOpen).toBe(true);
  far.channel.resume();
  expect(await far.ended).toMatchObject({code: 'PEER_LOST'}); // now it listens, and the peer is still silent
});
