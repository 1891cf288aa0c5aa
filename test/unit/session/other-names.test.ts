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
