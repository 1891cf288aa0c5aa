/** What is told of paths, and kept over a restart, of files that never rest. */
import {expect, onTestFinished, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {SyncEvents} from '../../../src/daemon/sync-events.ts';
import type {HotRead} from '../../../src/model/reading.ts';
import type {Op} from '../../../src/model/op.ts';
import {openAgentFile} from '../../../src/state/agent-store.ts';
import {makeTmpDir} from '../../tmp.ts';

const PUT: Op = {
  kind: 'put-file',
  path: 'hot',
  meta: {mode: 0o600, uid: 0, gid: 0, mtime: {s: 1, ns: 0}, attrs: Buffer.alloc(0)},
  sizeBytes: 0,
  content: Buffer.alloc(32),
  source: {from: 'staged', transfer: 1},
};

function newEvents(folder: string) {
  const file = openAgentFile({place: {folder}, bootId: 'boot'});
  const told: string[] = [];
  const notes = file.notes('send/data/db-2/data');
  const events = new SyncEvents(
    {isLive: true, isDryRun: false},
    {agent: notes, clock: systemClock, onEvent: ({kind}) => void told.push(kind), isThere: () => true},
  );
  const arrives = (hot?: HotRead): void =>
    events.applied({path: 'hot', op: PUT, isReplaced: true, sizeBytes: 0, noticedMs: undefined, hot});
  const codes = (): string[] => notes.problems(10).map(({code, message}) => `${code}: ${message}`);
  return {file, events, told, arrives, codes};
}

test('a copy that is torn stays told as torn while its file goes on changing, and is solved by what is whole', () => {
  const folder = makeTmpDir();
  const first = newEvents(folder);
  first.arrives({as: 'torn', fromMs: 1, toMs: 2});
  first.events.failed('hot', 'torn', 'from 1 to 2', 'source');
  first.events.failed('hot', 'changing', 'it changed again', 'source');
  first.arrives({as: 'torn', fromMs: 3, toMs: 4});
  expect(first.codes()).toEqual(['torn: from 1 to 2']);
  first.events.failed('hot', 'torn', 'from 3 to 4', 'source');
  first.file.close();

  const second = newEvents(folder);
  onTestFinished(() => second.file.close());
  second.events.scanned([], true);
  second.events.failed('hot', 'changing', 'it changed again', 'source');
  expect(second.codes()).toEqual(['torn: from 3 to 4']);
  second.arrives();
  expect(second.codes()).toEqual([]);
  expect(second.told.at(-1)).toBe('solved');
});
