/**
 * Bad input: each gives one clear sentence on stderr and exit code 2, and changes nothing.
 */
import {existsSync, mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {describe, expect, test, vi} from 'vitest';
import {command, makePair, type Pair, towline} from '../../sync/harness.ts';

vi.setConfig({testTimeout: 60_000}); // seconds on a quiet machine

/** A source with a file and a target with another, beside each other in a folder. */
function makeFilledPair(): Pair & {base: string} {
  const pair = makePair();
  mkdirSync(pair.target);
  writeFileSync(join(pair.source, 'file'), 'of the source');
  writeFileSync(join(pair.target, 'own file'), 'of the target');
  return {...pair, base: dirname(pair.source)};
}

const traceOf = (folder: string): string =>
  command('find', folder, '-printf', '%p %y %i %m %s %T@ %C@\\n').split('\n').toSorted().join('\n');

/** Runs it and looks that it is refused: nothing is written below `base`. */
async function refused(base: string, ...args: string[]): Promise<string> {
  const before = traceOf(base);
  const run = await towline(args, {env: {XDG_STATE_HOME: join(base, 'state')}, cwd: base});
  expect(run.exitCode, run.stderr).toBe(2);
  expect(run.stdout).toBe('');
  expect(run.stderr).toMatch(/^Error: [^\n]+\n$/);
  expect(traceOf(base)).toBe(before);
  return run.stderr;
}

describe('folders', () => {
  test('a source that does not exist, and a target whose parent does not exist', async () => {
    const {base, source, target} = makeFilledPair();
    expect(await refused(base, 'sync', `${source} not`, target, '--once')).toContain('source not');
    expect(existsSync(join(base, 'no'))).toBe(false);
    expect(await refused(base, 'sync', source, join(base, 'no/such'), '--once')).toContain('parent folder');
  });

  test('a file instead of a folder, as source and as target', async () => {
    const {base, source, target} = makeFilledPair();
    expect(await refused(base, 'sync', join(source, 'file'), target, '--once')).toContain('not a folder');
    expect(await refused(base, 'sync', source, join(target, 'own file'), '--once')).toContain('not a folder');
    expect(await refused(base, 'sync', source, join(target, 'own file/below'), '--once')).toContain('own file');
  });

  test('one folder inside the other or both the same, also through links and relative paths', async () => {
    const {base, source} = makeFilledPair();
    mkdirSync(join(source, 'inside'));
    symlinkSync(source, join(base, 'link'));
    symlinkSync('source/inside', join(base, 'link inside'));
    for (const [from, to, word] of [
      [source, source, 'same folder'],
      [source, `${source}/`, 'same folder'],
      [source, join(base, 'link'), 'same folder'],
      [join(base, 'link'), './source', 'same folder'],
      [source, join(source, 'inside'), 'inside SRC'],
      [source, join(base, 'link inside'), 'inside SRC'],
      [join(base, 'link'), 'source/inside', 'inside SRC'],
      [source, join(base, 'link/to be made'), 'inside SRC'],
      [join(source, 'inside'), source, 'inside DST'],
      [join(base, 'link inside'), join(base, 'link'), 'inside DST'],
    ] as const) {
      expect(await refused(base, 'sync', from, to, '--once'), `${from} → ${to}`).toContain(word);
    }
  });

  test('a state folder inside the source or the target', async () => {
    const {base, source, target} = makeFilledPair();
    for (const folder of [source, target]) {
      const state = join(folder, 'state');
      expect(await refused(base, 'sync', source, target, '--once', '--state', state)).toContain('state folder');
    }
  });
});

describe('options', () => {
  test.each([
    ['an unknown option', ['--onec'], '--once'],
    ['a wrong choice', ['--once', '--durability', 'maybe'], 'batch'],
    ['a wrong time', ['--once', '--settle', 'soon'], '--settle'],
    ['a wrong limit', ['--once', '--delete-limit', '120%'], '--delete-limit'],
    ['an ignore file that is missing', ['--once', '--ignore-from', 'no such file'], 'no such file'],
    ['an argument too many', ['third', '--once'], 'argument'],
  ])('%s is refused with what is allowed', async (_, args, word) => {
    const {base, source, target} = makeFilledPair();
    expect(await refused(base, 'sync', source, target, ...args)).toContain(word);
  });

  test('a missing argument and an unknown command', async () => {
    const {base, source} = makeFilledPair();
    expect(await refused(base, 'sync', source)).toContain('DST');
    expect(await refused(base, 'snyc', source)).toContain('sync');
    expect(await refused(base, 'confirm')).toContain('missing required argument');
  });

  test('a relative path is taken from where it is typed, and the folder name may start with a dash', async () => {
    const {base, source} = makeFilledPair();
    mkdirSync(join(base, '-dash'));
    const args = ['sync', '--once', '--state', join(base, 'state'), '--', basename(source), '-dash'];
    const run = await towline(args, {cwd: base});
    expect(run.exitCode, run.stderr).toBe(0);
    expect(existsSync(join(base, '-dash/file'))).toBe(true);
  });
});
