/** Where the agent keeps its state, from a configuration in any condition. */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {AGENT_STATE_FOLDER, agentStateFolder} from '../../../src/config/state-folder.ts';
import {makeTmpDir} from '../../tmp.ts';

test.each([
  ['agent: {state: /srv/towline/}', '/srv/towline'],
  ['agent:\n  name: web-1\n  state: "/srv/to wline"\nvolumes: [}', '/srv/to wline'],
  ['agent: {state: relative}', AGENT_STATE_FOLDER],
  ['agent: {state: 7}', AGENT_STATE_FOLDER],
  ['agent: [state]', AGENT_STATE_FOLDER],
  ['- agent', AGENT_STATE_FOLDER],
  ['', AGENT_STATE_FOLDER],
  ['%%%\0', AGENT_STATE_FOLDER],
])('%j', (text, folder) => {
  const file = join(makeTmpDir(), 'towline.yaml');
  writeFileSync(file, text);
  expect(agentStateFolder(file)).toBe(folder);
});

test('a file that was named and cannot be read is an error', () => {
  const folder = makeTmpDir();
  writeFileSync(join(folder, 'large'), Buffer.alloc((1 << 20) + 1, 0x20));
  expect(() => agentStateFolder(join(folder, 'missing'))).toThrow(/cannot read .*missing/);
  expect(() => agentStateFolder(join(folder, 'large'))).toThrow(/larger than 1 MiB/);
});
