/** What the agent wrote down and put away, listed and taken back: the log and the trash. */
import {describe, expect, test} from 'vitest';
import {NOW_MS} from '../../scripted-agent.ts';
import {linesOf, type Ran, runScripted, type Script} from './scripted.ts';

const eventsOf = (ran: Ran): Record<string, unknown>[] =>
  linesOf(ran.stdout).map((line) => JSON.parse(line) as Record<string, unknown>);

describe('what was recorded', () => {
  const STATE = '/nonexistent/s';
  const run = (typed: string[], script: Script): Promise<Ran> => runScripted([...typed, '--state', STATE], script);

  test('log lists actions of a path since a time, for people and for programs', async () => {
    const queries: unknown[] = [];
    const records: Script['records'] = {
      async *readActionLog(stateFolder, query) {
        queries.push([stateFolder, query]);
        yield {
          atMs: NOW_MS,
          volume: 'pgdata',
          peer: 'web-1',
          batch: 7,
          op: 'delete',
          path: 'db/\xff',
          place: '2026-11-20T13/x-d0',
          reason: 'deleted',
        };
        yield {
          atMs: NOW_MS,
          volume: 'pgdata',
          peer: 'web-1',
          batch: 8,
          op: 'rename',
          path: 'a',
          to: 'b',
          reason: 'replaced',
        };
      },
    };
    const ran = await run(['log', 'pgdata', './db/', '--since', '2026-11-20T13:00:00Z'], {records});
    expect(ran).toMatchObject({exitCode: 0, stderr: ''});
    expect(linesOf(ran.stdout).map((line) => line.replace(/^\S+ \S+ \S+ {2}/, ''))).toEqual([
      'pgdata  delete db/\\xff, by web-1 in batch 7, in the trash as 2026-11-20T13/x-d0',
      'pgdata  rename a → b, by web-1 in batch 8, not kept',
    ]);
    expect(queries).toEqual([[STATE, {volume: 'pgdata', path: 'db', sinceMs: Date.UTC(2026, 10, 20, 13)}]]);
    expect(eventsOf(await run(['log', '--json'], {records}))).toMatchObject([
      {event: 'action', at: new Date(NOW_MS).toISOString(), path: 'db/\\xff', pathBytes: 'ZGIv/w==', to: null},
      {event: 'action', op: 'rename', to: 'b', place: null, reason: 'replaced'},
      {event: 'result', count: 2},
    ]);
  });

  test('trash lists below a path, restores places, and is emptied only with consent', async () => {
    const asked: unknown[] = [];
    const item = {atMs: NOW_MS, type: 'file', reason: 'deleted', sizeBytes: 1_536};
    const records: Script['records'] = {
      async *listTrash(query) {
        asked.push(query);
        yield {...item, path: 'db/old', place: 'h/1'};
        yield {...item, path: 'dbx', place: 'h/2', sizeBytes: undefined};
      },
      restoreTrash: async (request) => {
        asked.push(request);
        return [{path: '/srv/db/old'}];
      },
      emptyTrash: async (request) => {
        asked.push(request);
        return {count: 2, sizeBytes: 3_072};
      },
    };
    const query = {stateFolder: STATE, volume: 'pgdata'};
    const list = await run(['trash', 'list', 'pgdata', 'db'], {records});
    expect(linesOf(list.stdout)).toEqual([expect.stringMatching(/ {2}h\/1 {2}deleted {2}file db\/old \(1\.5 KiB\)$/)]);
    const restored = await run(['trash', 'restore', 'pgdata', 'h/1', 'h/2', '--to', '/back'], {records});
    expect(restored).toMatchObject({exitCode: 0, stdout: 'Restored: /srv/db/old\n'});
    expect(await run(['trash', 'empty', 'pgdata'], {records})).toMatchObject({exitCode: 8});
    expect(await run(['trash', 'empty', 'pgdata'], {records, answer: 'no'})).toMatchObject({exitCode: 8});
    const emptied = await run(['trash', 'empty', 'pgdata', '--before', '2d'], {records, answer: 'yes'});
    expect(emptied).toMatchObject({exitCode: 0, stdout: 'Removed for good: 2 items, 3.0 KiB\n'});
    expect(await run(['trash', 'empty', 'pgdata', '--yes', '--json'], {records})).toMatchObject({exitCode: 0});
    expect(asked).toEqual([
      query,
      {...query, places: ['h/1', 'h/2'], to: '/back'},
      {...query, beforeMs: NOW_MS - 2 * 86_400_000},
      {...query, beforeMs: NOW_MS},
    ]);
  });
});
