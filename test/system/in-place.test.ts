/**
 * `sync --in-place-above`: a large file on a full enough disk, changed while processes die. Judged by sha256sum and rsync.
 */
import {closeSync, existsSync, openSync, readdirSync, statfsSync, statSync, writeFileSync, writeSync} from 'node:fs';
import {randomBytes} from 'node:crypto';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {describe, expect, test} from 'vitest';
import {judge} from '../judge/judge.ts';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command, startLive, syncOnce, type Pair, type Run} from '../sync/harness.ts';
import {makeTmpDir} from '../tmp.ts';

const SIZE_BYTES = 48 << 20;
const ABOVE = ['--in-place-above', '1MiB'];
const KILLS = 8;

/** A source with one large file; its target's disk has no room for a second copy. */
function makeTight(): {pair: Pair; disk: string; file: string; copy: string} {
  const disk = makeLoopFilesystem('ext4', 96).path;
  const base = makeTmpDir();
  const pair = {source: join(base, 'source'), target: join(disk, 'target'), state: join(base, 'state')};
  command('mkdir', pair.source);
  const file = join(pair.source, 'image');
  writeFileSync(file, randomBytes(SIZE_BYTES));
  return {pair, disk, file, copy: join(pair.target, 'image')};
}

function fill(disk: string, leaveBytes: number): void {
  const {bavail, bsize} = statfsSync(disk);
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(Math.max(0, bavail * bsize - leaveBytes)));
}

/** Pages all over the file. */
function edit(file: string, count: number): void {
  const fd = openSync(file, 'r+');
  for (let each = 0; each < count; each++)
    writeSync(fd, randomBytes(4_096), 0, 4_096, Math.floor(Math.random() * (SIZE_BYTES / 4_096)) * 4_096);
  closeSync(fd);
}

/** Once nothing is on its way the folder may be gone. */
function stagedIn({result}: Run): string[] {
  const {staging} = result.folders;
  return existsSync(staging) ? readdirSync(staging) : [];
}

const digestOf = (path: string): string => command('sha256sum', path).split(' ')[0]!;

needsLoopMounts(needsCommands('rsync', 'sha256sum')(describe))('files changed in place', {timeout: 240_000}, () => {
  test('H7 a file of which no second copy fits: refused whole, equal in place, and only its changes are sent', async () => {
    const {pair, disk, file, copy} = makeTight();
    expect((await syncOnce(pair)).exitCode).toBe(0);
    fill(disk, 16 << 20);
    edit(file, 20);
    const whole = await syncOnce(pair);
    expect(whole.exitCode).toBe(1);
    expect(whole.result.problems).toMatchObject([{path: 'image', code: 'no-space'}]);
    const {ino} = statSync(copy);
    const inPlace = await syncOnce(pair, ABOVE);
    expect(inPlace.exitCode).toBe(0);
    expect(inPlace.result.stats['contentBytes']).toBeLessThan(4 << 20);
    expect(digestOf(copy)).toBe(digestOf(file));
    expect(statSync(copy).ino).toBe(ino);
    expect(await judge(pair.source, pair.target)).toEqual([]);
    expect(stagedIn(inPlace)).toEqual([]);
  });

  test(`H4 killed ${KILLS} times while it is changed: the next run makes both equal, from changes alone`, async () => {
    const {pair, disk, file, copy} = makeTight();
    expect((await syncOnce(pair)).exitCode).toBe(0);
    fill(disk, 24 << 20);
    for (let kill = 0; kill < KILLS; kill++) {
      const live = startLive(pair, [...ABOVE, '--settle', '0ms']);
      await live.waitInSync();
      for (let changes = 0; changes < 3; changes++) {
        edit(file, 100);
        await sleep(Math.random() * 400);
      }
      await live.stop('SIGKILL');
    }
    const last = await syncOnce(pair, ABOVE);
    expect(last.exitCode).toBe(0);
    expect(digestOf(copy)).toBe(digestOf(file));
    expect(await judge(pair.source, pair.target)).toEqual([]);
    expect(stagedIn(last)).toEqual([]);
  });
});
