/**
 * A peer that breaks the protocol, over a real connection to a real target: the session ends, memory stays bounded, the
 * target's folder is as it was, and an honest session is served afterwards.
 */
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import {contentDigest, LEAF_BYTES, sha256, smallContentDigest} from '../../../src/model/digest.ts';
import type {Op} from '../../../src/model/op.ts';
import {encode} from '../../../src/wire/codec.ts';
import type {Message} from '../../../src/wire/messages.ts';
import {command} from '../../sync/harness.ts';
import {HostileHost, OPEN_LINK, type HostileSource} from '../../sync/hostile-source.ts';

const MIB = 1024 * 1024;
const META = {mode: 0o644, uid: 0, gid: 0, mtime: {s: 1_700_000_000, ns: 0}, attrs: NO_ATTRS};

function fill(target: string): void {
  mkdirSync(join(target, 'dir/sub'), {recursive: true});
  for (const name of ['a', 'AA', 'dir/b', 'dir/sub/c']) writeFileSync(join(target, name), `this is ${name}\n`);
}

const batchOf = (...ops: Op[]): Message => ({kind: 'batch', link: 1, batch: 1, seq: 0, ops});

/** A frame with one path replaced by another, its length (u16 before it) too. */
function withPath(message: Message, text: string, by: string): Buffer {
  const frame = encode(message);
  const at = frame.indexOf(text);
  const head = Buffer.from(frame.subarray(0, at));
  head.writeUInt16BE(by.length, at - 2);
  return Buffer.concat([head, Buffer.from(by, 'latin1'), frame.subarray(at + text.length)]);
}

async function expectBreach(host: HostileHost, source: HostileSource, rule: RegExp): Promise<void> {
  const fault = await source.fault();
  // A frame that is too large is cut off by the transport, from its header.
  const {code, message} = fault ?? (await source.ended);
  expect(`${code}: ${message}`).toMatch(rule);
  if (fault !== undefined) expect(code).toBe('PROTOCOL');
  // The next, honest session is served.
  const honest = await (await host.connect()).open();
  honest.channel.close();
}

describe('a breach ends the session with PROTOCOL and changes nothing', () => {
  test.each<[string, (source: HostileSource) => Promise<void>, RegExp]>([
    [
      'I6 a frame of 3 MiB',
      async (source) => (await source.open()).send(Buffer.alloc(3 * MIB, 0x40)),
      /PROTOCOL|closed the connection/,
    ],
    ['a link before the hello', async (source) => source.send(OPEN_LINK), /order/],
    ['a second hello', async (source) => void source.hello().hello(), /order/],
    ['a batch before the link is open', async (source) => source.hello().send(deleteOf('a')), /order/],
    ['a second open-link', async (source) => (await source.open()).send(OPEN_LINK), /order/],
    [
      'another link number',
      async (source) => (await source.open()).send({...deleteOf('a'), link: 2} as Message),
      /link/,
    ],
    [
      "a target's message",
      async (source) => (await source.open()).send({kind: 'batch-result', link: 1, batch: 1, results: []}),
      /direction/,
    ],
    [
      'I6 a count of 65,535 operations in a batch of one',
      async (source) => (await source.open()).send(countOf(65_535)),
      /count|operations|bytes/,
    ],
    ['I6 1,000 requests at once', async (source) => many(await source.open(), 1_000, listRoot), /open requests/],
    ['I6 two cuts at once, behind batches', async (source) => many(await source.open(), 2, batchAndCut), /open cuts/],
    ['I6 100,000 pings at once', async (source) => many(await source.open(), 100_000, ping), /pings/],
    [
      'I6 100,000 transfers opened and aborted',
      async (source) => many(await source.open(), 50_000, startAndAbort),
      /open transfers/,
    ],
    [
      'I6 10,000 batches of one operation',
      async (source) => many(await source.open(), 10_000, tinyBatch),
      /open batches|credit/,
    ],
    ['I6 64 MiB of batches without credit', async (source) => many(await source.open(), 64, fullBatch), /credit/],
    [
      'more credit than was taken',
      async (source) => (await source.open()).send({kind: 'credit', bytes: MIB, of: 1, isOurs: false}),
      /credit/,
    ],
  ])('%s', async (_, attack, rule) => {
    const host = await HostileHost.start(fill);
    const theirs = (): string =>
      command('find', host.target, '-type', 'f', '!', '-name', 'flood*', '-exec', 'sha256sum', '{}', '+');
    const before = theirs();
    const rssBytes = process.memoryUsage.rss();
    const source = await host.connect();
    await attack(source);
    await expectBreach(host, source, rule);
    expect(process.memoryUsage.rss() - rssBytes).toBeLessThan(250 * MIB);
    expect(theirs()).toBe(before);
  });
});

