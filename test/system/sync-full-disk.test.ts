/**
 * A target whose disk is too small: the old version stays whole, the path is listed, and with room it is done.
 */
import {randomBytes} from 'node:crypto';
import {mkdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command, compareByRsync, makePair, startLive, syncOnce} from '../sync/harness.ts';

const MIB = 1024 * 1024;

needsLoopMounts(needsCommands('mkfs.ext4')(describe))('a target of 64 MiB', () => {
  test('H7 a file grows from 4 to 100 MiB: the old one stays and it is listed; cut to 30 MiB it arrives', async () => {
    const disk = makeLoopFilesystem('ext4', 64);
    const pair = makePair();
    pair.target = join(disk.path, 'copy');
    const path = join(pair.source, 'big');
    writeFileSync(path, randomBytes(4 * MIB));
    writeFileSync(join(pair.source, 'small'), 'first\n');
    expect((await syncOnce(pair)).exitCode).toBe(0);
    const before = command('sha256sum', join(pair.target, 'big'));

    writeFileSync(path, randomBytes(100 * MIB));
    writeFileSync(join(pair.source, 'small'), 'second\n');
    const full = await syncOnce(pair);
    expect(full.exitCode, full.stderr).toBe(1);
    expect(full.result.problems).toMatchObject([{path: 'big', code: 'no-space', side: 'target'}]);
    expect(command('sha256sum', join(pair.target, 'big'))).toBe(before);
    expect(command('cat', join(pair.target, 'small'))).toBe('second\n');
    expect(command('find', full.result.folders.staging, '-type', 'f')).toBe('');

    writeFileSync(path, randomBytes(30 * MIB));
    const after = await syncOnce(pair);
    expect(after.exitCode, after.stderr).toBe(0);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
    disk.destroy();
  }, 60_000);

  test('H7 60 files of 512 KiB on 20 MiB: what fits arrives whole, the rest once there is room, without a restart', async () => {
    const disk = makeLoopFilesystem('ext4', 64);
    const pair = makePair();
    pair.target = join(disk.path, 'copy');
    mkdirSync(join(pair.source, 'many'));
    const blocker = join(disk.path, 'blocker');
    writeFileSync(blocker, Buffer.alloc(40 * MIB));
    for (let index = 0; index < 60; index++) writeFileSync(join(pair.source, 'many', `${index}`), randomBytes(MIB / 2));
    const live = startLive(pair);
    await live.waitForEvent(({event, code}) => event === 'problem' && code === 'no-space');
    // What is there is whole.
    await live.waitFor(
      () => command('find', join(pair.target, 'many'), '-name', '*', '-type', 'f').split('\n').length > 5,
    );
    expect(command('find', join(pair.target, 'many'), '-type', 'f', '!', '-size', `${MIB / 2}c`)).toBe('');
    rmSync(blocker);
    await live.waitInSync(40_000);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
    const run = await live.stop();
    expect(run.exitCode, run.stderr).toBe(0);
    disk.destroy();
  }, 90_000);
});
