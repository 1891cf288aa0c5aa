import {
  appendFileSync,
  chmodSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test, vi} from 'vitest';
import {
  openActionLog,
  readActionLog,
  type ActionLog,
  type ActionLogOptions,
  type ActionQuery,
  type ActionRecord,
} from '../../../src/state/action-log.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsRoot} from '../../needs.ts';
import {newFolder} from './state-fixture.ts';

function open(folder: string, options: Partial<ActionLogOptions> = {}): ActionLog {
  const log = openActionLog(folder, {onNotice: () => undefined, ...options});
  onTestFinished(() => log.close());
  return log;
}

function action(path: string, changes: Partial<ActionRecord> = {}): ActionRecord {
  return {
    atMs: Date.UTC(2026, 10, 20, 12, 0, 0, 5),
    volume: 'pgdata',
    peer: 'web-1',
    batch: 1_763_640_000_000_001,
    op: 'delete',
    path,
    to: undefined,
    place: '2026-11-20T12/0011-d0',
    reason: 'deleted',
    ...changes,
  };
}

async function all(folder: string, query: ActionQuery = {}): Promise<ActionRecord[]> {
  const records: ActionRecord[] = [];
  for await (const record of readActionLog(folder, query)) records.push(record);
  return records;
}

function files(folder: string): string[] {
  return readdirSync(folder).toSorted();
}

test('J17 a line has time, volume, peer, batch, operation, path and place; names of any bytes come back as they were', async () => {
  const folder = join(newFolder(), 'log');
  const log = open(folder);
  const records = [
    action('db/old'),
    action('caf\u00e9 \u00ff\n\\', {
      op: 'rename',
      to: 'to\u0080',
      place: undefined,
      reason: 'own version',
    }),
    action('caf\u00c3\u00a9'),
  ];
  for (const record of records) log.note(record);
  log.flush();
  expect(await all(folder)).toEqual(records);
  const text = readFileSync(join(folder, 'actions-000000000001.ndjson'), 'utf8');
  expect(JSON.parse(text.split('\n')[0] ?? '')).toEqual({
    at: '2026-11-20T12:00:00.005Z',
    volume: 'pgdata',
    peer: 'web-1',
    batch: 1_763_640_000_000_001,
    op: 'delete',
    path: 'db/old',
    place: '2026-11-20T12/0011-d0',
    reason: 'deleted',
  });
  expect(text.split('\n')).toHaveLength(4);
  expect([statSync(folder).mode & 0o777, statSync(join(folder, files(folder)[0] ?? '')).mode & 0o777]).toEqual([
    0o700, 0o600,
  ]);
});

test('a line is in the file 100 ms after it was noted, and at once when the log is closed', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const folder = newFolder();
  const log = open(folder);
  log.note(action('a'));
  vi.advanceTimersByTime(99);
  expect(files(folder)).toEqual([]);
  vi.advanceTimersByTime(1);
  vi.useRealTimers();
  expect(await all(folder)).toHaveLength(1);
  log.note(action('b'));
  log.close();
  log.note(action('after the end'));
  expect((await all(folder)).map(({path}) => path)).toEqual(['a', 'b']);
});

test('questions: a volume, a path with what is below it and what it was renamed to, a time, the last 2', async () => {
  const folder = newFolder();
  const log = open(folder, {fileBytesMax: 600});
  for (let index = 0; index < 20; index++) {
    log.note(action(`d${index % 2}/f${index}`, {atMs: index * 1_000, volume: `v${index % 3}`}));
    log.flush();
  }
  log.note(action('x', {op: 'rename', to: 'd0/x', atMs: 99_000}));
  log.flush();
  const paths = async (query: ActionQuery): Promise<string[]> => (await all(folder, query)).map(({path}) => path);
  expect(await paths({volume: 'v1', sinceMs: 9_000})).toEqual(['d0/f10', 'd1/f13', 'd0/f16', 'd1/f19']);
  expect(await paths({path: 'd0', sinceMs: 15_000})).toEqual(['d0/f16', 'd0/f18', 'x']);
  expect(await paths({path: 'd', limit: 2})).toEqual([]);
  expect(await paths({path: 'd1', limit: 2})).toEqual(['d1/f17', 'd1/f19']);
  expect(await paths({limit: 4})).toEqual(['d1/f17', 'd0/f18', 'd1/f19', 'x']);
  expect(await paths({limit: 0})).toEqual([]);
  expect(await all(join(folder, 'missing'))).toEqual([]);
});

