/**
 * A writer that never pauses: its file waits, with a reason, and nothing else does. TOWLINE_TEST_RESTLESS_S sets for how
 * many seconds it goes on (600 for the whole case).
 */
import {createHash} from 'node:crypto';
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {needsCommands} from '../../needs.ts';
import {compareByRsync, makePair, startLive, type JsonEvent} from '../../sync/harness.ts';
import {untilEqual} from '../../sync/live.ts';
import {makeLarge, writeRestlessly} from '../../sync/restless.ts';

const WRITES_MS = Number(process.env['TOWLINE_TEST_RESTLESS_S'] ?? 5) * 1_000;

const sumOf = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

needsCommands('python3', 'rsync')(describe)('a writer that never pauses', {timeout: WRITES_MS + 120_000}, () => {
  test('A16 its file is a problem with the reason, in its old version, and arrives once it stops; all else arrives meanwhile', async () => {
    const pair = makePair();
    const [hot, copy] = [join(pair.source, 'hot'), join(pair.target, 'hot')];
    makeLarge(hot);
    const live = startLive(pair, ['--max-wait', '500ms']);
    await untilEqual(live, pair, 60_000);
    const before = sumOf(copy);
    const mark = live.events.length;
    const stop = await writeRestlessly(hot);

    const isOfHot = ({event, path}: JsonEvent): boolean => event === 'problem' && path === 'hot';
    const problem = await live.waitForEventAfter(mark, isOfHot, 30_000);
    expect(problem).toMatchObject({code: 'changing', side: 'source'});
    expect(problem['message']).toMatch(/has changed each time it was read, for \d+ s; .* until it rests/);
    const endMs = performance.now() + WRITES_MS;
    for (let count = 0; performance.now() < endMs; count++) {
      const [other, arrived] = [join(pair.source, `other${count}`), join(pair.target, `other${count}`)];
      writeFileSync(other, `other ${count}`);
      await live.waitFor(() => existsSync(arrived));
      await live.waitFor(() => lastState() === 'problems');
    }
    expect(live.events.slice(mark).filter(({event, path}) => event === 'solved' && path === 'hot')).toEqual([]);
    expect(sumOf(copy)).toBe(before);
    await live.waitFor(() => compareByRsync(pair.source, pair.target, '--exclude=/hot') === '');

    const stopped = live.events.length;
    stop();
    await live.waitForEventAfter(stopped, ({event, path}) => event === 'solved' && path === 'hot', 60_000);
    await untilEqual(live, pair, 60_000);
    expect(sumOf(copy)).toBe(sumOf(hot));
    const run = await live.stop();
    expect([run.exitCode, run.result.problems]).toEqual([0, []]);

    function lastState(): unknown {
      return live.events.findLast(({event}) => event === 'status')?.['state'];
    }
  });
});
