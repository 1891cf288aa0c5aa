/** What is told of a queue of large files is what is in it, whatever was put in and taken out. */
import fc from 'fast-check';
import {expect, test} from 'vitest';
import type {Item} from '../../../src/session/send-item.ts';
import {isHotItem, WaitingFiles} from '../../../src/session/waiting-files.ts';

const PATHS = ['a', 'b', 'c'];

test('size, hot count, and what is said of each path are those of the items, which leave in order', () => {
  const path = fc.constantFrom(...PATHS);
  const action = fc.oneof(
    fc.record({kind: fc.constant('push' as const), path, reading: fc.constantFrom('at-rest', 'clone', undefined)}),
    fc.record({kind: fc.constant('take' as const), path}),
    fc.record({kind: fc.constant('drop' as const), path}),
  );
  fc.assert(
    fc.property(fc.array(action, {maxLength: 40}), (actions) => {
      const waiting = new WaitingFiles();
      let items: Item[] = [];
      for (const [attempts, each] of actions.entries()) {
        if (each.kind === 'push') {
          const step = {kind: 'file', path: each.path, have: undefined, destroys: 0} as const;
          const item: Item = {path: each.path, step, noticedMs: undefined, mustSend: false, attempts};
          if (each.reading !== undefined) item.reading = each.reading as Item['reading'];
          items.push(item);
          waiting.push(item);
        } else if (each.kind === 'take') {
          const first = items.find((item) => item.path !== each.path);
          expect(waiting.takeFirst((free) => free !== each.path)).toBe(first);
          items = items.filter((item) => item !== first);
        } else {
          waiting.drop(each.path, ({attempts: at}) => at % 2 === 0);
          items = items.filter((item) => item.path !== each.path || item.attempts % 2 === 1);
        }
        expect([waiting.size, waiting.hotCount]).toEqual([items.length, items.filter(isHotItem).length]);
        for (const at of PATHS) {
          const here = items.filter((item) => item.path === at);
          expect([waiting.has(at), waiting.isHot(at)]).toEqual([here.length > 0, here.some(isHotItem)]);
        }
      }
    }),
  );
});
