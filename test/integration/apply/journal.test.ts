/**
 * The journal's protocol, step by step (src/apply/JOURNAL.md): a batch of every kind of operation is cut off after each
 * step, and recovered.
 */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import type {Op} from '../../../src/model/op.ts';
import type {JournalRecord} from '../../../src/apply/journal-record.ts';
import {needsCommands} from '../../needs.ts';
import {failing, makeDir, META, putFile, remove, TargetFolder} from './target-folder.ts';

class Killed extends Error {}

const kill = (): never => {
  throw new Killed();
};

const contentOf = (path: string, text: string): Buffer => (putFile(path, text) as {content: Buffer}).content;

/** Every kind that the journal knows, none building on another. */
const BATCH: readonly Op[] = [
  putFile('replaced', 'new'),
  putFile('flipped', 'a file now'),
  makeDir('made-dir'),
  {kind: 'put-symlink', path: 'linked', target: 'to', meta: META},
  {kind: 'put-special', path: 'fifo', type: 'fifo', rdev: 0, meta: META},
  {kind: 'set-meta', path: 'meta', type: 'file', meta: {...META, mode: 0o600}},
  {kind: 'rename', path: 'from', to: 'to', type: 'file', content: contentOf('from', 'of from')},
  {kind: 'rename', path: 'over', to: 'under', type: 'file', content: contentOf('over', 'of over')},
  {kind: 'exchange', path: 'a', to: 'b'},
  remove('gone'),
  remove('gone-dir', 'dir'),
];

async function before(): Promise<TargetFolder> {
  const target = new TargetFolder();
  const files = ['replaced', 'made-dir', 'linked', 'fifo', 'meta', 'from', 'over', 'under', 'a', 'b', 'gone'];
  await target.apply(
    ...files.map((path) => putFile(path, `of ${path}`)),
    ...['flipped', 'gone-dir'].flatMap((path) => [makeDir(path), putFile(`${path}/in`, `of ${path}/in`)]),
  );
  return target;
}

/** What is at each path: how a reader sees the folder. */
function seen(root: string, dir = ''): string[] {
  return readdirSync(join(root, dir))
    .toSorted()
    .flatMap((name) => {
      const path = join(dir, name);
      const stat = lstatSync(join(root, path));
      if (stat.isDirectory()) return [`${path}/`, ...seen(root, path)];
      if (stat.isSymbolicLink()) return [`${path} -> ${readlinkSync(join(root, path))}`];
      if (!stat.isFile()) return [`${path}|`];
      return [`${path} ${(stat.mode & 0o777).toString(8)}: ${readFileSync(join(root, path), 'utf8')}`];
    });
}

const reference = async (): Promise<{old: string[]; new: string[]}> => {
  const target = await before();
  const old = seen(target.root);
  const results = await target.apply(...BATCH);
  expect(results.filter(({status}) => status !== 'done')).toEqual([]);
  return {old, new: seen(target.root)};
};

/** Applies the batch on a new target that is killed where `arm` says. */
async function cutOff(arm: (target: TargetFolder) => void): Promise<TargetFolder> {
  const target = await before();
  arm(target);
  await expect(target.apply(...BATCH)).rejects.toThrow(Killed);
  target.onJob = () => undefined;
  target.onSwitched = () => undefined;
  target.onJournal = () => undefined;
  return target;
}

function expectNew(target: TargetFolder, wanted: {new: string[]}): void {
  expect(seen(target.root)).toEqual(wanted.new);
  expect(readdirSync(target.staging)).toEqual([]);
  expect(target.openBatches).toBe(0);
  const kept = target.items().map((place) => join(target.trash, place));
  const texts = kept.filter((path) => statSync(path).isFile()).map((path) => readFileSync(path, 'utf8'));
  for (const text of ['of gone', 'of under', 'of replaced', 'of linked', 'of fifo', 'of made-dir'])
    expect(texts).toContain(text);
  expect(kept.filter((path) => statSync(path).isDirectory())).toHaveLength(2);
}

