/** The wall clock of either side jumps: nothing is sent again or deleted for that, and what changes arrives as ever. */
import {lstatSync, mkdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {FakedClock, jumps} from '../faked-clock.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {judge} from '../judge/judge.ts';
import {needsCommands} from '../needs.ts';
import {makePair, startLive, syncOnce} from '../sync/harness.ts';
import {makeRandomTree, pathsBelow, Random} from '../sync/random-tree.ts';
import {makeTmpDir} from '../tmp.ts';

const timed = needsCommands('faketime', 'rsync');

timed(test)(
  'H13 `sync`, live: after each jump one changed file is all that is sent; a next run sends nothing',
  async () => {
    const two = makePair();
    makeRandomTree(two.source, 60, new Random(13));
    const clock = new FakedClock(makeTmpDir());
    const live = startLive(two, [], {wrapper: clock.wrapper});
    await live.waitInSync(90_000);
    for (const [where, offset] of Object.entries(jumps())) {
      const mark = live.events.length;
      clock.jumpTo(offset);
      writeFileSync(join(two.source, 'changed'), `${where}\n`);
      if (where === 'to 2100') rmSync(join(two.source, 'changed'));
      await live.waitForEventAfter(mark, ({event, path}) => event === 'applied' && path === 'changed', 60_000);
      await live.waitInSync(90_000);
      const applied = live.events.slice(mark).filter(({event, path}) => event === 'applied' && path !== '.');
      expect(new Set(applied.map(({path}) => path)), where).toEqual(new Set(['changed']));
      expect(await judge(two.source, two.target), where).toEqual([]);
    }
    expect((await live.stop()).exitCode).toBe(0);
    for (const [where, offset] of Object.entries(jumps())) {
      clock.jumpTo(offset);
      const run = await syncOnce(two, [], {wrapper: clock.wrapper});
      expect(run.exitCode, `${where}: ${run.stderr}`).toBe(0);
      expect(
        run.events.filter(({event}) => event === 'applied'),
        where,
      ).toEqual([]);
      expect(run.result.stats['contentBytes'], where).toBe(0);
    }
  },
  120_000,
);

needsHosts(timed(describe))('H13 two agents', () => {
  test('the clocks of both jump, one after the other: each change arrives, nothing else is sent or deleted', async () => {
    const clocks = {left: new FakedClock(makeTmpDir('file')), right: new FakedClock(makeTmpDir('file'))};
    const {left, right} = makeAgents({
      left: {wrapper: clocks.left.wrapper},
      right: {listens: false, wrapper: clocks.right.wrapper},
    });
    const source = left.volume('data');
    left.configure({volumes: {data: {at: source, send: ['right']}}});
    right.configure({volumes: {data: {at: right.volume('data'), receive: 'left'}}});
    await pair(right, left);
    mkdirSync(join(source, 'tree'));
    makeRandomTree(join(source, 'tree'), 60, new Random(13));
    await startAll(left, right);
    try {
      await untilInSync(left, 'data', 30_000);
      const copy = join(right.volume('data'), 'tree');
      const faces = (): string[] =>
        pathsBelow(copy).map((path) => {
          const {ino, ctimeNs} = lstatSync(path, {bigint: true});
          return `${path} ${ino} ${ctimeNs}`;
        });
      const before = faces();
      expect(before.length).toBeGreaterThan(60);
      for (const side of ['left', 'right'] as const)
        for (const [where, offset] of Object.entries(jumps())) {
          clocks[side].jumpTo(offset);
          writeFileSync(join(source, 'changed'), `${side} ${where}\n`);
          await untilInSync(left, 'data', 30_000);
          expect(faces(), `${side} ${where}`).toEqual(before); // not written again
        }
    } finally {
      await stopAll(left, right);
    }
  }, 180_000);
});
