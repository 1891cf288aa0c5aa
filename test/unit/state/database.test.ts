import {
  chmodSync,
  closeSync,
  openSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {describe, expect, onTestFinished, test} from 'vitest';
import type {TowlineError} from '../../../src/base/errors.ts';
import {Database} from '../../../src/state/database.ts';
import {setAside} from '../../../src/state/state-files.ts';
import {entry, newFolder, openStore} from './state-fixture.ts';

const OPTIONS = {
  file: 'test.db',
  schemaVersion: 1,
  schema: 'CREATE TABLE t (n INTEGER PRIMARY KEY, bytes BLOB);',
  cacheKiB: 1_024,
  checkpointPages: 1_000,
  isExclusive: true,
  bootId: 'boot-1',
};

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'no error';
  } catch (error) {
    return (error as TowlineError).code;
  }
}

function newDatabase(folder = newFolder()): {folder: string; db: Database} {
  const db = new Database({...OPTIONS, place: {folder}});
  onTestFinished(() => db.close());
  return {folder, db};
}

/** A volume's folder with 2,000 entries, closed or left as by a kill. */
function filledFolder(stop: 'close' | 'abandon'): {folder: string; path: string} {
  const folder = newFolder();
  const store = openStore({place: {folder}});
  for (let index = 0; index < 2_000; index++) store.put(1, entry(`f${index}`));
  store.close();
  if (stop === 'abandon') openStore({place: {folder}}).abandon();
  return {folder, path: join(folder, 'volume.db')};
}

describe('who may touch the state', () => {
  test('the folder is made with mode 0700 and its files with 0600, under any umask', () => {
    const before = process.umask(0);
    onTestFinished(() => void process.umask(before));
    const folder = join(newFolder(), 'a', 'b');
    newDatabase(folder);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(readdirSync(folder).map((file) => [file, statSync(join(folder, file)).mode & 0o777])).toEqual([
      ['test.db', 0o600],
      ['test.db-wal', 0o600],
    ]);
  });

  test.each([0o770, 0o707])('a folder of mode %o is refused', (mode) => {
    const folder = newFolder();
    chmodSync(folder, mode);
    expect(codeOf(() => newDatabase(folder))).toBe('REFUSED');
  });

  test('a file that others may write, a symlink and a folder in its place are refused', () => {
    const folder = newFolder();
    writeFileSync(join(folder, 'test.db'), '');
    chmodSync(join(folder, 'test.db'), 0o666);
    expect(codeOf(() => newDatabase(folder))).toBe('REFUSED');
    const linked = newFolder();
    symlinkSync(join(folder, 'test.db'), join(linked, 'test.db'));
    expect(codeOf(() => newDatabase(linked))).toBe('REFUSED');
    const throughLink = join(linked, 'folder');
    symlinkSync(folder, throughLink);
    expect(codeOf(() => newDatabase(throughLink))).toBe('REFUSED');
  });

  test('a second owner of the same file is told that it is in use', () => {
    const {folder} = newDatabase();
    expect(codeOf(() => newDatabase(folder))).toBe('LOCKED');
  });
});

