import fc from 'fast-check';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import {describe, expect, test} from 'vitest';
import {LEAF_BYTES, smallContentDigest} from '../../../src/model/digest.ts';
import type {Op} from '../../../src/model/op.ts';
import {BatchWriter} from '../../../src/wire/batch-writer.ts';
import {decode, encode} from '../../../src/wire/codec.ts';
import {BATCH_OPS_MAX, BATCH_PATH_BYTES_MAX, FRAME_BYTES_MAX} from '../../../src/wire/limits.ts';
import {LAB_SEED, op as anyOp} from './arbitraries.ts';

const meta = {mode: 0o644, uid: 0, gid: 0, mtime: {s: 1, ns: 2}, attrs: NO_ATTRS};

const remove = (path: string): Op => ({kind: 'delete', path, type: 'file'});
function put(path: string, bytes: Buffer): Op {
  const content = smallContentDigest(bytes);
  return {kind: 'put-file', path, meta, sizeBytes: bytes.length, content, source: {from: 'inline', bytes}};
}

function opsOf(frame: Buffer): Op[] {
  const message = decode(frame);
  return message.kind === 'batch' ? message.ops : [];
}

describe('bytes read straight into the frame', () => {
  test('make the same frame as the same operations appended whole, and cancelled ones leave no trace', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyOp, fc.boolean()), {maxLength: 20}), (ops) => {
        const writer = new BatchWriter({capacityBytes: 64});
        for (const [op, isCancelledFirst] of ops) {
          if (op.kind !== 'put-file' || op.source.from !== 'inline') {
            writer.append(op);
            continue;
          }
          if (isCancelledFirst) {
            writer.beginPutFile({path: 'never/seen', meta}, 5_000)?.fill(0xee);
            writer.cancelPutFile();
          }
          writer.beginPutFile(op, op.sizeBytes + 100)?.set(op.source.bytes);
          writer.endPutFile(op.sizeBytes, op.content);
        }
        const whole = encode({kind: 'batch', link: 1, batch: 2, seq: 3, ops: ops.map(([op]) => op)});
        expect(writer.finish(1, 2, 3).equals(whole)).toBe(true);
      }),
      {numRuns: 200, seed: LAB_SEED},
    );
  });

  test('a file that turned out 3 bytes long instead of 4 KiB takes 3 bytes', () => {
    const writer = new BatchWriter();
    writer.beginPutFile({path: 'a', meta}, 4_096)?.set(Buffer.from('abc'));
    writer.endPutFile(3, smallContentDigest(Buffer.from('abc')));
    expect(writer.inlineBytes).toBe(3);
    expect(writer.append(remove('ab'))).toBe(true);
    expect(writer.frameBytes).toBeLessThan(150);
    expect(opsOf(writer.finish(1, 1, 1))).toEqual([put('a', Buffer.from('abc')), remove('ab')]);
  });

  test('the frame of one small file can be transferred to another thread', () => {
    const writer = new BatchWriter({capacityBytes: 100});
    writer.append(put('a', Buffer.from('abc')));
    const frame = writer.finish(1, 1, 1);
    const moved = structuredClone(frame, {transfer: [frame.buffer as ArrayBuffer]});
    expect(frame.length).toBe(0);
    expect(opsOf(Buffer.from(moved.buffer, moved.byteOffset, moved.length))).toEqual([put('a', Buffer.from('abc'))]);
  });

  test('anything else between begin and end, or an end above the slice, is a bug', () => {
    const bug = expect.objectContaining({code: 'BUG'}) as Error;
    const writer = new BatchWriter();
    expect(() => writer.endPutFile(0, Buffer.alloc(32))).toThrow(bug);
    expect(() => writer.cancelPutFile()).toThrow(bug);
    writer.beginPutFile({path: 'a', meta}, 10);
    expect(() => writer.append(remove('b'))).toThrow(bug);
    expect(() => writer.finish(1, 1, 1)).toThrow(bug);
    expect(() => writer.endPutFile(11, Buffer.alloc(32))).toThrow(bug);
    writer.endPutFile(10, Buffer.alloc(32));
    expect(writer.opCount).toBe(1);
  });
});

describe('a batch is full', () => {
  test('after 4 files of 256 KiB, and an empty file still fits', () => {
    const writer = new BatchWriter({capacityBytes: 1 << 20});
    const leaf = Buffer.alloc(LEAF_BYTES, 1);
    for (let index = 0; index < 4; index++) expect(writer.append(put(`f${index}`, leaf))).toBe(true);
    expect(writer.append(put('f4', Buffer.of(1)))).toBe(false);
    expect(writer.beginPutFile({path: 'f4', meta}, 1)).toBeUndefined();
    expect(writer.append(put('f4', Buffer.alloc(0)))).toBe(true);
    expect(opsOf(writer.finish(1, 1, 1)).length).toBe(5);
  });

  test('after 4,096 operations, whose frame the reader accepts', () => {
    const writer = new BatchWriter();
    for (let index = 0; index < BATCH_OPS_MAX; index++) writer.append(remove(`dir/${index}`));
    expect(writer.append(remove('one-more'))).toBe(false);
    expect(opsOf(writer.finish(1, 1, 1)).length).toBe(BATCH_OPS_MAX);
  });

  test('when its paths reach what the reader allows, or the frame its 2 MiB, whichever comes first', () => {
    for (const makePath of [(i: number) => `${deep}/${i}`, (i: number) => `${i}/${deep}`]) {
      const writer = new BatchWriter();
      let count = 0;
      while (writer.append(remove(makePath(count)))) count++;
      const frame = writer.finish(1, 1, 1);
      expect(frame.length).toBeLessThanOrEqual(FRAME_BYTES_MAX);
      expect(opsOf(frame).length).toBe(count);
      expect(count * deep.length).toBeLessThanOrEqual(BATCH_PATH_BYTES_MAX);
      expect(count).toBeGreaterThan(30);
    }
  });

  test('a file of 256 KiB and a byte fits into no batch and is a bug, not a loop', () => {
    const op = put('a', Buffer.alloc(LEAF_BYTES + 1));
    expect(() => new BatchWriter().append(op)).toThrow(expect.objectContaining({code: 'BUG'}));
  });
});

const deep = `${'d'.repeat(250)}/`.repeat(240).slice(0, -1);
