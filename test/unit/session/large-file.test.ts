import {randomBytes} from 'node:crypto';
import {readdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import {READ_STATUS} from '../../../src/session/large-file.ts';
import {contentOf, Transfers} from './transfer-fixture.ts';

const name = 'file';

test('a file of 3 leaves and 5 bytes is staged whole', async () => {
  const transfers = await new Transfers().ready();
  const bytes = randomBytes(3 * LEAF_BYTES + 5);
  const outcome = await transfers.send({name, bytes, transfer: 1}, undefined);
  expect(outcome).toMatchObject({kind: 'staged', content: contentOf(bytes)});
  expect(transfers.stagedBytes(1)?.equals(bytes)).toBe(true);
  expect(transfers.literalBytes).toBe(bytes.length);
});

test('of 4 MiB whose second page changed one block of 8 KiB is sent; unchanged it is equal, and nothing is', async () => {
  const transfers = await new Transfers().ready();
  const bytes = randomBytes(4 << 20);
  const base = transfers.believe(name, bytes);
  expect(await transfers.send({name, bytes, transfer: 1}, base)).toMatchObject({kind: 'equal', content: base.content});
  expect(transfers.literalBytes).toBe(0);
  await expect.poll(() => readdirSync(transfers.staging)).toEqual([]);
  const changed = Buffer.from(bytes).fill(1, 9_000, 9_100);
  expect(await transfers.send({name, bytes: changed, transfer: 2}, base)).toMatchObject({kind: 'staged'});
  expect(transfers.stagedBytes(2)?.equals(changed)).toBe(true);
  expect(transfers.literalBytes).toBe(8_192);
});

test('2 of 16 leaves that rot on the target are sent again, literal', async () => {
  const transfers = await new Transfers().ready();
  const bytes = randomBytes(16 * LEAF_BYTES);
  const base = transfers.believe(name, bytes, rotten(bytes, [3, 9]));
  const changed = Buffer.from(bytes).fill(1, 0, 10);
  expect(await transfers.send({name, bytes: changed, transfer: 1}, base)).toMatchObject({kind: 'staged'});
  expect(transfers.stagedBytes(1)?.equals(changed)).toBe(true);
  expect(rejected(transfers)).toEqual([3, 9]);
  expect(transfers.literalBytes).toBe(8_192 + 2 * LEAF_BYTES);
});

test('a file with holes is staged with them, whole and as a delta, also when a leaf of its base has rotted', async () => {
  const transfers = await new Transfers().ready();
  const bytes = Buffer.alloc(40 * LEAF_BYTES + 5);
  for (const leaf of [3, 4, 9, 39]) randomBytes(8_192).copy(bytes, leaf * LEAF_BYTES + 16_384);
  const file = {name, hasHoles: true};
  expect(await transfers.send({...file, bytes, transfer: 1}, undefined)).toMatchObject({kind: 'staged'});
  expect(transfers.literalBytes).toBe(4 * 8_192);
  const base = transfers.believe(name, bytes, rotten(bytes, [9]));
  const changed = Buffer.from(bytes).fill(1, 20 * LEAF_BYTES, 20 * LEAF_BYTES + 10);
  const outcome = await transfers.send({...file, bytes: changed, transfer: 2}, base);
  expect(outcome).toMatchObject({kind: 'staged', content: contentOf(changed)});
  expect(rejected(transfers)).toEqual([9]);
  expect(transfers.literalBytes).toBeLessThan(4 * 8_192 + 8_192 + LEAF_BYTES + 1);
  for (const [transfer, sent] of [
    [1, bytes],
    [2, changed],
  ] as const)
    expect(transfers.stagedBytes(transfer)?.equals(sent)).toBe(true);
  // A filesystem may take blocks of its own for many pieces.
  for (const [transfer, wanted] of [
    [1, 32_768],
    [2, 36_864],
  ] as const) {
    expect(transfers.stagedBlocks(transfer)).toBeGreaterThanOrEqual(wanted);
    expect(transfers.stagedBlocks(transfer)).toBeLessThanOrEqual(wanted + 16_384);
  }
});

test('80 rotten leaves end the transfer as a changed base, and nothing of it stays staged', async () => {
  const transfers = await new Transfers().ready();
  const bytes = randomBytes(80 * LEAF_BYTES);
  const base = transfers.believe(name, bytes, rotten(bytes, Array(80).keys()));
  const changed = Buffer.from(bytes).fill(1, 0, 10);
  const outcome = await transfers.send({name, bytes: changed, transfer: 1}, base);
  expect(outcome).toMatchObject({kind: 'refused', result: {code: 'base-changed'}});
  await expect.poll(() => readdirSync(transfers.staging)).toEqual([]);
});

test('a source that changes before a rejected leaf is read again is told as changed, not waited for', async () => {
  const transfers = await new Transfers().ready();
  const bytes = randomBytes(4 * LEAF_BYTES);
  const base = transfers.believe(name, bytes, rotten(bytes, [2]));
  transfers.onHeard = (message) => {
    if (message.kind === 'leaf-rejected') writeFileSync(join(transfers.source, name), randomBytes(bytes.length));
  };
  const outcome = await transfers.send({name, bytes: Buffer.from(bytes).fill(1, 0, 10), transfer: 1}, base);
  expect(outcome).toEqual({kind: 'unread', status: READ_STATUS.changed, errno: 0});
  await expect.poll(() => readdirSync(transfers.staging)).toEqual([]);
});

test('100 refused transfers one after the other leave room for the next', async () => {
  const transfers = await new Transfers().ready();
  const bytes = randomBytes(2 * LEAF_BYTES);
  const base = transfers.believe(name, bytes);
  const gone = {...base, path: 'gone'};
  const changed = Buffer.from(bytes).fill(1, 0, 10);
  for (let transfer = 1; transfer <= 100; transfer++) {
    const outcome = await transfers.send({name, bytes: changed, transfer}, gone);
    expect(outcome).toMatchObject({kind: 'refused', result: {code: 'base-changed'}});
  }
  expect(await transfers.send({name, bytes: changed, transfer: 101}, base)).toMatchObject({kind: 'staged'});
  expect(readdirSync(transfers.staging)).toHaveLength(1);
});

test('two links that send two files of one volume at once under the same transfer number keep them apart', async () => {
  const one = await new Transfers().ready();
  const two = await new Transfers(one.volumes).ready();
  const [first, second] = [randomBytes(40 * LEAF_BYTES), randomBytes(40 * LEAF_BYTES)];
  const outcomes = await Promise.all([
    one.send({name: 'first', bytes: first, transfer: 1}, undefined),
    two.send({name: 'second', bytes: second, transfer: 1}, undefined),
  ]);
  expect(outcomes).toMatchObject([{content: contentOf(first)}, {content: contentOf(second)}]);
  expect(one.stagedBytes(1)?.equals(first)).toBe(true);
  expect(two.stagedBytes(1)?.equals(second)).toBe(true);
});

test('an old link that drops its transfer 1 leaves transfer 1 of the next link alone', async () => {
  const old = await new Transfers().ready();
  const next = await new Transfers(old.volumes).ready();
  old.files.start({kind: 'file-start', link: 1, transfer: 1, path: 'old', sizeBytes: 9 * LEAF_BYTES, base: undefined});
  await expect.poll(() => readdirSync(old.staging)).toHaveLength(1);
  next.onJob = (kind) => {
    if (kind === 'write-leaves') void old.files.close();
  };
  const bytes = randomBytes(20 * LEAF_BYTES);
  expect(await next.send({name, bytes, transfer: 1}, undefined)).toMatchObject({kind: 'staged'});
  expect(next.stagedBytes(1)?.equals(bytes)).toBe(true);
  expect(readdirSync(old.staging)).toHaveLength(1);
  expect(old.volumes.targetHandlers.isHolding()).toBe(false);
});

test.each([
  {side: 'source', job: 'read-leaves', outcome: {kind: 'unread', status: READ_STATUS.changed}},
  {side: 'target', job: 'write-leaves', outcome: {kind: 'refused', result: {code: 'corrupt'}}},
  {side: 'target', job: 'finish-staged', outcome: {kind: 'refused', result: {code: 'corrupt'}}},
] as const)(
  'what the $side loses before its job $job is sent again, and nothing stays',
  async ({side, job, outcome}) => {
    const transfers = await new Transfers().ready();
    const {sourceHandlers, targetHandlers} = transfers.volumes;
    transfers.onJob = (kind) => {
      if (kind === job) (side === 'source' ? sourceHandlers : targetHandlers).close(); // as a thread that ends
    };
    const bytes = randomBytes(40 * LEAF_BYTES);
    expect(await transfers.send({name, bytes, transfer: 1}, undefined)).toMatchObject(outcome);
    await expect.poll(() => readdirSync(transfers.staging)).toEqual([]);
    expect([sourceHandlers.isHolding(), targetHandlers.isHolding()]).toEqual([false, false]);
    transfers.onJob = () => undefined;
    expect(await transfers.send({name, bytes, transfer: 2}, undefined)).toMatchObject({kind: 'staged'});
  },
);

function rotten(bytes: Buffer, leaves: Iterable<number>): Buffer {
  const rotten = Buffer.from(bytes);
  for (const leaf of leaves) rotten[leaf * LEAF_BYTES + 100_000]! ^= 1;
  return rotten;
}

function rejected(transfers: Transfers): number[] {
  return transfers.heard.flatMap((message) => (message.kind === 'leaf-rejected' ? [message.leafIndex] : []));
}
