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

function rotten(bytes: Buffer, leaves: Iterable<number>): Buffer {
  const rotten = Buffer.from(bytes);
  for (const leaf of leaves) rotten[leaf * LEAF_BYTES + 100_000]! ^= 1;
  return rotten;
}

function rejected(transfers: Transfers): number[] {
  return transfers.heard.flatMap((message) => (message.kind === 'leaf-rejected' ? [message.leafIndex] : []));
}
