/**
 * Faults of the source's filesystem, put in front of the system calls by strace: what cannot be read is not deleted.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {chmodSync, existsSync, mkdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import {needsCommands, needsRoot} from '../needs.ts';
import {command, compareByRsync, makePair, startLive, syncOnce, type JsonEvent, type Pair} from '../sync/harness.ts';
import {untilEqual} from '../sync/live.ts';

const straced = needsCommands('strace')(test);
const namesIn = (folder: string): string => command('find', folder, '-printf', '%P %s %i\n');

/** `bad/sub` with 10 files beside `good` with 10. */
function tree(): Pair {
  const pair = makePair();
  for (const folder of ['bad/sub', 'good']) {
    mkdirSync(join(pair.source, folder), {recursive: true});
    for (let index = 0; index < 10; index++) writeFileSync(join(pair.source, folder, `file-${index}`), `${index}\n`);
  }
  return pair;
}

/** strace that makes every listing of this directory fail. */
function failingToList(path: string): string[] {
  const inject = ['-e', 'trace=getdents64', '-e', 'inject=getdents64:error=EIO'];
  return ['strace', '-f', '-qq', '-o', '/dev/null', '-P', path, ...inject];
}

const isProblemOf =
  (wanted: string) =>
  ({event, path, code}: JsonEvent): boolean =>
    event === 'problem' && path === wanted && code === 'unreadable';
const isSolved =
  (wanted: string) =>
  ({event, path}: JsonEvent): boolean =>
    event === 'solved' && path === wanted;

straced('F7 EIO in a directory that was known: nothing below it is deleted, the rest arrives, 1', async () => {
  const pair = tree();
  expect((await syncOnce(pair)).exitCode).toBe(0);
  const before = namesIn(join(pair.target, 'bad'));
  rmSync(join(pair.source, 'good/file-0'));
  writeFileSync(join(pair.source, 'good/new'), 'new\n');
  const run = await syncOnce(pair, [], {wrapper: failingToList(join(pair.source, 'bad'))});
  expect(run.exitCode, run.stderr).toBe(1);
  expect(run.result.problems).toMatchObject([{path: 'bad', code: 'unreadable', side: 'source'}]);
  expect(namesIn(join(pair.target, 'bad'))).toBe(before);
  expect(compareByRsync(join(pair.source, 'good'), join(pair.target, 'good'))).toBe('');

  const after = await syncOnce(pair);
  expect(after.exitCode, after.stderr).toBe(0);
  expect(after.result.problems).toEqual([]);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});

straced('F7 EIO at first contact with a target that cp filled: what only it has in there stays, 1', async () => {
  const pair = tree();
  command('cp', '-a', pair.source, pair.target);
  writeFileSync(join(pair.target, 'bad/extra'), 'only here\n');
  writeFileSync(join(pair.target, 'good/extra'), 'only here\n');
  const before = namesIn(join(pair.target, 'bad'));
  const run = await syncOnce(pair, [], {wrapper: failingToList(join(pair.source, 'bad'))});
  expect(run.exitCode, run.stderr).toBe(1);
  expect(run.result.problems).toMatchObject([{path: 'bad', code: 'unreadable', side: 'source'}]);
  expect(namesIn(join(pair.target, 'bad'))).toBe(before);
  expect(compareByRsync(join(pair.source, 'good'), join(pair.target, 'good'))).toBe('');
});

straced('F7 EIO in the root itself, at first contact and later: 3, and 0 deletes', async () => {
  const pair = tree();
  command('cp', '-a', pair.source, pair.target);
  const before = namesIn(pair.target);
  const wrapper = failingToList(pair.source);
  const first = await syncOnce(pair, [], {wrapper});
  expect(first.exitCode, first.stderr).toBe(3);
  expect(namesIn(pair.target)).toBe(before);
  expect((await syncOnce(pair)).exitCode).toBe(0);
  const later = await syncOnce(pair, [], {wrapper});
  expect(later.exitCode, later.stderr).toBe(3);
  expect(namesIn(pair.target)).toBe(before);
});

