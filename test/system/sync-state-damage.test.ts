/**
 * State that was lost, or that lies: the next run finds it or is not misled by it. Both sides are equal then, nothing that the
 * source has was deleted or replaced, and what was equal was read, not sent.
 */
import {chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {randomBytes} from 'node:crypto';
import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {beforeAll, describe, expect, test} from 'vitest';
import {judge} from '../judge/judge.ts';
import {needsCommands} from '../needs.ts';
import {makePair, syncOnce, type Pair, type Run} from '../sync/harness.ts';

const ENDS = ['source', 'target'] as const;
type End = (typeof ENDS)[number];
const CHANGED_FILES = ['a/one', 'c/x/two', 'many/3', 'three'];

/** Directories whose names differ in one bit, one with more entries than a trie's leaf holds, contents of three sizes. */
function fill(source: string): void {
  for (const dir of ['a', 'c', 'a/x', 'c/x', 'many']) mkdirSync(join(source, dir));
  for (const dir of ['a', 'c', 'a/x', 'c/x', '.'])
    for (const name of ['one', 'two', 'three']) writeFileSync(join(source, dir, name), `${dir} ${name}\n`);
  for (let index = 0; index < 400; index++) writeFileSync(join(source, 'many', `${index}`), `${index}\n`);
  writeFileSync(join(source, 'a/large'), randomBytes(200_000));
  writeFileSync(join(source, 'c/large'), randomBytes(200_000));
}

let first: Pair;
let folder: string;

beforeAll(async () => {
  first = makePair('file');
  fill(first.source);
  const run = await syncOnce(first);
  expect(run.exitCode, run.stderr).toBe(0);
  folder = readdirSync(first.state).find((name) => name.startsWith('sync-'))!;
}, 60_000);

const fileOf = (end: End, name: string): string => join(first.state, folder, end, name);

function alter(end: End, sql: string, file = 'volume.db'): void {
  const db = new DatabaseSync(fileOf(end, file));
  try {
    db.exec(sql);
  } finally {
    db.close();
  }
}

/** Runs until it is in sync, at most twice. */
async function expectUnharmed(what: string, changed: readonly string[] = []): Promise<Run> {
  let run = await syncOnce(first);
  const runs = [run];
  if (run.exitCode !== 0) runs.push((run = await syncOnce(first)));
  if (runs.length > 1) console.log(what, runs[0]!.exitCode, runs[0]!.stderr);
  expect(run.exitCode, `${what}\n${runs.map(({stderr}) => stderr).join('\n')}`).toBe(0);
  expect(await judge(first.source, first.target), what).toEqual([]);
  for (const {events} of runs) {
    const done = events.filter(({event}) => event === 'applied').map(({path}) => path as string);
    // Nothing but what was changed was touched.
    expect(
      done.filter((path) => !changed.includes(path)),
      what,
    ).toEqual([]);
  }
  if (changed.length === 0)
    expect(
      runs.map(({result}) => result.stats['contentBytes']),
      what,
    ).toEqual(runs.map(() => 0));
  return run;
}

const judged = needsCommands('rsync')(test);

/** Rows that lie although SQLite finds nothing wrong with them. */
const LIES: Record<string, string> = {
  'the digest of a content': "UPDATE entries SET content = zeroblob(32) WHERE name = 'one'",
  'the digest of a directory': "UPDATE dirs SET digest = zeroblob(32) WHERE name = 'x'",
  'a node of a trie': 'UPDATE nodes SET digest = zeroblob(32) WHERE node = (SELECT max(node) FROM nodes)',
  'the name of a directory': "UPDATE dirs SET name = 'c' WHERE name = 'a'",
  'a circle of directories':
    "UPDATE dirs SET parent = (SELECT id FROM dirs WHERE name = 'x' LIMIT 1) WHERE name IN ('a', 'c')",
  'which directory an entry is': "UPDATE entries SET dir = (SELECT id FROM dirs WHERE name = 'c') WHERE name = 'a'",
  'the name of an entry': "UPDATE entries SET name = 'onf' WHERE name = 'one'",
  'the mode of an entry': "UPDATE entries SET mode = mode + 1 WHERE name IN ('two', '7')",
  'the counters': 'UPDATE counters SET entries = 3000, unread = 7',
  'the attributes of an entry': "UPDATE entries SET attrs = x'ff' WHERE name = 'one'",
};

describe.each(ENDS)('H8 a flipped bit at rest, %s', (end) => {
  for (const [what, sql] of Object.entries(LIES))
    judged(
      `${what}: a run after changes in those directories`,
      async () => {
        alter(end, sql);
        for (const path of CHANGED_FILES) writeFileSync(join(first.source, path), randomBytes(40));
        const gone = join(first.source, 'a/x/gone');
        if (existsSync(gone)) rmSync(gone);
        else writeFileSync(gone, 'is made, and gone the next time\n');
        await expectUnharmed(what, [...CHANGED_FILES, 'a/x/gone', 'a', 'a/x', 'many']);
      },
      60_000,
    );
});

judged(
  'J14 H8 a state file of a newer version is refused with 2, whichever it is, and nothing is changed',
  async () => {
    await expectUnharmed('before');
    for (const [end, file] of [
      ['source', 'volume.db'],
      ['target', 'volume.db'],
      ['target', 'journal.db'],
      ['source', 'agent.db'],
    ] as const) {
      const db = new DatabaseSync(fileOf(end, file));
      const {user_version: version} = db.prepare('PRAGMA user_version').get() as {user_version: number};
      db.exec('PRAGMA user_version = 99');
      const run = await syncOnce(first);
      expect(run.exitCode, `${end}/${file} ${run.stderr}`).toBe(2);
      expect(run.stderr).toContain('newer version of Towline');
      db.exec(`PRAGMA user_version = ${version}`);
      db.close();
    }
    await expectUnharmed('after');
  },
  120_000,
);

judged(
  'H8 a folder in place of a state file, or one that others may write, is refused with 8 and named',
  async () => {
    const path = fileOf('target', 'volume.db');
    renameSync(path, `${path}.kept`);
    mkdirSync(path);
    const folder = await syncOnce(first);
    expect([folder.exitCode, folder.stderr.includes(path)], folder.stderr).toEqual([8, true]);
    rmSync(path, {recursive: true});
    renameSync(`${path}.kept`, path);
    chmodSync(path, 0o666);
    const writable = await syncOnce(first);
    expect([writable.exitCode, writable.stderr.includes(path)], writable.stderr).toEqual([8, true]);
    chmodSync(path, 0o600);
    await expectUnharmed('after');
  },
  120_000,
);
