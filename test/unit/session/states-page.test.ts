import {readdirSync, readFileSync} from 'node:fs';
import {basename, join} from 'node:path';
import {expect, test} from 'vitest';

const PROJECT = join(import.meta.dirname, '../../..');
const page = readFileSync(join(PROJECT, 'src/session/STATES.md'), 'utf8');

test('each of the 31 invariants of STATES.md names a test that exists', () => {
  const stated = [...page.matchAll(/^- \*\*(S\d+)\*\* /gm)].map(([, name]) => name);
  expect(stated).toHaveLength(31);
  expect(new Set(stated)).toEqual(new Set(Array.from({length: 31}, (_, index) => `S${index + 1}`)));
  const rows = [...page.matchAll(/^\| (S\d+) \| `([^`]+)`: (.+) \|$/gm)];
  expect(new Set(rows.map(([, name]) => name))).toEqual(new Set(stated));
  for (const [, name, file, title] of rows) expect(titlesOf(file!), `${name}: ${title}`).toContain(title);
});

test('every file that ARCHITECTURE.md and STATES.md link to is there', () => {
  const linked = (folder: string, text: string): string[] =>
    [...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => join(folder, path!));
  const links = [
    ...linked('.', readFileSync(join(PROJECT, 'ARCHITECTURE.md'), 'utf8')),
    ...linked('src/session', page),
  ];
  expect(links.length).toBeGreaterThan(50);
  const files = new Set(readdirSync(PROJECT).concat(filesBelow('src'), filesBelow('test')));
  expect(links.filter((link) => !files.has(link))).toEqual([]);
});

function filesBelow(folder: string): string[] {
  return readdirSync(join(PROJECT, folder), {recursive: true, encoding: 'utf8'}).map((path) => join(folder, path));
}

/** Titles of a test's file, as they stand in it. */
function titlesOf(file: string): string[] {
  const path = filesBelow('test').find((found) => basename(found) === file);
  if (path === undefined) return [];
  const text = readFileSync(join(PROJECT, path), 'utf8');
  return [...text.matchAll(/(?:^|\W)test(?:\.\w+)?\(\s*'([^']+)'|\]\)\('([^']+)'/g)].map(
    ([, one, each]) => one ?? each ?? '',
  );
}
