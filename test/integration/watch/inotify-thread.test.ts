/** Many volumes on one reading thread: what one does, suffers or costs is not the others'. */
import {closeSync, mkdirSync, openSync, readdirSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {InotifyThread} from '../../../src/watch/inotify-thread.ts';
import {InotifyWatcher} from '../../../src/watch/inotify-watcher.ts';
import type {WatcherOptions, WatchEvent} from '../../../src/watch/watcher.ts';
import {needsCommands} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';
import {expectLine, watchInChild} from './in-child.ts';
import {expectCovered, expectEqual, expectSoon, isCovered, watchFolder, type MakeWatcher} from './watcher-contract.ts';

const unshareTest = needsCommands('unshare')(test);
const threads = (): number => readdirSync('/proc/self/task').length;

function sharedThread(): {thread: InotifyThread; make: MakeWatcher} {
  const thread = new InotifyThread();
  onTestFinished(() => thread.close());
  return {thread, make: (options: WatcherOptions) => new InotifyWatcher(options, {thread})};
}

test('20 volumes take one thread, and each hears of its own files only', async () => {
  const before = threads();
  const {make} = sharedThread();
  const volumes = [];
  for (let index = 0; index < 20; index++)
    volumes.push(await watchFolder(make, (root) => mkdirSync(join(root, 'sub'))));
  expect(threads()).toBe(before + 1);
  for (const [index, {root}] of volumes.entries()) writeFileSync(join(root, `sub/file-${index}`), '');
  for (const [index, volume] of volumes.entries()) {
    await expectCovered(volume, `sub/file-${index}`);
    await volume.watcher.drain();
    const told = volume.events.map((event) => (event.kind === 'name' ? event.name : event.kind));
    expect(new Set(told)).toEqual(new Set([`file-${index}`]));
  }
});

test('a volume that is closed, and one whose root is gone, leave the others running', async () => {
  const {make} = sharedThread();
  const [closed, gone, stays] = [await watchFolder(make), await watchFolder(make), await watchFolder(make)];
  await closed.watcher.close();
  renameSync(gone.root, `${gone.root}-away`);
  await expectSoon(() => expect(gone.events.at(-1)).toMatchObject({kind: 'root-gone'}));
  await expect(gone.watcher.drain()).resolves.toBeUndefined();
  for (const {root} of [closed, {root: `${gone.root}-away`}, stays]) writeFileSync(join(root, 'later'), '');
  await expectCovered(stays, 'later');
  await stays.watcher.drain();
  expect([closed.events, gone.events.length]).toEqual([[], 1]);
  expect(stays.events.some(({kind}) => kind === 'root-gone')).toBe(false);
});

test('a volume whose root cannot be watched is refused alone', async () => {
  const {make} = sharedThread();
  const stays = await watchFolder(make);
  const file = join(makeTmpDir(), 'file');
  writeFileSync(file, '');
  await expect(watchFolder(make, () => undefined, {rootPath: file})).rejects.toMatchObject({code: 'SYSTEM'});
  writeFileSync(join(stays.root, 'later'), '');
  await expectCovered(stays, 'later');
});

test('while a tree of 8,000 directories is being watched, changes in another volume are told again and again', async () => {
  const {make} = sharedThread();
  const ready = new AbortController();
  let batchesMeanwhile = 0;
  const onEvents = (): void => void (batchesMeanwhile += ready.signal.aborted ? 0 : 1);
  const small = await watchFolder(make, () => undefined, {onEvents});
  const big = join(makeTmpDir(), 'big');
  for (let index = 0; index < 8_000; index++) mkdirSync(join(big, `${index % 100}/${index}`), {recursive: true});
  const rootFd = openSync(big, 'r');
  const watcher = make({rootFd, rootPath: big, skipDirs: [], onEvents: () => undefined});
  const started = watcher.start().finally(() => ready.abort());
  for (let count = 0; !ready.signal.aborted; count++) {
    writeFileSync(join(small.root, `file ${count}`), '');
    await new Promise((resolve) => setTimeout(resolve, 2)); // a writer, not a wait
  }
  expect(await started).toEqual({watchedDirs: 8_101});
  expect(batchesMeanwhile).toBeGreaterThan(1); // one may have come just before the walk began
  closeSync(rootFd);
  await watcher.close();
});

test('a burst of 3,000 files in one volume is followed whole while another is walked after an event of its own', async () => {
  const {make} = sharedThread();
  const [one, two] = [await watchFolder(make), await watchFolder(make)];
  const tree = join(makeTmpDir(), 'tree');
  for (let index = 0; index < 2_000; index++) mkdirSync(join(tree, `${index % 50}/${index}`), {recursive: true});
  renameSync(tree, join(one.root, 'tree'));
  for (let index = 0; index < 3_000; index++) writeFileSync(join(two.root, String(index)), '');
  await Promise.all([expectEqual(one), expectEqual(two)]);
  writeFileSync(join(one.root, 'tree/7/1957/leaf'), '');
  await expectCovered(one, 'tree/7/1957/leaf');
});

test('a closed thread ends its watchers, and refuses new ones', async () => {
  const before = threads();
  const {thread, make} = sharedThread();
  const watched = await watchFolder(make);
  await thread.close();
  await expect.poll(threads).toBe(before);
  writeFileSync(join(watched.root, 'later'), '');
  await watched.watcher.close();
  await expect(watchFolder(make)).rejects.toMatchObject({code: 'CANCELLED'});
  expect(isCovered(watched.events, 'later')).toBe(false);
});

unshareTest('with 2 instances the third volume names the limit to raise, the first two go on', async () => {
  const roots = [makeTmpDir(), makeTmpDir(), makeTmpDir()];
  const child = watchInChild(roots, {max_inotify_instances: 2});
  const refused = await expectLine(child, {kind: 'refused', code: 'SYSTEM', root: 2});
  expect(refused['message']).toContain('fs.inotify.max_user_instances');
  for (const root of roots) writeFileSync(join(root, 'file'), '');
  await expectLine(child, {kind: 'name', name: 'file', root: 0});
  await expectLine(child, {kind: 'name', name: 'file', root: 1});
});

test('a receiver of one volume that throws nothing away is not taken for behind because another has many events', async () => {
  const {make} = sharedThread();
  const [busy, quiet] = [await watchFolder(make), await watchFolder(make)];
  for (let index = 0; index < 2_000; index++) writeFileSync(join(busy.root, `${index % 100}`), String(index));
  writeFileSync(join(quiet.root, 'file'), '');
  await Promise.all([busy.watcher.drain(), quiet.watcher.drain()]);
  const lost = (events: readonly WatchEvent[]): boolean => events.some(({kind}) => kind === 'overflow');
  expect([lost(quiet.events), isCovered(quiet.events, 'file'), busy.model.differences()]).toEqual([false, true, []]);
});
