/**
 * What every watcher must do, on real files. Each back end runs this suite, with what it cannot do named.
 */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test, vi} from 'vitest';
import {isWithin, joinPath, parentOf, type RelPath} from '../../../src/model/path.ts';
import type {Watcher, WatcherOptions, WatchEvent} from '../../../src/watch/watcher.ts';
import {makeTmpDir} from '../../tmp.ts';
import {MirrorModel} from './mirror-model.ts';
import {operate, randomFrom} from './operate.ts';

export type MakeWatcher = (options: WatcherOptions) => Watcher;

export interface Watched {
  root: string;
  watcher: Watcher;
  watchedDirs: number;
  events: WatchEvent[];
  model: MirrorModel;
}

/** Makes a folder (filled by `fill`) and watches it until the test ends. */
export async function watchFolder(
  make: MakeWatcher,
  fill: (root: string) => void = () => {},
  options: Partial<WatcherOptions> = {},
): Promise<Watched> {
  const root = options.rootPath ?? join(makeTmpDir(), 'root');
  if (options.rootPath === undefined) mkdirSync(root);
  fill(root);
  const rootFd = openSync(root, 'r');
  const events: WatchEvent[] = [];
  const model = new MirrorModel(root);
  const onEvents = (batch: WatchEvent[]): void => {
    events.push(...batch);
    model.take(batch);
  };
  const watcher = make({rootFd, rootPath: root, skipDirs: ['.towline'], onEvents, ...options});
  onTestFinished(() => watcher.close());
  const {watchedDirs} = await watcher.start();
  closeSync(rootFd); // a watcher holds nothing of a volume once it has started
  return {root, watcher, watchedDirs, events, model};
}

/** Whether somebody who follows the events looks at `path`. */
export function covers(event: WatchEvent, path: RelPath): boolean {
  switch (event.kind) {
    case 'name':
      return event.dir === path || joinPath(event.dir, event.name) === path;
    case 'subtree':
      return isWithin(path, event.dir);
    case 'listing':
      return event.dir === path || event.dir === parentOf(path);
    case 'overflow':
      return true;
    default:
      return false;
  }
}

export const isCovered = (events: readonly WatchEvent[], path: RelPath): boolean =>
  events.some((event) => covers(event, path));

/** Waits until a condition holds; the test fails with its last error after 5 s. */
export const expectSoon = (condition: () => void): Promise<void> =>
  vi.waitFor(condition, {timeout: 5_000, interval: 5});

export const expectCovered = (watched: Watched, ...paths: RelPath[]): Promise<void> =>
  expectSoon(() => expect(paths.filter((path) => !isCovered(watched.events, path))).toEqual([]));

export const expectEqual = (watched: Watched): Promise<void> =>
  expectSoon(() => expect(watched.model.differences()).toEqual([]));

const openFds = (): number => readdirSync('/proc/self/fd').length;
const threads = (): number => readdirSync('/proc/self/task').length;

export interface WatcherAbilities {
  /** Whether a change of the mode alone is told. */
  seesModes: boolean;
  /** What may come and go in a storm of changes without being lost. */
  follows: 'everything' | 'files';
  /** Whether `drain` gives out all that was changed before it, or only what the watcher had noticed by itself. */
  drains: boolean;
}

