import {describe, expect, onTestFinished, test} from 'vitest';
import {systemClock, type Clock} from '../../../src/base/clock.ts';
import {TowlineError} from '../../../src/base/errors.ts';
import {Session} from '../../../src/session/session.ts';
import {ANSWER_DEADLINE_MS} from '../../../src/wire/limits.ts';
import {encode} from '../../../src/wire/codec.ts';
import {CREDIT_BYTES_INITIAL} from '../../../src/wire/credits.ts';
import type {Message} from '../../../src/wire/messages.ts';
import {compressed} from '../../../src/wire/zstd.ts';
import {channelPair} from './channel-pair.ts';

/** Two sessions, and what each was handed. */
function pair(): {left: Session; right: Session; heard: {left: Message[]; right: Message[]}} {
  const [leftChannel, rightChannel] = channelPair();
  const left = new Session({name: 'left'}, {channel: leftChannel});
  const right = new Session({name: 'right'}, {channel: rightChannel});
  const heard: {left: Message[]; right: Message[]} = {left: [], right: []};
  left.onMessage = (message) => void heard.left.push(message);
  right.onMessage = (message) => void heard.right.push(message);
  onTestFinished(() => left.close('the test is over'));
  return {left, right, heard};
}

/** A frame that costs about 1 MiB of credit. */
function leaves(transfer: number): Buffer {
  const leaf = {digest: Buffer.alloc(32), ops: [{kind: 'literal' as const, bytes: Buffer.alloc(256 * 1024)}]};
  return encode({kind: 'file-leaves', link: 1, transfer, leafIndexFirst: 0, leaves: [leaf, leaf, leaf, leaf]});
}

const transfersIn = (messages: readonly Message[]): number[] =>
  messages.flatMap((message) => (message.kind === 'file-leaves' ? [message.transfer] : []));

describe('opening and ending', () => {
  test('both are ready when both hellos agreed', async () => {
    const {left, right, heard} = pair();
    await Promise.all([left.ready(), right.ready()]);
    expect([left.isOpen, right.isOpen, heard.left, heard.right]).toEqual([true, true, [], []]);
  });

  test('a feature is spoken when both named it: not before the hellos, and not with an older peer', async () => {
    const {left, right} = pair();
    expect(left.speaks('follow')).toBe(false);
    await Promise.all([left.ready(), right.ready()]);
    expect([left.speaks('follow'), right.speaks('follow')]).toEqual([true, true]);
    const [channel, old] = channelPair();
    const session = new Session({name: 'left'}, {channel});
    const instance = Buffer.alloc(16);
    old.send(encode({kind: 'hello', versionMin: 1, versionMax: 1, features: [], name: 'old', instance}));
    await session.ready();
    expect(session.speaks('follow')).toBe(false);
  });

  test('S1 a message before hello ends the session as a breach, and is handed to nobody', async () => {
    const [channel, strange] = channelPair();
    const session = new Session({name: 'left'}, {channel});
    const heard: Message[] = [];
    session.onMessage = (message) => void heard.push(message);
    const ready = session.ready();
    ready.catch(() => undefined);
    strange.send(encode({kind: 'file-abort', link: 1, transfer: 1}));
    await expect(ready).rejects.toMatchObject({code: 'PROTOCOL'});
    expect([session.isOpen, heard]).toEqual([false, []]);
  });

  test('S1 a second hello is a breach', async () => {
    const [channel, strange] = channelPair();
    const session = new Session({name: 'left'}, {channel});
    let hello: Buffer | undefined;
    strange.onFrame = (frame) => (hello ??= frame);
    await expect.poll(() => hello).toBeDefined();
    strange.send(hello as Buffer);
    await session.ready();
    strange.send(hello as Buffer);
    expect(await session.closed).toMatchObject({code: 'PROTOCOL'});
  });

  test('S2 an end rejects what was asked, what waits for credit and what comes after, with one reason', async () => {
    const {left, right} = pair();
    await Promise.all([left.ready(), right.ready()]);
    right.onMessage = () => new Promise<void>(() => undefined); // never worked off: no credit comes back
    const asked = left.ask(
      (request) => ({kind: 'list-groups', link: 1, request, after: 0}),
      () => true,
    );
    const sent = Array.from({length: 9}, () => left.sendData(leaves(1), false));
    const all = Promise.allSettled([asked, ...sent]);
    left.close('enough');
    const results = await all;
    expect(results.filter(({status}) => status === 'rejected').length).toBeGreaterThanOrEqual(2);
    expect(results[0]).toMatchObject({status: 'rejected', reason: {code: 'CANCELLED', message: 'enough'}});
    await expect(left.sendData(leaves(1), false)).rejects.toThrow('enough');
    expect(await right.closed).toMatchObject({code: 'PEER_LOST'});
  });

  test('a fault is told to the peer, which ends as well', async () => {
    const {left, right} = pair();
    await Promise.all([left.ready(), right.ready()]);
    const details = {rule: 'order', value: 'x', limit: ''};
    left.fail(new TowlineError('PROTOCOL', 'out of order', details));
    expect(await right.closed).toMatchObject({code: 'PROTOCOL'});
    expect(await left.closed).toMatchObject({message: 'out of order'});
  });
});

