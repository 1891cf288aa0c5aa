import {copyFileSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {KNOWN_KEYS} from '../../../src/config/agent-schema.ts';
import {loadAgentConfig} from '../../../src/config/load-config.ts';
import {PROJECT} from '../../source-rules.ts';
import {makeTmpDir} from '../../tmp.ts';

const EXAMPLE = join(PROJECT, 'config/towline.example.yaml');

test('the example is right, and shows every key that there is', () => {
  const file = join(makeTmpDir(), 'towline.yaml');
  copyFileSync(EXAMPLE, file);
  const config = loadAgentConfig({file, env: {}});
  expect(config.volumes.map(({name}) => name)).toEqual(['pgdata', 'uploads']);
  expect(config.notices).toEqual([]);
  const text = readFileSync(EXAMPLE, 'utf8');
  const keys = new Set(
    Object.values(KNOWN_KEYS)
      .flat()
      // The one is written by `peer remove`, the other stands in the place of a default.
      .filter((key) => key !== 'removed' && key !== 'in-place-above'),
  );
  expect([...keys].filter((key) => !new RegExp(`^[^#\\n]*\\b${key}:`, 'm').test(text))).toEqual([]);
});

test('what the example calls the default is the default', () => {
  const folder = makeTmpDir();
  const file = join(folder, 'towline.yaml');
  copyFileSync(EXAMPLE, file);
  const shown = loadAgentConfig({file, env: {}});
  const bare = join(folder, 'bare.yaml');
  const [peer] = shown.peers;
  writeBare(bare, peer!.id);
  const {volumes, limits, stateFolder, engines} = loadAgentConfig({file: bare, env: {}});
  const {
    ignore: _ignore,
    ids: _ids,
    rateBytes: _rate,
    at: _at,
    name: _name,
    send: _send,
    hooks: _hooks,
    ...defaults
  } = volumes[0]!;
  expect(shown.volumes[0]).toMatchObject(defaults);
  expect(shown.volumes[1]).toMatchObject({trash: defaults.trash, drift: defaults.drift, accept: defaults.accept});
  expect([shown.limits, shown.stateFolder]).toEqual([limits, stateFolder]);
  expect(shown.engines.map(({socket}) => socket)).toEqual(engines.map(({socket}) => socket));
});

function writeBare(file: string, id: string): void {
  writeFileSync(file, `peers: {db-2: {id: "${id}"}}\nvolumes: {a: {at: /srv/a, send: [db-2]}}\n`);
}