function deleteOf(path: string): Message {
  return batchOf({kind: 'delete', path, type: 'file'});
}

function countOf(count: number): Buffer {
  const frame = encode(deleteOf('a'));
  frame.writeUInt16BE(count, 8 + 16);
  return frame;
}

function many(source: HostileSource, count: number, make: (index: number) => (Message | Buffer)[]): void {
  for (let index = 0; index < count && source.channel.isOpen; index++)
    for (const frame of make(index)) source.send(frame);
}

const listRoot = (request: number): Message[] => [
  {kind: 'list-nodes', link: 1, request, nodes: [{path: '', prefix: Buffer.alloc(0)}]},
];
const ping = (nonce: number): Message[] => [{kind: 'ping', nonce}];
const startAndAbort = (transfer: number): Message[] => [
  {kind: 'file-start', link: 1, transfer, path: 'flood', sizeBytes: MIB, base: undefined},
  {kind: 'file-abort', link: 1, transfer},
];

function inline(path: string, bytes: Buffer): Op {
  const content = smallContentDigest(bytes);
  return {kind: 'put-file', path, meta: META, sizeBytes: bytes.length, content, source: {from: 'inline', bytes}};
}

const tinyBatch = (batch: number): Message[] => [
  {kind: 'batch', link: 1, batch, seq: 0, ops: [inline(`flood-${batch}`, Buffer.from(`${batch}`))]},
];
const digest = Buffer.alloc(32);
const batchAndCut = (index: number): Message[] => [
  ...tinyBatch(index),
  {kind: 'cut', link: 1, cut: index + 1, seq: 0, rootDigest: digest, groupsDigest: digest},
];
const large = Buffer.alloc(LEAF_BYTES, 'large');
const fullBatch = (batch: number): Message[] => [
  {kind: 'batch', link: 1, batch, seq: 0, ops: [0, 1, 2].map((part) => inline(`flood-${batch}-${part}`, large))},
];

describe('paths that lead elsewhere', () => {
  test.each([
    ['I3 ../x', 'AAAA', '../x'],
    ['I3 /abs', 'AAAA', '/abs'],
    ['I3 a/../..', 'AAAAAAA', 'a/../..'],
    ['I3 a//b', 'AAAA', 'a//b'],
    ['I3 one with NUL', 'AAAA', 'a\0/b'],
    ['I3 a/.', 'AAA', 'a/.'],
    ['F9 the root, as .', 'A', '.'],
    ['F9 the path above the root', 'AA', '..'],
    ['F9 the root', 'A', ''],
    ['I3 a component of 5,000 bytes', 'A', 'x'.repeat(5_000)],
  ])('%s is refused in a delete, a rename, a file and a request', async (_, text, path) => {
    const host = await HostileHost.start(fill);
    const before = host.snapshot();
    const frames = [
      withPath(deleteOf(text), text, path),
      withPath(batchOf({kind: 'rename', path: text, to: 'z', type: 'dir', content: undefined}), text, path),
      withPath(batchOf({kind: 'put-symlink', path: text, meta: META, target: '/etc'}), text, path),
      withPath({kind: 'hash-files', link: 1, request: 1, paths: [text]}, text, path),
      withPath({kind: 'file-start', link: 1, transfer: 1, path: text, sizeBytes: 1, base: undefined}, text, path),
    ];
    for (const frame of frames) {
      const source = await (await host.connect()).open();
      source.send(frame);
      await expectBreach(host, source, /path/);
    }
    expect(host.snapshot()).toBe(before);
  });

  test("F9 Towline's own folder is no place for a peer, and a parent that is missing is told", async () => {
    const host = await HostileHost.start((target) => {
      fill(target);
      mkdirSync(join(target, '.towline'), {mode: 0o700});
      writeFileSync(join(target, '.towline/own'), 'own\n');
    });
    const source = await (await host.connect()).open();
    const before = host.snapshot();
    source.send(
      batchOf(
        {kind: 'delete', path: '.towline', type: 'dir'},
        {kind: 'rename', path: 'a', to: '.towline/a', type: 'file', content: undefined},
        {kind: 'rename', path: '.towline', to: 'taken', type: 'dir', content: undefined},
        {kind: 'link', path: 'stolen', to: '.towline/own'},
        inline('.towline/own', Buffer.from('theirs')),
        inline('nowhere/file', Buffer.from('theirs')),
        {kind: 'set-meta', path: '.towline', type: 'dir', meta: {...META, mode: 0o777}},
      ),
    );
    const {results} = await source.hears('batch-result');
    expect(results.map((result) => result.status)).toEqual(Array.from({length: 7}, () => 'failed'));
    expect(results[5]).toMatchObject({code: 'parent-missing'});
    expect(host.snapshot()).toBe(before);
    source.channel.close();
  });
});

