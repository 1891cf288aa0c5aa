/** Small changes, renames and deletes that one live process follows; each test leaves both trees equal. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {dirname, join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import {beforeAll, describe, expect, onTestFinished, test} from 'vitest';
import {command, makePair, type Running, startLive, trashOf} from '../../sync/harness.ts';
import {
  appliedSince,
  contentBytes,
  cpuMs,
  listing,
  startReader,
  targetFolder,
  transfersSince,
  untilEqual,
} from '../../sync/live.ts';
import {look, replaceBy} from '../../sync/versions.ts';
import {needsCommands} from '../../needs.ts';

needsCommands('rsync')(describe)('a live pair', {timeout: 60_000}, () => {
  const pair = makePair('file');
  const inSource = (path: string): string => join(pair.source, path);
  const inTarget = (path: string): string => join(pair.target, path);
  let live: Running;

  beforeAll(async () => {
    mkdirSync(inSource('base'));
    for (let index = 0; index < 200; index++) writeFileSync(inSource(`base/file${index}`), `file ${index}`);
    live = startLive(pair);
    await untilEqual(live, pair, 40_000);
  });

  test("A14 an editor's save by temporary file and rename: one transfer, no temporary file stays", async () => {
    writeFileSync(inSource('doc.txt'), 'first');
    await untilEqual(live, pair);
    const mark = live.events.length;
    writeFileSync(inSource('.doc.txt.swp~'), 'second version');
    renameSync(inSource('.doc.txt.swp~'), inSource('doc.txt'));
    await untilEqual(live, pair);
    expect(transfersSince(live, mark)).toEqual(['doc.txt']);
    expect(readdirSync(pair.target).filter((name) => name.includes('swp'))).toEqual([]);
  });

  test('A15 ten edits within one settle of 50 ms: one transfer, of the last version', async () => {
    const mark = live.events.length;
    for (let edit = 1; edit <= 10; edit++) writeFileSync(inSource('edited'), `edit ${edit}`);
    await untilEqual(live, pair);
    expect(transfersSince(live, mark)).toEqual(['edited']);
  });

  test('D1 four nested new directories and a file in them arrive without a rescan', async () => {
    const mark = live.events.length;
    mkdirSync(inSource('a/b/c/d'), {recursive: true});
    writeFileSync(inSource('a/b/c/d/file'), 'deep');
    await untilEqual(live, pair);
    expect(live.events.slice(mark).filter(({event}) => event === 'notice')).toEqual([]);
  });

  test('D1 a tree of 1,000 files in 20 directories copied into the source: every file is sent once', async () => {
    const outside = join(dirname(pair.source), 'tree');
    for (let dir = 0; dir < 20; dir++) {
      mkdirSync(join(outside, `dir${dir}`), {recursive: true});
      for (let index = 0; index < 50; index++) writeFileSync(join(outside, `dir${dir}/${index}`), `${dir} ${index}`);
    }
    const mark = live.events.length;
    command('cp', '-r', outside, pair.source);
    await untilEqual(live, pair);
    const ops = appliedSince(live, mark).map(({op, path}) => `${op} ${path}`);
    expect(new Set(appliedSince(live, mark).map(({path}) => path)).size).toBe(1_021);
    // A file that was found while it was written may be sent twice, an empty version of it first.
    expect(ops.length).toBeLessThanOrEqual(1_021 + 20);
  });

  test('D5 what is applied makes no echo: 2 s without a change do nothing on either side and need no CPU', async () => {
    writeFileSync(inSource('echo'), 'once');
    await untilEqual(live, pair);
    const before = {source: listing(pair.source), target: listing(pair.target), mark: live.events.length};
    const usedMs = cpuMs(live.pid);
    await delay(2_000); // the length of the measurement
    expect(appliedSince(live, before.mark)).toEqual([]);
    expect(listing(pair.source)).toBe(before.source);
    expect(listing(pair.target)).toBe(before.target);
    expect(cpuMs(live.pid) - usedMs).toBeLessThanOrEqual(100);
  });

  test('E1 a renamed file of 1 MB: 0 bytes of content sent', async () => {
    writeFileSync(inSource('old-name'), Buffer.alloc(1_000_000, 'content'));
    await untilEqual(live, pair);
    const [mark, bytesBefore] = [live.events.length, contentBytes(live)];
    renameSync(inSource('old-name'), inSource('base/new-name'));
    await untilEqual(live, pair);
    expect(appliedSince(live, mark)).toMatchObject([{op: 'rename', path: 'old-name', to: 'base/new-name'}]);
    expect(contentBytes(live) - bytesBefore).toBe(0);
  });

  test('E3 a file of 4 MB renamed and edited in 4 bytes: only the delta is sent', async () => {
    const content = Buffer.alloc(4_000_000);
    for (let at = 0; at < content.length; at += 4) content.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
    writeFileSync(inSource('large'), content);
    await untilEqual(live, pair);
    const [mark, bytesBefore] = [live.events.length, contentBytes(live)];
    renameSync(inSource('large'), inSource('large-renamed'));
    const fd = openSync(inSource('large-renamed'), 'r+');
    writeSync(fd, 'EDIT', 2_000_000);
    closeSync(fd);
    await untilEqual(live, pair);
    const ops = appliedSince(live, mark).map(({op, path}) => `${op} ${path}`);
    expect(ops.slice(0, 2)).toEqual(['put-file large-renamed', 'delete large']);
    expect(contentBytes(live) - bytesBefore).toBeLessThanOrEqual(64 * 1024);
  });

  test('E4 two names swapped through a third, 20 times: neither is ever missing, short or mixed, 0 bytes are sent', async () => {
    replaceBy(inSource('a-name'), 1);
    replaceBy(inSource('b-name'), 2);
    await untilEqual(live, pair);
    const bytesBefore = contentBytes(live);
    const reader = await startReader(inTarget('a-name'), inTarget('b-name'));
    for (let swap = 1; swap <= 20; swap++) {
      renameSync(inSource('a-name'), inSource('third'));
      renameSync(inSource('b-name'), inSource('a-name'));
      renameSync(inSource('third'), inSource('b-name'));
      await untilEqual(live, pair);
      expect(look(inTarget('a-name'))).toEqual({version: 1 + (swap % 2)});
    }
    await untilEqual(live, pair);
    const report = await reader.stop();
    expect(report.faults).toEqual([]);
    expect(report.versions[inTarget('a-name')]).toBeGreaterThanOrEqual(20);
    expect(contentBytes(live) - bytesBefore).toBe(0);
  });

  test('E5 a rename out of the tree is a delete that goes to the trash; one into it is a new entry', async () => {
    const outside = join(dirname(pair.source), 'outside');
    writeFileSync(inSource('goes-out'), 'leaving');
    await untilEqual(live, pair);
    const mark = live.events.length;
    renameSync(inSource('goes-out'), outside);
    await untilEqual(live, pair);
    expect(existsSync(inTarget('goes-out'))).toBe(false);
    renameSync(outside, inSource('comes-in'));
    await untilEqual(live, pair);
    const ops = appliedSince(live, mark).map(({op, path}) => `${op} ${path}`);
    expect(ops).toEqual(['delete goes-out', 'put-file comes-in']);
    expect(kept('goes-out')).toContain('leaving');
  });

  test('E6 a rename over an existing file: the file that was there is in the trash', async () => {
    writeFileSync(inSource('winner'), 'the new one');
    writeFileSync(inSource('loser'), 'the old one');
    await untilEqual(live, pair);
    const mark = live.events.length;
    renameSync(inSource('winner'), inSource('loser'));
    await untilEqual(live, pair);
    expect(transfersSince(live, mark)).toEqual([]);
    expect(kept('loser')).toContain('the old one');
  });

  test('E7 one file deleted and an unrelated one made at once are not taken for a rename', async () => {
    writeFileSync(inSource('x'), 'of x');
    await untilEqual(live, pair);
    const mark = live.events.length;
    unlinkSync(inSource('x'));
    writeFileSync(inSource('y'), 'of y'); // ext4 gives it the inode number that has just become free
    await untilEqual(live, pair);
    const ops = appliedSince(live, mark).map(({op, path}) => `${op} ${path}`);
    expect(ops.toSorted()).toEqual(['delete x', 'put-file y']);
    expect(kept('x')).toContain('of x');
  });

  test('F1 a subtree of 30 levels and 60 entries deleted is gone on the target', async () => {
    let dir = 'deep';
    for (let level = 0; level < 30; level++, dir = join(dir, 'd')) {
      mkdirSync(inSource(dir));
      writeFileSync(inSource(join(dir, 'f')), `level ${level}`);
    }
    await untilEqual(live, pair);
    rmSync(inSource('deep'), {recursive: true});
    await untilEqual(live, pair);
    expect(existsSync(inTarget('deep'))).toBe(false);
  });

  test('C3 a log that grows all the time keeps arriving, and is whole when it rests', async () => {
    const mark = live.events.length;
    const timer = setInterval(() => appendFileSync(inSource('log'), 'a line of the log\n'), 25); // never quiet for 50 ms
    onTestFinished(() => clearInterval(timer));
    await live.waitFor(() => transfersSince(live, mark).includes('log'));
    clearInterval(timer);
    await untilEqual(live, pair);
    expect(readFileSync(inTarget('log'), 'utf8')).toBe(readFileSync(inSource('log'), 'utf8'));
  });

  test('ends with 0 on SIGTERM', async () => {
    const run = await live.stop('SIGTERM', 10_000);
    expect(run.exitCode).toBe(0);
  });

  /** Contents of what the trash holds of a path. */
  function kept(path: string): string[] {
    return trashOf(targetFolder(pair, 'trash') ?? '')
      .filter((item) => item.path === path && item.type === 'file')
      .map(({at}) => readFileSync(at, 'utf8'));
  }
});
