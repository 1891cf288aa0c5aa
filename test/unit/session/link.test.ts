import type {SourceLink} from '../../../src/session/source-link.ts';
import {describe, expect, test} from 'vitest';
import type {Failed, Op} from '../../../src/model/op.ts';
import {ROOT} from '../../../src/model/path.ts';
import type {DeleteLimits} from '../../../src/reconcile/delete-guard.ts';
import {RollingHour} from '../../../src/reconcile/rolling-hour.ts';
import type {MessageOf} from '../../../src/wire/messages.ts';
import {OPEN_LINK} from '../../sync/hostile-source.ts';
import {directory} from '../state/state-fixture.ts';
import {TowlineError} from '../../../src/base/errors.ts';
import {LinkPair, putLinks} from './link-pair.ts';

const LIMITS: DeleteLimits = {count: 10_000, share: 0.5, shareFrom: 20};
const OPEN: MessageOf<'open-link'> = {...OPEN_LINK, volume: 'v', isDurable: true};

const overOf = (link: SourceLink): Promise<never> => new Promise((_, reject) => link.whenOver(reject));

describe('catching up', () => {
  test('S8 300 symlinks and a directory arrive; the cut is unequal before and equal after', async () => {
    const pair = await new LinkPair().open();
    putLinks(pair.source, 0, 300);
    pair.source.put(pair.source.dirIdOf(ROOT) as number, directory('d'));
    expect(await pair.link.cut()).toMatchObject({isEqual: false, isTreeEqual: false});
    expect((await pair.link.catchUp()).steps).toBe(301);
    expect(await pair.link.cut()).toMatchObject({isEqual: true, isTreeEqual: true, entryCount: 301});
    expect((await pair.link.catchUp()).steps).toBe(0);
  });

  test('a root whose metadata alone differs is one step', async () => {
    const pair = await new LinkPair().open();
    pair.source.putRoot(directory(ROOT, {ino: 1, mode: 0o700}));
    await pair.link.catchUp();
    expect(pair.applied).toEqual(['set-meta ']);
    expect((await pair.link.cut()).isEqual).toBe(true);
  });

  test('S9 what is deleted is deleted after everything else was answered', async () => {
    const pair = new LinkPair();
    putLinks(pair.target, 0, 10);
    await pair.open();
    putLinks(pair.source, 5, 600);
    await pair.link.catchUp();
    expect(pair.applied.slice(-5).sort()).toEqual([0, 1, 2, 3, 4].map((index) => `delete l${index}`));
    expect(pair.applied.slice(0, -5).every((op) => op.startsWith('put-symlink'))).toBe(true);
  });
});