export function describeWatcherContract(title: string, make: MakeWatcher, options: WatcherAbilities): void {
  describe(`the ${title} watcher`, () => {
    test('tells of a file that is created, and of one written without being closed', async () => {
      const watched = await watchFolder(make, (root) => writeFileSync(join(root, 'old'), 'one'));
      writeFileSync(join(watched.root, 'new'), 'two');
      const fd = openSync(join(watched.root, 'old'), 'a');
      onTestFinished(() => closeSync(fd));
      writeSync(fd, 'three');
      await expectCovered(watched, 'new', 'old');
      await expectEqual(watched);
    });

    test(options.seesModes ? 'tells of a mode that changes alone' : 'misses a mode that changes alone', async () => {
      const watched = await watchFolder(make, (root) => writeFileSync(join(root, 'file'), ''));
      chmodSync(join(watched.root, 'file'), 0o600);
      if (options.seesModes) await expectCovered(watched, 'file');
      mkdirSync(join(watched.root, 'later'));
      writeFileSync(join(watched.root, 'later/file'), '');
      await expectCovered(watched, 'later/file');
      expect(watched.events.some((event) => event.kind === 'name' && event.name === 'file' && event.dir === '')).toBe(
        options.seesModes,
      );
    });

    test('tells of renames within a directory and across directories', async () => {
      const watched = await watchFolder(make, (root) => {
        mkdirSync(join(root, 'from/deep/deeper'), {recursive: true});
        mkdirSync(join(root, 'to'));
        writeFileSync(join(root, 'from/file'), '1');
        writeFileSync(join(root, 'from/deep/deeper/leaf'), '2');
      });
      renameSync(join(watched.root, 'from/file'), join(watched.root, 'from/file2'));
      await expectCovered(watched, 'from/file', 'from/file2');
      renameSync(join(watched.root, 'from/deep'), join(watched.root, 'to/deep'));
      await expectCovered(watched, 'from/deep', 'to/deep');
      await expectEqual(watched);
      watched.events.length = 0;
      appendFileSync(join(watched.root, 'to/deep/deeper/leaf'), '3');
      await expectCovered(watched, 'to/deep/deeper/leaf');
      await expectEqual(watched);
    });

    test('D1 covers a file 4 directories down that are made with it in one go', async () => {
      const watched = await watchFolder(make);
      mkdirSync(join(watched.root, 'a/b/c/d'), {recursive: true});
      writeFileSync(join(watched.root, 'a/b/c/d/file'), 'x');
      await expectCovered(watched, 'a', 'a/b', 'a/b/c', 'a/b/c/d', 'a/b/c/d/file');
      await expectEqual(watched);
    });

    test('tells of a tree of 50 files that is moved in, and of a change in it afterwards', async () => {
      const watched = await watchFolder(make);
      const outside = join(makeTmpDir(), 'tree');
      mkdirSync(join(outside, 'x/y'), {recursive: true});
      for (let index = 0; index < 50; index++) writeFileSync(join(outside, `x/y/${index}`), '');
      renameSync(outside, join(watched.root, 'tree'));
      await expectEqual(watched);
      writeFileSync(join(watched.root, 'tree/x/y/7'), 'later');
      await expectEqual(watched);
    });

    test('tells of files, links and whole trees that are deleted', async () => {
      const watched = await watchFolder(make, (root) => {
        mkdirSync(join(root, 'tree/sub'), {recursive: true});
        writeFileSync(join(root, 'tree/sub/file'), '');
        writeFileSync(join(root, 'file'), '');
        symlinkSync('nowhere', join(root, 'link'));
      });
      rmSync(join(watched.root, 'tree'), {recursive: true});
      rmSync(join(watched.root, 'file'));
      rmSync(join(watched.root, 'link'));
      await expectCovered(watched, 'tree', 'file', 'link');
      await expectEqual(watched);
    });

    test('sees a name with a newline as it is, and mentions nothing of a reserved directory', async () => {
      const watched = await watchFolder(make, (root) => mkdirSync(join(root, '.towline')));
      writeFileSync(join(watched.root, '.towline/stage'), '');
      mkdirSync(join(watched.root, '.towline/more'));
      chmodSync(join(watched.root, '.towline'), 0o700);
      writeFileSync(join(watched.root, 'two\nlines ü'), '');
      const name = Buffer.from('two\nlines ü').toString('latin1');
      await expectCovered(watched, name);
      await expectSoon(() => expect(watched.events).toContainEqual(expect.objectContaining({kind: 'name', name})));
      expect(JSON.stringify(watched.events)).not.toContain('.towline');
    });

    test('does not follow a symlink to a directory outside', async () => {
      const outside = makeTmpDir();
      const watched = await watchFolder(make, (root) => symlinkSync(outside, join(root, 'out')));
      writeFileSync(join(outside, 'secret'), '');
      writeFileSync(join(watched.root, 'seen'), '');
      await expectCovered(watched, 'seen');
      expect(JSON.stringify(watched.events)).not.toContain('secret');
    });

    test('D6 says that the root is gone when it is renamed away', async () => {
      const watched = await watchFolder(make, (root) => writeFileSync(join(root, 'file'), ''));
      renameSync(watched.root, `${watched.root}-away`);
      await expectSoon(() => expect(watched.events.at(-1)).toMatchObject({kind: 'root-gone'}));
    });

    test('D6 says that the root is gone when another directory takes its place', async () => {
      const watched = await watchFolder(make, (root) => writeFileSync(join(root, 'file'), ''));
      renameSync(watched.root, `${watched.root}-away`);
      mkdirSync(watched.root);
      writeFileSync(join(watched.root, 'stranger'), '');
      await expectSoon(() => expect(watched.events.at(-1)).toMatchObject({kind: 'root-gone'}));
      expect(JSON.stringify(watched.events)).not.toContain('stranger');
    });

    test(`D7 lets a mirror that looks only where it is told follow 500 random operations on ${options.follows}`, async () => {
      for (const seed of [1, 2]) {
        const watched = await watchFolder(make);
        const random = randomFrom(seed);
        for (let count = 0; count < 500; count++) {
          operate(watched.root, random, options.follows);
          // Now and then the watcher gets a moment, so that it meets trees in every stage.
          if (random(20) === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        await expectEqual(watched);
        await watched.watcher.close();
      }
    });

    test(`drain ${options.drains ? 'gives out what 1,000 changes before it caused' : 'resolves; the changes may come later'}`, async () => {
      const watched = await watchFolder(make, (root) => mkdirSync(join(root, 'old/sub'), {recursive: true}));
      for (let index = 0; index < 1_000; index++) writeFileSync(join(watched.root, `old/${index}`), '');
      renameSync(join(watched.root, 'old'), join(watched.root, 'new'));
      mkdirSync(join(watched.root, 'new/sub/deep'));
      writeFileSync(join(watched.root, 'new/sub/deep/last'), '');
      await watched.watcher.drain();
      if (options.drains) {
        expect(isCovered(watched.events, 'new/sub/deep/last')).toBe(true);
        expect(watched.model.differences()).toEqual([]);
        await Promise.all([watched.watcher.drain(), watched.watcher.drain()]);
      }
      await expectEqual(watched);
      await watched.watcher.close();
      await expect(watched.watcher.drain()).rejects.toMatchObject({code: 'CANCELLED'});
    });

    test('leaves no thread and no descriptor behind after close', async () => {
      const warmUp = await watchFolder(make);
      await warmUp.watcher.close();
      const [fds, tasks] = [openFds(), threads()];
      const watched = await watchFolder(make, (root) => mkdirSync(join(root, 'sub')));
      writeFileSync(join(watched.root, 'sub/file'), '');
      await expectCovered(watched, 'sub/file');
      await watched.watcher.close();
      const count = watched.events.length;
      writeFileSync(join(watched.root, 'sub/file2'), '');
      await expectSoon(() => expect([openFds(), threads()]).toEqual([fds, tasks]));
      expect(watched.events.length).toBe(count);
    });

    test('can be closed before it is ready, and twice', async () => {
      const root = makeTmpDir();
      const rootFd = openSync(root, 'r');
      const watcher = make({rootFd, rootPath: root, skipDirs: [], onEvents: () => {}});
      const started = watcher.start().then(
        () => 'ready',
        (error: {code: string}) => error.code,
      );
      await watcher.close();
      await watcher.close();
      expect(['ready', 'CANCELLED']).toContain(await started);
      closeSync(rootFd);
    });
  });
}
