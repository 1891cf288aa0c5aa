/**
 * How runs end, as a user meets it: exit codes, one clear sentence, what is counted and what is left for the next run.
 */
import {mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test, vi} from 'vitest';
import {needsCommands} from '../../needs.ts';
import {
  command,
  compareByRsync,
  makePair,
  mountInside,
  type Pair,
  startLive,
  syncOnce,
  towline,
  trashOf,
} from '../../sync/harness.ts';
import {Random} from '../../sync/random-tree.ts';

vi.setConfig({testTimeout: 120_000}); // seconds on a quiet machine
const rsyncTest = needsCommands('rsync')(test);
const MIB = 1 << 20;

function fill(folder: string, count: number): void {
  mkdirSync(folder, {recursive: true});
  for (let index = 0; index < count; index++) writeFileSync(join(folder, `file ${index}`), `text ${index}`);
}

/** As people run it: without `--json`. */
const sync = (pair: Pair, ...args: string[]) =>
  towline(['sync', pair.source, pair.target, '--once', '--state', pair.state, ...args]);

rsyncTest('exit 0: in sync, said in one line on stdout, nothing on stderr; --stats adds the counters', async () => {
  const pair = makePair();
  fill(pair.source, 10);
  const first = await sync(pair);
  expect(first).toMatchObject({exitCode: 0, stderr: ''});
  expect(first.stdout).toMatch(/^In sync as of \S+ \S+: 10 entries, 60 B sent in .*\n$/);
  writeFileSync(join(pair.source, 'file 3'), 'another text');
  const second = await sync(pair, '--stats');
  expect(second.exitCode).toBe(0);
  expect(second.stdout).toMatch(/Content sent +12 B/);
  expect(second.stdout).toMatch(/Replaced +1\n/);
  expect(second.stdout).toContain(`State folder`);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
});

rsyncTest('exit 1: what cannot be carried is listed, all the rest is equal', async () => {
  const pair = makePair();
  fill(pair.source, 5);
  mountInside(join(pair.source, 'a mount'));
  const run = await sync(pair);
  expect(run.exitCode).toBe(1);
  expect(run.stdout + run.stderr).toMatch(/^! a mount: .*is a mount point.* \(source\)$/m);
  expect(compareByRsync(pair.source, pair.target, '--exclude=/a mount')).toBe('');
});

rsyncTest('exit 3: 51 of 100 deleted halt with 0 deletes, `confirm` with the count goes on', async () => {
  const pair = makePair();
  fill(pair.source, 100);
  expect((await sync(pair)).exitCode).toBe(0);
  for (let index = 0; index < 51; index++) rmSync(join(pair.source, `file ${index}`));
  writeFileSync(join(pair.source, 'file 99'), 'changed too');
  const halted = await sync(pair);
  expect(halted.exitCode).toBe(3);
  expect(halted.stdout + halted.stderr).toContain('51 of 100 entries');
  expect(readdirSync(pair.target)).toHaveLength(100);
  const again = await sync(pair);
  expect(again.exitCode).toBe(3);
  expect(readdirSync(pair.target)).toHaveLength(100);

  const confirm = (...args: string[]) => towline(['confirm', pair.source, pair.target, '--state', pair.state, ...args]);
  const unasked = await confirm();
  expect(unasked.exitCode).toBe(8);
  expect(unasked.stderr).toContain('--yes 51');
  expect((await confirm('--yes', '50')).exitCode).toBe(8);
  expect((await sync(pair)).exitCode).toBe(3);
  expect((await confirm('--yes', '51')).exitCode).toBe(0);
  const run = await syncOnce(pair);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(run.result.stats['deleted']).toBe(51);
  expect(trashOf(run.result.folders.trash).filter(({reason}) => reason === 'deleted')).toHaveLength(51);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  expect((await confirm('--yes', '51')).exitCode).toBe(8); // nothing is halted any more
});

