/** The chokidar back end in its jail, asking the kernel and polling: the shared suite, and its limits. */
import {execFileSync, spawnSync} from 'node:child_process';
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {ChokidarWatcher} from '../../../src/watch/chokidar-watcher.ts';
import {JailedChokidar} from '../../../src/watch/jailed-chokidar.ts';
import type {WatcherOptions} from '../../../src/watch/watcher.ts';
import {needsRoot} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';
import {describeWatcherContract, expectCovered, expectSoon, watchFolder} from './watcher-contract.ts';

describeWatcherContract('chokidar', (options) => new JailedChokidar(options, {usePolling: false}), {
  seesModes: true,
  follows: 'everything',
  drains: false,
});
describeWatcherContract('polling chokidar', (options) => new JailedChokidar(options, {usePolling: true, pollMs: 20}), {
  seesModes: false,
  follows: 'files',
  drains: false,
});

describe('chokidar alone', () => {
  test('its refusals come out of the jail, with the path that people know', async () => {
    const fill = (root: string): void => [1, 2].forEach((name) => writeFileSync(join(root, String(name)), ''));
    const started = watchFolder((options) => new JailedChokidar(options, {usePolling: false, entriesMax: 1}), fill);
    await expect(started).rejects.toMatchObject({code: 'REFUSED', message: expect.stringMatching(/^\/.*\/root holds/)});
  });

  needsRoot(test)('does not keep its volume from being unmounted, and says then that the root is gone', async () => {
    const rootPath = makeTmpDir();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'towline-test', rootPath]);
    onTestFinished(() => void spawnSync('umount', ['-l', rootPath]));
    const make = (options: WatcherOptions): JailedChokidar => new JailedChokidar(options, {usePolling: false});
    const watched = await watchFolder(make, (root) => mkdirSync(join(root, 'dir')), {rootPath});
    writeFileSync(join(rootPath, 'dir/file'), '');
    await expectCovered(watched, 'dir/file');
    execFileSync('umount', [rootPath]);
    await expectSoon(() => expect(watched.events.at(-1)).toMatchObject({kind: 'root-gone'}));
  });

  test('of 300 names at once, each of 3,800 characters that are six in JSON, all are told', async () => {
    const dir = Array.from({length: 14}, () => '\x01'.repeat(255)).join('/');
    const make = (options: WatcherOptions): JailedChokidar => new JailedChokidar(options, {usePolling: false});
    const watched = await watchFolder(make, (root) => mkdirSync(join(root, dir), {recursive: true}));
    const child = childOfThis('chokidar.child');
    process.kill(child, 'SIGSTOP');
    for (let index = 0; index < 300; index++)
      writeFileSync(join(watched.root, dir, `${'\x01'.repeat(200)}${index}`), '');
    process.kill(child, 'SIGCONT');
    const told = (): Set<string> => new Set(watched.events.flatMap((event) => ('name' in event ? [event.name] : [])));
    await expectSoon(() => expect(told().size).toBe(300));
    expect(watched.events.filter(({kind}) => kind === 'overflow' || kind === 'degraded')).toEqual([]);
  });

  test('whose process dies leaves nobody waiting: the tree is polled, and what is told is told', async () => {
    const make = (options: WatcherOptions): JailedChokidar => new JailedChokidar(options, {usePolling: false});
    const watched = await watchFolder(make, () => undefined);
    process.kill(childOfThis('chokidar.child'), 'SIGSTOP');
    const drained = watched.watcher.drain();
    process.kill(childOfThis('chokidar.child'), 'SIGKILL');
    await drained;
    expect(watched.events.at(-1)).toMatchObject({kind: 'degraded', unwatchedDirs: 1});
    await watched.watcher.drain();
  });

  test('has the directory listed when a name in it is not UTF-8', async () => {
    const watched = await watchFolder(
      (options) => new ChokidarWatcher(options, {usePolling: false}),
      (root) => mkdirSync(join(root, 'dir')),
    );
    writeFileSync(Buffer.concat([Buffer.from(`${watched.root}/dir/`), Buffer.from([0xff, 0xfe])]), '');
    await expectCovered(watched, 'dir/\xff\xfe');
    expect(watched.events).toContainEqual({kind: 'listing', dir: 'dir'});
  });

  test('refuses a tree of 11 entries where 10 are allowed', async () => {
    const started = watchFolder(
      (options) => new ChokidarWatcher(options, {usePolling: false, entriesMax: 10}),
      (root) => {
        for (let index = 0; index < 11; index++) writeFileSync(join(root, String(index)), '');
      },
    );
    await expect(started).rejects.toMatchObject({code: 'REFUSED'});
  });

  test('gives up and says so when a tree grows from 9 to 11 entries where 10 are allowed', async () => {
    const watched = await watchFolder(
      (options) => new ChokidarWatcher(options, {usePolling: false, entriesMax: 10}),
      (root) => {
        for (let index = 0; index < 9; index++) writeFileSync(join(root, String(index)), '');
      },
    );
    for (const name of ['x', 'y']) writeFileSync(join(watched.root, name), '');
    await expectSoon(() => expect(watched.events.at(-1)).toMatchObject({kind: 'degraded', unwatchedDirs: 1}));
  });
});

/** @param script of the newest child process that runs it */
function childOfThis(script: string): number {
  const list = execFileSync('pgrep', ['-n', '-P', String(process.pid), '-f', script], {encoding: 'utf8'});
  return Number(list);
}