describe('a rename of a file', () => {
  const rename = (bytes: string): Op => {
    return {kind: 'rename', path: 'next', to: 'over', type: 'file', content: smallContentDigest(Buffer.from(bytes))};
  };
  const textOf = (host: HostileHost, name: string): string => readFileSync(join(host.target, name), 'utf8');

  test('whose content is still on the way is not done: the name keeps its version', async () => {
    const host = await HostileHost.start(() => undefined);
    const source = await (await host.connect()).open();
    source.send(batchOf(inline('next', Buffer.from('')), inline('over', Buffer.from('whole'))));
    await source.hears('batch-result');
    source.send(batchOf(rename('new')));
    const {results} = await source.hears('batch-result');
    expect(results).toMatchObject([{status: 'failed', code: 'base-changed'}]);
    expect([textOf(host, 'over'), textOf(host, 'next')]).toEqual(['whole', '']);
    source.channel.close();
  });

  test('comes after a change of it in the same batch', async () => {
    const host = await HostileHost.start(() => undefined);
    const source = await (await host.connect()).open();
    source.send(batchOf(inline('next', Buffer.from('')), inline('over', Buffer.from('whole'))));
    await source.hears('batch-result');
    source.send(batchOf(inline('next', Buffer.from('new')), rename('new')));
    const {results} = await source.hears('batch-result');
    expect(results).toMatchObject([{status: 'done'}, {status: 'done'}]);
    expect(textOf(host, 'over')).toBe('new');
    expect(existsSync(join(host.target, 'next'))).toBe(false);
    source.channel.close();
  });
});

test('batches take effect in the order in which they came, whichever of them only create', async () => {
  const host = await HostileHost.start((target) => {
    mkdirSync(join(target, 'd'));
    writeFileSync(join(target, 'd/old'), 'old');
  });
  const source = await (await host.connect()).open();
  const many = (name: string): Op[] =>
    Array.from({length: 12}, (_, index) => inline(`${name}${index}`, Buffer.alloc(60_000, name)));
  const dir: Op = {kind: 'make-dir', path: 'd', meta: META};
  const batches: Op[][] = [
    many('first'),
    [{kind: 'rename', path: 'd', to: 'e', type: 'dir', content: undefined}],
    [dir, inline('d/new', Buffer.from('new'))],
    many('last'),
  ];
  for (const ops of batches) source.send(batchOf(...ops));
  for (const ops of batches) {
    const {results} = await source.hears('batch-result');
    expect(results).toEqual(ops.map(() => ({status: 'done'})));
  }
  expect(readFileSync(join(host.target, 'd/new'), 'utf8')).toBe('new');
  expect(readFileSync(join(host.target, 'e/old'), 'utf8')).toBe('old');
  expect(existsSync(join(host.target, 'd/old'))).toBe(false);
  expect(existsSync(join(host.target, 'e/new'))).toBe(false);
  source.channel.close();
});