describe('requests', () => {
  test('three overlapping requests get the answers with their own numbers, in parts', async () => {
    const {left, right} = pair();
    await Promise.all([left.ready(), right.ready()]);
    const waiting: number[] = [];
    right.onMessage = async (message) => {
      if (message.kind !== 'list-groups') return;
      waiting.push(message.request);
      if (waiting.length < 3) return;
      for (const part of [1, 2]) {
        for (const request of waiting.toReversed()) {
          const groups = [[`a${request}`, `b${part}`]];
          await right.sendData(encode({kind: 'group-listing', link: 1, request, groups, next: 0}), true);
        }
      }
    };
    const ask = async (): Promise<string[]> => {
      const found: string[] = [];
      let own = 0;
      await left.ask(
        (request) => ({kind: 'list-groups', link: 1, request: (own = request), after: 0}),
        (answer) => {
          if (answer.kind === 'group-listing') found.push(...answer.groups.map((group) => group.join(' ')));
          return found.length === 2;
        },
      );
      expect(found).toEqual([`a${own} b1`, `a${own} b2`]);
      return found;
    };
    expect((await Promise.all([ask(), ask(), ask()])).flat()).toHaveLength(6);
  });

  test.each([
    {kind: 'list-groups', after: 0, isOpen: false},
    {kind: 'verify-files', paths: ['large'], isOpen: true},
  ] as const)('of which $kind gets no answer in time: the session is open: $isOpen', async ({isOpen, ...question}) => {
    const [channel, other] = channelPair();
    const late = Promise.withResolvers<void>();
    const sleep: Clock['sleep'] = (ms, signal) =>
      ms === ANSWER_DEADLINE_MS ? late.promise : systemClock.sleep(ms, signal);
    const left = new Session({name: 'left'}, {channel, clock: {...systemClock, sleep}});
    const right = new Session({name: 'right'}, {channel: other});
    right.onMessage = () => undefined;
    await Promise.all([left.ready(), right.ready()]);
    const asking = left.ask(
      (request) => ({...question, link: 1, request}) as Message,
      () => true,
    );
    const asked = Promise.allSettled([asking]);
    late.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    expect(left.isOpen).toBe(isOpen);
    left.close('the test is over');
    expect(await asked).toMatchObject([{status: 'rejected', reason: {code: isOpen ? 'CANCELLED' : 'PEER_LOST'}}]);
  });

  test('an answer that nobody waits for is dropped', async () => {
    const {left, right, heard} = pair();
    await Promise.all([left.ready(), right.ready()]);
    right.send({kind: 'no-signature', link: 1, request: 77, code: 'base-changed', message: 'late'});
    right.send({kind: 'file-abort', link: 1, transfer: 1});
    await expect.poll(() => heard.left.length).toBe(1);
    expect(heard.left[0]?.kind).toBe('file-abort');
  });
});