describe('H4 a batch that is cut off', () => {
  test('before step 1, and after it (staged, not journalled): nothing of it is there, and nothing stays staged', async () => {
    const wanted = await reference();
    for (const step of ['stage-batch', 'journal'] as const) {
      const target = await cutOff((each) => {
        if (step === 'stage-batch') each.onJob = (kind) => (kind === step ? kill() : undefined);
        else
          each.onJob = (kind, input) => {
            if (kind !== 'stage-batch') return;
            // Staged all the same: what the record names is there, and no record.
            for (const index of [0, 1])
              writeFileSync(join(each.staging, `b${(input as {batch: number}).batch}-${index}`), 'staged');
            kill();
          };
      });
      expect(seen(target.root), step).toEqual(wanted.old);
      expect(await target.recover(), step).toBe(0);
      expect(seen(target.root), step).toEqual(wanted.old);
      expect(readdirSync(target.staging), step).toEqual([]);
    }
  });

  test('after step 4 (journalled): all of it is done', async () => {
    const wanted = await reference();
    const target = await cutOff((each) => (each.onJournal = (step) => (step === 'appended' ? kill() : undefined)));
    expect(seen(target.root)).toEqual(wanted.old);
    expect(await target.recover()).toBe(1);
    expectNew(target, wanted);
  });

  test(`in step 5 (switch), after each of its ${BATCH.length} records: all of it is done, and what was done is not done twice`, async () => {
    const wanted = await reference();
    for (let count = 1; count <= BATCH.length; count++) {
      const target = await cutOff((each) => {
        each.onJob = (kind, input) => {
          if (kind === 'switch-batch') (input as {records: JournalRecord[]}).records.splice(count);
        };
        each.onSwitched = kill;
      });
      expect(seen(target.root), `${count}`).not.toEqual(wanted.old);
      expect(await target.recover()).toBe(1);
      expectNew(target, wanted);
    }
  });

  test('after step 5 (switched), 6 (recorded) and 7 (dropped, not yet from the file): once more changes nothing', async () => {
    const wanted = await reference();
    const switched = await cutOff((each) => (each.onSwitched = kill));
    expect(await switched.recover()).toBe(1);
    expectNew(switched, wanted);
    const dropped = await cutOff((each) => (each.onJournal = (step) => (step === 'dropped' ? kill() : undefined)));
    expect(await dropped.recover()).toBe(0);
    expectNew(dropped, wanted);
  });

  test('a path that somebody changed before the recovery stays theirs, and everything else is done', async () => {
    const wanted = await reference();
    const target = await cutOff((each) => (each.onJournal = (step) => (step === 'appended' ? kill() : undefined)));
    const theirs = (name: string): void => {
      writeFileSync(join(target.folder, 'new'), `theirs at ${name}`);
      renameSync(join(target.folder, 'new'), join(target.root, name));
    };
    for (const name of ['gone', 'from', 'a', 'replaced']) theirs(name);
    expect(await target.recover()).toBe(1);
    const now = seen(target.root);
    for (const name of ['gone', 'from', 'a'])
      expect(now.find((line) => line.startsWith(`${name} `))).toContain(`theirs at ${name}`);
    expect(now).toContain('replaced 644: new');
    expect(
      target
        .items()
        .map((place) => join(target.trash, place))
        .filter((path) => statSync(path).isFile())
        .map((path) => readFileSync(path, 'utf8')),
    ).toContain('theirs at replaced');
    expect(now.filter((line) => /^(flipped|made-dir|linked|fifo|meta|under)/.test(line))).toEqual(
      wanted.new.filter((line) => /^(flipped|made-dir|linked|fifo|meta|under)/.test(line)),
    );
    expect(readdirSync(target.staging)).toEqual([]);
  });

  test('on a trash that cannot be written: the old version goes there later, and is not swept away', async () => {
    const target = await cutOff((each) => {
      each.onJob = (kind, input) => {
        if (kind === 'switch-batch') (input as {records: JournalRecord[]}).records.splice(0);
      };
      each.onSwitched = kill;
    });
    const [staged = ''] = readdirSync(target.staging).filter((name) => name.endsWith('-0'));
    // As a kill between the exchange and the trash leaves it.
    renameSync(join(target.root, 'replaced'), join(target.folder, 'between'));
    renameSync(join(target.staging, staged), join(target.root, 'replaced'));
    renameSync(join(target.folder, 'between'), join(target.staging, staged));
    const hour = new Date().toISOString().slice(0, 13);
    mkdirSync(join(target.trash, hour, 'index.ndjson'), {recursive: true});
    await expect(target.recover()).rejects.toThrow(/the staging folder or the trash/);
    expect(target.openBatches).toBe(1);
    const [kept = ''] = readdirSync(target.staging).filter((name) => name.startsWith(staged));
    expect(readFileSync(join(target.staging, kept), 'utf8')).toBe('of replaced');
    renameSync(join(target.trash, hour), join(target.folder, 'planted'));
    expect(await target.recover()).toBe(1);
    const items = target
      .items()
      .map((place) => join(target.trash, place))
      .filter((path) => statSync(path).isFile());
    expect(items.map((path) => readFileSync(path, 'utf8'))).toContain('of replaced');
  });
});

needsCommands('strace')(test).each(['EMFILE', 'ENOMEM', 'ETIMEDOUT'])(
  '%s while it is rolled forward: the row and what is staged stay, and the next try completes it',
  async (error) => {
    const target = new TargetFolder();
    await target.apply(makeDir('dir'), putFile('dir/file', 'old'));
    target.onJournal = kill;
    await expect(target.apply(putFile('dir/file', 'new'))).rejects.toThrow(Killed);
    target.onJournal = () => undefined;
    const end = failing(target, {call: 'openat2', error, when: '1'});
    await expect(target.recover()).rejects.toThrow(error);
    expect(await end()).toBe(1);
    expect([target.openBatches, readdirSync(target.staging).length]).toEqual([1, 1]);
    expect(await target.recover()).toBe(1);
    expect(readFileSync(join(target.root, 'dir/file'), 'utf8')).toBe('new');
  },
);
