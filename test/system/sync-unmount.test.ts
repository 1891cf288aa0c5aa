/**
 * A source that is unmounted, in a single run and under a live one; an idle run keeps no mount busy.
 */
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import {makeLoopFilesystem, type LoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command, compareByRsync, makePair, startLive, syncOnce, type Pair} from '../sync/harness.ts';

const FILES = 30;
const namesIn = (folder: string): string => command('find', folder, '-printf', '%P %s %i\n');

needsLoopMounts(needsCommands('mkfs.ext4')(describe))('a source on a filesystem of its own', () => {
  let mount: LoopFilesystem;
  let pair: Pair;

  beforeAll(async () => {
    mount = makeLoopFilesystem('ext4', 16);
    const root = join(mount.path, 'data');
    mkdirSync(root);
    pair = makePair('file');
    pair.source = mount.path; // the root is the mount point itself: an unmount leaves an empty folder
    for (let index = 0; index < FILES; index++) writeFileSync(join(root, `file-${index}`), `${index}\n`);
    const run = await syncOnce(pair);
    expect(run.exitCode, run.stderr).toBe(0);
  }, 30_000);

  test.each([undefined, 'lazy'] as const)(
    'F3 unmounted (umount, %s) before a single run: 3, and 0 deletes',
    async (how) => {
      const before = namesIn(pair.target);
      mount.umount(how);
      const run = await syncOnce(pair);
      expect(run.exitCode, run.stderr).toBe(3);
      expect(run.stderr).toContain('unmounted');
      expect(namesIn(pair.target)).toBe(before);
      mount.mount();
      expect((await syncOnce(pair)).exitCode).toBe(0);
    },
  );

  test.each([undefined, 'lazy'] as const)(
    'F3 unmounted (umount, %s) under an idle live run: not busy, 3, 0 deletes',
    async (how) => {
      const live = startLive(pair);
      await live.waitInSync();
      writeFileSync(join(mount.path, 'data', 'now'), `${how}\n`);
      await live.waitFor(() => compareByRsync(pair.source, pair.target, '--exclude=lost+found') === '');
      await live.waitInSync();
      const before = namesIn(pair.target);
      mount.umount(how); // throws when anything keeps it busy
      const run = await live.end();
      expect(run.exitCode, run.stderr).toBe(3);
      expect(namesIn(pair.target)).toBe(before);
      mount.mount();
    },
  );
});

needsLoopMounts(needsCommands('mkfs.ext4')(test))(
  'F14 a target unmounted under an idle live run: not busy, 3, and nothing is written to the disk below',
  async () => {
    const mount = makeLoopFilesystem('ext4', 16);
    const pair = makePair();
    pair.target = mount.path;
    writeFileSync(join(pair.source, 'file'), 'first\n');
    const live = startLive(pair);
    await live.waitInSync();
    mount.umount();
    writeFileSync(join(pair.source, 'file'), 'second\n');
    const run = await live.end();
    expect(run.exitCode, run.stderr).toBe(3);
    expect(run.stderr).toContain('unmounted');
    expect(command('find', mount.path, '-mindepth', '1')).toBe('');
    expect((await syncOnce(pair)).exitCode).toBe(3);
    expect(command('find', mount.path, '-mindepth', '1')).toBe('');
    mount.mount();
    const after = await syncOnce(pair);
    expect(after.exitCode, after.stderr).toBe(0);
    expect(command('cat', join(mount.path, 'file'))).toBe('second\n');
    mount.destroy();
  },
  30_000,
);
