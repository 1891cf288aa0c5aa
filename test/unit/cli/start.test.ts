/** The real process: exit codes, streams, and a reader that goes away. */
import {spawn, spawnSync} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import {expect, test} from 'vitest';

const MAIN = join(import.meta.dirname, '../../../src/main.ts');

test('ends with the exit code, output on stdout, one line of error on stderr', () => {
  const version = spawnSync(process.execPath, [MAIN, '--version'], {encoding: 'utf8'});
  expect(version).toMatchObject({status: 0, stderr: ''});
  expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const wrong = spawnSync(process.execPath, [MAIN, 'sync', '/tmp', '/tmp/no such folder of towline'], {
    encoding: 'utf8',
  });
  expect(wrong).toMatchObject({status: 2, stdout: ''});
  expect(wrong.stderr).toMatch(/^Error: DST "\/tmp\/no such folder of towline" lies inside SRC; [^\n]+\n$/);
});

test('ends quietly when the reader of stdout is gone', async () => {
  const child = spawn(process.execPath, [MAIN, 'sync', '--help'], {stdio: ['ignore', 'pipe', 'pipe']});
  child.stdout.destroy();
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number];
  expect({code, stderr}).toEqual({code: 0, stderr: ''});
});
