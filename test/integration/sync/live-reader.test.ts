/** What a process sees that reads the target all the time while it is updated: only whole versions, never nothing. */
import {appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync} from 'node:fs';
import {renameSync, statSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setImmediate as turn} from 'node:timers/promises';
import {beforeAll, describe, expect, test} from 'vitest';
import {makePair, type Running, startLive} from '../../sync/harness.ts';
import {appliedSince, contentBytes, stagedBytes, startReader, transfersSince, untilEqual} from '../../sync/live.ts';
import {look, replaceBy} from '../../sync/versions.ts';
import {needsCommands} from '../../needs.ts';

needsCommands('rsync')(describe)('a reader of the target', {timeout: 120_000}, () => {
  const pair = makePair('file');
  const inSource = (path: string): string => join(pair.source, path);
  const inTarget = (path: string): string => join(pair.target, path);
  let live: Running;

  beforeAll(async () => {
    for (const name of ['updated', 'over']) replaceBy(inSource(name), 1);
    mkdirSync(inSource('dir'));
    for (let index = 0; index < 10_000; index++) writeFileSync(inSource(`dir/${index}`), `file ${index}`);
    live = startLive(pair, ['--settle', '0ms']);
    await untilEqual(live, pair, 40_000);
  });

  test('H1 a file updated 1,000 times, with 800 to 160,000 bytes: never missing, short, mixed or of a wrong mode', async () => {
    const reader = await startReader(inTarget('updated'));
    for (let version = 2; version <= 1_001; version++) {
      replaceBy(inSource('updated'), version);
      // As fast as the target follows: there, this version is seen, or a later one.
      if (version % 5 === 0) await live.waitFor(() => versionOf('updated') === version);
      else await turn();
    }
    await untilEqual(live, pair);
    const report = await reader.stop();
    expect(report.faults).toEqual([]);
    expect(report.versions[inTarget('updated')]).toBeGreaterThanOrEqual(200);
  });

  test('E6 100 renames over a file: it is never missing, short, mixed or of a wrong mode', async () => {
    const mark = live.events.length;
    const reader = await startReader(inTarget('over'));
    for (let version = 2; version <= 101; version++) {
      replaceBy(inSource('next'), version);
      await live.waitFor(() => versionOf('next') === version);
      renameSync(inSource('next'), inSource('over'));
      await live.waitFor(() => versionOf('over') === version && !existsSync(inTarget('next')));
    }
    await untilEqual(live, pair);
    expect((await reader.stop()).faults).toEqual([]);
    // What is renamed over it travelled under its own name; the editor's temporary file may have been seen, too.
    expect(transfersSince(live, mark)).toContain('next');
    expect(transfersSince(live, mark)).not.toContain('over');
  });

  test('H1 a file that is written on and then renamed to a free name, 40 times: it shows up whole there', async () => {
    for (const dir of ['mail/tmp', 'mail/new']) mkdirSync(inSource(dir), {recursive: true});
    await live.waitFor(() => existsSync(inTarget('mail/new')));
    const short: string[] = [];
    for (let count = 0; count < 40; count++) {
      const size = count % 2 === 0 ? 1_000 : 200_000;
      const [name, text] = [`${count}`, `${count % 10}`.repeat(size)];
      writeFileSync(inSource(`mail/tmp/${name}`), text);
      await live.waitFor(() => existsSync(inTarget(`mail/tmp/${name}`)));
      appendFileSync(inSource(`mail/tmp/${name}`), text);
      renameSync(inSource(`mail/tmp/${name}`), inSource(`mail/new/${name}`));
      await live.waitFor(() => {
        const seen = statSync(inTarget(`mail/new/${name}`), {throwIfNoEntry: false})?.size;
        if (seen !== undefined && seen !== 2 * size) short.push(`${name}: ${seen} of ${2 * size} bytes`);
        return seen === 2 * size;
      });
    }
    await untilEqual(live, pair);
    expect(short).toEqual([]);
  });

  test('E2 a directory with 10,000 files renamed: 0 bytes of content sent, one rename', async () => {
    const [mark, bytesBefore] = [live.events.length, contentBytes(live)];
    renameSync(inSource('dir'), inSource('renamed'));
    await untilEqual(live, pair);
    expect(appliedSince(live, mark)).toMatchObject([{op: 'rename', path: 'dir', to: 'renamed'}]);
    expect(contentBytes(live) - bytesBefore).toBe(0);
    expect(readdirSync(inTarget('renamed'))).toHaveLength(10_000);
  });

  test('E2 the directory moved with a file into two new directories: 0 bytes of content sent, two renames', async () => {
    const [mark, bytesBefore] = [live.events.length, contentBytes(live)];
    mkdirSync(inSource('new/deeper'), {recursive: true});
    renameSync(inSource('renamed'), inSource('new/deeper/dir'));
    renameSync(inSource('over'), inSource('new/file'));
    await untilEqual(live, pair);
    const ops = appliedSince(live, mark).map(({op, path, to}) => `${op} ${to ?? path}`);
    expect(ops.toSorted()).toEqual(['make-dir new', 'make-dir new/deeper', 'rename new/deeper/dir', 'rename new/file']);
    expect(contentBytes(live) - bytesBefore).toBe(0);
  });

  test('C2 a file of 64 MB cut to 1 MB while it is sent: on the target it is absent, or one of both whole', async () => {
    const seen = new Set<number>();
    const look2 = (): void => {
      if (existsSync(inTarget('shrinks'))) seen.add(readFileSync(inTarget('shrinks')).length);
    };
    const [whole, cut] = [64_000_000, 1_000_000];
    // Whole at once: while it is written, the empty file is a version too.
    writeFileSync(`${pair.source}.shrinks`, Buffer.alloc(whole, 'x'));
    renameSync(`${pair.source}.shrinks`, inSource('shrinks'));
    await live.waitFor(() => stagedBytes(pair) > 0);
    truncateSync(inSource('shrinks'), cut);
    await live.waitFor(() => {
      look2();
      return seen.has(cut);
    });
    await untilEqual(live, pair);
    look2();
    expect([...seen].filter((size) => size !== whole && size !== cut)).toEqual([]);
    expect((await live.stop()).exitCode).toBe(0);
  });

  function versionOf(name: string): number {
    const seen = look(inTarget(name));
    return 'version' in seen ? seen.version : 0;
  }
});
