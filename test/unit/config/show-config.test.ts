/** What is shown and written: the same when it is read again. */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import type {AgentConfig} from '../../../src/config/agent-config.ts';
import {editorSchema} from '../../../src/config/agent-schema.ts';
import {configTemplate} from '../../../src/config/config-template.ts';
import {showAgentConfig} from '../../../src/config/show-config.ts';
import {spellDuration, spellSize, parseDuration, parseSize} from '../../../src/config/units.ts';
import {ignorePinOf} from '../../../src/model/view.ts';
import {ID, load} from './agent-files.ts';

const FULL = `
agent: {name: "1e3", listen: "[::1]:1", state: /srv/my state}
peers:
  db-2: {id: "${ID('1')}", address: "[fd00::2]:7421"}
  dr-1: {id: "${ID('b')}"}
volumes:
  pg:
    at: docker-container:web:/var/w w
    send: [db-2, {to: dr-1, as: copy, ignore: ["# x", "!y ", ""], when: every 90s, guard: {delete-share: 33.3%}}]
    special: skip
    ids: {0-9: 100, 33: 1033}
    settle: 1500ms
    guard: {delete-count: none}
    limit: {rate: 1500B}
  back: {at: "/srv/{x}: y", receive: {from: dr-1, pin-ignore: ${ID('c')}}, trash: {keep: 0, size: 0}, ignore: ["*"], accept: {owners: none, xattrs: []}}
limits: {rate: 1MiB, chokidar-entries: 0}
engines: {docker: {socket: /x}}
`;

/** Without the names of the files, which are others when it is read again. */
function contentOf({file: _file, peers, ...rest}: AgentConfig): object {
  return {...rest, peers: peers.map(({file: _of, ...peer}) => peer)};
}

describe('config show', () => {
  test.each([
    ['an empty one', ''],
    ['one with everything', FULL],
  ])('%s, shown and read again, is the same', (_, text) => {
    const config = load(text);
    const shown = showAgentConfig(config);
    expect(contentOf(load(shown))).toEqual(contentOf(config));
    expect(contentOf(load(showAgentConfig(load(shown))))).toEqual(contentOf(config));
  });

  test('says where each peer comes from and what a receiver can pin', () => {
    const shown = showAgentConfig(
      load(`volumes: {pg: {at: /srv/pg, send: [nas], ignore: [a]}}`, {'nas.yaml': `id: ${ID('d')}`}),
    );
    expect(shown).toMatch(/# from .*\/peers\.d\/nas\.yaml\n {2}nas:/);
    expect(shown).toContain(`# pin-ignore at nas: ${ignorePinOf(['a'])}\n`);
    expect(ignorePinOf(['a'])).not.toBe(ignorePinOf(['a', 'b']));
  });

  test('durations and sizes are spelled exactly', () => {
    for (const ms of [0, 1, 999, 1_000, 1_500, 90_000, 3_600_000, 86_400_000, 90_061_001]) {
      expect(parseDuration(spellDuration(ms))).toBe(ms);
    }
    for (const bytes of [0, 1, 1_000, 1_023, 1_024, 1_536, 10 * 2 ** 30, 2 ** 42 * 3, 2 ** 50]) {
      expect(parseSize(spellSize(bytes))).toBe(bytes);
    }
    expect([spellDuration(5_400_000), spellSize(10 * 2 ** 30)]).toEqual(['90m', '10GiB']);
  });
});

describe('the schema for editors', () => {
  test('config/towline.schema.json is what `towline config schema` prints (write it there again)', () => {
    const path = join(import.meta.dirname, '../../../config/towline.schema.json');
    expect(readFileSync(path, 'utf8')).toBe(editorSchema());
  });

  test('names every key that is read, and nothing else', () => {
    const schema = JSON.parse(editorSchema()) as {properties: Record<string, {additionalProperties: object}>};
    expect(Object.keys(schema.properties)).toEqual(['agent', 'peers', 'volumes', 'limits', 'engines']);
    const volume = schema.properties['volumes']!.additionalProperties as {properties: object; required: string[]};
    expect(Object.keys(volume.properties)).toContain('max-wait');
    expect(volume).toMatchObject({required: ['at'], additionalProperties: false});
  });
});

describe('the configuration that init writes', () => {
  const options = {name: '007', listen: {host: '::', port: 7420}, stateFolder: '/srv/st: #1'};

  test('is read as it is, and sets what was asked for', () => {
    expect(load(configTemplate(options))).toMatchObject({
      name: '007',
      listen: {host: '::', port: 7420},
      stateFolder: '/srv/st: #1',
    });
    const dialling = load(configTemplate({name: 'a', listen: undefined, stateFolder: undefined}));
    expect(dialling).toMatchObject({listen: undefined, stateFolder: '/var/lib/towline', volumes: []});
  });

  test('is right too when its comments are taken away', () => {
    const text = configTemplate({...options, stateFolder: undefined})
      .replaceAll(/^# (?=peers|volumes| )/gm, '')
      .replaceAll(/^( +)# (?=\w+:)/gm, '$1')
      .replace(/<64 hex[^>]*>/, ID('a'));
    expect(load(text).volumes).toMatchObject([{name: 'pgdata', send: [{to: 'db-2'}], ignore: ['*.tmp', '/cache/']}]);
  });
});
