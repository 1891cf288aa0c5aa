/** Which other names are looked at after a look at some names of hard-linked files. */
import {expect, test} from 'vitest';
import type {Entry} from '../../../src/model/entry.ts';
import {ROOT} from '../../../src/model/path.ts';
import {entryStore, sourceState} from '../../../src/daemon/source-state.ts';
import type {Change} from '../../../src/scan/pass.ts';
import {namesToLookAt, type NamesOfState} from '../../../src/session/linked-names.ts';
import {directory, entry, openStore} from '../state/state-fixture.ts';

const SEEN = {s: 1_700_000_100, ns: 0};

/** A state with one file under so many names, all of them as seen at the same moment, and what it is asked. */
function linked(count: number) {
  const store = openStore();
  store.putRoot(directory(ROOT, {ino: 1}));
  const rootId = store.dirIdOf(ROOT) as number;
  store.batch(() => {
    for (let index = 0; index < count; index++)
      store.put(rootId, entry(`n${index}`, {ino: 500, nlink: count, ctime: SEEN}));
  });
  const state = sourceState(store);
  const asked = {namesOf: 0, entryAt: 0};
  const counted: NamesOfState = {
    namesOf: (of) => (asked.namesOf++, state.namesOf(of)),
    entryAt: (path) => (asked.entryAt++, state.entryAt(path)),
  };
  /** A look has found this name changed, `laterS` after the others were seen. */
  const changed = (name: string, laterS: number): Change => {
    const before = entryStore(store).get(rootId, name)!;
    const after: Entry = {...before, ctime: {...SEEN, s: SEEN.s + laterS}};
    store.put(rootId, after);
    return {kind: 'put', path: name, before, after};
  };
  return {counted, asked, changed};
}

test('G5 of 400 names that have all changed, the state is asked for the names of the file once, and for each name once', () => {
  const {counted, asked, changed} = linked(400);
  const changes = Array.from({length: 400}, (_, index) => changed(`n${index}`, 5));
  expect(namesToLookAt(changes, {changes, stale: []}, counted)).toEqual([]);
  expect(asked).toEqual({namesOf: 1, entryAt: 400});
});

test('the other names of what changed are looked at, and of those that were seen the ones that were seen before the last change', () => {
  const {counted, changed} = linked(4);
  const changes = [changed('n0', 5), changed('n2', 7), changed('n1', 6)];
  expect(namesToLookAt(changes, {changes, stale: []}, counted).toSorted()).toEqual(['n0', 'n1', 'n3']);
  const others = [changed('n3', 7)];
  const taken = [...changes, ...others];
  expect(namesToLookAt(taken, {changes: others, stale: ['n2', 'm']}, counted).toSorted()).toEqual(['m', 'n0', 'n1']);
});
