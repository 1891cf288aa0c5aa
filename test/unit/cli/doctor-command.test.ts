import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {Command} from 'commander';
import {expect, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {TowlineError} from '../../../src/base/errors.ts';
import {doctorCommand, type DoctorCommandFlags, type DoctorSources} from '../../../src/cli/doctor-command.ts';
import type {CliParts} from '../../../src/cli/parts.ts';
import {defineDoctorCommand} from '../../../src/cli/program-doctor.ts';
import {Screen} from '../../../src/cli/screen.ts';
import {configOf, own, volumeOf} from '../../integration/doctor/agent.ts';
import {makeTmpDir} from '../../tmp.ts';

/** The command with a real diagnosis of a folder of its own. */
async function run(flags: Partial<DoctorCommandFlags>, at: string): Promise<{exitCode: number; lines: string[]}> {
  let text = '';
  const stream = {write: (more: string) => (text += more), isTerminal: false, columns: 80};
  const streams = {stdout: stream, stderr: stream};
  const screen = new Screen(streams);
  const sources: DoctorSources = {
    loadConfig: ({file, stateFolder}) => {
      expect([file, stateFolder]).toEqual(['/srv/my.yaml', undefined]);
      return configOf({stateFolder: join(at, 'state'), file, volumes: [volumeOf('data', join(at, 'root'), 'send')]});
    },
    loadIdentity: () => own,
    findRoot: (address) => Promise.resolve({path: address.kind === 'path' ? address.path : '', beside: undefined}),
    askEngine: () => Promise.reject(new TowlineError('BUG', 'no engine is configured', {what: ''})),
  };
  const parts = {...streams, screen, env: {}, clock: systemClock} as unknown as CliParts & {screen: Screen};
  const exitCode = await doctorCommand({verbose: 0, config: '/srv/my.yaml', ...flags}, sources, parts);
  screen.flush();
  return {exitCode, lines: text.trimEnd().split('\n')};
}

test('areas, findings and fixes are lines; the last one counts; a missing root is exit code 1', async () => {
  const {exitCode, lines} = await run({}, makeTmpDir());
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
  const {exitCode, lines} = await run({json: true}, folder);
  expect(exitCode).toBe(0);
  const objects = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(objects[0]).toMatchObject({event: 'finding', area: 'kernel', level: 'ok', fix: null});
  expect(objects.at(-1)).toMatchObject({event: 'result', exitCode: 0, bad: 0});
});

test('quiet, only warnings and what is bad are shown', async () => {
  const {lines} = await run({quiet: true}, makeTmpDir());
  expect(lines.filter((line) => /^ {2}(ok|note) /.test(line))).toEqual([]);
  expect(lines.join('\n')).toMatch(/volume data\n {2}bad /);
});

test('the command takes --config, and gives its exit code on', async () => {
  const program = new Command('towline').exitOverride().enablePositionalOptions();
  program.option('-v', '', (_, count: number) => count + 1, 0).setOptionValue('verbose', 0);
  const exitCodes: number[] = [];
  const seen: DoctorCommandFlags[] = [];
  const doctor = (flags: DoctorCommandFlags): Promise<number> => {
    seen.push(flags);
    return Promise.resolve(1);
  };
  defineDoctorCommand(program, {doctor}, {setExitCode: (code) => exitCodes.push(code)});
  await program.parseAsync(['doctor', '--config', '/srv/my.yaml', '--json', '-q'], {from: 'user'});
  expect(seen).toMatchObject([{config: '/srv/my.yaml', json: true, quiet: true, verbose: 0}]);
  expect(exitCodes).toEqual([1]);
});
