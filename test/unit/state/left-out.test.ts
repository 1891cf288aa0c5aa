import {describe, expect, test} from 'vitest';
import {ACCESS_ACL, CAPABILITY, encodeAttrs} from '../../../src/model/attrs.ts';
import type {Entry} from '../../../src/model/entry.ts';
import {LEFT_OUT_COUNT_MAX, type LeftOutKind} from '../../../src/model/left-out.ts';
import {LIMIT_KINDS, PLAIN_VIEW} from '../../../src/model/view.ts';
import type {VolumeStore} from '../../../src/state/volume-store.ts';
import {directory, entry, newFolder, openStore} from './state-fixture.ts';

const TARGET = {limits: {...PLAIN_VIEW, timePrecisionNs: 1_000_000_000}, owner: {uid: 1_000, gid: 1_000}};
const attr = (name: string, value = 'v') => encodeAttrs([{name, value: Buffer.from(value)}]);
const WHOLE = {mtime: {s: 8, ns: 0}};

const OF_KIND: Record<Exclude<LeftOutKind, 'modes'>, [Partial<Entry>, Partial<Entry>]> = {
  flags: [{flags: 0x10}, {flags: 0x60}],
  special: [{type: 'fifo'}, {type: 'socket'}],
  devices: [
    {type: 'block', rdev: 1},
    {type: 'char', rdev: 1},
  ],
  setuid: [{mode: 0o4755}, {mode: 0o2644}],
  owners: [{uid: 0}, {gid: 7}],
  timePrecisionNs: [{mtime: {s: 8, ns: 1}}, {type: 'dir', mtime: {s: 8, ns: 999}, content: undefined}],
  user: [{attrs: attr('user.a')}, {attrs: attr('user.b', 'trusted.')}],
  trusted: [{attrs: attr('trusted.a', 'user.')}, {attrs: attr('trusted.overlay.opaque')}],
  acl: [{attrs: attr(ACCESS_ACL)}, {attrs: attr('system.posix_acl_default')}],
  capability: [{attrs: attr(CAPABILITY)}, {attrs: attr(CAPABILITY, 'user.')}],
};

function filled(): VolumeStore {
  const store = openStore({view: {...PLAIN_VIEW, devices: true}});
  store.putRoot(directory('', WHOLE));
  const dir = store.put(store.root(), directory('dir', WHOLE));
  store.put(dir, entry('plain', {...WHOLE, mode: 0o1777}));
  store.put(dir, directory('setgid', {...WHOLE, mode: 0o2755}));
  for (const [kind, [first, second]] of Object.entries(OF_KIND)) {
    store.put(store.root(), entry(`${kind}-1`, {...WHOLE, ...first}));
    store.put(dir, entry(`${kind}-2`, {...WHOLE, ...second}));
  }
  return store;
}

describe('what a target leaves out', () => {
  test.each(Object.keys(OF_KIND) as (keyof typeof OF_KIND)[])('%s: two entries are found, by their paths', (kind) => {
    const {count, examples} = filled().leftOut.count(kind, TARGET);
    expect({count, examples: examples.toSorted()}).toEqual({
      count: 2,
      examples: [`dir/${kind}-2`, `${kind}-1`].toSorted(),
    });
  });

  test('what changes, goes, or moves is counted as it is then', () => {
    const store = filled();
    expect(store.leftOut.count('setuid', TARGET).count).toBe(2);
    store.put(store.root(), entry('setuid-1', WHOLE));
    expect(store.leftOut.count('setuid', TARGET)).toEqual({kind: 'setuid', count: 1, examples: ['dir/setuid-2']});
    store.move(store.root(), 'dir', store.root(), 'moved');
    expect(store.leftOut.count('setuid', TARGET).examples).toEqual(['moved/setuid-2']);
    store.remove(store.root(), 'moved');
    for (const kind of LIMIT_KINDS)
      if (kind !== 'modes') expect(store.leftOut.count(kind, TARGET).count).toBe(kind === 'setuid' ? 0 : 1);
  });

  test('what is of no type in the view is not counted for its owner, time or attributes too', () => {
    const store = openStore({view: {...PLAIN_VIEW, special: 'skip'}});
    store.put(store.root(), entry('device', {type: 'char', uid: 5, attrs: attr('trusted.a')}));
    for (const kind of ['owners', 'timePrecisionNs', 'trusted', 'modes'] as const)
      expect(store.leftOut.count(kind, TARGET).count).toBe(0);
    expect(store.leftOut.count('devices', TARGET)).toEqual({kind: 'devices', count: 1, examples: ['device']});
  });

  test(`of more than ${LEFT_OUT_COUNT_MAX} entries one more is counted, and three are named`, () => {
    const store = openStore();
    for (let at = 0; at < LEFT_OUT_COUNT_MAX + 5; at++)
      store.put(store.root(), entry(`f${at}`, {uid: at % 3, mode: 0o4755, attrs: attr('user.a')}));
    for (const kind of ['owners', 'setuid', 'user', 'modes', 'timePrecisionNs'] as const) {
      const {count, examples} = store.leftOut.count(kind, TARGET);
      expect([kind, count, examples.length]).toEqual([kind, LEFT_OUT_COUNT_MAX + 1, 3]);
    }
  });

  test('with a precision of 2 s odd seconds are cut too', () => {
    const store = openStore();
    store.put(store.root(), entry('odd', {mtime: {s: 7, ns: 0}}));
    store.put(store.root(), entry('even', WHOLE));
    const coarse = {...TARGET, limits: {...PLAIN_VIEW, timePrecisionNs: 2_000_000_000}};
    expect(store.leftOut.count('timePrecisionNs', coarse).examples).toEqual(['odd']);
  });
});

describe('a view and a map of owners are remembered', () => {
  test('a store that is opened without a view has the one of the last time, with its digests', () => {
    const place = {folder: newFolder()};
    const first = openStore({place});
    first.putRoot(directory(''));
    first.put(first.root(), entry('a', {mode: 0o4755}));
    const plain = first.rootDigest();
    first.setView({...PLAIN_VIEW, setuid: false});
    const narrow = first.rootDigest();
    expect(narrow.equals(plain)).toBe(false);
    first.close();
    const second = openStore({place, view: undefined});
    expect(second.rootDigest().equals(narrow)).toBe(true);
  });

  test('with another map every entry differs from what a listing shows, and content is kept', () => {
    const place = {folder: newFolder()};
    const first = openStore({place});
    first.putRoot(directory(''));
    const file = entry('a');
    first.put(first.root(), file);
    first.setFingerprint(first.root(), Buffer.alloc(16, 1));
    first.setIds([]);
    expect(first.outlines(first.root()).get('a')?.nlink).toBe(1);
    first.setIds(['0-9:100']);
    expect(first.outlines(first.root()).get('a')?.nlink).toBe(0);
    expect(first.fingerprint(first.root())).toBeUndefined();
    expect(first.get(first.root(), 'a')?.content?.equals(file.content!)).toBe(true);
    first.put(first.root(), file);
    first.close();
    const second = openStore({place});
    second.setIds(['0-9:100']);
    expect(second.outlines(second.root()).get('a')?.nlink).toBe(1);
  });
});
