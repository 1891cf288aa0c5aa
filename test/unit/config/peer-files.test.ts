/** Peers that are paired, paired again, removed: what stands in peers.d afterwards. */
import {chmodSync, mkdirSync, readdirSync, readFileSync, statSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {expect, test} from 'vitest';
import type {AgentConfig} from '../../../src/config/agent-config.ts';
import {loadAgentConfig} from '../../../src/config/load-config.ts';
import {removePeer, storePeer} from '../../../src/config/peer-files.ts';
import {ID, writeConfig} from './agent-files.ts';

const NOW_MS = Date.UTC(2026, 10, 20, 13, 2, 11, 250);
const read = (file: string): AgentConfig => loadAgentConfig({file, env: {}});
const peersOf = (file: string): string[] =>
  read(file).peers.map(({name, id, address}) => `${name} ${id[0]} ${address?.host}`);
const filesOf = (file: string): string[] => readdirSync(join(dirname(file), 'peers.d')).toSorted();
const paired = (digit: string, name: string, host?: string) => ({
  id: ID(digit),
  name,
  address: host === undefined ? undefined : {host, port: 7420},
});

test('I10 a new peer gets a file of mode 0600 in a folder of mode 0700, and nothing else is left there', () => {
  const file = writeConfig('');
  expect(storePeer(read(file), paired('a', 'db-2', 'fd00::2'))).toEqual({
    name: 'db-2',
    file: join(dirname(file), 'peers.d/db-2.yaml'),
    address: {host: 'fd00::2', port: 7420},
    isInMainFile: false,
  });
  expect(peersOf(file)).toEqual(['db-2 a fd00::2']);
  expect(filesOf(file)).toEqual(['db-2.yaml']);
  expect(statSync(join(dirname(file), 'peers.d')).mode & 0o777).toBe(0o700);
  expect(statSync(join(dirname(file), 'peers.d/db-2.yaml')).mode & 0o777).toBe(0o600);
});

test('a name that is taken, in either place, gets a number; 63 letters stay 63', () => {
  const file = writeConfig(`peers: {web: {id: ${ID('1')}}}`);
  const long = 'x'.repeat(63);
  for (const [digit, name] of [
    ['a', 'db'],
    ['b', 'db'],
    ['c', 'db'],
    ['d', 'web'],
    ['e', long],
    ['f', long],
  ] as const) {
    storePeer(read(file), paired(digit, name));
  }
  expect(filesOf(file)).toEqual([
    'db-2.yaml',
    'db-3.yaml',
    'db.yaml',
    'web-2.yaml',
    `${'x'.repeat(61)}-2.yaml`,
    `${long}.yaml`,
  ]);
  expect(read(file).peers).toHaveLength(7);
});

test('a file that came since the configuration was read is not overwritten', () => {
  const file = writeConfig('');
  const old = read(file);
  storePeer(old, paired('a', 'db'));
  expect(storePeer(old, paired('b', 'db')).name).toBe('db-2');
  expect(peersOf(file)).toEqual(['db-2 b undefined', 'db a undefined']);
});

test('the same ID again keeps its name and takes the new address, or keeps the old when it tells none', () => {
  const file = writeConfig('');
  storePeer(read(file), paired('a', 'db', 'old'));
  expect(storePeer(read(file), paired('a', 'other name', 'new'))).toMatchObject({name: 'db'});
  expect(storePeer(read(file), paired('a', 'db')).address).toEqual({host: 'new', port: 7420});
  expect(peersOf(file)).toEqual(['db a new']);
});

test('a peer of the main file stays as the operator wrote it', () => {
  const file = writeConfig(`peers: {db: {id: ${ID('a')}, address: h:1}}`);
  expect(storePeer(read(file), paired('a', 'x', 'new'))).toMatchObject({name: 'db', file, isInMainFile: true});
  expect(peersOf(file)).toEqual(['db a h']);
  expect(() => removePeer(read(file), 'db', NOW_MS)).toThrow(`delete peers.db at ${file}:1, then reload`);
});

test('a peer that no volume names is removed with its file', () => {
  const file = writeConfig('', {'db.yaml': `id: ${ID('a')}`, 'web.yaml': `id: ${ID('b')}`});
  expect(removePeer(read(file), 'db', NOW_MS)).toEqual([]);
  expect(filesOf(file)).toEqual(['web.yaml']);
  expect(() => removePeer(read(file), 'db', NOW_MS)).toThrow('"db" is no peer of this agent: there are web');
});

test('J16 one that volumes name leaves a note: the configuration stays right, the links are off, until it is paired again', () => {
  const file = writeConfig('volumes: {a: {at: /a, send: [db]}, b: {at: /b, receive: db}, c: {at: /c}}', {
    'db.yaml': `id: ${ID('a')}\naddress: h:1`,
  });
  expect(removePeer(read(file), 'db', NOW_MS)).toEqual(['a', 'b']);
  const removed = read(file);
  expect([removed.peers, removed.volumes.flatMap(({send}) => send), removed.notices.length]).toEqual([[], [], 2]);

  storePeer(read(file), paired('b', 'db')); // another agent does not slip into its links
  expect(peersOf(file)).toEqual(['db-2 b undefined']);
  expect(read(file).volumes[0]!.send).toEqual([]);

  expect(storePeer(read(file), paired('a', 'renamed', 'h2')).name).toBe('db');
  expect(peersOf(file)).toEqual(['db-2 b undefined', 'db a h2']);
  expect(read(file).volumes[0]!.send).toMatchObject([{to: 'db'}]);
  expect(readFileSync(join(dirname(file), 'peers.d/db.yaml'), 'utf8')).not.toContain('removed');
});

test('I10 nothing is written into a folder that others can write', () => {
  const file = writeConfig('');
  const config = read(file);
  mkdirSync(join(dirname(file), 'peers.d'));
  chmodSync(join(dirname(file), 'peers.d'), 0o777);
  expect(() => storePeer(config, paired('a', 'db'))).toThrow(/may be written by others/);
  expect(filesOf(file)).toEqual([]);
});
