/**
 * Large files that are changed where they are (`replace: in-place-above`): what is staged, what is written, and what a
 * crash, a full disk and somebody else's edit leave.
 */
import {randomBytes} from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {dirname, join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import type {JournalRecord} from '../../../src/apply/journal-record.ts';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import {makeFat, needsFat} from '../../fat-fs.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../../needs.ts';
import {failing, META, putFile, remove, TargetFolder} from './target-folder.ts';

const LEAVES = 32;
const ABOVE = {inPlaceAbove: 1 << 20};

const straced = needsCommands('strace')(test);

class Killed extends Error {}

/** A file of 4 MiB and a bit that this link wrote, on a filesystem that makes no clones. */
async function begin(kind: 'ext4' | 'xfs' = 'ext4'): Promise<{target: TargetFolder; path: string; old: Buffer}> {
  const target = new TargetFolder({folder: makeLoopFilesystem(kind, kind === 'xfs' ? 300 : 64).path});
  const old = randomBytes(LEAVES * LEAF_BYTES + 5);
  expect(await target.applyLarge('image', old)).toEqual({status: 'done'});
  return {target, path: join(target.root, 'image'), old};
}

/** As writing leaves it: from then on the file itself may be half of each. */
function begun(target: TargetFolder): void {
  for (const name of readdirSync(target.staging)) chmodSync(join(target.staging, name), 0o400);
}

function fill({folder}: TargetFolder): void {
  const file = openSync(join(folder, 'filler'), 'w');
  try {
    for (const sizeBytes of [1 << 20, 4_096]) writeUntilFull(file, Buffer.alloc(sizeBytes));
  } finally {
    closeSync(file);
  }
}

function writeUntilFull(file: number, bytes: Buffer): void {
  try {
    for (;;) writeSync(file, bytes);
  } catch (error) {
    expect(error).toMatchObject({code: 'ENOSPC'});
  }
}

function changed(old: Buffer, ...leaves: number[]): Buffer {
  const bytes = Buffer.from(old);
  for (const leaf of leaves) randomBytes(1_000).copy(bytes, leaf * LEAF_BYTES + 100);
  return bytes;
}

needsLoopMounts(describe)('a large file that is changed in place', () => {
  test('keeps its inode; only what changes is staged; nothing goes to the trash', async () => {
    const {target, path, old} = await begin();
    const {ino} = statSync(path);
    const bytes = changed(old, 3, 17, LEAVES);
    let stagedBytes = 0;
    target.onJob = (kind) => {
      if (kind === 'switch-batch')
        stagedBytes = readdirSync(target.staging).reduce(
          (sum, name) => sum + statSync(join(target.staging, name)).size,
          0,
        );
    };
    expect(await target.applyLarge('image', bytes, {...ABOVE, meta: {...META, mode: 0o600}})).toEqual({status: 'done'});
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(statSync(path)).toMatchObject({ino, mode: 0o100600, mtimeMs: META.mtime.s * 1_000});
    expect(stagedBytes).toBeGreaterThan(2 * LEAF_BYTES); // the source of this test sends whole leaves
    expect(stagedBytes).toBeLessThan(3 * LEAF_BYTES);
    expect(readdirSync(target.staging)).toEqual([]);
    expect(target.items()).toEqual([]);
    expect(target.actions.at(-1)).toMatchObject({path: 'image', op: 'put-file', reason: 'changed in place'});
    expect(target.knownContent('image')).toBeDefined();
    const again = changed(bytes, 5);
    expect(await target.applyLarge('image', again, ABOVE)).toEqual({status: 'done'});
    expect(readFileSync(path).equals(again)).toBe(true);
    expect(statSync(path).ino).toBe(ino);
  });

  test.each(['longer', 'shorter', 'with holes'] as const)('may become %s', async (how) => {
    const {target, path, old} = await begin();
    const {ino} = statSync(path);
    const bytes =
      how === 'longer'
        ? Buffer.concat([changed(old, 1), randomBytes(3 * LEAF_BYTES)])
        : how === 'shorter'
          ? changed(old, 1).subarray(0, 20 * LEAF_BYTES + 77)
          : Buffer.from(changed(old, 1)).fill(0, 8 * LEAF_BYTES, 12 * LEAF_BYTES);
    const zeros = how === 'with holes' ? [8, 9, 10, 11] : [];
    expect(await target.applyLarge('image', bytes, {...ABOVE, zeros})).toEqual({status: 'done'});
    expect(readFileSync(path).equals(bytes)).toBe(true);
    const {blocks, size, ...stat} = statSync(path);
    expect(stat.ino).toBe(ino);
    if (how === 'with holes') expect(blocks * 512).toBeLessThan(size - 3 * LEAF_BYTES);
  });

  test('on a filesystem that clones: a clone takes its place at once, and shares what has not changed', async () => {
    const {target, path, old} = await begin('xfs');
    const {ino} = statSync(path);
    for (const bytes of [changed(old, 3), changed(old, 3, 4).subarray(0, 9 * LEAF_BYTES), changed(old, 30)]) {
      expect(await target.applyLarge('image', bytes, ABOVE)).toEqual({status: 'done'});
      expect(readFileSync(path).equals(bytes)).toBe(true);
      expect(statSync(path).ino).not.toBe(ino);
    }
  });

  test('H4 is whole after a crash, wherever it was cut off, and whatever was written by then', async () => {
    const {target, path, old} = await begin();
    const {ino} = statSync(path);
    let before = old;
    for (const step of ['journalled', 'half written', 'cut to its size', 'written', 'dropped'] as const) {
      const bytes = Buffer.concat([changed(before, 2, 9, 21), randomBytes(10_000)]);
      target.onJob = (kind, input) => {
        if (kind !== 'switch-batch' || step === 'written' || step === 'dropped') return;
        expect((input as {records: JournalRecord[]}).records[0]).toMatchObject({kind: 'patch', path: 'image'});
        if (step !== 'journalled') begun(target);
        if (step === 'half written') {
          const half = Buffer.from(before);
          bytes.copy(half, 2 * LEAF_BYTES, 2 * LEAF_BYTES, 3 * LEAF_BYTES);
          bytes.copy(half, 9 * LEAF_BYTES, 9 * LEAF_BYTES, 9 * LEAF_BYTES + 4_096);
          writeFileSync(path, half);
        }
        if (step === 'cut to its size') truncateSync(path, bytes.length);
        throw new Killed();
      };
      target.onSwitched = () => {
        if (step === 'written') throw new Killed();
      };
      target.onJournal = (at) => {
        if (step === 'dropped' && at === 'dropped') throw new Killed();
      };
      await expect(target.applyLarge('image', bytes, ABOVE), step).rejects.toThrow(Killed);
      target.onJob = target.onSwitched = target.onJournal = () => undefined;
      expect(await target.recover(), step).toBe(step === 'dropped' ? 0 : 1);
      expect(readFileSync(path).equals(bytes), step).toBe(true);
      expect(readdirSync(target.staging), step).toEqual([]);
      expect(target.openBatches, step).toBe(0);
      before = bytes; // known as this link's: the next one is made in place too
    }
    expect(statSync(path).ino).toBe(ino);
  });

  test('H10 stays what somebody else made of it after a crash before the first write, and is not taken for this link’s', async () => {
    const {target, path, old} = await begin();
    target.onJob = (kind) => {
      if (kind === 'switch-batch') throw new Killed();
    };
    await expect(target.applyLarge('image', changed(old, 2), ABOVE)).rejects.toThrow(Killed);
    target.onJob = () => undefined;
    const theirs = changed(old, 2, 5);
    const file = openSync(path, 'r+');
    writeSync(file, theirs, 0, theirs.length, 0);
    closeSync(file);
    expect(await target.recover()).toBe(1);
    expect(readFileSync(path).equals(theirs)).toBe(true);
    expect(readdirSync(target.staging)).toEqual([]);
    expect(await target.applyLarge('image', old)).toEqual({status: 'done'});
    expect(target.items()).toHaveLength(1);
  });

  test('H10 stays what somebody else made of it, also between staging and switch; the old rule then takes over', async () => {
    const {target, path, old} = await begin();
    const bytes = changed(old, 3);
    for (const edit of ['append', 'link', 'hold open'] as const) {
      let held: (() => Promise<void>) | undefined;
      target.onJob = async (kind) => {
        if (kind !== 'switch-batch') return;
        if (edit === 'append') appendFileSync(path, 'theirs');
        if (edit === 'link') linkSync(path, join(target.root, 'other-name'));
        if (edit === 'hold open') {
          const {open} = await import('node:fs/promises');
          const file = await open(path, 'r+');
          held = () => file.close();
        }
      };
      const found = edit === 'append' ? Buffer.concat([old, Buffer.from('theirs')]) : readFileSync(path);
      expect(await target.applyLarge('image', bytes, ABOVE), edit).toMatchObject({
        status: 'failed',
        code: 'base-changed',
      });
      await held?.();
      target.onJob = () => undefined;
      expect(readFileSync(path).equals(found), edit).toBe(true);
      expect(readdirSync(target.staging), edit).toEqual([]);
      expect(await target.applyLarge('image', old), edit).toEqual({status: 'done'});
    }
  });

  straced(
    'a right that cannot be given once all is written is a problem of the path: nothing is left to be completed',
    async () => {
      const {target, path, old} = await begin();
      const bytes = changed(old, 3);
      const end = failing(target, {call: 'fchmod', error: 'EINVAL', when: '3'}); // after the redo file's and its own
      const meta = {...META, mode: 0o600};
      expect(await target.applyLarge('image', bytes, {...ABOVE, meta})).toMatchObject({
        status: 'failed',
        code: 'unwritable',
      });
      expect(await end()).toBe(1);
      expect(readFileSync(path).equals(bytes)).toBe(true);
      expect(statSync(path).mode & 0o777).toBe(0);
      expect([target.openBatches, readdirSync(target.staging), target.knownContent('image')]).toEqual([
        0,
        [],
        undefined,
      ]);
      expect(target.actions.at(-1)).toMatchObject({path: 'image', reason: 'changed in place'});
    },
  );

  straced.each([
    ['keeps its rights while it is written where only what is not in the view differs', 0o644, 0o644],
    ['has no rights while it is written where they become others', 0o600, 0],
  ])('%s', async (_what, mode, during) => {
    const {target, path, old} = await begin();
    const meta = {...META, mode, uid: META.uid + 1}; // owners are not in this target's view
    const end = failing(target, {call: 'pwrite64', error: 'EIO', when: '2'});
    await expect(target.applyLarge('image', changed(old, 3, 9), {...ABOVE, meta})).rejects.toThrow('only a part');
    expect(await end()).toBe(1);
    expect(statSync(path).mode & 0o777).toBe(during);
    expect(await target.recover()).toBe(1);
    expect(statSync(path).mode & 0o777).toBe(mode);
  });

  test('H10 for a process that may not read what it has written, a file of mode 200: done, and its content counts as unread', async () => {
    const user = 65_534;
    const target = new TargetFolder({folder: makeLoopFilesystem('ext4', 64).path});
    for (const each of [target.root, target.staging, target.trash]) chownSync(each, user, user);
    chmodSync(dirname(target.folder), 0o711); // the test itself reads the files by their paths
    onTestFinished(() => process.seteuid?.(0));
    process.seteuid?.(user);
    const old = randomBytes(LEAVES * LEAF_BYTES + 5);
    expect(await target.applyLarge('image', old)).toEqual({status: 'done'});
    const bytes = changed(old, 3);
    expect(await target.applyLarge('image', bytes, {...ABOVE, meta: {...META, mode: 0o200}})).toEqual({status: 'done'});
    process.seteuid?.(0);
    expect(readFileSync(join(target.root, 'image')).equals(bytes)).toBe(true);
    expect([target.openBatches, readdirSync(target.staging), target.knownContent('image')]).toEqual([0, [], undefined]);
  });

  straced('H7 ENOSPC in the middle of it: the roll-forward makes room in the trash, and completes it', async () => {
    const {target, path, old} = await begin();
    await target.apply(putFile('old', 'x'.repeat(10_000)));
    await target.apply(remove('old'));
    const bytes = changed(old, 3, 9);
    const end = failing(target, {call: 'pwrite64', error: 'ENOSPC', when: '2..3'}); // the second time while it is rolled forward
    await expect(target.applyLarge('image', bytes, ABOVE)).rejects.toThrow('only a part of it is written');
    expect([target.openBatches, target.items().length]).toEqual([1, 1]);
    expect(await target.recover()).toBe(1);
    expect(await end()).toBe(2);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect([target.openBatches, target.items().length, readdirSync(target.staging)]).toEqual([0, 0, []]);
  });

  straced(
    'another error in the middle of it stops everything, also the roll-forward, until it is completed',
    async () => {
      const {target, path, old} = await begin();
      const bytes = changed(old, 3, 9);
      const end = failing(target, {call: 'pwrite64', error: 'EFBIG', when: '2..3'});
      await expect(target.applyLarge('image', bytes, ABOVE)).rejects.toThrow('only a part of it is written');
      await expect(target.recover()).rejects.toThrow('only a part of it is written');
      expect(await end()).toBe(2);
      expect(target.openBatches).toBe(1);
      expect(await target.recover()).toBe(1);
      expect(readFileSync(path).equals(bytes)).toBe(true);
    },
  );

  test.each([
    ['takes as much of the trash as the rest of it needs, and leaves what is newest', 160],
    ['takes all of the trash where that is just enough', 64],
    ['goes on once there is space where all of the trash is not enough', 48],
  ])('H7 a disk that is full once writing has begun: the roll-forward %s', async (_what, itemCount) => {
    const {target, path, old} = await begin();
    const grown = Buffer.concat([changed(old, 1), randomBytes(16 * LEAF_BYTES)]); // by what 64 items have
    const names = Array.from({length: itemCount}, (_, index) => `old-${index}`);
    for (const name of names) await target.apply(putFile(name, 'x'.repeat(LEAF_BYTES / 4)));
    for (const name of names) await target.apply(remove(name));
    let tries = 0;
    target.onJob = (kind) => {
      if (kind !== 'switch-batch' || ++tries > 1) return;
      begun(target);
      throw new Killed();
    };
    await expect(target.applyLarge('image', grown, ABOVE)).rejects.toThrow(Killed);
    fill(target);
    if (itemCount < 64) {
      await expect(target.recover()).rejects.toThrow('cannot be completed');
      expect([target.openBatches, readdirSync(target.staging).length]).toEqual([1, 1]);
      rmSync(join(target.folder, 'filler'));
    }
    expect(await target.recover()).toBe(1);
    expect(readFileSync(path).equals(grown)).toBe(true);
    expect(tries).toBeLessThan(20);
    expect(target.items().length).toBeGreaterThanOrEqual(Math.max(0, itemCount - 2 * 64));
  });

  test('H7 a disk that has no room for what it grows by: it stays as it was, and the batch goes on', async () => {
    const {target, path, old} = await begin();
    const {bavail, bsize} = statfsSync(target.root);
    writeFileSync(join(target.folder, 'ballast'), Buffer.alloc(bavail * bsize - (5 << 20)));
    const grown = Buffer.concat([changed(old, 1), randomBytes(9 << 20)]);
    expect(await target.applyLarge('image', grown, ABOVE)).toMatchObject({status: 'failed', code: 'no-space'});
    expect(readFileSync(path).equals(old)).toBe(true);
    expect(target.openBatches).toBe(0);
  });
});

needsFat(test)('a filesystem that does not keep that writing has begun: nothing is written in place', async () => {
  const target = new TargetFolder({folder: await makeFat('700')});
  const meta = {...META, mode: 0o700};
  const old = randomBytes(LEAVES * LEAF_BYTES + 5);
  expect(await target.applyLarge('image', old, {meta})).toEqual({status: 'done'});
  expect(await target.applyLarge('image', changed(old, 3), {...ABOVE, meta})).toMatchObject({
    status: 'failed',
    code: 'base-changed', // so it is sent whole
  });
  expect(readFileSync(join(target.root, 'image')).equals(old)).toBe(true);
  expect([target.openBatches, readdirSync(target.staging), target.knownContent('image')]).toEqual([0, [], undefined]);
});