describe('a large file with damaged leaves', () => {
  const bytes = Buffer.concat([
    Buffer.alloc(LEAF_BYTES, 'first '),
    Buffer.alloc(LEAF_BYTES, 'second '),
    Buffer.from('end'),
  ]);
  const leaves = [
    bytes.subarray(0, LEAF_BYTES),
    bytes.subarray(LEAF_BYTES, 2 * LEAF_BYTES),
    bytes.subarray(2 * LEAF_BYTES),
  ];
  const content = contentDigest(Buffer.concat(leaves.map((leaf) => sha256(leaf))));
  const literal = (index: number, sent: Buffer): Message => ({
    kind: 'file-leaves',
    link: 1,
    transfer: 7,
    leafIndexFirst: index,
    leaves: [{digest: sha256(leaves[index]!), ops: [{kind: 'literal', bytes: sent}]}],
  });
  const start: Message = {
    kind: 'file-start',
    link: 1,
    transfer: 7,
    path: 'a',
    sizeBytes: bytes.length,
    base: undefined,
  };
  const put: Op = {
    kind: 'put-file',
    path: 'a',
    meta: META,
    sizeBytes: bytes.length,
    content,
    source: {from: 'staged', transfer: 7},
  };

  test('B8 a literal of 256 KiB with one bit flipped is refused by its leaf, sent again, and only then installed', async () => {
    const host = await HostileHost.start(fill);
    const source = await (await host.connect()).open();
    const flipped = Buffer.from(leaves[1]!);
    flipped[1_000]! ^= 1;
    source.send(start);
    source.send(literal(0, leaves[0]!));
    source.send(literal(1, flipped));
    source.send(literal(2, leaves[2]!));
    source.send({kind: 'file-end', link: 1, transfer: 7, content});
    expect(await source.hears('leaf-rejected')).toMatchObject({transfer: 7, leafIndex: 1, isBaseChanged: false});
    source.send(batchOf(put)); // before it is whole
    expect((await source.hears('batch-result')).results).toMatchObject([{status: 'failed'}]);
    expect(readFileSync(join(host.target, 'a'), 'utf8')).toBe('this is a\n');
    source.send(literal(1, leaves[1]!));
    expect((await source.hears('file-staged')).result).toEqual({status: 'done'});
    source.send({...batchOf(put), batch: 2} as Message);
    expect((await source.hears('batch-result')).results).toEqual([{status: 'done'}]);
    expect(readFileSync(join(host.target, 'a')).equals(bytes)).toBe(true);
    source.channel.close();
  });

  test('B8 leaves that do not make the announced content, or a leaf that never comes: nothing is installed or kept', async () => {
    const host = await HostileHost.start(fill);
    const before = host.snapshot();
    const source = await (await host.connect()).open();
    source.send(start);
    for (const index of [0, 1, 2]) source.send(literal(index, leaves[index]!));
    source.send({kind: 'file-end', link: 1, transfer: 7, content: Buffer.alloc(32, 9)});
    expect((await source.hears('file-staged')).result).toMatchObject({status: 'failed', code: 'corrupt'});
    source.send({...start, transfer: 8});
    source.send({kind: 'file-end', link: 1, transfer: 8, content});
    expect((await source.hears('file-staged')).result).toMatchObject({status: 'failed', code: 'corrupt'});
    source.send(batchOf(put));
    expect((await source.hears('batch-result')).results).toMatchObject([{status: 'failed'}]);
    expect(host.snapshot()).toBe(before);
    expect(command('find', host.staging, '-type', 'f')).toBe('');
    source.channel.close();
  });

  test.each<[string, Message]>([
    ['a copy without a base', leafOf([{kind: 'copy', baseOffset: 0, sizeBytes: LEAF_BYTES}])],
    ['ops that make less than the leaf', leafOf([{kind: 'literal', bytes: Buffer.alloc(10)}])],
    ['a copy at 2^45', leafOf([{kind: 'copy', baseOffset: 2 ** 45, sizeBytes: LEAF_BYTES}])],
  ])('B10 %s ends the session, installs nothing', async (_, message) => {
    const host = await HostileHost.start(fill);
    const before = host.snapshot();
    const source = await (await host.connect()).open();
    source.send(start);
    source.send(message);
    await expectBreach(host, source, /leaf/);
    expect(host.snapshot()).toBe(before);
  });

  test('B10 a file of 64 TiB is no-space, a leaf behind the end corrupt: memory stays below 100 MiB more', async () => {
    const host = await HostileHost.start(fill);
    const before = host.snapshot();
    const rssBytes = process.memoryUsage.rss();
    const source = await (await host.connect()).open();
    source.send({...start, sizeBytes: 2 ** 46});
    expect((await source.hears('file-staged')).result).toMatchObject({status: 'failed', code: 'no-space'});
    source.send({...start, transfer: 8});
    source.send({...literal(0, leaves[0]!), transfer: 8, leafIndexFirst: 2 ** 28 - 1} as Message);
    expect((await source.hears('file-staged')).result).toMatchObject({status: 'failed', code: 'corrupt'});
    expect(process.memoryUsage.rss() - rssBytes).toBeLessThan(100 * MIB);
    expect(host.snapshot()).toBe(before);
    source.channel.close();
  });

  function leafOf(ops: Extract<Message, {kind: 'file-leaves'}>['leaves'][number]['ops']): Message {
    return {kind: 'file-leaves', link: 1, transfer: 7, leafIndexFirst: 0, leaves: [{digest: Buffer.alloc(32), ops}]};
  }
});

test('F5 a source that deletes 60 of 66 is halted by the target itself, with nothing deleted', async () => {
  const host = await HostileHost.start((target) => {
    fill(target);
    for (let index = 0; index < 60; index++) writeFileSync(join(target, `x-${index}`), 'x\n');
  });
  const before = host.snapshot();
  const source = await (await host.connect()).open();
  const ops = Array.from({length: 60}, (_, index): Op => ({kind: 'delete', path: `x-${index}`, type: 'file'}));
  source.send(batchOf(...ops));
  expect(await source.hears('link-refused')).toMatchObject({code: 'HALTED:delete-share', count: 60});
  expect(host.snapshot()).toBe(before);
  source.channel.close();
});
