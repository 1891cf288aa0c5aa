import {expect, test} from 'vitest';
import {Gate} from '../../../src/transport/gate.ts';

function socket(): {isGone: boolean; destroy(): void} {
  const made = {isGone: false, destroy: () => void (made.isGone = true)};
  return made;
}

test('the 4th socket in a gate for 3 drops the oldest that is still in it', () => {
  const gate = new Gate<ReturnType<typeof socket>>({countMax: 3, deadlineMs: 60_000});
  const [a, b, c, d, e] = [socket(), socket(), socket(), socket(), socket()];
  for (const each of [a, b, c]) gate.letIn(each);
  gate.letOut(a);
  gate.letIn(d);
  expect([a, b, c, d].map((each) => each.isGone)).toEqual([false, false, false, false]);
  gate.letIn(e);
  expect([a, b, c, d, e].map((each) => each.isGone)).toEqual([false, true, false, false, false]);
  expect(gate.count).toBe(3);
  gate.dropAll();
  expect([a, b, c, d, e].map((each) => each.isGone)).toEqual([false, true, true, true, true]);
});
