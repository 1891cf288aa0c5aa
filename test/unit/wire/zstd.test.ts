import {randomBytes} from 'node:crypto';
import {createZstdCompress, zstdCompressSync} from 'node:zlib';
import fc from 'fast-check';
import {expect, test} from 'vitest';
import {decode, encode, peek} from '../../../src/wire/codec.ts';
import {FRAME_BYTES_MAX, FRAME_HEADER_BYTES} from '../../../src/wire/limits.ts';
import {compressed, expanded, expandedBytes, isCompressed, ZSTD_FLAG} from '../../../src/wire/zstd.ts';

const HEADER = Buffer.from([0x30, 0, 0, 0, 1, 0, 0, 0]);
const frameOf = (content: Buffer): Buffer => Buffer.concat([HEADER, content]);
const packed = (...content: Buffer[]): Buffer => {
  const frame = frameOf(Buffer.concat(content));
  frame[1] = ZSTD_FLAG;
  return frame;
};
const expandWhole = (frame: Buffer): Buffer => expanded(frame, expandedBytes(frame));

/** A zstd frame by hand: one raw block, a window of its own. Source: RFC 8878, section 3.1.1. */
function rawZstd({windowLog, statedBytes}: {windowLog: number; statedBytes: number}, content: Buffer): Buffer {
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x80, (windowLog - 10) << 3, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32LE(statedBytes, 6);
  head.writeUIntLE((content.length << 3) | 1, 10, 3);
  return Buffer.concat([head, content]);
}

test('a frame comes back as it was, in memory of its own, whatever its content and level', () => {
  const content = fc.array(fc.uint8Array({maxLength: 300}), {maxLength: 40});
  fc.assert(
    fc.property(content, fc.constantFrom(1, 3), (parts, level) => {
      const frame = frameOf(Buffer.concat([...parts, ...parts, ...parts]));
      const small = compressed(frame, level);
      if (small === undefined) return;
      expect(small.length).toBeLessThan(frame.length);
      expect([isCompressed(small), peek(small, ZSTD_FLAG)]).toEqual([true, peek(frame)]);
      const back = expandWhole(small);
      expect(back.equals(frame)).toBe(true);
      expect(back.buffer.byteLength).toBe(back.length);
    }),
  );
});

test.each([255, 256, 65_791, 65_792, FRAME_BYTES_MAX - FRAME_HEADER_BYTES])(
  'a content of %i bytes, whose size is stated in one to four bytes',
  (size) => {
    const frame = frameOf(Buffer.alloc(size, 'ab'));
    expect(expandWhole(compressed(frame, 1)!).equals(frame)).toBe(true);
  },
);

test('what hardly becomes smaller is left as it is', () => {
  expect(compressed(frameOf(randomBytes(100_000)), 1)).toBeUndefined();
});

test('a message is not read while it is compressed', () => {
  const message = {kind: 'group-listing' as const, link: 1, request: 1, groups: [], next: 0};
  const frame = encode(message);
  const flagged = Buffer.from(frame);
  flagged[1] = ZSTD_FLAG;
  expect(() => decode(flagged)).toThrow(/flags is 1, allowed: 0/);
  flagged[1] = 2;
  expect(() => peek(flagged, ZSTD_FLAG)).toThrow(/flags is 2, allowed: 1/);
});

test('I6 a decompression bomb is refused by what it states, before anything is expanded', () => {
  const bomb = packed(zstdCompressSync(Buffer.alloc(1 << 30)));
  expect(bomb.length).toBeLessThan(200_000);
  expect(() => expandedBytes(bomb)).toThrow(/content size is 1073741824, allowed: 2097144/);
});

test('I6 a bomb that states less than it is is refused where it becomes larger', () => {
  const content = zstdCompressSync(Buffer.alloc(1 << 30));
  for (const stated of [0, 1, 1_000, FRAME_BYTES_MAX - FRAME_HEADER_BYTES]) {
    const lie = Buffer.from(content);
    lie.writeUInt32LE(stated, 6);
    const frame = packed(lie);
    if (lie[4]! >> 6 === 2 && (lie[4]! & 0x20) === 0) expect(expandedBytes(frame)).toBe(stated + FRAME_HEADER_BYTES);
    const before = process.memoryUsage().rss;
    expect(() => expanded(frame, stated + FRAME_HEADER_BYTES)).toThrow(expect.objectContaining({code: 'PROTOCOL'}));
    expect(process.memoryUsage().rss - before).toBeLessThan(64 << 20);
  }
});

test('content that is shorter than stated, cut off, followed by more, or no zstd frame is a breach', async () => {
  const text = Buffer.alloc(5_000, 'text ');
  const whole = zstdCompressSync(text);
  const stated = rawZstd({windowLog: 12, statedBytes: 100}, Buffer.alloc(100, 7));
  expect(expandWhole(packed(stated)).subarray(FRAME_HEADER_BYTES)).toEqual(Buffer.alloc(100, 7));
  const streaming = createZstdCompress();
  streaming.end(text);
  const unstated = Buffer.concat((await streaming.toArray()) as Buffer[]);
  const refused: Record<string, Buffer> = {
    shorter: rawZstd({windowLog: 12, statedBytes: 200}, Buffer.alloc(100, 7)),
    longer: rawZstd({windowLog: 12, statedBytes: 50}, Buffer.alloc(100, 7)),
    'cut off': whole.subarray(0, whole.length - 3),
    'cut in the header': whole.subarray(0, 6),
    twice: Buffer.concat([whole, whole]),
    'followed by more': Buffer.concat([whole, Buffer.from('x')]),
    'without a size': unstated,
    'cut off, a window of 128 MiB': rawZstd({windowLog: 27, statedBytes: 100}, Buffer.alloc(100, 7)).subarray(0, 90),
    empty: Buffer.alloc(0),
    random: Buffer.from('neither this nor that'),
  };
  for (const [name, content] of Object.entries(refused))
    expect(() => expandWhole(packed(content)), name).toThrow(expect.objectContaining({code: 'PROTOCOL'}));
});
