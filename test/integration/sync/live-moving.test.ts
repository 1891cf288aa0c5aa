/** A source that moves while it is copied for the first time. */
import {spawn} from 'node:child_process';
import {existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {compareByRsync, makePair, startLive, syncOnce, towline} from '../../sync/harness.ts';
import {equalByRsync, stagedBytes, untilEqual} from '../../sync/live.ts';
import {needsCommands} from '../../needs.ts';

const LARGE_BYTES = 2 ** 31;

needsCommands('rsync')(describe)('a source that moves', {timeout: 120_000}, () => {
  test.each(['--once', 'live'])(
    'C1 200 of 3,000 files deleted while they are copied (%s): all others arrive',
    async (how) => {
      const pair = makePair();
      for (let index = 0; index < 3_000; index++) writeFileSync(join(pair.source, `file${index}`), `file ${index}`);
      const run = startLive(pair, how === '--once' ? ['--once'] : []);
      await run.waitForEvent(({event, state}) => event === 'status' && state === 'comparing');
      for (let index = 0; index < 3_000; index += 15) rmSync(join(pair.source, `file${index}`));
      if (how === 'live') {
        await untilEqual(run, pair);
        return void (await run.stop());
      }
      const {exitCode, result} = await run.end();
      // Whatever was deleted too late for this run is named; nothing else is.
      expect(result.problems.filter(({path}) => existsSync(join(pair.source, path)))).toEqual([]);
      expect(exitCode).toBe(result.problemCount === 0 ? 0 : 1);
      for (const name of readdirSync(pair.source))
        expect(readFileSync(join(pair.target, name), 'utf8')).toBe(`file ${name.slice(4)}`);
      expect((await syncOnce(pair)).exitCode).toBe(0);
      expect(compareByRsync(pair.source, pair.target)).toBe('');
    },
  );

  test('C3 a log that grows all the time does not stop a run with --once: all others arrive, and a whole version of it', async () => {
    const pair = makePair();
    for (let index = 0; index < 100; index++) writeFileSync(join(pair.source, `file${index}`), `file ${index}`);
    const line = 'a line of the log, of 64 bytes with its end of line ...........\n';
    const log = join(pair.source, 'log');
    const writer = spawn('sh', ['-c', `while :; do printf '${line.slice(0, -1)}\\n'; done >> '${log}'`]);
    onTestFinished(() => void writer.kill('SIGKILL'));
    const run = await syncOnce(pair);
    writer.kill('SIGKILL');
    expect([0, 1]).toContain(run.exitCode);
    expect(run.result.problems.map(({path, code}) => `${path} ${code}`)).toEqual(
      run.exitCode === 0 ? [] : ['log changing'],
    );
    for (let index = 0; index < 100; index++) expect(existsSync(join(pair.target, `file${index}`))).toBe(true);
    if (!existsSync(join(pair.target, 'log'))) return;
    expect(readFileSync(log, 'utf8').startsWith(readFileSync(join(pair.target, 'log'), 'utf8'))).toBe(true);
  });

  test('C4 directories renamed while they are scanned: equal, live and with --once', async () => {
    const pair = makePair();
    for (let dir = 0; dir < 300; dir++) {
      mkdirSync(join(pair.source, `dir${dir}/sub`), {recursive: true});
      for (let index = 0; index < 10; index++)
        writeFileSync(join(pair.source, `dir${dir}/sub/${index}`), `${dir} ${index}`);
    }
    const live = startLive(pair);
    await live.waitForEvent(({event, state}) => event === 'status' && state === 'scanning');
    for (let dir = 0; dir < 300; dir += 2)
      renameSync(join(pair.source, `dir${dir}`), join(pair.source, `dir${dir + 1}/moved`));
    await untilEqual(live, pair);
    expect((await live.stop()).exitCode).toBe(0);
    const once = towline(['sync', pair.source, pair.target, '--once', '--state', pair.state]);
    for (let dir = 1; dir < 300; dir += 4)
      renameSync(join(pair.source, `dir${dir}/moved`), join(pair.source, `back${dir}`));
    expect([0, 1]).toContain((await once).exitCode);
    expect((await syncOnce(pair)).exitCode).toBe(0);
    expect(equalByRsync(pair)).toBe(true);
  });

  test('C6 small changes during the first copy of a file of 2 GiB are on the target within 1 s', async () => {
    const pair = makePair();
    const block = Buffer.alloc(1 << 20);
    for (let at = 0; at < block.length; at += 4) block.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
    for (let count = 0; count < LARGE_BYTES / block.length; count++) {
      block.writeUInt32LE(count, 0);
      writeFileSync(join(pair.source, 'large'), block, {flag: 'a'});
    }
    mkdirSync(join(pair.source, 'dir'));
    const live = startLive(pair);
    await live.waitFor(() => stagedBytes(pair) > 100_000_000);
    for (let index = 0; index < 5; index++) {
      const startMs = performance.now();
      writeFileSync(join(pair.source, `dir/small${index}`), `small ${index}`);
      await live.waitFor(() => existsSync(join(pair.target, `dir/small${index}`)));
      expect(performance.now() - startMs).toBeLessThan(1_000);
    }
    expect(existsSync(join(pair.target, 'large'))).toBe(false);
    await untilEqual(live, pair, 90_000);
    expect((await live.stop()).exitCode).toBe(0);
  });
});
