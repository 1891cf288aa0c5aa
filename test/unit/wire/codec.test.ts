import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import {decode, encode, peek} from '../../../src/wire/codec.ts';
import {FRAME_BYTES_MAX} from '../../../src/wire/limits.ts';
import type {Message} from '../../../src/wire/messages.ts';
import {KINDS, LAB_FACTOR, LAB_SEED, MESSAGE} from './arbitraries.ts';
import {GOLDEN} from './golden.ts';

const numRuns = 60 * LAB_FACTOR;

describe('every kind of message', () => {
  test.each(KINDS)('%s comes back as it was sent, in 60 random shapes', (kind) => {
    fc.assert(
      fc.property(MESSAGE[kind] as fc.Arbitrary<Message>, (message) => {
        const frame = encode(message);
        expect(decode(frame)).toEqual(message);
        expect(peek(frame)).toEqual({kind, link: 'link' in message ? message.link : 0});
      }),
      {numRuns, seed: LAB_SEED},
    );
  });

  test.each(KINDS)('%s has the published bytes', (kind) => {
    const {message, hex} = GOLDEN[kind];
    expect(encode(message).toString('hex')).toBe(hex.replaceAll(' ', ''));
    expect(decode(Buffer.from(hex.replaceAll(' ', ''), 'hex'))).toEqual(message);
  });

  test.each(KINDS)('%s cut at any byte, or followed by one byte, is refused', (kind) => {
    const frame = encode(GOLDEN[kind].message);
    for (let size = 0; size < frame.length; size++) expect(faultOf(frame.subarray(0, size))).toBe('PROTOCOL');
    expect(faultOf(Buffer.concat([frame, Buffer.of(0)]))).toBe('PROTOCOL');
  });
});

test('digests and contents are slices of the frame, not copies', () => {
  const message = decode(encode(GOLDEN['cut'].message));
  const frame = encode(message);
  const again = decode(frame);
  expect(again.kind === 'cut' && again.rootDigest.buffer === frame.buffer).toBe(true);
});

describe('the header', () => {
  const frame = encode({kind: 'ping', nonce: 1});
  const changed = (at: number, value: number): Buffer => {
    const bytes = Buffer.from(frame);
    bytes[at] = value;
    return bytes;
  };
  test.each([
    ['an unknown kind', changed(0, 0xee)],
    ['a flag', changed(1, 1)],
    ['a reserved byte', changed(3, 1)],
    ['a link on a session message', changed(7, 1)],
    ['7 bytes', frame.subarray(0, 7)],
    ['no byte', Buffer.alloc(0)],
    ['a frame of 2 MiB and a byte', Buffer.alloc(FRAME_BYTES_MAX + 1)],
  ])('%s is refused by peek and decode', (_, bad) => {
    expect(faultOf(bad)).toBe('PROTOCOL');
    expect(() => peek(bad)).toThrow(TowlineError);
  });
});

describe('the sender', () => {
  test('escapes control characters and cuts an error text of 5,000 bytes to 1 KiB of whole characters', () => {
    const message = decode(encode({kind: 'fault', code: 'BUG', message: `a\u001b[2J\nb${'ü'.repeat(2_500)}`}));
    if (message.kind !== 'fault') throw new Error('not a fault');
    expect(message.message.startsWith('a\\x1b[2J\\x0ab')).toBe(true);
    expect(message.message.endsWith('ü…')).toBe(true);
    expect(Buffer.byteLength(message.message)).toBeLessThanOrEqual(1_024);
  });

  test.each<[string, Message]>([
    ['a link number of 2^32', {kind: 'list-groups', link: 2 ** 32, request: 1, after: 0}],
    ['half a request', {kind: 'list-groups', link: 1, request: 0.5, after: 0}],
    ['a cursor of 2^53', {kind: 'list-groups', link: 1, request: 1, after: 2 ** 53}],
    ['1,025 paths to hash', {kind: 'hash-files', link: 1, request: 1, paths: Array<string>(1_025).fill('a')}],
    ['a name in UTF-16', {kind: 'hash-files', link: 1, request: 1, paths: ['\u4e00']}],
    ['a short digest', {kind: 'file-end', link: 1, transfer: 1, content: Buffer.alloc(31)}],
  ])('calls %s a bug instead of sending it', (_, message) => {
    expect(() => encode(message)).toThrow(expect.objectContaining({code: 'BUG'}));
  });
});

function faultOf(frame: Buffer): string {
  try {
    decode(frame);
    return 'none';
  } catch (error) {
    return error instanceof TowlineError ? error.code : String(error);
  }
}
