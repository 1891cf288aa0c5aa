import {describe, expect, test} from 'vitest';
import {EventBatch, unpackEvents, type PackedEvents} from '../../../src/watch/event-batch.ts';
import {EVENTS_PER_MESSAGE_MAX} from '../../../src/watch/watcher.ts';

function makeBatch(): {batch: EventBatch; sent: PackedEvents[]} {
  const sent: PackedEvents[] = [];
  return {batch: new EventBatch((packed) => sent.push(packed)), sent};
}

describe('a batch of events', () => {
  test('delivers every kind of event as it went in, in order', () => {
    const {batch, sent} = makeBatch();
    batch.name('dir', 'old\n', 'moved-from', true, 4_294_967_295);
    batch.name('dir/sub', 'new\xff', 'moved-to', false, 7);
    batch.name('', '', 'meta', true, 0);
    batch.subtree('dir');
    batch.listing('');
    batch.overflow('lost');
    batch.degraded('no room', 12);
    batch.rootGone('renamed');
    batch.flush();
    expect(sent.flatMap(unpackEvents)).toEqual([
      {kind: 'name', dir: 'dir', name: 'old\n', change: 'moved-from', isDir: true, cookie: 4_294_967_295},
      {kind: 'name', dir: 'dir/sub', name: 'new\xff', change: 'moved-to', isDir: false, cookie: 7},
      {kind: 'name', dir: '', name: '', change: 'meta', isDir: true, cookie: 0},
      {kind: 'subtree', dir: 'dir'},
      {kind: 'listing', dir: ''},
      {kind: 'overflow', reason: 'lost'},
      {kind: 'degraded', reason: 'no room', unwatchedDirs: 12},
      {kind: 'root-gone', reason: 'renamed'},
    ]);
  });

  test('drops the second of two equal events, unless a directory moved between them', () => {
    const {batch, sent} = makeBatch();
    for (let count = 0; count < 3; count++) batch.name('a', 'x', 'changed', false, 0);
    batch.name('b', 'x', 'changed', false, 0);
    batch.forgetSeen();
    batch.name('a', 'x', 'changed', false, 0);
    batch.flush();
    batch.name('a', 'x', 'changed', false, 0);
    batch.flush();
    expect(sent.map((packed) => packed.texts.length)).toEqual([3, 1]);
  });

  test('sends 20,000 events in messages of at most 8,192', () => {
    const {batch, sent} = makeBatch();
    for (let index = 0; index < 20_000; index++) batch.name('dir', String(index), 'created', false, 0);
    batch.flush();
    batch.flush();
    expect(sent.map((packed) => packed.texts.length)).toEqual([EVENTS_PER_MESSAGE_MAX, EVENTS_PER_MESSAGE_MAX, 3_616]);
    expect(unpackEvents(sent[2]!).at(-1)).toMatchObject({name: '19999'});
  });
});
