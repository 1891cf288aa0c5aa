import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {expect, onTestFinished, test} from 'vitest';
import {openJournalStore, type JournalStore} from '../../../src/state/journal-store.ts';
import {newFolder} from './state-fixture.ts';

function open(folder: string): JournalStore {
  const journal = openJournalStore({place: {folder}, bootId: 'boot-1'});
  onTestFinished(() => journal.close());
  return journal;
}

const body = (text: string): Buffer => Buffer.from(text.repeat(100));

test('batches appended before a kill are pending in the order of their ids, with every byte', () => {
  const folder = newFolder();
  const first = open(folder);
  first.append({id: 2, body: body('two')});
  first.append({id: 1, body: Buffer.alloc(0)});
  first.abandon();
  const journal = open(folder);
  expect(journal.pending()).toEqual([
    {id: 1, body: Buffer.alloc(0)},
    {id: 2, body: body('two')},
  ]);
});

test('a dropped batch is gone at once, and for good with the next append or a clean stop', () => {
  const folder = newFolder();
  const first = open(folder);
  first.append({id: 1, body: body('one')});
  first.append({id: 2, body: body('two')});
  first.drop(1);
  expect(first.pending().map((batch) => batch.id)).toEqual([2]);
  first.append({id: 3, body: body('three')});
  first.drop(2);
  first.abandon();
  const second = open(folder);
  expect(second.pending().map((batch) => batch.id)).toEqual([2, 3]);
  second.drop(2);
  second.close();
  expect(
    open(folder)
      .pending()
      .map((batch) => batch.id),
  ).toEqual([3]);
});

test('an id that is there already is refused and nothing is lost', () => {
  const journal = open(newFolder());
  journal.append({id: 1, body: body('one')});
  expect(() => journal.append({id: 1, body: body('other')})).toThrow(expect.objectContaining({code: 'BUG'}));
  expect(journal.pending()).toEqual([{id: 1, body: body('one')}]);
});

test.each([
  ['one flipped bit of its body', "UPDATE batches SET body = CAST(x'01' || substr(body, 2) AS BLOB)"],
  ['another id', 'UPDATE batches SET id = 9'],
])('a batch with %s makes the journal damaged', (_, sql) => {
  const folder = newFolder();
  const first = open(folder);
  first.append({id: 1, body: body('one')});
  first.close();
  const raw = new DatabaseSync(join(folder, 'journal.db'));
  raw.exec(sql);
  raw.close();
  expect(() => open(folder).pending()).toThrow(
    expect.objectContaining({
      code: 'STATE_DAMAGED',
      details: expect.objectContaining({path: join(folder, 'journal.db')}),
    }),
  );
});

const part = {
  stage: 't12-3',
  path: 'dir/\u00ff',
  sizeBytes: 2 ** 40,
  ino: 2 ** 52,
  btime: {s: -1, ns: 999_999_999},
  atMs: 5,
};

test('a part that was noted is there after a kill; one that was dropped is not after a stop', () => {
  const folder = newFolder();
  const first = open(folder);
  first.partials.put({...part, stage: 't1-1', atMs: 9});
  first.partials.put(part);
  first.partials.drop('t1-1');
  first.abandon();
  const second = open(folder);
  expect(second.partials.all()).toEqual([part, {...part, stage: 't1-1', atMs: 9}]);
  second.partials.drop('t1-1');
  second.close();
  expect(open(folder).partials.all()).toEqual([part]);
});

test('a row that names anything but a file being received is passed over', () => {
  const folder = newFolder();
  const first = open(folder);
  for (const stage of ['../x', 'b1-1', 't1-1/..', 'trial-1']) first.partials.put({...part, stage});
  first.partials.put(part);
  expect(first.partials.all()).toEqual([part]);
});

test('a journal of version 1 is taken over with its batches', () => {
  const folder = newFolder();
  const first = open(folder);
  first.append({id: 1, body: body('one')});
  first.close();
  const raw = new DatabaseSync(join(folder, 'journal.db'));
  raw.exec('DROP TABLE partials; PRAGMA user_version = 1');
  raw.close();
  const journal = open(folder);
  expect(journal.pending()).toEqual([{id: 1, body: body('one')}]);
  journal.partials.put(part);
  expect(journal.partials.all()).toEqual([part]);
});
