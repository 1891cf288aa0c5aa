/**
 * What an agent notices late, or cannot read at once: stores through mmap, a writer that never pauses, directories
 * without a watch. Each is told in the report, and everything arrives.
 */
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {needsCommands} from '../needs.ts';
import {mapFile} from '../sync/mapped.ts';
import {makeLarge, writeRestlessly} from '../sync/restless.ts';

const REASON = /hot has changed each time it was read, for \d+ s; its last whole version stays on the target/;
const SILENT_MS = 60_000; // mapped files are looked at every 20 s

/** Two agents; the first sends its volume `data` to the second. */
async function twoAgents(wrapper: readonly string[] = []): Promise<{from: TestAgent; to: TestAgent}> {
  const {from, to} = makeAgents({
    from: {
      wrapper,
      config: (agent) => ({volumes: {data: {at: agent.volume('data'), send: ['to'], 'max-wait': '500ms'}}}),
    },
    to: {listens: false, config: (agent) => ({volumes: {data: {at: agent.volume('data'), receive: 'from'}}})},
  });
  await pair(to, from);
  await startAll(from, to);
  return {from, to};
}

needsHosts(needsCommands('python3')(describe))('an agent', {timeout: 120_000}, () => {
  let from: TestAgent;
  let to: TestAgent;
  const inSource = (path: string): string => join(from.volume('data'), path);
  const inTarget = (path: string): string => join(to.volume('data'), path);

  beforeAll(async () => {
    ({from, to} = await twoAgents());
    writeFileSync(inSource('mapped'), Buffer.alloc(16_384, 'old '));
    makeLarge(inSource('hot'));
    await untilInSync(from, 'data', 60_000);
  });
  afterAll(() => stopAll(from, to));

  test('A13 a store through mmap, of which no watcher is told, is found by looking at what is mapped', async () => {
    const mapped = await mapFile(inSource('mapped'));
    await mapped.store(5_000, 'stored');
    const arrived = (): boolean => readFileSync(inTarget('mapped'), 'latin1').includes('stored');
    await from.until('the store is on the target', arrived, SILENT_MS);
    await untilInSync(from, 'data');
    expect((await from.link('data', 'to')).problemCount).toBe(0);
  });

  test('A16 a writer that never pauses: a problem with the reason, everything else arrives, and so does it once it rests', async () => {
    const stop = await writeRestlessly(inSource('hot'));
    const isTold = async (): Promise<boolean> => {
      const {state, problemCount} = await from.link('data', 'to');
      return state === 'problems' && problemCount === 1;
    };
    await from.until('the file is a problem', isTold, 30_000);
    const pending = await from.command(['pending', 'data']);
    expect([pending.exitCode, pending.stdout.replaceAll(/\s+/g, ' ')]).toEqual([1, expect.stringMatching(REASON)]);
    writeFileSync(inSource('other'), 'other');
    await from.until('another file is on the target', () => existsSync(inTarget('other')));
    const flushed = await from.flush('data', 30_000);
    expect(flushed).toMatchObject({exitCode: 1, links: [{problems: [{path: 'hot', code: 'changing'}]}]});
    stop();
    await untilInSync(from, 'data', 60_000);
    expect((await from.link('data', 'to')).problemCount).toBe(0);
  });
});

needsHosts(needsCommands('unshare')(describe))('an agent that may watch 6 directories', {timeout: 120_000}, () => {
  test('D3 of 21 says so in its report and in `status`, and what changes in any of them arrives', async () => {
    // The limit of a user namespace of its own: nobody else runs into it.
    const script = 'echo 6 > /proc/sys/user/max_inotify_watches && exec "$0" "$@"';
    const {from, to} = await twoAgents(['unshare', '-Ur', 'sh', '-c', script]);
    const dirs = Array.from({length: 20}, (_, index) => `dir${index}`);
    for (const dir of dirs) mkdirSync(join(from.volume('data'), dir));
    await untilInSync(from, 'data', 60_000);
    const isTold = async (): Promise<boolean> =>
      (await from.volumeReport('data')).notices.some((notice) =>
        /directories are not watched .*every 10 s/.test(notice),
      );
    await from.until('it says that directories are not watched', isTold);
    expect((await from.command(['status'])).stdout.replaceAll(/\s+/g, ' ')).toMatch(
      /note: 15 directories are not watched/,
    );
    for (const dir of dirs) writeFileSync(join(from.volume('data'), dir, 'file'), dir);
    const isThere = (dir: string): boolean => existsSync(join(to.volume('data'), dir, 'file'));
    await from.until('all files are on the target', () => dirs.every(isThere), 40_000);
    await untilInSync(from, 'data');
    await stopAll(from, to);
  });
});
