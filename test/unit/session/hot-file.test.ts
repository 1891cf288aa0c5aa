/** A large file that changes while it is sent, as it is or from a clone. */
import {randomBytes} from 'node:crypto';
import {appendFileSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import type {Entry} from '../../../src/model/entry.ts';
import {versionSent} from '../../../src/session/hot-versions.ts';
import {READ_STATUS} from '../../../src/session/large-file.ts';
import {makeLoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../../needs.ts';
import {contentOf, Transfers, Volumes} from './transfer-fixture.ts';

const name = 'file';
const LEAVES = 20; // three jobs

/** Changes the file before its leaves are read for the `nth` time. */
async function changing(nth: number, change: (path: string) => void, volumes = new Volumes()): Promise<Transfers> {
  const transfers = await new Transfers(volumes).ready();
  let reads = 0;
  transfers.onJob = (kind) => {
    if (kind === 'read-leaves' && ++reads === nth) change(join(transfers.source, name));
  };
  return transfers;
}

describe('a file of 20 leaves that is read torn', () => {
  test('and is rewritten after the first 8: what was read is staged, each leaf verified, and told to be torn', async () => {
    const [before, after] = [randomBytes(LEAVES * LEAF_BYTES), randomBytes(LEAVES * LEAF_BYTES)];
    const transfers = await changing(2, (path) => writeFileSync(path, after));
    const outcome = await transfers.send({name, bytes: before, transfer: 1, reading: 'torn'}, undefined);
    const mixed = Buffer.concat([before.subarray(0, 8 * LEAF_BYTES), after.subarray(8 * LEAF_BYTES)]);
    expect(outcome).toMatchObject({
      kind: 'staged',
      content: contentOf(mixed),
      hot: {as: 'torn', isTorn: true, isCurrent: false},
    });
    expect(transfers.stagedBytes(1)?.equals(mixed)).toBe(true);
  });

  test('and stays as it is: it is whole, and current', async () => {
    const bytes = randomBytes(LEAVES * LEAF_BYTES);
    const transfers = await new Transfers().ready();
    const outcome = await transfers.send({name, bytes, transfer: 1, reading: 'torn'}, undefined);
    expect(outcome).toMatchObject({kind: 'staged', hot: {isTorn: false, isCurrent: true, version: {isExpected: true}}});
  });

  test('and has other bytes than were read before, under the very same times: it is kept back', async () => {
    const transfers = await new Transfers().ready();
    transfers.accepts = () => false;
    const file = {name, bytes: randomBytes(LEAVES * LEAF_BYTES), transfer: 1, reading: 'torn'} as const;
    expect(await transfers.send(file, undefined)).toEqual({kind: 'kept-back'});
    expect(transfers.stagedBytes(1)).toBeUndefined();
  });

  test('and changes: what was read of it is not compared with what the state knows of another version', async () => {
    const transfers = await changing(2, (path) => appendFileSync(path, 'more'));
    transfers.accepts = () => false;
    const file = {name, bytes: randomBytes(LEAVES * LEAF_BYTES), transfer: 1, reading: 'torn'} as const;
    expect(await transfers.send(file, undefined)).toMatchObject({kind: 'staged', hot: {isTorn: true}});
  });

  test('and grows: it is cut at the size that it had', async () => {
    const bytes = randomBytes(LEAVES * LEAF_BYTES);
    const transfers = await changing(2, (path) => appendFileSync(path, 'more'));
    const outcome = await transfers.send({name, bytes, transfer: 1, reading: 'torn'}, undefined);
    expect(outcome).toMatchObject({kind: 'staged', content: contentOf(bytes), hot: {isTorn: true}});
    expect(transfers.stagedBytes(1)?.equals(bytes)).toBe(true);
  });

  test('and shrinks: it is not staged with bytes that it does not have, and is told as changed', async () => {
    const bytes = randomBytes(LEAVES * LEAF_BYTES);
    const transfers = await changing(2, (path) => truncateSync(path, 10 * LEAF_BYTES));
    const outcome = await transfers.send({name, bytes, transfer: 1, reading: 'torn'}, undefined);
    expect(outcome).toEqual({kind: 'unread', status: READ_STATUS.changed, errno: 0});
    await expect.poll(() => transfers.stagedBytes(1)).toBeUndefined();
  });

  test('and has another version than the one that was noticed: that one is sent, and said not to be the expected one', async () => {
    const newer = randomBytes(LEAVES * LEAF_BYTES + 5);
    const transfers = await new Transfers().ready();
    transfers.onJob = (kind) => {
      if (kind === 'open-transfer') writeFileSync(join(transfers.source, name), newer);
    };
    const outcome = await transfers.send({name, bytes: randomBytes(9), transfer: 1, reading: 'clone'}, undefined);
    const version = {sizeBytes: newer.length, isExpected: false};
    expect(outcome).toMatchObject({
      kind: 'staged',
      content: contentOf(newer),
      hot: {isTorn: false, isCurrent: true, version},
    });
  });
});

describe('a file of 48 leaves whose torn transfer ended early, as it became shorter', () => {
  const total = 48; // enough for a part that is worth keeping
  const sent = 16;

  /** It is back in its whole length, and read torn once more. */
  async function goOn(bytes: Buffer, onSecond: (path: string) => void): Promise<Transfers> {
    const volumes = new Volumes().keepParts();
    const transfers = await changing(3, (path) => truncateSync(path, 20 * LEAF_BYTES), volumes);
    const ended = await transfers.send({name, bytes, transfer: 1, reading: 'torn'}, undefined);
    expect(ended).toEqual({kind: 'unread', status: READ_STATUS.changed, errno: 0});
    await expect.poll(() => volumes.partials!.idle()).toHaveLength(1);
    transfers.literalBytes = 0;
    let reads = 0;
    transfers.onJob = (kind) => {
      if (kind === 'read-leaves' && ++reads === 2) onSecond(join(transfers.source, name));
    };
    return transfers;
  }

  test('is gone on with from the part that it left: 16 leaves are kept', async () => {
    const bytes = randomBytes(total * LEAF_BYTES);
    const transfers = await goOn(bytes, () => undefined);
    const outcome = await transfers.send({name, bytes, transfer: 2, reading: 'torn', mayBeHeld: true}, undefined);
    expect(outcome).toMatchObject({kind: 'staged', content: contentOf(bytes), hot: {isTorn: false}});
    expect(transfers.literalBytes).toBe((total - sent) * LEAF_BYTES);
    expect(transfers.stagedBytes(2)?.equals(bytes)).toBe(true);
  });

  test('and is rewritten after 8 leaves that were kept: these and what is there now are staged, and told to be torn', async () => {
    const [before, after] = [randomBytes(total * LEAF_BYTES), randomBytes(total * LEAF_BYTES)];
    const transfers = await goOn(before, (path) => writeFileSync(path, after));
    const file = {name, bytes: before, transfer: 2, reading: 'torn', mayBeHeld: true} as const;
    const mixed = Buffer.concat([before.subarray(0, 8 * LEAF_BYTES), after.subarray(8 * LEAF_BYTES)]);
    expect(await transfers.send(file, undefined)).toMatchObject({
      kind: 'staged',
      content: contentOf(mixed),
      hot: {as: 'torn', isTorn: true, isCurrent: false},
    });
    expect(transfers.literalBytes).toBe((total - 8) * LEAF_BYTES);
    expect(transfers.stagedBytes(2)?.equals(mixed)).toBe(true);
  });
});

needsLoopMounts(needsCommands('mkfs.xfs')(describe))('a file of 48 leaves that is read from a clone on XFS', () => {
  const filesystem = makeLoopFilesystem('xfs', 300);

  test('and loses its connection: the clone of its next version keeps the leaves that are equal', async () => {
    const [total, sent] = [48, 16];
    const bytes = randomBytes(total * LEAF_BYTES);
    const volumes = new Volumes(filesystem.path).keepParts();
    const cut = await new Transfers(volumes).ready();
    let leaves = 0;
    cut.onJob = (kind) => {
      if (kind === 'write-leaves' && ++leaves > sent) throw new Error('the connection is lost');
      if (kind === 'write-leaves') writeFileSync(join(cut.source, name), randomBytes(bytes.length)); // not in the clone
    };
    await cut.send({name, bytes, transfer: 1, reading: 'clone'}, undefined).catch(() => undefined);
    await cut.lose();
    expect(volumes.partials!.paths()).toEqual([name]);

    const now = Buffer.concat([randomBytes(LEAF_BYTES), bytes.subarray(LEAF_BYTES)]);
    const transfers = await new Transfers(volumes.keepParts()).ready();
    const outcome = await transfers.send({name, bytes: now, transfer: 1, reading: 'clone', mayBeHeld: true}, undefined);
    expect(outcome).toMatchObject({kind: 'staged', content: contentOf(now), hot: {as: 'clone', isTorn: false}});
    expect(transfers.literalBytes).toBe((total - sent + 1) * LEAF_BYTES);
    expect(transfers.stagedBytes(1)?.equals(now)).toBe(true);
  });
});

test('where there are no clones a file that changes is told as changed, as one at rest', async () => {
  const transfers = await changing(2, (path) => appendFileSync(path, 'more'));
  const bytes = randomBytes(LEAVES * LEAF_BYTES);
  const outcome = await transfers.send({name, bytes, transfer: 1, reading: 'clone'}, undefined);
  expect(outcome).toEqual({kind: 'unread', status: READ_STATUS.changed, errno: 0});
});

test('torn bytes whose file has its old time again do not get that time', () => {
  const mtime = {s: 1_000, ns: 5};
  const version = {sizeBytes: 9, mode: 0o600, uid: 1, gid: 1, mtime, isExpected: true};
  const read = {as: 'torn' as const, version, isTorn: true, isCurrent: false};
  const times = {fromMs: 1, toMs: 2};
  const entry = {mtime, sizeBytes: 9} as Entry;
  const sent = (hot: object) => versionSent(entry, {hot: {...read, mtime, ...hot}}, times);
  expect(sent({})).toMatchObject({sent: {mtime: {s: 998, ns: 5}}, isExpected: false, hot: {as: 'torn', ...times}});
  expect(sent({mtime: {s: 1_001, ns: 0}})).toMatchObject({sent: {mtime}, isExpected: false});
  expect(sent({isTorn: false, isCurrent: true})).toEqual({
    sent: expect.objectContaining({mtime}),
    isExpected: true,
    hot: undefined,
  });
  expect(sent({isTorn: false})).toMatchObject({hot: {as: 'clone'}});
});
