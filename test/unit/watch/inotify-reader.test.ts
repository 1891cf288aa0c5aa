/** The reading loop in the test's own thread: the clock it asks before each batch is where the test acts. */
import {closeSync, mkdirSync, openSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {openWaker, wake} from '../../../src/linux/eventfd.ts';
import {closeFd} from '../../../src/linux/open-fd.ts';
import {unpackEvents} from '../../../src/watch/event-batch.ts';
import {readUntilStopped} from '../../../src/watch/inotify-reader.ts';
import type {WatchEvent} from '../../../src/watch/watcher.ts';
import {makeTmpDir} from '../../tmp.ts';

interface Step {
  untaken?: number;
  act?: () => void;
}

/** Runs one batch per step: `act` comes before it is read, `untaken` is how far the receiver is behind. */
function readSteps(root: string, steps: Step[]): WatchEvent[][] {
  const rootFd = openSync(root, 'r');
  const wakerFd = openWaker();
  onTestFinished(() => {
    closeSync(rootFd);
    closeFd(wakerFd);
  });
  const sent: WatchEvent[][] = [];
  let at = -1;
  let isReady = false;
  wake(wakerFd); // the loop never sleeps: each round is a step
  readUntilStopped(
    {rootFd, rootPath: root, skipDirs: [], wakerFd},
    {
      onReady: () => (isReady = true),
      send: (packed) => sent.push(unpackEvents(packed)),
      untaken: () => steps[at]?.untaken ?? 0,
      isStopped: () => at >= steps.length - 1,
      nowMs: () => {
        if (isReady) steps[++at]?.act?.();
        return at * 1_000;
      },
    },
  );
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
