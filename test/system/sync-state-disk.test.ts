/**
 * The disk of the state is full or read-only: nothing is acknowledged, it is said once, and the link goes on by itself when it
 * can be written again.
 */
import {mkdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {spawnSync} from 'node:child_process';
import {describe, expect, onTestFinished, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {LOOSE, makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {judge} from '../judge/judge.ts';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {command, makePair, startLive, syncOnce} from '../sync/harness.ts';
import {until} from '../until.ts';

const STATE_MIB = 16;
const FILES = 3_000; // their rows need a MiB or two

/** Takes what is left of a disk. @returns gives it back */
function fill(disk: string): () => void {
  const path = join(disk, 'blocker');
  spawnSync('dd', ['if=/dev/zero', `of=${path}`, 'bs=4096'], {stdio: 'ignore'}); // ends when nothing is left
  return () => rmSync(path);
}

function makeFiles(root: string, round: number): void {
  const dir = join(root, `round-${round}`);
  mkdirSync(dir);
  for (let index = 0; index < FILES; index++) writeFileSync(join(dir, `${index}`), `${round} ${index}\n`);
}

const said = /cannot be written or read/;

needsLoopMounts(needsCommands('rsync')(describe))('H17 `sync` with its state on a disk of its own', () => {
  test('the disk is full during a live run: said once, not in sync, and done by itself when it can be written', async () => {
    const disk = makeLoopFilesystem('ext4', STATE_MIB);
    const two = makePair();
    two.state = join(disk.path, 'state');
    writeFileSync(join(two.source, 'first'), 'first\n');
    const live = startLive(two);
    await live.waitInSync(90_000);
    const free = fill(disk.path);
    makeFiles(two.source, 1);
    const notices = (): string[] =>
      live.events.flatMap(({event, message}) =>
        event === 'notice' && said.test(String(message)) ? [String(message)] : [],
      );
    await live.waitFor(() => notices().length > 0, 40_000);
    const mark = live.events.findIndex(({message}) => said.test(String(message)));
    await live.waitFor(() => live.events.filter(({state}) => state === 'connecting').length > 3, 40_000); // several tries
    expect(live.events.slice(mark).filter(({state}) => state === 'in-sync')).toEqual([]);
    expect(new Set(notices()).size).toBe(notices().length);
    free();
    await live.waitInSync(60_000);
    expect(await judge(two.source, two.target)).toEqual([]);
    expect((await live.stop('SIGTERM', 40_000)).exitCode).toBe(0);
    disk.destroy();
  }, 150_000);

  test('a single run on a read-only disk of the state ends with 1 and says so; the next one is in sync', async () => {
    const disk = makeLoopFilesystem('ext4', 32);
    const two = makePair();
    two.state = join(disk.path, 'state');
    writeFileSync(join(two.source, 'first'), 'first\n');
    expect((await syncOnce(two)).exitCode).toBe(0);
    disk.remount('ro');
    writeFileSync(join(two.source, 'first'), 'second\n');
    const run = await syncOnce(two);
    expect(run.exitCode, run.stderr).toBe(1);
    expect(run.stderr).toMatch(/the state file .* cannot be written or read/);
    disk.remount('rw');
    const after = await syncOnce(two);
    expect(after.exitCode, after.stderr).toBe(0);
    expect(await judge(two.source, two.target)).toEqual([]);
    disk.destroy();
  }, 120_000);

  test('a single run on a full disk of the state ends with 1 and says so; with room the next one is in sync', async () => {
    const disk = makeLoopFilesystem('ext4', STATE_MIB);
    const two = makePair();
    two.state = join(disk.path, 'state');
    writeFileSync(join(two.source, 'first'), 'first\n');
    expect((await syncOnce(two)).exitCode).toBe(0);
    const free = fill(disk.path);
    makeFiles(two.source, 1);
    const full = await syncOnce(two);
    expect(full.exitCode, full.stderr).toBe(1);
    expect(full.stderr + full.stdout).toMatch(/cannot be written or read/);
    free();
    const run = await syncOnce(two);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(await judge(two.source, two.target)).toEqual([]);
    disk.destroy();
  }, 120_000);
});

needsHosts(needsLoopMounts(describe))('H17 agents with their state on disks of their own', () => {
  for (const side of ['left', 'right'] as const)
    test(`the disk of ${side === 'left' ? 'the source' : 'the target'} is full: its status says so, nothing is in sync, and it goes on by itself`, async () => {
      const agents = makeAgents({left: {}, right: {listens: false}}) as {left: TestAgent; right: TestAgent};
      const {left, right} = agents;
      const disk = makeLoopFilesystem('ext4', 8);
      const {stateFolder} = agents[side];
      mkdirSync(stateFolder, {recursive: true, mode: 0o700});
      command('mount', '--bind', disk.path, stateFolder);
      onTestFinished(() => {
        spawnSync('umount', ['-l', stateFolder]);
        disk.destroy();
      });
      left.configure({volumes: {data: {at: left.volume('data'), send: ['right'], ...LOOSE}}});
      right.configure({volumes: {data: {at: right.volume('data'), receive: 'left', ...LOOSE}}});
      await pair(right, left);
      writeFileSync(join(left.volume('data'), 'first'), 'first\n');
      await startAll(left, right);
      try {
        await untilInSync(left, 'data', 30_000);
        const free = fill(disk.path);
        for (let round = 1; round <= 3; round++) makeFiles(left.volume('data'), round);
        const report = (): Promise<string> => agents[side].volumeReport('data').then((found) => JSON.stringify(found));
        await until(async () => (await report()).includes('cannot be written'), 40_000);
        expect(await report()).not.toContain('"in-sync"');
        free();
        await untilInSync(left, 'data', 60_000);
        expect(readFileSync(join(right.volume('data'), 'round-3/2999'), 'utf8')).toBe('3 2999\n');
      } finally {
        await stopAll(left, right);
      }
    }, 180_000);
});
