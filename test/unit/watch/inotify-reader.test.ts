/** One volume's reader in the test's own thread: the test says when it reads, and how far its receiver is behind. */
import {closeSync, mkdirSync, openSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {InotifyEvents} from '../../../src/linux/inotify.ts';
import {unpackEvents} from '../../../src/watch/event-batch.ts';
import {InotifyReader} from '../../../src/watch/inotify-reader.ts';
import type {WatchEvent} from '../../../src/watch/watcher.ts';
import {makeTmpDir} from '../../tmp.ts';

interface Step {
  untaken?: number;
  act?: () => void;
}

interface Reading {
  reader: InotifyReader;
  sent: WatchEvent[][];
  drained: number[];
  /** Reads once, after `act`, to a receiver that is `untaken` behind; a second passes. */
  step: (step?: Step) => void;
}

/** @param queueBytes small ones take several readings */
function watchRoot(root: string, queueBytes = 65_536): Reading {
  const rootFd = openSync(root, 'r');
  const sent: WatchEvent[][] = [];
  const drained: number[] = [];
  let untaken = 0;
  let nowMs = 0;
  const parts = {
    send: (packed: Parameters<typeof unpackEvents>[0]) => void sent.push(unpackEvents(packed)),
    onDrained: (drain: number) => void drained.push(drain),
    untaken: () => untaken,
    isStopped: () => false,
    breathe: () => undefined,
    nowMs: () => nowMs,
  };
  const reader = new InotifyReader({rootFd, rootPath: root, skipDirs: []}, parts);
  closeSync(rootFd);
  onTestFinished(() => reader.close());
  reader.begin();
  const queue = new InotifyEvents(Buffer.allocUnsafeSlow(queueBytes));
  const step = ({act, untaken: behind = 0}: Step = {}): void => {
    nowMs += 1_000;
    untaken = behind;
    act?.();
    reader.read(queue);
  };
  return {reader, sent, drained, step};
}

/** Runs one batch per step. */
function readSteps(root: string, steps: Step[]): WatchEvent[][] {
  const {sent, step} = watchRoot(root);
  for (const each of steps) step(each);
  return sent;
}

test('sends nothing to a receiver that is 64 messages behind, then one overflow, then goes on', () => {
  const root = makeTmpDir();
  const touch = (name: string) => () => writeFileSync(join(root, name), '');
  const sent = readSteps(root, [
    {act: touch('one')},
    {act: touch('lost'), untaken: 64},
    {act: touch('lost-too'), untaken: 63},
    {act: touch('also-lost'), untaken: 32},
    {act: touch('after')},
    {},
  ]);
  const text = JSON.stringify(sent);
  expect(text).toContain('"one"');
  expect(text).not.toContain('lost');
  expect(sent.flat().filter((event) => event.kind === 'overflow')).toHaveLength(1);
  expect(text.indexOf('overflow')).toBeLessThan(text.indexOf('"after"'));
});

test('watches a directory before it says that it appeared', () => {
  const root = makeTmpDir();
  const sent = readSteps(root, [
    {act: () => mkdirSync(join(root, 'a/b'), {recursive: true})},
    {act: () => writeFileSync(join(root, 'a/b/file'), '')},
    {},
    {},
  ]);
  const events = sent.flat();
  expect(events).toContainEqual({kind: 'subtree', dir: 'a'});
  expect(events).toContainEqual(expect.objectContaining({kind: 'name', dir: 'a/b', name: 'file', change: 'created'}));
});

test('a drain of 100 events in a queue that is read in 4 parts is answered after the last part', () => {
  const root = makeTmpDir();
  const {reader, sent, drained, step} = watchRoot(root, 32 * 104); // a name of up to 15 bytes takes 32 with its header
  for (let index = 0; index < 50; index++) writeFileSync(join(root, `file ${index}`), ''); // created, closed
  reader.drain(7);
  expect(reader.dueMs).toBe(0);
  writeFileSync(join(root, 'later'), '');
  while (drained.length === 0) step();
  const names = new Set(sent.flat().map((event) => (event.kind === 'name' ? event.name : event.kind)));
  expect(drained).toEqual([7]);
  expect([...Array(50).keys()].filter((index) => !names.has(`file ${index}`))).toEqual([]);
  reader.drain(8);
  step();
  expect(drained).toEqual([7, 8]);
  expect(JSON.stringify(sent)).toContain('later');
});

test('a drain waits for a directory that is in doubt, and for the overflow of a receiver that is behind', () => {
  const root = makeTmpDir();
  mkdirSync(join(root, 'tree/sub'), {recursive: true});
  const outside = makeTmpDir();
  const {reader, sent, drained, step} = watchRoot(root);
  renameSync(join(root, 'tree'), join(outside, 'tree'));
  reader.drain(1);
  step({untaken: 64});
  expect([drained, reader.dueMs]).toEqual([[], 1_010]);
  step({untaken: 64});
  expect(drained).toEqual([]);
  step();
  expect(sent.flat().filter((event) => event.kind === 'overflow')).toHaveLength(1);
  step();
  expect([drained, reader.dueMs]).toEqual([[1], Infinity]);
});

test('after the root is gone it says so last, and is over', () => {
  const root = join(makeTmpDir(), 'root');
  mkdirSync(root);
  const {reader, sent, step} = watchRoot(root);
  step({act: () => renameSync(root, `${root}-away`)});
  expect(reader.isOver).toBe(true);
  expect(sent.at(-1)?.at(-1)).toEqual({kind: 'root-gone', reason: 'it was renamed'});
});
