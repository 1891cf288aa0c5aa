/** The other names of files with several, which wait until their first names are there. */
import {expect, test} from 'vitest';
import {entry} from '../state/state-fixture.ts';
import {SenderAlone} from './sender-alone.ts';

const COUNT = 130_000; // more than a call takes arguments

test(`G5 ${COUNT} other names that wait for two files are linked, all of them`, async () => {
  const {sender, entries, batches} = new SenderAlone();
  const names: string[] = [];
  for (const ino of [501, 502]) {
    entries.set(`${ino}`, entry(`${ino}`, {ino, nlink: COUNT / 2 + 1}));
    for (let index = 0; index < COUNT / 2; index++) names.push(`${ino}-${index}`);
  }
  for (const path of names) {
    entries.set(path, {...entries.get(path.slice(0, 3))!, name: path});
    await sender.add({kind: 'file', path, have: undefined, destroys: 0});
  }
  await sender.settle();
  expect(sender.pendingCount).toBe(0);
  const linked = batches.flat().map((op) => (op.kind === 'link' && op.to === op.path.slice(0, 3) ? op.path : op));
  expect(linked.length).toBe(COUNT);
  expect(new Set(linked)).toEqual(new Set(names));
});

test('whether all is settled costs no look at 1,000 names that wait, as long as more than these is on its way', async () => {
  const alone = new SenderAlone({hot: {readingOf: (path) => (path === 'hot' ? 'clone' : 'at-rest')}});
  const {sender, entries} = alone;
  entries.set('hot', entry('hot', {ino: 500}));
  entries.set('first', entry('first', {ino: 501, nlink: 1_001}));
  await sender.add({kind: 'file', path: 'hot', have: undefined, destroys: 0});
  for (let index = 0; index < 1_000; index++) {
    entries.set(`other-${index}`, {...entries.get('first')!, name: `other-${index}`});
    await sender.add({kind: 'file', path: `other-${index}`, have: undefined, destroys: 0});
  }
  await sender.add({kind: 'file', path: 'first', have: undefined, destroys: 0});
  const before = alone.lookups;
  expect(sender.isSettled).toBe(false);
  expect(alone.lookups).toBe(before);
  await sender.settle();
  expect([sender.isSettled, sender.pendingCount]).toEqual([true, 2]); // the hot one, open and at work
  expect(alone.sent().length).toBe(1_001);
});
