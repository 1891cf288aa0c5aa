/**
 * The target is edited while batches change the very same path: between the look and the rename, with the file open
 * across the rename, by another file put in its place.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync} from 'node:fs';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {onTestFinished, expect, test} from 'vitest';
import {needsCommands} from '../../needs.ts';
import {putFile, remove, TargetFolder} from './target-folder.ts';

const UPDATES = 1_000;
const ROUNDS = 80;

interface Editor {
  /** @returns how many edits were closed, and how often nothing was at the path */
  stop(): Promise<{edits: number; missing: number}>;
}

async function startEditor(how: 'append' | 'exchange', path: string, saved: string): Promise<Editor> {
  const child = spawn('python3', ['-I', '-S', join(import.meta.dirname, 'editor.py'), how, path, saved], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines = createInterface({input: child.stdout})[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('ready');
  return {
    stop: async () => {
      child.stdin.end();
      const [edits, missing] = String((await lines.next()).value)
        .split(' ')
        .map(Number) as [number, number];
      if (child.exitCode === null) await once(child, 'exit');
      return {edits, missing};
    },
  };
}

/** Numbers of all edits in some files. */
function editsIn(paths: readonly string[]): Set<number> {
  return new Set(
    paths.flatMap((path) => [...readFileSync(path, 'utf8').matchAll(/^edit (\d+)$/gm)].map(([, edit]) => Number(edit))),
  );
}

const filesOf = (target: TargetFolder): string[] => target.items().map((place) => join(target.trash, place));
const lost = (count: number, found: Set<number>): number[] =>
  Array.from({length: count}, (_, edit) => edit).filter((edit) => !found.has(edit));
const editorTest = needsCommands('python3')(test);

editorTest(
  `H10 an editor adds to the path during ${UPDATES} updates: each line that it closed is there or in the trash`,
  async () => {
    const target = new TargetFolder();
    await target.apply(putFile('a', 'version 0\n'));
    const editor = await startEditor('append', join(target.root, 'a'), target.folder);
    for (let version = 1; version <= UPDATES; version++) {
      const [result] = await target.apply(putFile('a', `version ${version}\n`));
      expect(result).toEqual({status: 'done'});
    }
    const {edits, missing} = await editor.stop();
    expect(edits).toBeGreaterThan(50);
    expect(missing).toBe(0);
    expect(lost(edits, editsIn([join(target.root, 'a'), ...filesOf(target)]))).toEqual([]);
  },
  120_000,
);

editorTest(
  `H10 an editor puts files of its own in the place of one that is updated, renamed over and deleted, ${ROUNDS * 5} times in all`,
  async () => {
    const target = new TargetFolder();
    const saved = join(target.folder, 'saved');
    mkdirSync(saved);
    await target.apply(putFile('a', 'version 0\n'));
    const editor = await startEditor('exchange', join(target.root, 'a'), saved);
    const {content} = putFile('b', 'renamed over\n') as {content: Buffer};
    for (let round = 0; round < ROUNDS; round++) {
      await target.apply(putFile('a', `version ${round}\n`));
      await target.apply(putFile('b', 'renamed over\n'));
      await target.apply({kind: 'rename', path: 'b', to: 'a', type: 'file', content});
      await target.apply(remove('a'));
      await target.apply(putFile('a', 'again\n'));
    }
    const {edits} = await editor.stop();
    expect(edits).toBeGreaterThan(50);
    const names = readdirSync(target.root).map((name) => join(target.root, name));
    const kept = readdirSync(saved).map((name) => join(saved, name));
    expect(lost(edits, editsIn([...names, ...kept, ...filesOf(target)]))).toEqual([]);
  },
  120_000,
);

test('H10 a version that somebody has open to write is not dropped: what is written to it later is in the trash', async () => {
  const target = new TargetFolder();
  for (const version of [1, 2, 3]) await target.apply(putFile('a', `version ${version}\n`));
  expect(target.items()).toHaveLength(1); // of this link's own versions one an hour
  const fd = openSync(join(target.root, 'a'), 'a');
  await target.apply(putFile('a', 'version 4\n'));
  writeSync(fd, 'written after it was replaced\n');
  closeSync(fd);
  expect(filesOf(target).map((path) => readFileSync(path, 'utf8'))).toContain(
    'version 3\nwritten after it was replaced\n',
  );
  // Who only reads keeps nothing.
  const reader = openSync(join(target.root, 'a'), 'r');
  await target.apply(putFile('a', 'version 5\n'));
  closeSync(reader);
  expect(target.items()).toHaveLength(2);
});

test.each([
  {what: 'replaced', op: () => putFile('a', 'new\n')},
  {what: 'deleted', op: () => remove('a')},
  {
    what: 'renamed over',
    op: () =>
      ({
        kind: 'rename',
        path: 'b',
        to: 'a',
        type: 'file',
        content: (putFile('b', 'b\n') as {content: Buffer}).content,
      }) as const,
  },
])('H10 a file that was edited after it was looked at and before it is $what is in the trash', async ({op}) => {
  const target = new TargetFolder();
  await target.apply(putFile('a', 'own version\n'), putFile('b', 'b\n'));
  target.onJob = (kind) => {
    if (kind === 'switch-batch') writeFileSync(join(target.root, 'a'), 'edited in the last moment\n');
  };
  await target.apply(op());
  expect(filesOf(target).map((path) => readFileSync(path, 'utf8'))).toEqual(['edited in the last moment\n']);
});