describe('the guard', () => {
  test('F5 S7 the source halts before it deletes 51 of 100, and deletes nothing', async () => {
    const pair = new LinkPair({source: LIMITS});
    putLinks(pair.target, 0, 100);
    putLinks(pair.source, 51, 49);
    await pair.open();
    await expect(pair.link.catchUp()).rejects.toMatchObject({
      code: 'HALTED',
      details: {kind: 'delete-share', count: 51, limit: 50},
    });
    expect([pair.applied.filter((op) => op.startsWith('delete')), pair.target.entryCount()]).toEqual([[], 100]);
  });

  test('a directory whose rename is still on its way is no loss of what is in it: nothing halts, nothing is deleted', async () => {
    const pair = new LinkPair({source: {...LIMITS, count: 30}});
    for (const store of [pair.source, pair.target]) {
      store.put(store.root(), directory('old', {ino: 7}));
      putLinks(store, 0, 60, 'old');
    }
    await pair.open();
    await pair.link.catchUp();
    const held = Promise.withResolvers<void>();
    pair.gate = held.promise;
    pair.source.move(pair.source.root(), 'old', pair.source.root(), 'new');
    const op: Op = {kind: 'rename', path: 'old', to: 'new', type: 'dir', content: undefined};
    await pair.link.sender.add({kind: 'op', path: 'old', op, destroys: 0});
    await pair.link.sender.kick();
    const caughtUp = pair.link.catchUp();
    setTimeout(() => held.resolve(), 100); // the comparison sees the target as it was
    await caughtUp;
    expect(pair.applied.filter((applied) => applied.startsWith('delete'))).toEqual([]);
    expect(await pair.link.cut()).toMatchObject({isEqual: true, entryCount: 61});
  });

  test('F5 51 of 100 go when the operator has confirmed 51', async () => {
    const pair = new LinkPair({source: LIMITS, target: LIMITS, confirmedDeletes: 51});
    putLinks(pair.target, 0, 100);
    putLinks(pair.source, 51, 49);
    await pair.open();
    await pair.link.catchUp();
    expect((await pair.link.cut()).entryCount).toBe(49);
  });

  test('F5 what went in an earlier connection counts within the hour: 40 of 100, then 30 more halt; confirmed, they go', async () => {
    const hour = new RollingHour();
    const first = new LinkPair({source: LIMITS, hour});
    putLinks(first.target, 0, 100);
    putLinks(first.source, 40, 60);
    await first.open();
    await first.link.catchUp();
    const connect = (confirmedDeletes: number): Promise<LinkPair> => {
      const pair = new LinkPair({source: LIMITS, hour, confirmedDeletes});
      putLinks(pair.target, 40, 60);
      putLinks(pair.source, 70, 30);
      return pair.open();
    };
    const second = await connect(0);
    await expect(second.link.catchUp()).rejects.toMatchObject({
      code: 'HALTED',
      message: expect.stringContaining(
        '70 entries of the target would be deleted within an hour; the limit is 50',
      ) as string,
      details: {kind: 'delete-share', count: 70, limit: 50},
    });
    expect(second.target.entryCount()).toBe(60);
    const third = await connect(70);
    await third.link.catchUp();
    expect((await third.link.cut()).entryCount).toBe(30);
  });

  test('S7 the target halts by its own limits, whatever the source thinks: 0 deletes, kind, count and limit are told', async () => {
    const pair = new LinkPair({target: {...LIMITS, count: 30}});
    putLinks(pair.target, 0, 100);
    putLinks(pair.source, 31, 69);
    await pair.open();
    await expect(pair.link.catchUp()).rejects.toMatchObject({
      code: 'HALTED',
      details: {kind: 'delete-count', volume: 'v', count: 31, limit: 30},
    });
    expect(pair.target.entryCount()).toBe(100);
    await expect(overOf(pair.link)).rejects.toMatchObject({code: 'HALTED'});
  });

  test('S7 deletes that the target does not carry out are none: 31 of 100 stay, and nothing halts', async () => {
    const failed = {status: 'failed', code: 'mount', message: 'm'} as const;
    const refused = async (ops: readonly Op[]): Promise<Map<number, Failed>> =>
      new Map(ops.flatMap(({kind}, index) => (kind === 'delete' ? [[index, failed]] : [])));
    const pair = new LinkPair({target: {...LIMITS, count: 30}, refused});
    putLinks(pair.target, 0, 100);
    putLinks(pair.source, 31, 69);
    await pair.open();
    await pair.link.catchUp();
    await pair.link.cut();
    expect(pair.target.entryCount()).toBe(100);
  });
});