needsRoot(needsCommands('setpriv')(test))('F7 EACCES for a run without rights: what is below stays, 1', async () => {
  const pair = tree();
  const wrapper = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  command('chown', '-R', '65534:65534', join(pair.source, '..'));
  const first = await syncOnce(pair, [], {wrapper});
  expect(first.exitCode, first.stderr).toBe(0);
  const files = (): string => command('find', join(pair.target, 'bad'), '-type', 'f', '-printf', '%P %s %i\n');
  const before = files();
  chmodSync(join(pair.source, 'bad/sub'), 0);
  const run = await syncOnce(pair, [], {wrapper});
  expect(run.exitCode, run.stderr).toBe(1);
  expect(run.result.problems.filter(({side}) => side === 'source')).toMatchObject([
    {path: 'bad/sub', code: 'unreadable'},
  ]);
  expect(files()).toBe(before);
});

straced(
  'F7 EIO while it is followed: nothing below the directory is deleted, all else arrives; what came meanwhile does after it',
  async () => {
    const pair = tree();
    const live = startLive(pair, ['--rescan', '1s', '--delete-limit', 'none']);
    await untilEqual(live, pair);
    const before = namesIn(join(pair.target, 'bad'));
    const [program, ...args] = [...failingToList(join(pair.source, 'bad')), '-p', String(live.pid)];
    const fault = spawn(program, args, {stdio: 'ignore'});
    onTestFinished(() => void fault.kill('SIGKILL'));
    await live.waitForEvent(isProblemOf('bad'));
    rmSync(join(pair.source, 'good/file-0'));
    writeFileSync(join(pair.source, 'good/new'), 'new');
    const isRestEqual = (): boolean => compareByRsync(join(pair.source, 'good'), join(pair.target, 'good')) === '';
    await live.waitFor(isRestEqual);
    expect(namesIn(join(pair.target, 'bad'))).toBe(before);
    mkdirSync(join(pair.source, 'bad/made meanwhile'));
    fault.kill('SIGTERM');
    await once(fault, 'exit');
    const mark = live.events.length;
    await live.waitForEventAfter(mark, isSolved('bad'));
    await untilEqual(live, pair);
    expect(existsSync(join(pair.target, 'bad/made meanwhile'))).toBe(true);
    const run = await live.stop();
    expect([run.exitCode, run.result.problems]).toEqual([0, []]);
  },
);

needsRoot(needsCommands('setpriv')(test))(
  'F7 EACCES while it is followed without rights: what is below stays; opened again, what changed meanwhile arrives',
  async () => {
    const pair = tree();
    const closed = join(pair.source, 'bad/sub');
    writeFileSync(join(pair.source, '.last-change'), ''); // untilEqual's file, which must be the user's like all others
    command('chown', '-R', '65534:65534', join(pair.source, '..'));
    const wrapper = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    const live = startLive(pair, ['--delete-limit', 'none'], {wrapper});
    await untilEqual(live, pair);
    const files = (): string => command('find', join(pair.target, 'bad'), '-type', 'f', '-printf', '%P %s %i\n');
    const before = files();
    chmodSync(closed, 0);
    rmSync(join(closed, 'file-3'));
    writeFileSync(join(closed, 'file-4'), 'edited');
    await live.waitForEvent(isProblemOf('bad/sub'));
    rmSync(join(pair.source, 'good/file-0'));
    const isRestEqual = (): boolean => compareByRsync(join(pair.source, 'good'), join(pair.target, 'good')) === '';
    await live.waitFor(isRestEqual);
    expect(files()).toBe(before);
    chmodSync(closed, 0o755);
    await live.waitForEvent(isSolved('bad/sub'));
    await untilEqual(live, pair);
    const run = await live.stop();
    expect([run.exitCode, run.result.problems]).toEqual([0, []]);
  },
);
