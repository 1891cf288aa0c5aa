/**
 * H7: a full disk takes from the trash what is needed, the oldest first, and nothing where that would not help.
 */
import {linkSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import type {Op} from '../../../src/model/op.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsLoopMounts} from '../../needs.ts';
import {META, putFile, remove, TargetFolder} from './target-folder.ts';

const HOUR_MS = 3_600_000;
const BLOCK = 'x'.repeat(4_096);

/** On a disk of 1 MiB: five files of a block in the trash in each of the last three hours, the present one with them. */
async function makeTarget(): Promise<TargetFolder> {
  const target = new TargetFolder({folder: makeLoopFilesystem('tmpfs', 1).path});
  for (const hour of [2, 1, 0]) {
    target.clock = {...systemClock, nowMs: () => Date.now() - hour * HOUR_MS};
    const names = Array.from({length: 5}, (_, index) => `${hour}-${index}`);
    await target.apply(...names.map((name) => putFile(name, BLOCK)));
    await target.apply(...names.map((name) => remove(name)));
  }
  expect(target.items()).toHaveLength(15);
  return target;
}

function fill(target: TargetFolder): void {
  const path = join(target.folder, 'filler');
  try {
    for (;;) writeFileSync(path, BLOCK, {flag: 'a'});
  } catch (error) {
    expect(error).toMatchObject({code: 'ENOSPC'});
  }
}

const statusOf = async (target: TargetFolder, op: Op): Promise<unknown> => {
  const [result] = await target.apply(op);
  return result?.status === 'failed' ? result.code : result?.status;
};

needsLoopMounts(describe)('H7 a full disk', () => {
  test('takes a file of two blocks for three of the 15 items', async () => {
    const target = await makeTarget();
    fill(target);
    const before = target.items().toSorted();
    expect(await statusOf(target, putFile('new', BLOCK + BLOCK))).toBe('done');
    expect(before.filter((item) => !target.items().includes(item))).toHaveLength(3);
    expect(target.items().filter((item) => !item.startsWith(before[0]!.slice(0, 13)))).toHaveLength(10);
  });

  test('takes nothing for a file that all of it has no room for, nor for one that its hard links would not free', async () => {
    const target = await makeTarget();
    fill(target);
    for (let attempt = 0; attempt < 3; attempt++)
      expect(await statusOf(target, putFile('large', BLOCK.repeat(40)))).toBe('no-space');
    expect(target.items()).toHaveLength(15);
    for (const [index, item] of target.items().entries())
      linkSync(join(target.trash, item), join(target.folder, `name-${index}`));
    expect(await statusOf(target, putFile('small', BLOCK.repeat(5)))).toBe('no-space');
    expect(target.items()).toHaveLength(15);
  });

  test('takes one item for a batch that a crash left in the journal, and completes it', async () => {
    const target = await makeTarget();
    await target.apply(putFile('a', 'old'), putFile('b', 'of b'));
    writeFileSync(join(target.root, 'a'), 'of somebody');
    target.onJournal = () => {
      throw new Error('killed');
    };
    await expect(target.apply(putFile('a', 'new'))).rejects.toThrow('killed');
    target.onJournal = () => undefined;
    // The line in the index needs a block of its own.
    const [hour = ''] = readdirSync(target.trash).toSorted().slice(-1);
    const index = join(target.trash, hour, 'index.ndjson');
    rmSync(index);
    fill(target);
    const before = target.items();
    expect(await target.recover()).toBe(1);
    const after = target.items();
    expect(before.filter((item) => !after.includes(item))).toHaveLength(1);
    expect(after.filter((item) => !before.includes(item)).map((item) => target.kept(item))).toEqual(['of somebody']);
  });

  test('takes at most 14 of the 15 items for seven blocks that a batch from before a crash lacks, and completes it', async () => {
    const target = await makeTarget();
    const path = join(target.root, 'holes');
    await target.apply(putFile('holes', BLOCK.repeat(7)));
    truncateSync(path, 0);
    truncateSync(path, 7 * BLOCK.length);
    target.onJournal = () => {
      throw new Error('killed');
    };
    const op = {kind: 'set-meta', path: 'holes', type: 'file', meta: META, allocatedBytes: 7 * BLOCK.length} as const;
    await expect(target.apply(op)).rejects.toThrow('killed');
    target.onJournal = () => undefined;
    fill(target);
    expect(await target.recover()).toBe(1);
    expect(statSync(path).blocks * 512).toBe(7 * BLOCK.length);
    expect(target.items().length).toBeGreaterThanOrEqual(1);
  });
});