describe('order', () => {
  test('S6 a cut is answered after the batches that were sent before it', async () => {
    const pair = await new LinkPair().open();
    putLinks(pair.source, 0, 600);
    const gate = Promise.withResolvers<void>();
    pair.gate = gate.promise;
    const catchingUp = pair.link.catchUp();
    await expect.poll(() => pair.link.sender.pendingCount).toBe(600);
    const cut = pair.link.cut();
    expect(pair.applied).toEqual([]);
    gate.resolve();
    await catchingUp;
    expect(await cut).toMatchObject({entryCount: 600});
  });

  test.each([
    {title: 'a question before open-link', frames: [{kind: 'list-groups', link: 1, request: 1, after: 0} as const]},
    {title: 'open-link twice', frames: [OPEN, OPEN]},
    {title: 'a message of another link', frames: [OPEN, {kind: 'list-groups', link: 2, request: 1, after: 0} as const]},
  ])('S5 $title is a breach that ends the session', async ({frames}) => {
    const pair = new LinkPair();
    await Promise.all([pair.sourceSession.ready(), pair.targetSession.ready()]);
    for (const frame of frames) pair.sourceSession.send(frame);
    expect(await pair.targetSession.closed).toMatchObject({code: 'PROTOCOL'});
    expect(await pair.sourceSession.closed).toMatchObject({code: 'PROTOCOL'});
  });

  test('a volume that was not granted is refused, and the session goes on', async () => {
    const pair = new LinkPair();
    await Promise.all([pair.sourceSession.ready(), pair.targetSession.ready()]);
    pair.sourceSession.send({...OPEN, volume: 'other'});
    await expect(overOf(pair.link)).rejects.toMatchObject({code: 'NOT_AUTHORISED'});
    expect(pair.targetSession.isOpen).toBe(true);
  });

  test('a session that ends is the reason for everything that waits', async () => {
    const pair = await new LinkPair().open();
    putLinks(pair.source, 0, 10);
    pair.gate = new Promise(() => undefined);
    const catchingUp = pair.link.catchUp();
    await expect.poll(() => pair.link.sender.pendingCount).toBe(10);
    const over = Promise.allSettled([catchingUp, pair.link.cut(), overOf(pair.link)]);
    pair.targetSession.close('enough');
    for (const result of await over) expect(result).toMatchObject({status: 'rejected', reason: {code: 'PEER_LOST'}});
  });
});

test('a sender that has failed with something on its way ends the wait of a link that follows', async () => {
  const {sender} = (await new LinkPair().open()).link;
  const op: Op = {kind: 'delete', path: 'a', type: 'file'};
  await sender.add({kind: 'op', path: 'a', op, destroys: 1});
  const reason = new TowlineError('SYSTEM', 'the root is gone', {syscall: 'statx', errno: 'EACCES', path: ''});
  sender.fail(reason);
  expect(sender.pendingCount).toBe(1);
  await expect(sender.settle()).rejects.toBe(reason);
});

test('a link that the target refuses while it is asked ends with the reason, although the connection goes on', async () => {
  const pair = await new LinkPair().open();
  putLinks(pair.source, 0, 3);
  pair.targetSession.onMessage = () => undefined; // halted: whatever comes is dropped
  const comparing = pair.link.catchUp();
  comparing.catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  pair.targetSession.send({kind: 'link-refused', link: 1, code: 'SYSTEM', message: 'full', count: 0, limit: 0});
  await expect(comparing).rejects.toMatchObject({code: 'SYSTEM', message: 'full'});
  expect(pair.sourceSession.isOpen).toBe(true);
});

describe('a link that is opened to be compared alone', () => {
  test('tells what differs, both ways, and nothing is changed', async () => {
    const pair = new LinkPair({isReadOnly: true});
    putLinks(pair.source, 0, 5);
    putLinks(pair.target, 3, 4);
    await pair.open();
    const steps: string[] = [];
    for await (const found of pair.link.differences())
      for (const step of found) steps.push(step.kind === 'op' ? `${step.op.kind} ${step.path}` : step.path);
    expect(steps.filter((step) => step.startsWith('put')).toSorted()).toEqual(
      [0, 1, 2].map((index) => `put-symlink l${index}`),
    );
    expect(steps.filter((step) => step.startsWith('delete')).toSorted()).toEqual(['delete l5', 'delete l6']);
    expect([pair.target.entryCount(), pair.applied]).toEqual([4, []]);
  });

  test('a batch on it is a breach, and is not applied', async () => {
    const pair = new LinkPair({isReadOnly: true});
    putLinks(pair.source, 0, 5);
    await pair.open();
    await expect(pair.link.catchUp()).rejects.toBeInstanceOf(TowlineError);
    expect(await pair.targetSession.closed).toMatchObject({code: 'PROTOCOL'});
    expect([pair.target.entryCount(), pair.applied]).toEqual([0, []]);
  });
});