describe('credit', () => {
  test('S3 of 20 MiB at most 8 MiB are sent before the peer has worked any of it off, then all arrive in order', async () => {
    const {left, right} = pair();
    await Promise.all([left.ready(), right.ready()]);
    const gate = Promise.withResolvers<void>();
    const seen: number[] = [];
    right.onMessage = async (message) => {
      if (message.kind === 'file-leaves') seen.push(message.transfer);
      await gate.promise;
    };
    const sending = (async () => {
      for (let transfer = 1; transfer <= 20; transfer++) await left.sendData(leaves(transfer), false);
    })();
    await expect.poll(() => seen.length).toBe(7); // 8 of 1 MiB and their headers are more than 8 MiB
    expect(left.wireBytes).toBeLessThanOrEqual(CREDIT_BYTES_INITIAL + 1_024);
    gate.resolve();
    await sending;
    await expect.poll(() => seen.length).toBe(20);
    expect(seen).toEqual(Array.from({length: 20}, (_, index) => index + 1));
  });

  test('S4 what is urgent goes before three large frames that wait, in its own order', async () => {
    const {left, right, heard} = pair();
    await Promise.all([left.ready(), right.ready()]);
    const gate = Promise.withResolvers<void>();
    right.onMessage = async (message) => {
      heard.right.push(message);
      await gate.promise;
    };
    const sent = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((transfer) => left.sendData(leaves(transfer), false));
    const urgent = [101, 102].map((transfer) => left.sendData(leaves(transfer), true));
    await expect.poll(() => heard.right.length).toBe(7);
    gate.resolve();
    await Promise.all([...sent, ...urgent]);
    await expect.poll(() => heard.right.length).toBe(12);
    expect(transfersIn(heard.right)).toEqual([1, 2, 3, 4, 5, 6, 7, 101, 102, 8, 9, 10]);
  });
});

describe('compressed frames', () => {
  const paced = async (): Promise<void> => undefined;

  test('where the operator limits the rate frames go compressed, arrive as they were, and cost what they expand to', async () => {
    const {left, right, heard} = pair();
    await Promise.all([left.ready(), right.ready()]);
    const gate = Promise.withResolvers<void>();
    const frames: Buffer[] = [];
    right.onMessage = async (message, frame) => {
      heard.right.push(message);
      frames.push(Buffer.from(frame));
      await gate.promise;
    };
    const before = left.wireBytes;
    const sending = Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8, 9].map((transfer) => left.sendData(leaves(transfer), false, paced)),
    );
    await expect.poll(() => heard.right.length).toBe(7);
    expect(left.wireBytes - before).toBeLessThan(10_000);
    gate.resolve();
    const sentBytes = await sending;
    expect(Math.max(...sentBytes)).toBeLessThan(1_000);
    await expect.poll(() => heard.right.length).toBe(9);
    expect(transfersIn(heard.right)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(frames[0]?.equals(leaves(1))).toBe(true);
  });

  test('within one process nothing is compressed', async () => {
    const [channel, other] = channelPair();
    const [left, right] = [
      new Session({name: 'left', isInProcess: true}, {channel}),
      new Session({name: 'right'}, {channel: other}),
    ];
    right.onMessage = () => undefined;
    await Promise.all([left.ready(), right.ready()]);
    expect(await left.sendData(leaves(1), false, paced)).toBeGreaterThan(1 << 20);
  });

  const bomb = (): Buffer => {
    const frame = compressed(leaves(1), 3)!;
    frame.writeUInt32LE(1 << 30, 8 + 5); // the content size
    return frame;
  };
  test.each([
    {what: 'with an older peer', features: [], frame: () => compressed(leaves(1), 3)!, rule: 'flags'},
    {what: 'that states too much', features: ['zstd'], frame: bomb, rule: 'content size'},
    {
      what: 'of a kind that costs no credit',
      features: ['zstd'],
      frame: () => {
        const frame = encode({kind: 'file-abort', link: 1, transfer: 1});
        frame[1] = 1;
        return frame;
      },
      rule: 'flags',
    },
  ])('I6 a compressed frame $what ends the session, and nothing is handed on', async ({features, frame, rule}) => {
    const [channel, strange] = channelPair();
    const session = new Session({name: 'left'}, {channel});
    const heard: Message[] = [];
    session.onMessage = (message) => void heard.push(message);
    strange.send(
      encode({kind: 'hello', versionMin: 1, versionMax: 1, features, name: 'strange', instance: Buffer.alloc(16)}),
    );
    await session.ready();
    strange.send(frame());
    expect(await session.closed).toMatchObject({code: 'PROTOCOL', details: {rule}});
    expect(heard).toEqual([]);
  });
});
