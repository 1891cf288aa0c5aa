/** A link that follows a volume: what it waits for while a file is on its way that takes very long, and what it forgets. */
import {createHook} from 'node:async_hooks';
import {describe, expect, onTestFinished, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {entryStore, sourceState} from '../../../src/daemon/source-state.ts';
import {ROOT} from '../../../src/model/path.ts';
import {NO_DELETE_LIMITS} from '../../../src/reconcile/delete-guard.ts';
import {newPass} from '../../../src/scan/pass.ts';
import {READ_STATUS} from '../../../src/session/large-file.ts';
import {LiveLink, type FollowStatus} from '../../../src/session/live-link.ts';
import type {SenderParts} from '../../../src/session/send-item.ts';
import {entry} from '../state/state-fixture.ts';
import {LinkPair, putLinks, type LinkPairOptions} from './link-pair.ts';

const endless: SenderParts['jobs'] = {run: () => new Promise(() => undefined)};
const hot: SenderParts['hot'] = {readingOf: (_path, {isOnItsWay}) => (isOnItsWay ? undefined : 'clone')};

async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** @param files large ones, whose transfers never end; `held`: so many symlinks that the target alone has */
async function pairWith(files: string[], options: LinkPairOptions & {held?: number} = {}): Promise<LinkPair> {
  const pair = new LinkPair({sourceJobs: endless, ...options});
  putLinks(pair.target, 0, options.held ?? 0);
  await pair.open();
  const rootId = pair.source.dirIdOf(ROOT) as number;
  for (const [index, name] of files.entries())
    pair.source.put(rootId, entry(name, {sizeBytes: 1 << 20, content: undefined, ino: 500 + index}));
  return pair;
}

function follow(
  pair: LinkPair,
  catchingUp: Promise<void>,
): {live: LiveLink; told: FollowStatus[]; patience: Map<string, number>} {
  const told: FollowStatus[] = [];
  const patience = new Map<string, number>();
  const live = new LiveLink(
    {deleteLimits: NO_DELETE_LIMITS, confirmedDeletes: 0, volume: 'v', maxWaitMs: 30_000, hot: 'wait'},
    {
      volume: {
        isQuiet: true,
        isRestless: false,
        follow: () => () => undefined,
        note: () => undefined,
        setPatience: (path, {times}) => void patience.set(path, times),
      },
      state: sourceState(pair.source),
      clock: systemClock,
      events: {onStatus: (status) => void told.push(status), onRestless: () => undefined},
    },
  );
  const over = new AbortController();
  const following = live.follow(pair.link, catchingUp, over.signal);
  following.catch(() => undefined);
  onTestFinished(() => over.abort());
  return {live, told, patience};
}

/** @returns how many reactions of promises run when the file's transfer ends after so many changes: what hung on it */
async function hangingAfter(changes: number): Promise<number> {
  const opened = Promise.withResolvers<never>();
  const pair = await pairWith(['large'], {sourceJobs: {run: () => opened.promise}});
  const {live} = follow(
    pair,
    pair.link.catchUp().then(() => undefined),
  );
  await expect.poll(() => pair.link.sender.pendingCount).toBe(2);
  for (let index = 0; index < changes; index++) {
    putLinks(pair.source, index, 1);
    const after = entryStore(pair.source).get(pair.source.dirIdOf(ROOT) as number, `l${index}`)!;
    const {result} = newPass(true);
    result.changes.push({kind: 'put', path: `l${index}`, before: undefined, after});
    await live.take({result, noticedMs: 0, countBefore: index, scannedSince: undefined});
    await expect.poll(() => pair.applied.length, {interval: 0}).toBe(index + 1);
    await turns(); // it is answered
  }
  let count = 0;
  const hook = createHook({init: () => undefined, before: () => void count++}).enable();
  opened.resolve({status: READ_STATUS.changed} as never);
  await turns();
  hook.disable();
  return count;
}

test('of 280 more changes nothing hangs on a large file that is being sent', async () => {
  const few = await hangingAfter(20);
  expect(await hangingAfter(300)).toBeLessThan(few + 280);
});

describe('two files that go on changing, whose transfers never end', () => {
  test('keep a comparison from neither its deletes nor what is said after it', async () => {
    const pair = await pairWith(['one', 'two'], {hot, held: 3});
    const {told} = follow(
      pair,
      pair.link.catchUp().then(() => undefined),
    );
    await expect.poll(() => told).toContainEqual({kind: 'unequal'});
    expect(pair.applied.toSorted()).toEqual(['delete l0', 'delete l1', 'delete l2']);
    expect([pair.link.sender.isSettled, pair.link.sender.pendingCount]).toEqual([true, 4]);
  });

  test('keep back their other names, and a third one that waits for its turn', async () => {
    const pair = await pairWith(['one', 'two', 'three'], {hot});
    const rootId = pair.source.dirIdOf(ROOT) as number;
    for (const name of ['one', 'one-too'])
      pair.source.put(rootId, entry(name, {sizeBytes: 1 << 20, content: undefined, ino: 499, nlink: 2}));
    await pair.link.catchUp();
    expect(pair.applied).toEqual([]);
    expect([pair.link.sender.isSettled, pair.link.sender.pendingCount]).toEqual([true, 6]);
  });

  test('are waited for by who waits for everything, and by nobody when the connection ends', async () => {
    const pair = await pairWith(['one', 'two'], {hot});
    await pair.link.catchUp();
    let isOver = false;
    const flushed = pair.link.sender.flush().finally(() => (isOver = true));
    flushed.catch(() => undefined);
    await turns();
    expect(isOver).toBe(false);
    pair.targetSession.close('enough');
    await expect(flushed).rejects.toMatchObject({code: 'PEER_LOST'});
  });
});

test('of one large file and what comes while it is waited for: all wait for the same, and get one reason', async () => {
  const pair = await pairWith(['large']);
  const catchingUp = pair.link.catchUp();
  await expect.poll(() => pair.link.sender.pendingCount).toBe(2);
  const {sender} = pair.link;
  const waits = [sender.settle(), sender.settle()];
  expect(waits[0]).toBe(waits[1]);
  const over = Promise.allSettled([catchingUp, ...waits]);
  pair.targetSession.close('enough');
  for (const result of await over) expect(result).toMatchObject({status: 'rejected', reason: {code: 'PEER_LOST'}});
  await expect(sender.settle()).rejects.toMatchObject({code: 'PEER_LOST'});
});

describe('a file that changed three times while it was read', () => {
  test('and is renamed begins anew under its old name', async () => {
    const pair = await pairWith([]);
    const {live, patience} = follow(pair, new Promise(() => undefined));
    for (let attempt = 0; attempt < 3; attempt++) live.noteFailure('dump.tmp', undefined);
    expect(patience.get('dump.tmp')).toBe(2);
    putLinks(pair.source, 0, 1);
    const known = entryStore(pair.source).get(pair.source.dirIdOf(ROOT) as number, 'l0')!;
    const {result} = newPass(true);
    result.changes.push({kind: 'renamed', path: 'dump.tmp', to: 'l0', entry: known, isOver: false});
    void live.take({result, noticedMs: 0, countBefore: 0, scannedSince: undefined});
    expect(patience.get('dump.tmp')).toBe(1);
  });

  test('begins anew once both sides are equal', async () => {
    const pair = await pairWith([]);
    const {live, patience, told} = follow(pair, Promise.resolve());
    for (let attempt = 0; attempt < 3; attempt++) live.noteFailure('dump.tmp', undefined);
    await expect.poll(() => told.at(-1)?.kind).toBe('in-sync');
    expect(patience.get('dump.tmp')).toBe(1);
  });
});
