/** What a reload has to touch, and what it must not. */
import {expect, test} from 'vitest';
import {diffConfig, type ConfigChange} from '../../../src/config/diff-config.ts';
import {ID, load} from './agent-files.ts';

const PEERS = `peers: {a: {id: ${ID('a')}, address: h:1}, b: {id: ${ID('b')}}, c: {id: ${ID('c')}}}\n`;
const text = (volumes: string, head = `agent: {name: x, listen: ":1"}\n`): string =>
  `${head}${PEERS}volumes: {${volumes}}`;
const PG = 'pg: {at: docker:pg, send: [a, {to: b, as: copy}]}';

const NOTHING: ConfigChange = {
  addedVolumes: [],
  removedVolumes: [],
  changedVolumes: [],
  addedPeers: [],
  removedPeers: [],
  changedPeers: [],
  isNameChanged: false,
  isListenChanged: false,
  isStateFolderChanged: false,
  isLimitsChanged: false,
  areEnginesChanged: false,
};

const change = (before: string, after: string): ConfigChange => diffConfig(load(before), load(after));
const link = (direction: 'send' | 'receive', peer: string, peerVolume?: string) => ({direction, peer, peerVolume});

test('comments, order of keys, defaults that are spelled out, and a peer that moves to peers.d change nothing', () => {
  const spelled = 'pg: {settle: 50ms, send: [{as: pg, to: a}, {to: b, as: copy}], at: docker:pg}';
  expect(change(text(PG), `# new\n${text(spelled)}`)).toEqual(NOTHING);
  const before = load(text(PG));
  const after = load(text(PG).replace(`, c: {id: ${ID('c')}}`, ''), {'c.yaml': `id: ${ID('c')}`});
  expect(diffConfig(before, after)).toEqual(NOTHING);
});

test('a link more is that link, the others are not touched', () => {
  expect(change(text(PG), text(PG.replace(']', ', c]')))).toEqual({
    ...NOTHING,
    changedVolumes: [
      {
        name: 'pg',
        isAddressChanged: false,
        areSettingsChanged: false,
        addedLinks: [link('send', 'c', 'pg')],
        removedLinks: [],
        changedLinks: [],
      },
    ],
  });
});

test('a link that is set otherwise, one that goes, one that is received', () => {
  const [volume] = change(
    text(PG),
    text('pg: {at: docker:pg, send: [{to: a, when: every 1h}], receive: c}'),
  ).changedVolumes;
  expect(volume).toMatchObject({
    areSettingsChanged: false,
    addedLinks: [link('receive', 'c')],
    removedLinks: [link('send', 'b', 'copy')],
    changedLinks: [link('send', 'a', 'pg')],
  });
  const pinned = change(
    text('v: {at: /v, receive: c}'),
    text(`v: {at: /v, receive: {from: c, pin-ignore: ${ID('d')}}}`),
  );
  expect(pinned.changedVolumes[0]!.changedLinks).toEqual([link('receive', 'c')]);
});

test('a key of the volume changes its links too, but for those that set it themselves', () => {
  const own = 'pg: {at: docker:pg, send: [a, {to: b, settle: 1s}]';
  const [volume] = change(text(`${own}, settle: 100ms}`), text(`${own}, settle: 200ms}`)).changedVolumes;
  expect(volume).toMatchObject({areSettingsChanged: true, changedLinks: [link('send', 'a', 'pg')]});
});

test('volumes that come, go and move; peers likewise; the rest by name', () => {
  const before = text(`${PG}, old: {at: /old}`);
  const after = text(
    `pg: {at: docker:pg2, send: [a, {to: b, as: copy}]}, new: {at: /new}`,
    `agent: {name: y, listen: ":2", state: /s}\nlimits: {workers: 3}\nengines: {docker: {socket: /x}}\n`,
  )
    .replace('address: h:1', 'address: h:2')
    .replace(`c: {id: ${ID('c')}}`, `d: {id: ${ID('d')}}`);
  expect(change(before, after)).toMatchObject({
    addedVolumes: ['new'],
    removedVolumes: ['old'],
    changedVolumes: [{name: 'pg', isAddressChanged: true, changedLinks: []}],
    addedPeers: ['d'],
    removedPeers: ['c'],
    changedPeers: ['a'],
    isNameChanged: true,
    isListenChanged: true,
    isStateFolderChanged: true,
    isLimitsChanged: true,
    areEnginesChanged: true,
  });
});
