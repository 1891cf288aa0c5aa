import {statSync} from 'node:fs';
import {DatabaseSync} from 'node:sqlite';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import type {Clock} from '../../../src/base/clock.ts';
import {entry, newFolder, openStore, unreadIn} from './state-fixture.ts';

const START_MS = 1_800_000_000_000;
const MINUTE_MS = 60_000;

/** A clock that a test moves; `jump` moves the wall clock alone. */
class SetClock implements Clock {
  #wallMs = START_MS;
  #monotonicMs = 5_000;
  nowMs = (): number => this.#wallMs;
  monotonicMs = (): number => this.#monotonicMs;
  sleep = (): Promise<void> => Promise.reject(new Error('nobody sleeps here'));

  pass(ms: number): void {
    this.#wallMs += ms;
    this.#monotonicMs += ms;
  }

  jump(ms: number): void {
    this.#wallMs += ms;
  }

  get now(): {s: number; ns: number} {
    return {s: Math.floor(this.#wallMs / 1_000), ns: 0};
  }
}

/** What a next boot does not trust. */
function doubtedIn(folder: string, bootId = 'boot-2'): string[] {
  const store = openStore({place: {folder}, bootId});
  const names = unreadIn(store).map(({path}) => path);
  expect(store.doubtedCount).toBe(names.length);
  store.close();
  return names;
}

for (const isClean of [true, false])
  test(`H14 another boot after ${isClean ? 'a clean stop' : 'a kill'}: what changed up to 5 minutes before the last sign of life is not trusted`, () => {
    const folder = newFolder();
    const clock = new SetClock();
    const store = openStore({place: {folder}, clock});
    store.put(1, entry('old', {ctime: clock.now}));
    clock.pass(6 * MINUTE_MS);
    store.put(1, entry('young', {ctime: clock.now}));
    clock.pass(4 * MINUTE_MS);
    store.put(1, entry('new', {ctime: clock.now}));
    store.flush();
    if (isClean) store.close();
    else store.abandon();
    const same = openStore({place: {folder}, clock});
    expect(same.doubtedCount).toBe(0);
    same.abandon();
    expect(doubtedIn(folder)).toEqual(['new', 'young']);
    expect(openStore({place: {folder}, bootId: 'boot-2'}).doubtedCount).toBe(0);
  });

test('H14 a kill while what is in doubt is forgotten: the next opening forgets it again', () => {
  const folder = newFolder();
  const store = openStore({place: {folder}});
  const {s} = new SetClock().now;
  for (let index = 0; index < 3; index++) store.put(1, entry(`f${index}`, {ctime: {s: s + index, ns: 0}}));
  store.close();
  const db = new DatabaseSync(join(folder, 'volume.db'));
  db.exec(
    "CREATE TRIGGER stop BEFORE UPDATE OF content ON entries WHEN old.name = 'f1' BEGIN SELECT RAISE(ABORT, 'killed'); END",
  );
  db.close();
  expect(() => openStore({place: {folder}, bootId: 'boot-2'})).toThrow('killed');
  const again = new DatabaseSync(join(folder, 'volume.db'));
  again.exec('DROP TRIGGER stop');
  again.close();
  expect(doubtedIn(folder)).toHaveLength(3);
});

test('H14 a volume that rested for 6 minutes has nothing in doubt, and notes that once', () => {
  const folder = newFolder();
  const clock = new SetClock();
  const store = openStore({place: {folder}, clock});
  store.put(1, entry('f', {ctime: clock.now}));
  store.flush();
  const logSizes = new Set<number>();
  for (let minute = 0; minute < 30; minute++) {
    clock.pass(MINUTE_MS);
    store.rest();
    logSizes.add(statSync(join(folder, 'volume.db-wal')).size);
  }
  expect(logSizes.size).toBe(2);
  store.abandon();
  expect(doubtedIn(folder)).toEqual([]);
});

for (const [where, jumpMs] of [
  ['an hour forth', 60 * MINUTE_MS],
  ['to 2100', 4_102_444_800_000 - START_MS],
  ['an hour back', -60 * MINUTE_MS],
  ['to 1970', -START_MS + 1_000],
] as const)
  test(`H13 H14 the clock jumps ${where} between two changes and a power cut: both are in doubt`, () => {
    const folder = newFolder();
    const clock = new SetClock();
    const store = openStore({place: {folder}, clock});
    store.put(1, entry('before', {ctime: clock.now}));
    store.flush();
    clock.pass(2 * MINUTE_MS);
    clock.jump(jumpMs);
    store.put(1, entry('after', {ctime: clock.now}));
    store.flush();
    clock.pass(1_000);
    store.put(1, entry('later', {ctime: clock.now}));
    store.flush();
    store.abandon();
    expect(doubtedIn(folder).toSorted()).toEqual(['after', 'before', 'later']);
  });

test('H14 a state of an older version, or a sign of life with a flipped bit: the newest change that it knows counts', () => {
  const folder = newFolder();
  const {now} = new SetClock();
  const nowS = Math.floor(Date.now() / 1_000);
  const store = openStore({place: {folder}});
  for (const [name, ago] of [
    ['old', 500],
    ['young', 200],
    ['newest', 100],
  ] as const)
    store.put(1, entry(name, {ctime: {s: nowS - ago, ns: 0}}));
  store.put(1, entry('of the future', {ctime: {s: now.s + 10 ** 9, ns: 0}}));
  store.close();
  for (const sql of [
    "DELETE FROM meta WHERE name = 'alive'",
    "UPDATE meta SET value = replace(value, '1', '3') WHERE name = 'alive'",
  ]) {
    const db = new DatabaseSync(join(folder, 'volume.db'));
    db.exec(
      `${sql}; UPDATE entries SET content = zeroblob(32), content_key = 0; UPDATE meta SET value = 'boot-1' WHERE name = 'boot'`,
    );
    db.close();
    expect(doubtedIn(folder).toSorted()).toEqual(['newest', 'of the future', 'young']);
  }
});
