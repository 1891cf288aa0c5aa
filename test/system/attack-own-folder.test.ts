/**
 * Towline's own folder where it has to lie in the target's root: a container can reach it there.
 */
import {lstatSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {HOUR_MS, hourOf, INDEX_NAME} from '../../src/apply/trash-index.ts';
import {makeOutside, Witness} from '../attack/outside.ts';
import {makeLoopFilesystem, type LoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command, makePair, startLive, syncOnce, type Pair} from '../sync/harness.ts';

const loopTest = needsLoopMounts(needsCommands('mkfs.ext4', 'mknod', 'mkfifo')(test));

/** A target on a filesystem of its own, so that staging and trash are in its root. */
function makeTarget(): {pair: Pair; disk: LoopFilesystem} {
  const disk = makeLoopFilesystem('ext4', 16, 'strictatime');
  return {pair: {...makePair(), target: join(disk.path, 'copy')}, disk};
}

loopTest(
  'I1 it is replaced by a symlink: refused with 8, nothing is written through it',
  async () => {
    const {pair, disk} = makeTarget();
    const lure = join(disk.path, 'lure');
    for (const name of ['', 'staging', 'trash']) mkdirSync(join(lure, name), {mode: 0o700});
    writeFileSync(join(lure, 'staging/b1-1'), 'looks like a leftover\n');
    writeFileSync(join(pair.source, 'file'), 'first\n');
    const live = startLive(pair);
    await live.waitInSync();
    const before = command('find', lure, '-printf', '%P %i %s %T@ %C@\n');
    renameSync(join(pair.target, '.towline'), join(pair.target, 'taken'));
    symlinkSync('../lure', join(pair.target, '.towline'));
    writeFileSync(join(pair.source, 'file'), 'second\n');
    const run = await live.end();
    expect(run.exitCode, run.stderr).toBe(8);
    expect(run.stderr).toContain('.towline');
    const again = await syncOnce(pair);
    expect(again.exitCode, again.stderr).toBe(8);
    expect(command('find', lure, '-printf', '%P %i %s %T@ %C@\n')).toBe(before);
    disk.destroy();
  },
  30_000,
);

function placeAt(path: string, kind: string, target: string): void {
  rmSync(path, {force: true});
  if (kind === 'device') command('mknod', path, 'c', '1', '3');
  else if (kind === 'fifo') command('mkfifo', path);
  else symlinkSync(target, path);
}

loopTest.each(['device', 'fifo', 'link'])(
  'I1 the index of the trash is a %s: it is not opened, the delete is a problem, and done once the index is gone',
  async (kind) => {
    const {pair, disk} = makeTarget();
    const outside = join(disk.path, 'outside');
    makeOutside(outside, {dirs: [], files: ['file']});
    for (const name of ['first', 'second']) writeFileSync(join(pair.source, name), `${name}\n`);
    await syncOnce(pair);
    rmSync(join(pair.source, 'first'));
    await syncOnce(pair);
    const hours = [0, HOUR_MS].map((ms) => join(pair.target, '.towline/trash', hourOf(Date.now() + ms)));
    const indexes = hours.map((hour) => join(hour, INDEX_NAME));
    for (const hour of hours) mkdirSync(hour, {recursive: true, mode: 0o700});
    for (const index of indexes) placeAt(index, kind, join(outside, 'file'));
    using witness = new Witness(outside, kind === 'link' ? [] : indexes);
    rmSync(join(pair.source, 'second'));
    const refused = await syncOnce(pair);
    expect(witness.faults()).toEqual([]);
    expect([refused.exitCode, refused.result.problems.map(({path}) => path)]).toEqual([1, ['second']]);
    expect(lstatSync(join(pair.target, 'second')).isFile()).toBe(true);
    for (const index of indexes) rmSync(index);
    const done = await syncOnce(pair);
    expect([done.exitCode, readdirSync(pair.target)]).toEqual([0, ['.towline']]);
    disk.destroy();
  },
  30_000,
);
