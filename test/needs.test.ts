/**
 * What a run says about skipped and failed tests, shown by running planted test files with the summary reporter.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {text} from 'node:stream/consumers';
import {expect, test} from 'vitest';
import {makeTmpDir} from './tmp.ts';

const TEST = import.meta.dirname;
const NODE_MODULES = join(TEST, '../node_modules');

const NEEDY = `
import {beforeAll, describe, expect, test} from 'vitest';
import {needsCommands} from ${JSON.stringify(join(TEST, 'needs.ts'))};
const needsMissing = needsCommands('sh', 'no-such-program');
test('runs', () => expect(1).toBe(1));
needsCommands('sh')(test)('has what it needs', {timeout: 1000}, () => expect(1).toBe(1));
needsMissing(test)('lacks a program', () => expect(1).toBe(2));
needsMissing(test).each([1, 2])('lacks a program, case %i', () => expect(1).toBe(2));
needsMissing(describe)('a suite', () => {
  beforeAll(() => { throw new Error('a hook of a skipped suite ran'); });
  test('lacks a program too', () => expect(1).toBe(2));
});
test('finds out while it runs', (context) => context.skip('no such device'));
`;
const SKIPPED = [
  'planted.test.ts > lacks a program: needs no-such-program (test/setup-debian.sh installs it)',
  'planted.test.ts > lacks a program, case 1: needs no-such-program (test/setup-debian.sh installs it)',
  'planted.test.ts > lacks a program, case 2: needs no-such-program (test/setup-debian.sh installs it)',
  'planted.test.ts > a suite > lacks a program too: needs no-such-program (test/setup-debian.sh installs it)',
  'planted.test.ts > finds out while it runs: no such device',
];

const BROKEN = `
import {afterAll, describe, expect, test} from 'vitest';
test('passes', () => expect(1).toBe(1));
test('fails', () => expect(1).toBe(2));
describe('a suite', () => {
  afterAll(() => { throw new Error('in a hook'); });
  test('passes too', () => expect(1).toBe(1));
});
`;

const FLAKY = `
import {test} from 'vitest';
let tries = 0;
test('passes at last', {retry: 1}, () => { if (tries++ === 0) throw new Error('the first try'); });
`;

/** Runs planted files; returns the exit code and the lines of output. */
async function runPlanted(files: Record<string, string>, ci: string): Promise<{code: number; lines: string[]}> {
  const folder = makeTmpDir();
  symlinkSync(NODE_MODULES, join(folder, 'node_modules'));
  const reporters = ['default', join(TEST, 'summary-reporter.ts')];
  writeFileSync(join(folder, 'vitest.config.mjs'), `export default {test: ${JSON.stringify({reporters})}};`);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  const child = spawn(process.execPath, [join(NODE_MODULES, 'vitest/vitest.mjs'), 'run'], {
    cwd: folder,
    env: {PATH: process.env['PATH'], CI: ci, NO_COLOR: '1'},
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'close') as Promise<[number]>]);
  return {code, lines: output.trimEnd().split('\n')};
}

test('a test whose needs are missing is skipped, and the end of the run says why', async () => {
  const {code, lines} = await runPlanted({'planted.test.ts': NEEDY}, '');
  expect(lines.slice(-6)).toEqual([...SKIPPED.map((line) => `skipped: ${line}`), '2 passed, 0 failed']);
  expect(code).toBe(0);
});

test('in CI a skipped test is a failure', async () => {
  const {code, lines} = await runPlanted({'planted.test.ts': NEEDY}, 'true');
  expect(lines.slice(-6)).toEqual([
    ...SKIPPED.map((line) => `skipped, which fails in CI: ${line}`),
    '2 passed, 5 failed',
  ]);
  expect(code).toBe(1);
});

test('failures of a hook and of a whole file count: 2 passed, 3 failed', async () => {
  const {code, lines} = await runPlanted({'a.test.ts': BROKEN, 'b.test.ts': 'throw new Error("at the top")'}, '');
  expect(lines.at(-1)).toBe('2 passed, 3 failed');
  expect(code).toBe(1);
});

test('a test that passes only at a second try is named with its first error', async () => {
  const {code, lines} = await runPlanted({'planted.test.ts': FLAKY}, '');
  expect(lines.slice(-2)).toEqual([
    'passed only when tried again: planted.test.ts > passes at last: the first try',
    '1 passed, 0 failed',
  ]);
  expect(code).toBe(0);
});
