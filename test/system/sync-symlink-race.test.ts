/**
 * Processes in the volume that keep swapping a directory for a symlink to a folder outside, in the source and in the
 * target, while a live run carries changes through that name. Longer: TOWLINE_TEST_RACE_S=60.
 */
import {chmodSync, lstatSync, mkdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {Worker} from 'node:worker_threads';
import {expect, onTestFinished, test} from 'vitest';
import {closeFd, openDirPath} from '../../src/linux/open-fd.ts';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts, needsRoot} from '../needs.ts';
import {command, compareByRsync, makePair, startLive, syncOnce} from '../sync/harness.ts';

const RACE_MS = Number(process.env['TOWLINE_TEST_RACE_S'] ?? 6) * 1_000;
const FILES = 20;
const MARKER = 'this must never be read';

/** Swaps `lure` for another name in a folder. @returns ends it, and says how often it has swapped */
function swapper(folder: string, name: string): () => Promise<number> {
  const dirFd = openDirPath(folder);
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL('../sync/swap.worker.ts', import.meta.url), {
    workerData: {dirFd, names: [name, 'lure'], shared},
  });
  const ended = new Promise<void>((resolve, reject) => {
    worker.once('exit', () => resolve());
    worker.once('error', reject);
  });
  const stop = async (): Promise<number> => {
    Atomics.store(shared, 0, 1);
    Atomics.notify(shared, 0);
    await ended;
    return shared[1]!;
  };
  onTestFinished(async () => {
    await stop();
    closeFd(dirFd);
  });
  return stop;
}

/** Everything about the folder outside: metadata, when its inodes last changed, when its files were last read. */
function outside(canary: string): string {
  const all = command('find', canary, '-printf', '%P %y %m %U %G %s %T@ %C@\n');
  const read = command('find', canary, '-type', 'f', '-printf', '%P %A@\n');
  return [...all.split('\n'), ...read.split('\n')].toSorted().join('\n');
}

function fill(folder: string, text: string): void {
  mkdirSync(folder);
  for (let index = 0; index < FILES; index++) writeFileSync(join(folder, `f${index}`), `${text} ${index}\n`);
}

needsRoot(test)(
  `I1 a directory swapped for a symlink in source and target for ${RACE_MS / 1_000} s: nothing outside is read or changed`,
  async () => {
    const pair = makePair();
    mkdirSync(pair.target);
    const canary = join(pair.source, '../canary');
    fill(canary, MARKER);
    command('find', canary, '-exec', 'touch', '-a', '-d', '2001-01-01', '{}', '+'); // a read would renew it (relatime)
    for (const name of ['in-source', 'in-target']) fill(join(pair.source, name), 'inside');
    for (const side of ['source', 'target'] as const) symlinkSync('../canary', join(pair[side], 'lure'));
    const live = startLive(pair, ['--ignore', '/lure', '--settle', '5ms', '--delete-limit', 'none']);
    await live.waitInSync();
    const before = outside(canary);
    const applied = (): number => live.events.filter(({event}) => event === 'applied').length;
    const appliedBefore = applied();

    const stops = [swapper(pair.source, 'in-source'), swapper(pair.target, 'in-target')];
    const endMs = performance.now() + RACE_MS;
    for (let round = 0; performance.now() < endMs; round++) {
      change(join(pair.source, 'in-target'), round);
      // The swapped one is reached through whatever name the directory has at this moment.
      for (const name of ['in-source', 'lure']) {
        const folder = join(pair.source, name);
        if (isDirectory(folder)) changeInPlace(folder, round);
      }
      await sleep(10); // the attack's rhythm, not a wait for anything
    }
    const swaps = await Promise.all(stops.map((stop) => stop()));
    expect(Math.min(...swaps)).toBeGreaterThan(100);
    expect(applied() - appliedBefore).toBeGreaterThan(20); // that it went on at all; how fast is the machine's affair
    expect(outside(canary)).toBe(before);
    expect(holders(canary)).toHaveLength(FILES);
    expect(holders(pair.target)).toEqual([]);

    // And afterwards it goes on as if nothing had been.
    for (const [folder, name] of [
      [pair.source, 'in-source'],
      [pair.target, 'in-target'],
    ] as const) {
      if (isDirectory(join(folder, name))) continue;
      rmSync(join(folder, name), {force: true});
      if (isDirectory(join(folder, 'lure'))) renameSync(join(folder, 'lure'), join(folder, name));
    }
    writeFileSync(join(pair.source, 'after'), 'after\n');
    await live.waitFor(() => compareByRsync(pair.source, pair.target, '--exclude=/lure') === '', 40_000);
    const run = await live.stop();
    expect(run.exitCode, run.stderr).toBe(0);
  },
  RACE_MS + 80_000,
);

/** Files of a folder, without following symlinks, that hold the marker. */
function holders(folder: string): string[] {
  const found = command('find', folder, '-type', 'f', '-exec', 'grep', '-l', MARKER, '{}', ';');
  return found.split('\n').filter((line) => line !== '');
}

function isDirectory(path: string): boolean {
  return lstatSync(path, {throwIfNoEntry: false})?.isDirectory() ?? false;
}

/** Every kind of change to a directory that only the target's attacker touches. */
function change(folder: string, round: number): void {
  const at = (index: number): string => join(folder, `f${index % FILES}`);
  writeFileSync(at(round), `inside, round ${round}\n`);
  chmodSync(at(round + 1), round % 2 === 0 ? 0o600 : 0o666);
  rmSync(at(round + 2), {force: true});
  writeFileSync(at(round + 2), Buffer.alloc(100_000, round));
  renameSync(at(round + 3), join(folder, `moved-${round % 3}`));
  writeFileSync(at(round + 3), 'again\n');
}

/** A change below a directory that may be swapped at any moment: relative to a held descriptor. */
function changeInPlace(folder: string, round: number): void {
  try {
    const fd = openDirPath(folder);
    const held = `/proc/self/fd/${fd}`;
    if (!readlinkSync(held).includes('canary'))
      writeFileSync(join(held, `f${round % FILES}`), `inside, round ${round}\n`);
    closeFd(fd);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
  }
}

needsLoopMounts(needsCommands('mkfs.ext4')(test))(
  "I1 Towline's own folder in the target's root replaced by a symlink: refused with 8, nothing is written through it",
  async () => {
    const disk = makeLoopFilesystem('ext4', 16);
    const pair = makePair();
    pair.target = join(disk.path, 'copy');
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
