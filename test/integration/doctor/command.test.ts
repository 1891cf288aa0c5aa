/** `towline doctor` as it is built: with its configuration, its identity, and the process that looks at folders. */
import {spawnSync} from 'node:child_process';
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {loadOrCreateIdentity} from '../../../src/transport/identity-file.ts';
import {PROJECT} from '../../source-rules.ts';
import {makeTmpDir} from '../../tmp.ts';

interface Line {
  event: string;
  area?: string;
  level?: string;
  what?: string;
  exitCode?: number;
}

function doctor(...argv: string[]): {status: number | null; lines: Line[]} {
  const main = join(PROJECT, 'dist/main.js');
  const {status, stdout} = spawnSync(process.execPath, [main, 'doctor', '--json', ...argv], {encoding: 'utf8'});
  return {status, lines: stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]))};
}

test('a whole configuration is looked at, and each line of a broken one is a finding', async () => {
  const folder = makeTmpDir();
  for (const name of ['state', 'data']) mkdirSync(join(folder, name), {mode: 0o700});
  const {id} = await loadOrCreateIdentity(join(folder, 'state'));
  const file = join(folder, 'towline.yaml');
  const volumes = `volumes: {data: {at: ${join(folder, 'data')}, send: [db-2]}}`;
  const head = `agent: {listen: "127.0.0.1:7", state: ${join(folder, 'state')}}\npeers: {db-2: {id: "${id}"}}\n`;
  writeFileSync(file, `${head}${volumes}\nengines: {docker: {socket: ${join(folder, 'none.sock')}}}\n`);
  const good = doctor('--config', file);
  const levelOf = (area: string): string | undefined => good.lines.find((line) => line.area === area)?.level;
  const areas = ['configuration', 'state', 'engine docker', 'volume data', 'watching', 'identity', 'peer db-2'];
  expect(areas.map(levelOf)).toEqual(['ok', 'ok', 'bad', 'ok', 'ok', 'ok', 'ok']);
  expect(good.lines.at(-1)).toMatchObject({event: 'result', exitCode: 1});
  expect(good.status).toBe(1);

  writeFileSync(file, `${head}volumes: {data: {at: data, sendd: [db-2]}}\n`);
  const broken = doctor('--config', file);
  const faults = broken.lines.filter(({area}) => area === 'configuration');
  expect(faults.map(({level}) => level)).toEqual(['bad', 'bad']);
  expect(faults[0]!.what).toContain(`${file}:3:`);
  expect(broken.lines[0]).toMatchObject({area: 'kernel'});
  expect(broken.status).toBe(1);
});
