/** What drifted on a copy holds back what would overwrite it, take it away or come to lie in its place, and nothing else. */
import {expect, onTestFinished, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {TargetProblems} from '../../../src/daemon/target-problems.ts';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import type {Op} from '../../../src/model/op.ts';
import {openAgentFile, type LinkNotes} from '../../../src/state/agent-store.ts';
import {makeTmpDir} from '../../tmp.ts';

const meta = {mode: 0o755, uid: 0, gid: 0, mtime: {s: 1, ns: 0}, attrs: NO_ATTRS};

function notes(): LinkNotes {
  const file = openAgentFile({place: ':memory:', bootId: ''});
  onTestFinished(() => file.close());
  return file.notes('receive/data');
}

const problemsOf = (kept: LinkNotes): TargetProblems =>
  new TargetProblems({volume: 'data'}, {notes: kept, clock: systemClock});

const remove = (path: string, type: 'file' | 'dir' = 'file'): Op => ({kind: 'delete', path, type});
const setMeta = (path: string): Op => ({kind: 'set-meta', path, type: 'dir', meta});
const rename = (path: string, to: string): Op => ({
  kind: 'rename',
  path,
  to,
  type: 'file',
  content: undefined,
});

test.each<[string, Op, boolean]>([
  ['the path itself', remove('a/file'), true],
  ['its directory', remove('a', 'dir'), true],
  ["its directory's times", setMeta('a'), false],
  ['something beside it', remove('a/other'), false],
  ['a name that begins alike', remove('a/file2'), false],
  ['a rename away', rename('a/file', 'b'), true],
  ['a rename over it', rename('b', 'a/file'), true],
  ['below a directory that is gone', remove('gone/below'), true],
  ['below a directory that was only chmodded', remove('dir/below'), false],
  ['the metadata of that directory', setMeta('dir'), true],
  ['something else in the root', remove('x'), false],
])('J10 %s: held back %s', (_what, op, isHeld) => {
  const problems = problemsOf(notes());
  problems.drifted(['a/file', 'gone', 'dir']);
  const held = problems.heldBack(op, (path) => path === 'dir' || path === 'a');
  expect(held === undefined).toBe(!isHeld);
  if (isHeld) expect(held).toMatchObject({code: 'refused', message: expect.stringContaining('towline rescan data')});
});

test('J10 it is kept over a restart, and forgotten once the source’s version is taken', () => {
  const kept = notes();
  problemsOf(kept).drifted(['a', 'b']);
  const again = problemsOf(kept);
  expect([again.count, again.hasDrift]).toEqual([2, true]);
  expect([again.takeSource(), again.count, again.hasDrift, again.takeSource()]).toEqual([true, 0, false, false]);
});

test('J10 it is kept over a kill at once after it was found', () => {
  const place = {folder: makeTmpDir()};
  const killed = openAgentFile({place, bootId: ''});
  problemsOf(killed.notes('receive/data')).drifted(['a', 'b']);
  killed.abandon();
  const file = openAgentFile({place, bootId: ''});
  onTestFinished(() => file.close());
  const again = problemsOf(file.notes('receive/data'));
  expect([again.count, again.hasDrift]).toEqual([2, true]);
});

test('J10 of 1,001 paths 1,000 are told one by one, and everything is held back', () => {
  const problems = problemsOf(notes());
  problems.drifted(Array.from({length: 1_000}, (_, index) => `${index}`));
  expect(problems.heldBack(remove('x'), () => false)).toBeUndefined();
  problems.drifted(['one more']);
  expect(problems.heldBack(remove('x'), () => false)).toMatchObject({code: 'refused'});
  expect(problems.count).toBe(1_001);
  problems.proved();
  expect([problems.count, problems.heldBack(remove('x'), () => false)]).toEqual([0, undefined]);
});

test('J10 a path that drifted and rots is told as drifted, whatever verify finds', () => {
  const kept = notes();
  const problems = problemsOf(kept);
  problems.drifted(['a']);
  const digests = {known: Buffer.alloc(32, 1), found: Buffer.alloc(32, 2)};
  for (const path of ['a', 'b']) problems.corrupt(path, digests);
  const codeOf = (path: string): string | undefined => kept.problemOf('target', path)?.code;
  expect(['a', 'b'].map(codeOf)).toEqual(['drifted', 'corrupt-here']);
  for (const path of ['a', 'b']) problems.whole(path);
  expect(['a', 'b'].map(codeOf)).toEqual(['drifted', undefined]);
});
