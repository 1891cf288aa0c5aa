import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {configOf, own, volumeOf} from '../../integration/doctor/agent.ts';
import {makeTmpDir} from '../../tmp.ts';
import {linesOf, runScripted} from './scripted.ts';

/** The command with a real diagnosis of a folder of its own. */
async function run(argv: string[], at: string): Promise<{exitCode: number; lines: string[]}> {
  const {exitCode, stdout, stderr} = await runScripted(['doctor', '--config', '/srv/my.yaml', ...argv], {
    doctor: {
      loadConfig: ({file, stateFolder}) => {
        expect([file, stateFolder]).toEqual(['/srv/my.yaml', undefined]);
        return configOf({stateFolder: join(at, 'state'), file, volumes: [volumeOf('data', join(at, 'root'), 'send')]});
      },
      loadIdentity: () => own,
      findRoot: (address) => Promise.resolve({path: address.kind === 'path' ? address.path : '', beside: undefined}),
    },
  });
  expect(stderr).toBe('');
  return {exitCode, lines: linesOf(stdout)};
}

test('areas, findings and fixes are lines; the last one counts; a missing root is exit code 1', async () => {
  const {exitCode, lines} = await run([], makeTmpDir());
  expect(exitCode).toBe(1);
  const at = lines.indexOf('volume data');
  expect(lines[at + 1]).toMatch(/^ {2}bad {3}\/.*\/root does not exist$/);
  expect(lines[at + 2]).toMatch(/^ {8}mount what belongs there, or: mkdir -p \/.*\/root$/);
  expect(lines[0]).toBe('kernel');
  expect(lines.at(-1)).toMatch(/^1 bad, \d+ warnings?, \d+ notes?, \d+ ok$/);
});

test('as JSON each finding is an object a line, and the result is the last', async () => {
  const folder = makeTmpDir();
  mkdirSync(join(folder, 'root'));
  const {exitCode, lines} = await run(['--json'], folder);
  expect(exitCode).toBe(0);
  const objects = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(objects[0]).toMatchObject({event: 'finding', area: 'kernel', level: 'ok', fix: null});
  expect(objects.at(-1)).toMatchObject({event: 'result', exitCode: 0, bad: 0});
});

test('quiet, only warnings and what is bad are shown', async () => {
  const {lines} = await run(['-q'], makeTmpDir());
  expect(lines.filter((line) => /^ {2}(ok|note) /.test(line))).toEqual([]);
  expect(lines.join('\n')).toMatch(/volume data\n {2}bad /);
});
