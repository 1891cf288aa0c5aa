/**
 * A target that holds next to nothing of metadata, and takes names that differ in case alone for one: content arrives,
 * the rest is told, and nothing is sent twice. The judges are diff and find.
 */
import {
  linkSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {makeFat, needsFat} from '../../fat-fs.ts';
import {command, makePair, startLive, syncOnce, type Pair, type ResultEvent} from '../../sync/harness.ts';

const fatTest = needsFat(test);
const AT = 1_600_000_000;

async function makeFatPair(mode?: string): Promise<Pair> {
  const pair = {...makePair(), target: join(await makeFat(mode), 'copy')};
  mkdirSync(pair.target);
  return pair;
}

/** Files of a source, their times even and whole: only permissions are lost on the way. */
function fill(folder: string, files: Record<string, string>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), {recursive: true});
    writeFileSync(join(folder, name), content);
    utimesSync(join(folder, name), AT, AT);
  }
  for (const dir of command('find', folder, '-type', 'd').trim().split('\n')) utimesSync(dir, AT, AT);
}

function told({problems}: ResultEvent): string[] {
  return problems.map(({path, code, message}) => `${path} ${code}: ${message.replace(/ \(.*| takes .*|: .*/, '')}`);
}

const entries = (folder: string): string[] =>
  command('find', folder, '-mindepth', '1', '-not', '-path', '*/.towline*', '-printf', '%P\n')
    .trim()
    .split('\n')
    .toSorted();

const MODES = /^\. not-carried: \d+ entries do not get their permissions$/;

fatTest.each(['700', '755'])(
  'with mode %s of everything content of all sizes arrives, permissions are one problem, and a second run sends nothing',
  async (mode) => {
    const pair = await makeFatPair(mode);
    const large = Buffer.alloc(3 << 20, 'a page of it ').toString();
    fill(pair.source, {a: 'a', 'dir/b': '', 'dir/deep/c': large});
    const first = await syncOnce(pair);
    expect({exitCode: first.exitCode, told: told(first.result)}).toEqual({
      exitCode: 1,
      told: [expect.stringMatching(MODES) as string],
    });
    expect(command('diff', '-r', '--exclude=.towline', pair.source, pair.target)).toBe('');
    fill(pair.source, {'dir/deep/c': `${large.slice(0, -5)}other`, new: 'new'});
    rmSync(join(pair.source, 'a'));
    expect((await syncOnce(pair)).exitCode).toBe(1);
    expect(command('diff', '-r', '--exclude=.towline', pair.source, pair.target)).toBe('');
    const {stats} = (await syncOnce(pair)).result;
    expect([stats['filesSent'], stats['metaChanged'], stats['contentBytes']]).toEqual([0, 0, 0]);
  },
);

fatTest('what cannot be there is a problem of its path with the reason, and the rest arrives', async () => {
  const pair = await makeFatPair();
  fill(pair.source, {plain: 'plain', 'what?': 'x', ['n'.repeat(200)]: 'x'});
  symlinkSync('plain', join(pair.source, 'link'));
  lutimesSync(join(pair.source, 'link'), AT, AT);
  command('mkfifo', join(pair.source, 'pipe'));
  utimesSync(pair.source, AT, AT);
  const {exitCode, result} = await syncOnce(pair);
  expect(exitCode).toBe(1);
  expect(told(result).toSorted()).toEqual([
    '. not-carried: 1 FIFO or socket is not carried',
    expect.stringMatching(MODES),
    'link not-carried: link',
    `${'n'.repeat(200)} too-long: ${'n'.repeat(200)}`,
    'what? unwritable: what?',
  ]);
  expect(entries(pair.target)).toEqual(['plain']);
});

fatTest('names of one hard link arrive as files of their own, which is told', async () => {
  const pair = await makeFatPair();
  fill(pair.source, {first: 'content'});
  linkSync(join(pair.source, 'first'), join(pair.source, 'second'));
  utimesSync(pair.source, AT, AT);
  const {exitCode, result} = await syncOnce(pair);
  expect(exitCode).toBe(1);
  expect(told(result)).toEqual([expect.stringMatching(MODES), 'second links-refused: second']);
  expect(readFileSync(join(pair.target, 'second'), 'utf8')).toBe('content');
});

const CLASHES = ['A', 'DIR', 'DIR/f', 'a', 'dir', 'dir/f'];

fatTest(
  'of names that differ in case alone one arrives, the other is told, and neither takes the place of the other',
  async () => {
    const pair = await makeFatPair();
    fill(pair.source, {A: 'upper', a: 'lower', 'DIR/f': 'in upper', 'dir/f': 'in lower', plain: 'x'});
    for (const round of [1, 2, 3]) {
      const {exitCode, result} = await syncOnce(pair);
      const there = entries(pair.target);
      const refused = result.problems.map(({path}) => path).filter((path) => path !== '.');
      expect({round, exitCode, all: [...there, ...refused].toSorted()}).toEqual({
        round,
        exitCode: 1,
        all: [...CLASHES, 'plain'].toSorted(),
      });
      for (const path of there.filter((name) => !/^dir$/i.test(name)))
        expect(readFileSync(join(pair.target, path), 'utf8')).toBe(readFileSync(join(pair.source, path), 'utf8'));
    }
    const gone = entries(pair.target).filter((name) => /^(a|dir)$/i.test(name));
    for (const name of gone) rmSync(join(pair.source, name), {recursive: true});
    utimesSync(pair.source, AT, AT);
    await syncOnce(pair, ['--delete-limit', 'none']);
    const last = await syncOnce(pair, ['--delete-limit', 'none']);
    expect(told(last.result)).toEqual([expect.stringMatching(MODES)]);
    expect(command('diff', '-r', '--exclude=.towline', pair.source, pair.target)).toBe('');
  },
);

fatTest(
  'A7 a rename that only changes upper and lower case arrives, of a file and of a directory, once and live',
  async () => {
    const pair = await makeFatPair();
    fill(pair.source, {file: 'file', 'dir/f': 'f'});
    await syncOnce(pair);
    renameSync(join(pair.source, 'file'), join(pair.source, 'FILE'));
    renameSync(join(pair.source, 'dir'), join(pair.source, 'Dir'));
    const {result} = await syncOnce(pair);
    expect(entries(pair.target)).toEqual(['Dir', 'Dir/f', 'FILE']);
    expect(result.stats['contentBytes']).toBe(0);
    const run = startLive(pair);
    await run.waitForEvent(({event, state}) => event === 'status' && state === 'problems');
    renameSync(join(pair.source, 'FILE'), join(pair.source, 'File'));
    await run.waitFor(() => entries(pair.target).includes('File'));
    await run.stop();
    expect(readFileSync(join(pair.target, 'File'), 'utf8')).toBe('file');
  },
);

fatTest(
  'a large file that is to be changed in place is replaced whole: it could not be told whether writing had begun',
  async () => {
    const pair = await makeFatPair();
    const large = Buffer.alloc(3 << 20, 'a page of it ');
    fill(pair.source, {image: large.toString()});
    const inPlace = ['--in-place-above', '1MiB'];
    await syncOnce(pair, inPlace);
    large.write('changed', 1 << 20);
    fill(pair.source, {image: large.toString()});
    utimesSync(join(pair.source, 'image'), AT + 2, AT + 2);
    const run = await syncOnce(pair, inPlace);
    expect(told(run.result)).toEqual([expect.stringMatching(MODES)]);
    expect(readFileSync(join(pair.target, 'image')).equals(large)).toBe(true);
  },
);
