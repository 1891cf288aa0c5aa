/** Ignore rules: the manual's own examples, the real git over random patterns, and patterns made to be slow. */
import {spawnSync} from 'node:child_process';
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {isTowlineError} from '../../../src/base/errors.ts';
import {bytesOf, fromText} from '../../../src/model/path.ts';
import {compileIgnore} from '../../../src/reconcile/ignore.ts';
import {needsCommands} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';

const CASES: [patterns: string[], ignored: string[], kept: string[]][] = [
  [['*.tmp'], ['a.tmp', 'd/e/.tmp'], ['a.tmpx', 'tmp']],
  [['/cache/'], ['cache/'], ['cache', 'd/cache/']],
  [['cache/'], ['cache/', 'd/cache/'], ['d/cache']],
  [['*.tmp', '!keep.tmp'], ['a.tmp'], ['keep.tmp', 'd/keep.tmp']],
  [['!keep.tmp', '*.tmp'], ['keep.tmp'], []],
  [['doc/frotz'], ['doc/frotz'], ['a/doc/frotz']],
  [['**/foo'], ['foo', 'a/foo', 'a/b/foo'], ['foob', 'a/xfoo']],
  [['**/foo/bar'], ['foo/bar', 'a/foo/bar'], ['foo/x/bar']],
  [['abc/**'], ['abc/x', 'abc/x/y'], ['abc/', 'x/abc/y']],
  [['a/**/b'], ['a/b', 'a/x/b', 'a/x/y/b'], ['ab', 'a/xb', 'c/a/b']],
  [['foo/*'], ['foo/a.json', 'foo/bar/'], ['foo/bar/hello.c']],
  [['a**b/c'], ['ab/c', 'axxb/c'], ['a/b/c', 'abc']],
  [['?.o'], ['a.o'], ['.o', 'ab.o']],
  [
    ['[a-c]x', '[!a-c]y', '[]]z', '[a-]w'],
    ['bx', 'dy', ']z', '-w', 'aw'],
    ['dx', 'by', 'az', 'bw'],
  ],
  [
    ['[[:digit:]]*', '[x[:upper:]]'],
    ['0a', 'x', 'Q'],
    ['a0', 'y', 'q'],
  ],
  [
    ['\\#a', '\\!b', '#c', ''],
    ['#a', '!b'],
    ['c', '#c', 'b'],
  ],
  [
    ['a  ', 'b\\ ', '\\*'],
    ['a', 'b ', '*'],
    ['a  ', 'b', 'x'],
  ],
  [['[open', 'last\\', '/', '!', '//a', 'a//b'], [], ['[open', 'last', 'last\\', 'a', 'a/b']],
  [['**'], ['a', 'a/b'], []],
  [['foo**/bar'], ['foo/bar', 'foox/bar'], ['foobar', 'foo/x/bar']],
  [['grün', '?ß'], ['grün', 'd/grün', 'aß'], ['gran']],
];

test.each(CASES)('%j ignores %j and keeps %j', (patterns, ignored, kept) => {
  const matcher = compileIgnore(patterns);
  const judged = (path: string): boolean => matcher.isIgnored(fromText(path.replace(/\/$/, '')), path.endsWith('/'));
  expect(ignored.filter((path) => !judged(path))).toEqual([]);
  expect(kept.filter(judged)).toEqual([]);
});

test('matches names that are not UTF-8 byte by byte', () => {
  const matcher = compileIgnore(['*.bak', 'x?']);
  expect(matcher.isIgnored('\xff\xfe.bak', false)).toBe(true);
  expect(matcher.isIgnored('x\xff', false)).toBe(true);
  expect(matcher.isIgnored('x\xc3\xa4', false)).toBe(false); // two bytes, as git counts
});

test('names the rule that decides, and none for the root', () => {
  const matcher = compileIgnore(['# comment', '*.log', '!/keep.log', 'keep.log/']);
  expect(matcher.ruleFor('a.log', false)).toMatchObject({index: 1, pattern: '*.log'});
  expect(matcher.ruleFor('keep.log', false)).toMatchObject({index: 2, isNegated: true});
  expect(matcher.ruleFor('keep.log', true)).toMatchObject({index: 3, isDirOnly: true});
  expect(matcher.ruleFor('other', false)).toBeUndefined();
  expect(compileIgnore(['**', '*']).ruleFor('', true)).toBeUndefined();
  expect(compileIgnore(['# only', '']).isEmpty).toBe(true);
});

test.each([
  ['10,001 patterns', Array.from({length: 10_001}, () => 'a')],
  ['a pattern of 4,097 bytes', ['a'.repeat(4_097)]],
  ['66,000 bytes of patterns', Array.from({length: 22}, () => 'a'.repeat(3_000))],
  ['a line break', ['a\nb']],
])('refuses %s as a usage error', (_, patterns) => {
  let thrown: unknown;
  try {
    compileIgnore(patterns);
  } catch (error) {
    thrown = error;
  }
  expect(isTowlineError(thrown) && thrown.code).toBe('USAGE');
});

