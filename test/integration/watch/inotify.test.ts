/** The inotify back end: the shared suite, and what only it can do. */
import {spawn, spawnSync} from 'node:child_process';
import {chmodSync, mkdirSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, describe, expect, test} from 'vitest';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';
import {renameAt} from '../../../src/linux/files.ts';
import {InotifyThread} from '../../../src/watch/inotify-thread.ts';
import {InotifyWatcher} from '../../../src/watch/inotify-watcher.ts';
import type {WatcherOptions} from '../../../src/watch/watcher.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';
import {expectLine, watchInChild} from './in-child.ts';
import {describeWatcherContract, expectCovered, expectEqual, expectSoon, watchFolder} from './watcher-contract.ts';

const unshareTest = needsCommands('unshare')(test);
const mountTest = needsLoopMounts(test);
const make = (options: WatcherOptions): InotifyWatcher => new InotifyWatcher(options);

const abilities = {seesModes: true, follows: 'everything', drains: true} as const;
const thread = new InotifyThread();
afterAll(() => thread.close());

describeWatcherContract('inotify', make, abilities);
describeWatcherContract('inotify (thread shared)', (options) => new InotifyWatcher(options, {thread}), abilities);

describe('inotify alone', () => {
  test('keeps the bytes of a name that is not UTF-8, also of a directory', async () => {
    const watched = await watchFolder(make);
    const dir = Buffer.concat([Buffer.from(`${watched.root}/`), Buffer.from([0xff, 0x2d, 0xc3])]);
    mkdirSync(dir);
    await expectCovered(watched, '\xff-\xc3');
    writeFileSync(Buffer.concat([dir, Buffer.from([0x2f, 0x80])]), '');
    await expectSoon(() =>
      expect(watched.events).toContainEqual(
        expect.objectContaining({kind: 'name', dir: '\xff-\xc3', name: '\x80', change: 'created'}),
      ),
    );
  });

  test('gives the two halves of a rename one cookie, and says nothing more of a quiet tree', async () => {
    const watched = await watchFolder(make, (root) => {
      mkdirSync(join(root, 'from'));
      mkdirSync(join(root, 'to'));
      writeFileSync(join(root, 'from/file'), '');
    });
    renameSync(join(watched.root, 'from/file'), join(watched.root, 'to/file2'));
    await expectSoon(() => expect(watched.events).toHaveLength(2));
    const [from, to] = watched.events;
    expect(from).toMatchObject({kind: 'name', dir: 'from', name: 'file', change: 'moved-from', isDir: false});
    expect(to).toMatchObject({kind: 'name', dir: 'to', name: 'file2', change: 'moved-to', isDir: false});
    expect(from).toHaveProperty('cookie', to?.kind === 'name' ? to.cookie : 'none');
    expect(to).not.toHaveProperty('cookie', 0);
  });

  test('follows two directories that are exchanged', async () => {
    const watched = await watchFolder(make, (root) => {
      for (const name of ['one', 'two']) mkdirSync(join(root, name, 'sub'), {recursive: true});
      writeFileSync(join(root, 'one/sub/first'), '');
    });
    const fd = openDirPath(watched.root);
    renameAt(fd, 'one', fd, 'two', 'exchange');
    closeFd(fd);
    await expectEqual(watched);
    writeFileSync(join(watched.root, 'one/sub/x'), '');
    writeFileSync(join(watched.root, 'two/sub/y'), '');
    await expectCovered(watched, 'one/sub/x', 'two/sub/y');
    await expectEqual(watched);
  });

  test('watches a chain of 400 directories that appears at once', async () => {
    const watched = await watchFolder(make);
    const path = Array.from({length: 400}, () => 'deep').join('/');
    mkdirSync(join(watched.root, path), {recursive: true});
    await expectCovered(watched, path);
    writeFileSync(join(watched.root, path, 'leaf'), '');
    await expectCovered(watched, `${path}/leaf`);
  });

  test('lets go of a tree that is moved out of the volume', async () => {
    const watched = await watchFolder(make, (root) => mkdirSync(join(root, 'tree/sub'), {recursive: true}));
    const outside = join(makeTmpDir(), 'tree');
    const before = watchesOfThisProcess();
    renameSync(join(watched.root, 'tree'), outside);
    await expectSoon(() => expect(watchesOfThisProcess()).toBe(before - 2));
    writeFileSync(join(outside, 'sub/file'), '');
    writeFileSync(join(watched.root, 'seen'), '');
    await expectCovered(watched, 'seen');
    expect(JSON.stringify(watched.events)).not.toContain('file');
  });

  test('can follow another process that makes 2,000 random operations without a pause', async () => {
    const watched = await watchFolder(make);
    const script = `
      import {operate, randomFrom} from ${JSON.stringify(new URL('operate.ts', import.meta.url).href)};
      const random = randomFrom(7);
      for (let count = 0; count < 2000; count++) operate(${JSON.stringify(watched.root)}, random, 'everything');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    expect(await new Promise((resolve) => child.on('exit', resolve))).toBe(0);
    await expectEqual(watched);
  });

  mountTest('does not enter a mount, does not keep its own busy, and says when it is unmounted', async () => {
    const outer = makeLoopFilesystem('tmpfs', 1);
    mkdirSync(join(outer.path, 'inner'));
    const mounted = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', join(outer.path, 'inner')]);
    expect(mounted.status).toBe(0);
    const watched = await watchFolder(make, () => {}, {rootPath: outer.path});
    expect(watched.watchedDirs).toBe(1);
    writeFileSync(join(outer.path, 'inner/hidden'), '');
    writeFileSync(join(outer.path, 'seen'), '');
    await expectCovered(watched, 'seen');
    expect(JSON.stringify(watched.events)).not.toContain('hidden');
    expect(spawnSync('umount', [join(outer.path, 'inner')]).status).toBe(0);
    outer.umount();
    await expectSoon(() =>
      expect(watched.events.at(-1)).toEqual({kind: 'root-gone', reason: 'its filesystem was unmounted'}),
    );
  });
});

describe('inotify at its limits', () => {
  test('D2 notices that events were lost while its process was stopped, and watches what appeared meanwhile', async () => {
    const root = makeTmpDir();
    for (const name of ['a', 'b']) writeFileSync(join(root, name), '');
    const child = watchInChild(root);
    await expectLine(child, {kind: 'ready', watchedDirs: 1});
    child.process.kill('SIGSTOP');
    // Two files in turn: the kernel makes one event of equal ones in a row. 16,384 fill its queue.
    for (let count = 0; count < 10_000; count++) {
      chmodSync(join(root, 'a'), 0o600 + (count % 2));
      chmodSync(join(root, 'b'), 0o600 + (count % 2));
    }
    mkdirSync(join(root, 'new/sub'), {recursive: true});
    child.process.kill('SIGCONT');
    await expectLine(child, {kind: 'overflow'});
    writeFileSync(join(root, 'new/sub/file'), '');
    await expectLine(child, {kind: 'name', dir: 'new/sub', name: 'file', change: 'created'});
  });

  unshareTest('D3 goes on with 5 watches for 8 directories, and says how many are not watched', async () => {
    const root = makeTmpDir();
    for (let index = 0; index < 7; index++) mkdirSync(join(root, `dir${index}`));
    const child = watchInChild(root, {max_inotify_watches: 5});
    await expectLine(child, {kind: 'ready', watchedDirs: 5});
    await expectLine(child, {kind: 'degraded', unwatchedDirs: 3});
    writeFileSync(join(root, 'seen'), '');
    await expectLine(child, {kind: 'name', dir: '', name: 'seen'});
    mkdirSync(join(root, 'dir7'));
    await expectLine(child, {kind: 'degraded', unwatchedDirs: 4});
  });

  unshareTest('names the limit to raise when no instance is left', async () => {
    const child = watchInChild(makeTmpDir(), {max_inotify_instances: 0});
    const refused = await expectLine(child, {kind: 'refused', code: 'SYSTEM'});
    expect(refused['message']).toContain('fs.inotify.max_user_instances');
  });
});

function watchesOfThisProcess(): number {
  const script = 'cat /proc/$PPID/fdinfo/* 2>/dev/null | grep -c ^inotify';
  return Number(spawnSync('sh', ['-c', script], {encoding: 'utf8'}).stdout);
}
