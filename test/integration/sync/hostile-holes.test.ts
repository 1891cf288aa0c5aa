/**
 * A peer that lies about holes: runs that do not fit their file, sizes beyond any disk, space that is not there. What
 * it asks for is bounded, in memory, time and space, and nothing of it is installed.
 */
import {truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import {ContentHash} from '../../../src/model/content-hash.ts';
import {LEAF_BYTES, sha256} from '../../../src/model/digest.ts';
import type {Op} from '../../../src/model/op.ts';
import type {LeafOp, Message} from '../../../src/wire/messages.ts';
import {command} from '../../sync/harness.ts';
import {HostileHost, type HostileSource} from '../../sync/hostile-source.ts';
import {allocatedBytes} from '../../sync/sparse.ts';

const MIB = 1024 * 1024;
const TIB = 2 ** 40;
const META = {mode: 0o644, uid: 0, gid: 0, mtime: {s: 1_700_000_000, ns: 0}, attrs: NO_ATTRS};
const ZERO_LEAF = sha256(Buffer.alloc(LEAF_BYTES));
const WRONG = Buffer.alloc(32, 1);
const LINK = {link: 1, transfer: 7};

function fill(target: string): void {
  writeFileSync(join(target, 'a'), 'this is a\n');
}

function zerosOf(sizeBytes: number): Buffer {
  const hash = new ContentHash();
  hash.zeros(sizeBytes);
  return hash.finish();
}

const batchOf = (...ops: Op[]): Message => ({kind: 'batch', link: 1, batch: 1, seq: 0, ops});
const start = (sizeBytes: number, allocated: number | undefined): Message => {
  return {kind: 'file-start', ...LINK, path: 'a', sizeBytes, base: undefined, allocatedBytes: allocated};
};
const holes = (leafIndexFirst: number, leafCount: number): Message => {
  return {kind: 'file-holes', ...LINK, leafIndexFirst, leafCount};
};
const same = (leafIndexFirst: number, leafCount: number): Message => {
  return {kind: 'file-same', ...LINK, leafIndexFirst, digests: Buffer.alloc(32 * leafCount, ZERO_LEAF)};
};
const leaf = (leafIndexFirst: number, ops: LeafOp[], digest = ZERO_LEAF): Message => {
  return {kind: 'file-leaves', ...LINK, leafIndexFirst, leaves: [{digest, ops}]};
};
const zeros: LeafOp[] = [{kind: 'zeros', sizeBytes: LEAF_BYTES}];

async function opened(): Promise<{host: HostileHost; source: HostileSource}> {
  const host = await HostileHost.start(fill);
  return {host, source: await (await host.connect()).open()};
}

describe('B10 holes', () => {
  const breaches: [string, Message[], string][] = [
    ['in a file that was started without', [start(4 * LEAF_BYTES, undefined), holes(0, 4)], 'corrupt'],
    ['before their turn', [start(4 * LEAF_BYTES, 0), holes(1, 3)], 'corrupt'],
    ['twice', [start(4 * LEAF_BYTES, 0), holes(0, 2), holes(0, 2)], 'corrupt'],
    ['behind the end', [start(4 * LEAF_BYTES, 0), holes(0, 5)], 'corrupt'],
    ['of a file without content', [start(0, 0), holes(0, 1)], 'corrupt'],
    ['and a leaf before its turn', [start(4 * LEAF_BYTES, 0), holes(0, 1), leaf(2, zeros)], 'corrupt'],
    ['and a leaf that was there', [start(4 * LEAF_BYTES, 0), holes(0, 3), leaf(2, zeros)], 'corrupt'],
    ['and a leaf twice', [start(4 * LEAF_BYTES, 0), leaf(0, zeros), leaf(0, zeros)], 'corrupt'],
    [
      'and a rejected leaf that is another then',
      [start(LEAF_BYTES, 0), leaf(0, zeros, WRONG), leaf(0, zeros)],
      'corrupt',
    ],
    [
      'and 1,025 rejected leaves',
      [start(2_000 * LEAF_BYTES, 0), ...Array.from({length: 1_025}, (_, at) => leaf(at, zeros, WRONG))],
      'base-changed',
    ],
    ['and leaves of a base that there is none of', [start(4 * LEAF_BYTES, 0), same(0, 4)], 'corrupt'],
    ['and leaves of a base before their turn', [start(4 * LEAF_BYTES, 0), same(1, 3)], 'corrupt'],
    ['and leaves of a base behind the end', [start(4 * LEAF_BYTES, 0), same(0, 5)], 'corrupt'],
    ['of another content', [start(LEAF_BYTES, 0), holes(0, 1), {kind: 'file-end', ...LINK, content: WRONG}], 'corrupt'],
    [
      'and no more',
      [start(2 * LEAF_BYTES, 0), holes(0, 1), {kind: 'file-end', ...LINK, content: ZERO_LEAF}],
      'corrupt',
    ],
  ];

  test('that do not fit their file, or come out of turn, end their transfer, and nothing of it is kept', async () => {
    const {host, source} = await opened();
    const before = host.snapshot();
    for (const [index, [name, messages, code]] of breaches.entries()) {
      for (const message of messages) source.send({...message, transfer: index} as Message);
      const {transfer, result} = await source.hears('file-staged');
      expect({name, transfer, result}).toMatchObject({name, transfer: index, result: {status: 'failed', code}});
    }
    expect(command('find', host.staging, '-type', 'f')).toBe('');
    expect(host.snapshot()).toBe(before);
    source.channel.close();
  });

  test('of 4 TiB are staged without memory, bytes or space for them; a copy of them is not made in a batch', async () => {
    const {host, source} = await opened();
    const rssBytes = process.memoryUsage.rss();
    const [sizeBytes, content] = [4 * TIB, zerosOf(4 * TIB)];
    source.send(start(sizeBytes, 0));
    for (let first = 0; first < 2 ** 24; first += 2 ** 22) source.send(holes(first, 2 ** 22));
    source.send({kind: 'file-end', ...LINK, content});
    expect((await source.hears('file-staged')).result).toEqual({status: 'done'});
    const put = {kind: 'put-file', meta: META, sizeBytes, content, allocatedBytes: 0} as const;
    source.send(
      batchOf(
        {...put, path: 'a', source: {from: 'staged', transfer: 7}},
        {...put, path: 'b', source: {from: 'copy', path: 'a'}},
        {...put, path: 'c', allocatedBytes: undefined, source: {from: 'copy', path: 'a'}},
      ),
    );
    const {results} = await source.hears('batch-result');
    expect(results).toMatchObject([{status: 'done'}, {code: 'base-changed'}, {code: 'no-space'}]);
    source.send({
      kind: 'ask-signature',
      link: 1,
      request: 1,
      path: 'a',
      content,
      blockBytes: 512,
      seed: Buffer.alloc(8),
    });
    await source.hears('no-signature');
    expect(process.memoryUsage.rss() - rssBytes).toBeLessThan(100 * MIB);
    expect(allocatedBytes(join(host.target, 'a'))).toBe(0);
    expect(command('find', host.target, '-name', '[bc]')).toBe('');
    source.channel.close();
  }, 30_000);

  test('of 1 TiB that are to be filled are no-space before anything is taken; what only has zeros in it keeps the rest', async () => {
    const mixed = Buffer.concat([Buffer.alloc(64 * 1024, 'data'), Buffer.alloc(192 * 1024)]);
    const host = await HostileHost.start((target) => {
      writeFileSync(join(target, 'hole'), '');
      truncateSync(join(target, 'hole'), TIB);
      writeFileSync(join(target, 'mixed'), mixed);
    });
    const source = await (await host.connect()).open();
    const set = {kind: 'set-meta', type: 'file', meta: META} as const;
    source.send(batchOf({...set, path: 'hole', allocatedBytes: TIB}, {...set, path: 'mixed', allocatedBytes: 0}));
    const {results} = await source.hears('batch-result');
    expect(results).toMatchObject([{status: 'failed', code: 'no-space'}, {status: 'done'}]);
    expect(allocatedBytes(join(host.target, 'hole'))).toBe(0);
    await expect.poll(() => allocatedBytes(join(host.target, 'mixed'))).toBe(64 * 1024);
    expect(command('sha256sum', join(host.target, 'mixed'))).toContain(sha256(mixed).toString('hex'));
    source.channel.close();
  });
});