describe('files', () => {
  test('of 1,000 bytes are begun anew, 3 are kept, also over openings, and their names sort', async () => {
    const folder = newFolder();
    for (let round = 0; round < 10; round++) {
      const log = open(folder, {fileBytesMax: 1_000, filesMax: 3});
      for (let index = 0; index < 5; index++) {
        log.note(action(`r${round}-${index}`));
        log.flush();
      }
      log.close();
    }
    expect(files(folder)).toHaveLength(3);
    for (const file of files(folder)) expect(statSync(join(folder, file)).size).toBeLessThan(1_300);
    const left = (await all(folder)).map(({path}) => path);
    expect(left.length).toBeGreaterThan(10);
    const expected = Array.from({length: 50}, (_, index) => `r${Math.floor(index / 5)}-${index % 5}`);
    expect(left).toEqual(expected.slice(-left.length));
  });

  test('a line that was cut off at any byte is skipped, and the next one is whole', async () => {
    const whole = newFolder();
    const first = open(whole);
    first.note(action('a'));
    first.note(action('b'));
    first.close();
    const path = join(whole, files(whole)[0] ?? '');
    const text = readFileSync(path);
    const lineBytes = text.indexOf(0x0a) + 1;
    for (const sizeBytes of [lineBytes + 1, lineBytes + 50, text.length - 1]) {
      const folder = newFolder();
      writeFileSync(join(folder, 'actions-000000000007.ndjson'), text, {mode: 0o600});
      truncateSync(join(folder, 'actions-000000000007.ndjson'), sizeBytes);
      expect((await all(folder)).map((record) => record.path)).toEqual(['a']);
      const log = open(folder);
      log.note(action('c'));
      log.close();
      const cutPath = sizeBytes === text.length - 1 ? ['b'] : []; // nothing but its end was missing
      expect((await all(folder)).map((record) => record.path)).toEqual(['a', ...cutPath, 'c']);
    }
  });

  test('lines that are none of ours, and one of 3 MiB, are skipped', async () => {
    const folder = newFolder();
    const log = open(folder);
    log.note(action('a'));
    log.flush();
    const path = join(folder, files(folder)[0] ?? '');
    const bad = ['null', '[]', '{}', '{"at":"x"}', JSON.stringify({...action('a'), at: '2026-01-01', path: '../up'})];
    appendFileSync(path, `${bad.join('\n')}\n{"x":"${'y'.repeat(3 << 20)}"}\n`);
    log.note(action('b'));
    log.flush();
    expect((await all(folder)).map((record) => record.path)).toEqual(['a', 'b']);
  });

  test('a folder or a file that others may write is refused; a file that went is begun anew', async () => {
    const folder = newFolder();
    chmodSync(folder, 0o777);
    expect(() => openActionLog(folder, {onNotice: () => undefined})).toThrow(
      expect.objectContaining({code: 'REFUSED'}),
    );
    chmodSync(folder, 0o700);
    writeFileSync(join(folder, 'actions-000000000001.ndjson'), '');
    chmodSync(join(folder, 'actions-000000000001.ndjson'), 0o666);
    const notices: string[] = [];
    const log = open(folder, {onNotice: (message) => notices.push(message)});
    log.note(action('a'));
    log.flush();
    log.note(action('b'));
    log.flush();
    expect(log.lostCount).toBe(2);
    expect(notices).toEqual([expect.stringContaining('loses lines')]);
    unlinkSync(join(folder, 'actions-000000000001.ndjson'));
    log.note(action('c'));
    log.flush();
    expect(notices).toEqual([expect.any(String), expect.stringContaining('2 lines were lost')]);
    expect((await all(folder)).map(({path}) => path)).toEqual(['c']);
  });
});

needsRoot(test)(
  'H17 a full disk loses lines, which is told once, and stops nothing; with room again it goes on',
  async () => {
    const disk = makeLoopFilesystem('tmpfs', 1);
    const folder = join(disk.path, 'log');
    writeFileSync(join(disk.path, 'ballast'), Buffer.alloc((1 << 20) - 40_960));
    const notices: string[] = [];
    const log = open(folder, {onNotice: (message) => notices.push(message)});
    const noteMany = (count: number): void => {
      for (let index = 0; index < count; index++) log.note(action(`f${index}`));
      log.flush();
    };
    noteMany(10);
    noteMany(1_000);
    noteMany(1_000);
    expect(notices).toEqual([expect.stringContaining('ENOSPC')]);
    unlinkSync(join(disk.path, 'ballast'));
    noteMany(10);
    expect(notices).toHaveLength(2);
    const records = await all(folder);
    expect(records.length + log.lostCount).toBe(2_020);
    expect(records.slice(-10).map(({path}) => path)).toEqual(Array.from({length: 10}, (_, index) => `f${index}`));
  },
);