rsyncTest('exit 3: --delete-limit 3 halts at 4 deletes, --delete-limit none lets all go', async () => {
  const pair = makePair();
  fill(pair.source, 50);
  expect((await sync(pair)).exitCode).toBe(0);
  for (let index = 0; index < 4; index++) rmSync(join(pair.source, `file ${index}`));
  expect((await sync(pair, '--delete-limit', '3')).exitCode).toBe(3);
  expect(readdirSync(pair.target)).toHaveLength(50);
  for (let index = 4; index < 49; index++) rmSync(join(pair.source, `file ${index}`));
  expect((await towline(['confirm', pair.source, pair.target, '--state', pair.state, '--yes', '4'])).exitCode).toBe(0);
  expect((await sync(pair, '--delete-limit', 'none')).exitCode).toBe(0);
  expect(readdirSync(pair.target)).toEqual(['file 49']);
});

rsyncTest('exit 6: a live process holds the pair, and its target also against another source', async () => {
  const pair = makePair();
  fill(pair.source, 5);
  const live = startLive(pair);
  await live.waitInSync();
  const second = await sync(pair);
  expect(second.exitCode).toBe(6);
  expect(second.stderr.trim().split('\n')).toEqual([expect.stringContaining(`pid ${live.pid}`)]);
  const other = {...makePair(), target: pair.target};
  fill(other.source, 5);
  const foreign = await sync(other);
  expect(foreign.exitCode).toBe(6);
  expect(foreign.stderr.trim().split('\n')).toEqual([expect.stringContaining('in use')]);
  expect((await live.stop('SIGKILL')).signal).toBe('SIGKILL');
  expect((await sync(pair)).exitCode).toBe(0); // a lock dies with its holder
});

rsyncTest('exit 130: SIGINT during a first copy of 4,000 files; the next run sends only the rest', async () => {
  const pair = makePair();
  const random = new Random(130);
  for (let dir = 0; dir < 40; dir++) {
    mkdirSync(join(pair.source, `${dir}`));
    for (let index = 0; index < 100; index++) writeFileSync(join(pair.source, `${dir}/${index}`), random.bytes(16_384));
  }
  const total = 4_000 * 16_384;
  const running = startLive(pair, ['--once']);
  await running.waitForEvent(({event, op}) => event === 'applied' && op === 'put-file');
  const cut = await running.stop('SIGINT');
  expect(cut.exitCode).toBe(130);
  const sent = cut.result.stats['filesSent'] ?? 0;
  expect(sent).toBeGreaterThan(0);
  expect(sent).toBeLessThan(4_000);
  const rest = await syncOnce(pair);
  expect(rest.exitCode, rest.stderr).toBe(0);
  expect(compareByRsync(pair.source, pair.target)).toBe('');
  // What was on its way when the signal came goes twice: a few batches.
  expect(rest.result.stats['contentBytes']).toBeLessThanOrEqual(total - sent * 16_384 + 5 * MIB);
});

rsyncTest(
  '--ignore in gitignore syntax: not sent, kept where the target has its own, the last match wins',
  async () => {
    const pair = makePair();
    for (const dir of ['cache', 'sub/cache', 'gone']) mkdirSync(join(pair.source, dir), {recursive: true});
    for (const path of ['a.tmp', 'keep.tmp', 'b', 'cache/c', 'sub/cache/d', 'sub/e.tmp', 'gone/f', 'gone/g.tmp']) {
      writeFileSync(join(pair.source, path), path);
    }
    const rules = ['--ignore', '*.tmp', '--ignore', '!keep.tmp', '--ignore', '/cache/'];
    expect((await sync(pair, ...rules)).exitCode).toBe(0);
    const found = (): string[] =>
      command('find', pair.target, '-type', 'f', '-printf', '%P\\n').trim().split('\n').toSorted();
    expect(found()).toEqual(['b', 'gone/f', 'keep.tmp', 'sub/cache/d']);
    writeFileSync(join(pair.target, 'own.tmp'), "the target's own");
    writeFileSync(join(pair.target, 'gone/own.tmp'), "the target's own");
    rmSync(join(pair.source, 'gone'), {recursive: true});
    const run = await sync(pair, ...rules);
    expect(run.exitCode).toBe(1); // F8: the directory cannot go
    expect(run.stdout + run.stderr).toMatch(/^! gone: /m);
    expect(found()).toEqual(['b', 'gone/own.tmp', 'keep.tmp', 'own.tmp', 'sub/cache/d']);
    expect(readFileSync(join(pair.target, 'own.tmp'), 'utf8')).toBe("the target's own");
  },
);
