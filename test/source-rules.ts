/**
 * The rules that need no list of folders, nearly all for a single source text: sizes, tests that are switched off, names,
 * headers, paths of the machine it was written on, exports that nobody uses. The rules about layers and packages are in test/architecture.test.ts.
 *
 * Invariant: a rule returns one line for each violation, with path and place, and nothing when all is well.
 */
import {readdirSync} from 'node:fs';
import {join, posix} from 'node:path';
import type {SourceFacts} from './source-facts.ts';

export const PROJECT = join(import.meta.dirname, '..');
export const FUNCTION_LINES_MAX = 70;
export const FILE_LINES_MAX = 400;

export type Rule = (path: string, facts: SourceFacts) => string[];

const VAGUE_NAME = /(^|-)(utils?|helpers?|commons?|managers?|misc)(\.|$)/;
/** Where code may live; everything in there is read. */
export const CODE_FOLDERS = ['src', 'bin', 'demo', 'bench', 'test'];
const NOT_OURS = new Set(['out', '.git', 'node_modules', 'dist', 'coverage', 'package-lock.json']);
// One letter in brackets, so that this file does not break its own rules.
const FOREIGN_PATH = /\.\.\/[s]hared\b|(?<![\w.~*-])\/(home|root|work|Users)\/\w/;
const UNFINISHED = /\b(TO[D]O|FIX[M]E|XX[X])\b/;

export const sizeRule: Rule = (path, {functions, lineCount}) => [
  ...(lineCount > FILE_LINES_MAX ? [`${path}: has ${lineCount} lines, ${FILE_LINES_MAX} are the limit`] : []),
  ...functions
    .filter((fact) => !fact.isSuite && fact.lineCount > FUNCTION_LINES_MAX)
    .map(
      ({name, line, lineCount: lines}) =>
        `${path}:${line}: ${name} has ${lines} lines, ${FUNCTION_LINES_MAX} are the limit`,
    ),
];

export const switchRule: Rule = (path, {switchedOff}) =>
  switchedOff.map(({name, line}) => `${path}:${line}: ${name}: say what a test needs with test/needs.ts instead`);

export const barrelRule: Rule = (path, {isBarrel}) => (isBarrel ? [`${path}: is a barrel`] : []);

export const nameRule = (path: string): string[] =>
  path.split('/').some((name) => VAGUE_NAME.test(name)) ? [`${path}: has a name that says nothing`] : [];

export const headerRule = (path: string, text: string): string[] =>
  /^(#!.*\n)?\/\*\*/.test(text) ? [] : [`${path}: has no header that says what it is`];

export const textRule = (path: string, text: string): string[] =>
  text.split('\n').flatMap((line, index) => {
    const found = FOREIGN_PATH.exec(line) ?? UNFINISHED.exec(line);
    return found === null ? [] : [`${path}:${index + 1}: holds ${found[0]}`];
  });

/** Exports that no source file names: neither the one that makes them nor one that imports them, or all of that file. */
export function unusedExports(texts: readonly {path: string; text: string; facts: SourceFacts}[]): string[] {
  const taken = new Set<string>();
  const whole = new Map<string, string>(); // the texts of those who import all of a file
  for (const {path, text, facts} of texts)
    for (const {specifier = '', names} of facts.imports) {
      const target = posix.join(posix.dirname(path), specifier);
      for (const name of names) taken.add(`${target} ${name}`);
      if (names.includes('*')) whole.set(target, (whole.get(target) ?? '') + text);
    }
  return texts.flatMap(({path, text, facts}) =>
    facts.exports
      .filter(({name}) => !taken.has(`${path} ${name}`))
      .filter(({name}) => timesIn(text, name) < 2 && timesIn(whole.get(path) ?? '', name) === 0)
      .map(({name, line}) => `${path}:${line}: ${name} is used by no source file`),
  );
}

function timesIn(text: string, name: string): number {
  return text.split(new RegExp(`\\b${name}\\b`)).length - 1;
}

/** Every file of the project, as a path from its root. */
export function filesBelow(folder: string): string[] {
  return readdirSync(join(PROJECT, folder), {withFileTypes: true}).flatMap((entry) => {
    if (NOT_OURS.has(entry.name) || entry.name.startsWith('dist.new.')) return [];
    const path = posix.join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : [];
  });
}