describe('costs at most the product of the lengths', () => {
  test.each([
    ['stars over a name of 255 bytes', '*a'.repeat(100) + 'b', 'a'.repeat(255)],
    ['stars and sets over a name of 255 bytes', '*[a-b]?'.repeat(120) + 'c', 'a'.repeat(255)],
    ['double stars over a path of 2,000 levels', '**/a/'.repeat(800) + 'b', 'a/'.repeat(2_000) + 'c'],
    [
      'double stars over names of 250 bytes',
      `**/${'*a'.repeat(60)}b/`.repeat(20) + 'c',
      `${'a'.repeat(250)}/`.repeat(16),
    ],
  ])('%s', (_, pattern, path) => {
    const matcher = compileIgnore([pattern.replace(/\/$/, '')]);
    const startMs = performance.now();
    expect(matcher.isIgnored(path.replace(/\/$/, ''), false)).toBe(false);
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });
});

/** A small generator with a seed, so that a failure can be repeated. */
function randomFrom(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

const PIECES = [
  'a',
  'b',
  'c',
  'ab',
  '*',
  '*',
  '**',
  '?',
  '/',
  '/',
  '/**/',
  '**/',
  '/**',
  '[ab]',
  '[!a]',
  '[a-b]',
  '[]a]',
];
const ODD_PIECES = [
  '\\a',
  '\\*',
  '[^b',
  '[[:alpha:]]',
  '[[:no:]]',
  '[[:a]',
  ' ',
  '\\ ',
  '#',
  '!',
  '-',
  '[b-a]',
  '\\',
  ']',
  'ä',
  '[ä]',
];
const NAMES = ['a', 'b', 'c', 'ab', 'ba', 'abc', 'a b', 'a ', '#', '!a', '*', ']', '-', 'ä', 'b]', '[^b', '.a'];

// What git does against its own manual (see glob.ts).
const isGitsOwn = (pattern: string): boolean => pattern.includes('\\/') || /[^/]\*\*/.test(pattern.replace(/^!/, ''));

function randomPattern(random: (limit: number) => number): string {
  const pieces = Array.from({length: 1 + random(6)}, () => {
    const list = random(5) === 0 ? ODD_PIECES : PIECES;
    return list[random(list.length)]!;
  });
  const pattern =
    (random(5) === 0 ? '!' : '') + (random(6) === 0 ? '/' : '') + pieces.join('') + (random(6) === 0 ? '/' : '');
  return isGitsOwn(pattern) ? randomPattern(random) : pattern;
}

/** What git says: path → the pattern that decides, '' for none. */
function askGit(repo: string, patterns: string[], paths: string[]): string[] {
  writeFileSync(join(repo, '.git/info/exclude'), bytesOf(fromText(patterns.map((line) => `${line}\n`).join(''))));
  const git = spawnSync('git', ['check-ignore', '--no-index', '-v', '-n', '-z', '--stdin'], {
    cwd: repo,
    input: paths.map((path) => `${path}\0`).join(''),
    env: {...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1'},
  });
  const fields = git.stdout.toString().split('\0');
  return paths.map((_, index) => fields[index * 4 + 1]!); // source, line, pattern, path
}

needsCommands('git')(test)('agrees with git check-ignore on 600 random patterns over 500 random paths', () => {
  const repo = makeTmpDir();
  expect(spawnSync('git', ['init', '-q', '.'], {cwd: repo}).status).toBe(0);
  const random = randomFrom(7);
  const name = (): string => NAMES[random(NAMES.length)]!;
  const dirs = new Set<string>();
  for (let index = 0; index < 150; index++) {
    dirs.add(Array.from({length: 1 + random(4)}, name).join('/'));
  }
  for (const dir of dirs) mkdirSync(join(repo, dir), {recursive: true});
  const isDirectory = (path: string): boolean => [...dirs].some((dir) => dir === path || dir.startsWith(`${path}/`));
  const paths = Array.from({length: 350}, () => Array.from({length: 1 + random(5)}, name).join('/'));
  paths.push(...dirs);
  const differences: object[] = [];
  const decided = {ignored: 0, kept: 0, none: 0};
  for (let round = 0; round < 60; round++) {
    const patterns = Array.from({length: round < 40 ? 6 : 18}, () => randomPattern(random));
    const matcher = compileIgnore(patterns);
    const lines = askGit(repo, patterns, paths);
    paths.forEach((path, index) => {
      // git stops at the first ignored ancestor and tells its rule; towline's walk does the same.
      const parts = path.split('/');
      let rule: {index: number; isNegated: boolean} | undefined;
      for (let depth = 1; depth <= parts.length; depth++) {
        const ancestor = parts.slice(0, depth).join('/');
        rule = matcher.ruleFor(fromText(ancestor), depth < parts.length || isDirectory(ancestor));
        if (rule !== undefined && !rule.isNegated) break;
      }
      decided[rule === undefined ? 'none' : rule.isNegated ? 'kept' : 'ignored']++;
      const ours = rule === undefined ? '' : String(rule.index + 1);
      if (ours !== lines[index]) differences.push({path, patterns, ours, git: lines[index]});
    });
  }
  expect(differences.slice(0, 3)).toEqual([]);
  expect(Math.min(decided.ignored, decided.kept, decided.none)).toBeGreaterThan(1_000); // none of them is vacuous
});

test.each(['constructor', '__proto__', 'toString', 'no'])(
  'a class [:%s:] is none: the pattern matches nothing',
  (name) => {
    const matcher = compileIgnore([`[[:${name}:]]`, 'b']);
    expect(matcher.isIgnored('a', false)).toBe(false);
    expect(matcher.isIgnored('b', false)).toBe(true);
  },
);
