/**
 * Paths that no system call takes, because they are longer than PATH_MAX: made and compared by descriptors.
 */
import {readdirSync, renameSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import {needsCommands} from '../../needs.ts';
import {changeDeep, walkDeep} from '../../sync/by-descriptors.ts';
import {command, makePair, startLive, syncOnce, trashOf, type Pair, type Running} from '../../sync/harness.ts';

const LEVELS = Array.from({length: 65}, (_, level) => `level-${level}`).join('/');
const TOP = '0 '.padEnd(200, 'long ');
/** 40 names of 200 bytes: 8,039 bytes. */
const LONG = [TOP, ...Array.from({length: 39}, (_, level) => `${level + 1} `.padEnd(200, 'long '))].join('/');
const LARGE = 40_000; // times 8 bytes: a file that does not go in a batch

function fill(root: string): void {
  changeDeep(
    root,
    ['makeDirs', LEVELS],
    ['write', `${LEVELS}/file`, 'at the bottom'],
    ['makeDirs', LONG],
    ['write', `${LONG}/file`, 'far down'],
    ['write', `${LONG}/large`, 'content ', LARGE],
    ['write', `${LONG}/empty`, ''],
    ['link', `${LONG}/file`, `${LONG}/another name of the file`],
    ['symlink', `${LONG}/link`, '../../nowhere'],
    ['makeDirs', `${LONG}/dir`],
    ['setMeta', `${LONG}/file`, 0o4751, '1234567890123456789'],
    ['setMeta', `${LONG}/dir`, 0o1777, '987654321'],
    ['setMeta', LONG, 0o2711, '1'],
  );
}

/** False also while the target changes under the walk. */
function isEqual({source, target}: Pair): boolean {
  try {
    return walkDeep(target) === walkDeep(source);
  } catch {
    return false;
  }
}

needsCommands('python3')(describe)('65 levels, and paths of 8 KiB', {timeout: 60_000}, () => {
  test('A4 a single run copies them, then sends nothing; deleted, the trash holds them whole', async () => {
    const pair = makePair();
    fill(pair.source);
    const first = await syncOnce(pair);
    expect([first.exitCode, first.result.problems], first.stderr).toEqual([0, []]);
    const before = walkDeep(pair.source);
    expect(before.split('\n').length).toBeGreaterThan(65 + 40 + 6);
    expect(walkDeep(pair.target)).toBe(before);
    const second = await syncOnce(pair);
    expect([second.exitCode, second.result.stats]).toMatchObject([0, {contentBytes: 0, batches: 0}]);

    changeDeep(pair.source, ['write', `${LONG}/large`, 'CONTENT ', LARGE], ['unlink', `${LONG}/link`]);
    expect((await syncOnce(pair)).exitCode).toBe(0);
    const changed = walkDeep(pair.source);
    expect(walkDeep(pair.target)).toBe(changed);

    command('rm', '-r', join(pair.source, 'level-0'), join(pair.source, TOP));
    const run = await syncOnce(pair, ['--delete-limit', 'none']);
    expect([run.exitCode, run.result.problems], run.stderr).toEqual([0, []]);
    expect(readdirSync(pair.target)).toEqual(readdirSync(pair.source));
    const kept = trashOf(run.result.folders.trash).find(({path}) => path === TOP);
    const inTop = (walked: string): string[] => walked.split('\n').flatMap((line) => line.split(` ${TOP}/`)[1] ?? []);
    expect(walkDeep(kept!.at).split('\n').length - 1).toBe(inTop(changed).length);
  });

  describe('live', () => {
    const pair = makePair('file');
    let live: Running;
    beforeAll(async () => {
      live = startLive(pair, ['--delete-limit', 'none']);
      await live.waitInSync();
    });

    const arrives = async (): Promise<void> => {
      await live.waitFor(() => isEqual(pair));
      expect(walkDeep(pair.target)).toBe(walkDeep(pair.source));
    };

    test('A4 made, edited, renamed and deleted at the bottom while it is followed: everything arrives', async () => {
      fill(pair.source);
      await arrives();
      changeDeep(
        pair.source,
        ['write', `${LONG}/file`, 'edited through one of its names'],
        ['rename', `${LONG}/large`, `${LONG}/dir/renamed`],
        ['unlink', `${LONG}/link`],
        ['symlink', `${LONG}/dir/link`, '/absolute/and/dangling'],
        ['makeDirs', `${LONG}/dir/one more/and one`],
        ['setMeta', LONG, 0o700, '-1'],
        ['rename', `${LEVELS}/file`, `${LONG}/from the other`],
      );
      await arrives();
      changeDeep(pair.source, ['unlink', `${LONG}/empty`], ['write', `${LONG}/dir/renamed`, 'shorter ', LARGE / 2]);
      await arrives();
      expect(walkDeep(pair.target)).toContain('one more/and one');
    });

    test('A4 their top directory renamed: one rename, 0 bytes sent, and what changes at the bottom still arrives', async () => {
      changeDeep(pair.source, ['write', 'mark', 'everything before has been told once this has']);
      await live.waitForEvent(({event, path}) => event === 'applied' && path === 'mark');
      const mark = live.events.length;
      renameSync(join(pair.source, TOP), join(pair.source, 'renamed'));
      await arrives();
      await live.waitForEventAfter(mark, ({event, op}) => event === 'applied' && op === 'rename');
      const ops = live.events.slice(mark).flatMap(({event, op}) => (event === 'applied' ? [op] : []));
      expect(ops.filter((op) => op !== 'set-meta')).toEqual(['rename']);
      changeDeep(pair.source, ['write', `${LONG.replace(TOP, 'renamed')}/file`, 'edited below the new name']);
      await arrives();
      const run = await live.stop();
      expect([run.exitCode, run.result.problems]).toEqual([0, []]);
    });
  });
});
