/** Files of a link that change each time they are read: what the volume's names are told of them. */
import {expect, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {nameOf, parentOf} from '../../../src/model/path.ts';
import {DirtySet} from '../../../src/reconcile/dirty-set.ts';
import {LiveRestless} from '../../../src/session/live-restless.ts';

test('of 1,001 files those that are kept no longer do not count as restless either', () => {
  const names = new DirtySet({settleMs: 10, maxWaitMs: 100, countMax: 10_000});
  const restless = new LiveRestless(
    {maxWaitMs: 1_000, hot: 'wait'},
    {
      volume: {
        note: (dir, name) => names.note(dir, name, 0),
        setPatience: (path, patience) => names.setPatience(parentOf(path), nameOf(path), patience),
      },
      clock: systemClock,
      events: {onRestless: () => undefined},
    },
  );
  const paths = Array.from({length: 1_001}, (_, index) => `log${index}`);
  for (const path of paths) for (let tries = 0; tries < 3; tries++) restless.failed(path);
  expect(names.restlessCount).toBe(1_000);
  restless.allArrived();
  expect(names.restlessCount).toBe(0);
});
