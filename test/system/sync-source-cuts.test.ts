/**
 * A power cut on the source that takes back what was read, sent and proved: the older bytes are there again under the newer
 * times. The next run finds it, and sends it.
 */
import {closeSync, fsyncSync, openSync, statSync, writeFileSync, writeSync} from 'node:fs';
import {randomBytes} from 'node:crypto';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {bootedAnew, makePoweredDisk, POWER_COMMANDS} from '../power.ts';
import {command, compareByRsync, makePair, startLive, syncOnce, type Pair} from '../sync/harness.ts';
import {makeTmpDir} from '../tmp.ts';

const SIZE = 20_000;
const LARGE = 300_000;

function syncedWrite(path: string, bytes: Buffer, flags = 'w'): void {
  const fd = openSync(path, flags);
  writeSync(fd, bytes);
  fsyncSync(fd);
  closeSync(fd);
}

/** In place, as a database does, and not synced. */
function writeInPlace(path: string, bytes: Buffer): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes);
  closeSync(fd);
}

/** What a scan can see of a file without reading it. */
function facesOf(pair: Pair): string[] {
  return ['page', 'large'].map((name) => {
    const {ino, size, mtimeNs, ctimeNs} = statSync(join(pair.source, name), {bigint: true});
    return [ino, size, mtimeNs, ctimeNs].join(' ');
  });
}

const powered = needsLoopMounts(needsCommands('rsync', ...POWER_COMMANDS)(test));

for (const kind of ['ext4', 'xfs'] as const)
  for (const how of ['single runs', 'a live run that is killed'] as const)
    powered(
      `H14 ${kind}, ${how}: two acknowledged writes in place that a power cut took back are found and sent`,
      async () => {
        const disk = makePoweredDisk(kind);
        const pair = makePair('test', disk.path);
        const away = makeTmpDir();
        pair.target = join(away, 'target');
        pair.state = join(away, 'state');
        const old = {page: randomBytes(SIZE), large: randomBytes(LARGE)};
        for (const [name, bytes] of Object.entries(old)) syncedWrite(join(pair.source, name), bytes);
        for (let index = 0; index < 20; index++) syncedWrite(join(pair.source, `other-${index}`), randomBytes(3_000));
        command('sync', '-f', pair.source);

        const rewrite = (): void => {
          writeInPlace(join(pair.source, 'page'), randomBytes(SIZE));
          writeInPlace(join(pair.source, 'large'), randomBytes(LARGE));
        };
        if (how === 'single runs') {
          expect((await syncOnce(pair)).exitCode).toBe(0);
          rewrite();
          expect((await syncOnce(pair)).exitCode).toBe(0);
        } else {
          const live = startLive(pair);
          await live.waitInSync(90_000);
          rewrite();
          await live.waitFor(() => compareByRsync(pair.source, pair.target) === '');
          await live.waitInSync(90_000);
          await live.stop('SIGKILL');
        }
        expect(compareByRsync(pair.source, pair.target)).toBe('');
        syncedWrite(join(pair.source, 'neighbour'), Buffer.from('synced\n')); // takes the times of the others to the disk
        const before = facesOf(pair);
        disk.cut();
        disk.powerUp();
        expect(facesOf(pair)).toEqual(before);
        expect(command('sha256sum', join(pair.source, 'page'))).not.toBe(
          command('sha256sum', join(pair.target, 'page')),
        );

        const run = await syncOnce(pair, [], {wrapper: bootedAnew(away)});
        expect(run.exitCode, run.stderr).toBe(0);
        expect(compareByRsync(pair.source, pair.target)).toBe('');
        expect(statSync(join(pair.target, 'page')).size).toBe(SIZE);
        // What was not taken back was read, not sent.
        expect(run.result.stats['filesSent']).toBe(3);
        disk.destroy();
      },
      60_000,
    );

powered(
  'H14 control: without another boot the same power cut is not found',
  async () => {
    const disk = makePoweredDisk('ext4');
    const pair = makePair('test', disk.path);
    const away = makeTmpDir();
    [pair.target, pair.state] = [join(away, 'target'), join(away, 'state')];
    for (const name of ['page', 'large']) syncedWrite(join(pair.source, name), randomBytes(SIZE));
    expect((await syncOnce(pair)).exitCode).toBe(0);
    writeInPlace(join(pair.source, 'page'), randomBytes(SIZE));
    expect((await syncOnce(pair)).exitCode).toBe(0);
    syncedWrite(join(pair.source, 'neighbour'), Buffer.from('synced\n'));
    const before = facesOf(pair);
    disk.cut();
    disk.powerUp();
    expect(facesOf(pair)).toEqual(before);
    expect((await syncOnce(pair)).exitCode).toBe(0);
    expect(compareByRsync(pair.source, pair.target)).toContain('page');
    writeFileSync(join(pair.source, 'page'), 'the next change is found\n');
    expect((await syncOnce(pair)).exitCode).toBe(0);
    expect(compareByRsync(pair.source, pair.target)).toBe('');
    disk.destroy();
  },
  60_000,
);
