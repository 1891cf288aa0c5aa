/** The log: what is written at which level, and that a name cannot forge a line. */
import {closeSync, openSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {openLog, SILENT_LOG} from '../../../src/telemetry/log.ts';
import {makeTmpDir} from '../../tmp.ts';

test('writes one JSON object a line from its level on, with UTC time and fields', async () => {
  const file = join(makeTmpDir(), 'log');
  const fd = openSync(file, 'w');
  const log = await openLog({level: 'info', fd});
  log.debug('not this');
  log.info('linked', {count: 3});
  log.error('a\n{"level":50} line', {path: 'x\u001b[2J'});
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  closeSync(fd);
  expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
    {level: 30, msg: 'linked', count: 3, time: expect.stringMatching(/^\d{4}-.*Z$/)},
    {level: 50, msg: 'a\n{"level":50} line', path: 'x\u001b[2J'},
  ]);
  expect(lines.join('')).not.toContain('\u001b');
});

test('the silent log takes everything and writes nothing', () => {
  expect(SILENT_LOG.error('x', {path: 'y'})).toBeUndefined();
});