describe('damage', () => {
  test('a file of a newer version is refused and left as it is', () => {
    const {folder, path} = filledFolder('close');
    const raw = new DatabaseSync(path);
    raw.exec('PRAGMA user_version = 99');
    raw.close();
    expect(codeOf(() => openStore({place: {folder}}))).toBe('STATE_NEWER');
    expect(readdirSync(folder)).toEqual(['volume.db']);
  });

  test('text, another program’s database and a cut file are damaged', () => {
    const {folder, path} = filledFolder('close');
    truncateSync(path, 8_192);
    expect(codeOf(() => openStore({place: {folder}}))).toBe('STATE_DAMAGED');
    const text = newFolder();
    writeFileSync(join(text, 'volume.db'), 'no database at all, but long enough to be looked at '.repeat(20), {
      mode: 0o600,
    });
    expect(codeOf(() => openStore({place: {folder: text}}))).toBe('STATE_DAMAGED');
    const foreign = newFolder();
    const raw = new DatabaseSync(join(foreign, 'volume.db'));
    raw.exec('CREATE TABLE theirs (n)');
    raw.close();
    chmodSync(join(foreign, 'volume.db'), 0o600);
    expect(codeOf(() => openStore({place: {folder: foreign}}))).toBe('STATE_DAMAGED');
  });

  test('an overwritten page is found at the open after a kill, and after a clean stop when it is read', () => {
    for (const stop of ['abandon', 'close'] as const) {
      const {folder, path} = filledFolder(stop);
      const fd = openSync(path, 'r+');
      const pages = statSync(path).size / 8_192;
      for (let page = 4; page < pages; page++) writeSync(fd, Buffer.alloc(64, 0xee), 0, 64, page * 8_192);
      closeSync(fd);
      if (stop === 'abandon') expect(codeOf(() => openStore({place: {folder}}))).toBe('STATE_DAMAGED');
      else {
        const read = (): unknown => [...openStore({place: {folder}}).children(1)];
        expect(codeOf(read)).toBe('STATE_DAMAGED');
      }
    }
  });

  test('a damaged file set aside keeps its bytes under a new name, twice in one second, and an empty one opens', () => {
    const folder = newFolder();
    const nowMs = Date.UTC(2024, 1, 29, 12, 30, 15, 500);
    for (const suffix of ['', '-2']) {
      writeFileSync(join(folder, 'volume.db'), 'broken'.repeat(100), {mode: 0o600});
      const to = setAside({folder, file: 'volume.db', nowMs});
      expect(to).toBe(join(folder, `volume.db.damaged-20240229T123015Z${suffix}`));
      expect(statSync(to).size).toBe(600);
    }
    expect(openStore({place: {folder}}).entryCount()).toBe(0);
  });
});

describe('a file of an older version', () => {
  const STEPS = {
    ...OPTIONS,
    schemaVersion: 3,
    upgrades: {1: 'ALTER TABLE t ADD COLUMN a TEXT;', 2: 'ALTER TABLE t ADD COLUMN b TEXT;'},
  };

  test('takes each step to this one, keeps its rows, and is left alone afterwards', () => {
    const {folder, db} = newDatabase();
    db.prepare('INSERT INTO t (n) VALUES (?)').run(7);
    db.close();
    for (let opening = 0; opening < 2; opening++) {
      const upgraded = new Database({...STEPS, place: {folder}});
      expect(upgraded.prepare('SELECT n, a, b FROM t').all()).toEqual([[7, null, null]]);
      upgraded.close();
    }
    expect(codeOf(() => newDatabase(folder))).toBe('STATE_NEWER');
  });

  test('whose step is not known is not opened', () => {
    const {folder, db} = newDatabase();
    db.close();
    expect(codeOf(() => new Database({...STEPS, upgrades: {2: ''}, place: {folder}}))).toBe('BUG');
    newDatabase(folder);
  });
});

describe('a full disk', () => {
  test('a write that finds no room rolls back to the last commit, says ENOSPC, and works again afterwards', () => {
    const {db} = newDatabase();
    let reloads = 0;
    db.useHooks({onCommit: () => undefined, onRollback: () => void reloads++});
    const insert = db.prepare('INSERT INTO t (bytes) VALUES (?)');
    const count = db.prepare('SELECT count(*) FROM t');
    insert.run(Buffer.alloc(10));
    db.flush();
    db.exec('PRAGMA max_page_count = 20');
    const fill = (): void => {
      for (let index = 0; index < 100; index++) insert.run(Buffer.alloc(8_000));
    };
    expect(codeOf(() => db.batch(fill))).toBe('SYSTEM');
    expect([count.get()?.[0], db.isDirty, db.isInBatch, reloads]).toEqual([1, false, false, 1]);
    insert.run(Buffer.alloc(10));
    db.flush();
    expect(count.get()?.[0]).toBe(2);
  });
});
