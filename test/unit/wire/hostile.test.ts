import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import {LEAF_BYTES} from '../../../src/model/digest.ts';
import {relPathFault} from '../../../src/model/path.ts';
import {decode} from '../../../src/wire/codec.ts';
import {BATCH_OPS_MAX, FRAME_BYTES_MAX} from '../../../src/wire/limits.ts';
import {isRelPath} from '../../../src/wire/path-reader.ts';
import {Writer} from '../../../src/wire/writer.ts';
import {LAB_SEED} from './arbitraries.ts';

const STAT_META_HEX = '01a4 000003e8 000003e8 0000000000000001 00000000';
const META_HEX = `${STAT_META_HEX} 00000000`; // no attributes

/** The rule that refused the frame, or undefined; anything but a PROTOCOL error fails the test. */
function ruleOf(frame: Buffer): string | undefined {
  try {
    decode(frame);
    return undefined;
  } catch (error) {
    if (!(error instanceof TowlineError) || error.code !== 'PROTOCOL') throw error;
    return (error as TowlineError<'PROTOCOL'>).details.rule;
  }
}

const hexFrame = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const batchOf = (count: string, opsHex: string): Buffer =>
  hexFrame(`4000000000000007 0000000000000001 0000000000000001 ${count} ${opsHex}`);

describe('paths from a peer (I3)', () => {
  const encodedPath = (path: string): Buffer => {
    const writer = new Writer(64);
    writer.path(path, '');
    return writer.finish();
  };
  const placesOf = (path: string): Buffer[] => {
    const raw = encodedPath(path).toString('hex');
    const ok = encodedPath('ok').toString('hex');
    return [
      batchOf('0001', `0701 ${raw}`),
      batchOf('0001', `0100 ${raw} ${META_HEX} 0000`),
      batchOf('0001', `0501 ${raw} ${META_HEX} 0000`),
      batchOf('0001', `0400 ${ok} ${raw}`),
      batchOf('0001', `0601 ${raw} ${ok} 00`),
      hexFrame(`2200000000000007 00000001 0001 ${raw}`),
      hexFrame(`2500000000000007 00000001 0000000000000000 0001 0001 ${raw}`),
      hexFrame(`5000000000000007 0000000000000001 ${raw} 0000000000000001 00 00`),
      hexFrame(`3000000000000007 00000001 ${raw} ${'00'.repeat(32)} 00002000 ${'00'.repeat(8)}`),
    ];
  };

  test.each([
    ['the root', ''],
    ['../x', '../x'],
    ['/abs', '/abs'],
    ['a/../..', 'a/../..'],
    ['a//b', 'a//b'],
    ['a/', 'a/'],
    ['.', '.'],
    ['a/./b', 'a/./b'],
    ['a NUL', 'a\0b'],
    ['a name of 5,000 bytes', 'x'.repeat(5_000)],
    ['2,049 levels', Array<string>(2_049).fill('a').join('/')],
  ])('%s is refused wherever a path stands', (_, path) => {
    for (const frame of placesOf(path)) expect(ruleOf(frame)).toBe('path');
  });

  test('a path of 5,000 bytes in sound components passes the same places', () => {
    const path = `${'y'.repeat(99)}/`.repeat(50).slice(0, -1);
    expect(placesOf(path).filter((frame) => ruleOf(frame) === 'path')).toEqual([]);
  });

  test('the byte check says what relPathFault says, over 2,000 paths made of the bytes that matter', () => {
    const pieces = fc.constantFrom('.', '..', '/', '\0', 'a', '\xff', 'b'.repeat(254), '-');
    fc.assert(
      fc.property(fc.array(pieces, {maxLength: 8}), (parts) => {
        const path = parts.join('');
        expect(isRelPath(Buffer.from(path, 'latin1'), path.length)).toBe(relPathFault(path) === undefined);
      }),
      {numRuns: 2_000, seed: LAB_SEED},
    );
  });

  test('names of entries are single components', () => {
    const node = (nameHex: string, padding = ''): Buffer =>
      hexFrame(
        `2100000000000007 00000001 0001 02 ${'00'.repeat(32)} 0000000000000001 0001 ${nameHex} 0400 ${STAT_META_HEX} 0000 ${padding}`,
      );
    expect(ruleOf(node('0161'))).toBeUndefined();
    for (const bad of ['00', '012e', '022e2e', '03612f62', '0100']) expect(ruleOf(node(bad, '00'))).toBe('name');
  });
});

describe('sizes and counts that lie (B10, I6)', () => {
  test.each([
    ['65,535 operations in 40 bytes', batchOf('ffff', ''), 'operations'],
    ['4,096 operations in 40 bytes', batchOf('1000', '0701'), 'bytes needed by operations'],
    [
      '2^32-1 blocks of a signature',
      hexFrame(`3100000000000007 00000001 00002000 0000000000100000 0000000000000000 ffffffff 0101`),
      'blocks',
    ],
    [
      '128 blocks of a signature without their bytes',
      hexFrame(`3100000000000007 00000001 00002000 0000000000100000 0000000000000000 00000080 0101`),
      'bytes needed by the next field',
    ],
    [
      'a block of 0 bytes',
      hexFrame(`3100000000000007 00000001 00000000 0000000000100000 0000000000000000 00000001 0101`),
      'block size',
    ],
    ['a block of 8,191 bytes', hexFrame(`3100000000000007 00000001 00001fff ${'00'.repeat(22)}`), 'block size'],
    [
      'a base of 2^63 bytes',
      hexFrame(`3100000000000007 00000001 00002000 8000000000000000 0000000000000000 00000001 0101`),
      'size',
    ],
    [
      'a leaf op of 0 bytes',
      hexFrame(`5100000000000007 0000000000000001 00000000 0001 ${'00'.repeat(32)} 0001 01 0000000000000000 00000000`),
      'size of a leaf op',
    ],
    [
      'a leaf of 256 KiB and a byte',
      hexFrame(
        `5100000000000007 0000000000000001 00000000 0001 ${'00'.repeat(32)} 0002 01 0000000000000000 00040000 01 0000000000000000 00000001`,
      ),
      'size of a leaf op',
    ],
    [
      'a copy that ends beyond 2^46',
      hexFrame(`5100000000000007 0000000000000001 00000000 0001 ${'00'.repeat(32)} 0001 01 0000400000000000 00000001`),
      'end of a copy',
    ],
    ['leaf 2^28', hexFrame(`5400000000000007 0000000000000001 10000000 00`), 'index of a leaf'],
    ['65 leaves', hexFrame(`5100000000000007 0000000000000001 00000000 0041 ${'00'.repeat(65 * 34)}`), 'leaves'],
    ['a credit of 0', hexFrame('0400000000000000 00000000'), 'credit'],
    ['a credit of 2^32-1', hexFrame('0400000000000000 ffffffff'), 'credit'],
    ['257 nodes', hexFrame(`2100000000000007 00000001 0101 ${'00'.repeat(257)}`), 'nodes'],
    [
      'children out of order',
      hexFrame(`2100000000000007 00000001 0001 01 ${'00'.repeat(40)} 0002 05 ${'00'.repeat(40)} 05 ${'00'.repeat(40)}`),
      'index of a child',
    ],
    [
      'a trie prefix of 7 bytes',
      hexFrame(`2000000000000007 00000001 0001 00000000 07 ${'00'.repeat(7)}`),
      'trie prefix length',
    ],
    ['mode 010000', batchOf('0001', `0100 0000000161 1000 00000000 00000000 0000000000000000 00000000 0000`), 'mode'],
    [
      '10^9 ns',
      batchOf('0001', `0100 0000000161 01ff 00000000 00000000 0000000000000000 3b9aca00 0000`),
      'nanoseconds',
    ],
    [
      'owner 2^32-1, which chown takes for "as it is"',
      batchOf('0001', `0100 0000000161 01ff ffffffff 00000000 0000000000000000 00000000 0000`),
      'uid',
    ],
    [
      '2^62 seconds',
      batchOf('0001', `0100 0000000161 01ff 00000000 00000000 4000000000000000 00000000 0000`),
      'seconds',
    ],
    ['type 99', batchOf('0001', '0763 0000000161'), 'type of an entry'],
    ['operation 99', batchOf('0001', '6300 0000000161'), 'kind of operation'],
    [
      'more shared bytes than the path before has',
      batchOf('0002', '0701 0000000161 0701 00020000'),
      'bytes shared with the path before',
    ],
    ['a link target of 0 bytes', batchOf('0001', `0300 0000000161 ${META_HEX} 0000 0000`), 'link target length'],
    [
      'a link target of 4,096 bytes',
      batchOf('0001', `0300 0000000161 ${META_HEX} 1000 ${'61'.repeat(4096)} 0000`),
      'link target length',
    ],
    ['a NUL in a link target', batchOf('0001', `0300 0000000161 ${META_HEX} 0003 610062 0000`), 'link target'],
    [
      'inline bytes of 256 KiB and one',
      batchOf('0001', `0201 0000000161 ${META_HEX} 0000000000040001 ${'00'.repeat(34)}`),
      'inline bytes of a file',
    ],
    ['a fault that clears the terminal', hexFrame('0500000000000000 0001 41 0004 1b5b324a'), 'error text'],
    ['a reason that is not UTF-8', hexFrame('0600000000000000 0001 ff'), 'reason'],
    ['a fault of 1,025 bytes', hexFrame(`0500000000000000 0001 41 0401 ${'61'.repeat(1025)}`), 'error text length'],
    ['no Towline at all', Buffer.from('\x01\0\0\0\0\0\0\0GET / HTTP/1.1\r\n', 'latin1'), 'magic number'],
  ])('%s is refused', (_, frame, rule) => {
    expect(ruleOf(frame)).toBe(rule);
  });

  test('4,096 operations of 4 bytes that each stand for a path of 60,000 bytes are refused after 4 MiB', () => {
    const path = `${'x'.repeat(249)}/`.repeat(240).slice(0, -1);
    const first = Buffer.from([7, 1, 0, 0, path.length >>> 8, path.length & 0xff]);
    const again = Buffer.from([7, 1, path.length >>> 8, path.length & 0xff, 0, 0]);
    const repeats = Array<Buffer>(BATCH_OPS_MAX - 1).fill(again);
    const frame = Buffer.concat([batchOf('1000', ''), first, Buffer.from(path), ...repeats]);
    expect(frame.length).toBeLessThan(90_000);
    expect(ruleOf(frame)).toBe('bytes of all paths');
  });

  test('a full frame of 16,384 leaf ops is accepted, one more is refused', () => {
    const op = '02 00000001 61';
    const leaf = (count: number): string =>
      `${'00'.repeat(32)} ${count.toString(16).padStart(4, '0')} ${op.repeat(count)}`;
    const frameOf = (counts: number[]): Buffer =>
      hexFrame(
        `5100000000000007 0000000000000001 00000000 00${counts.length.toString(16).padStart(2, '0')} ${counts.map(leaf).join('')}`,
      );
    expect(ruleOf(frameOf([4_096, 4_096, 4_096, 4_096]))).toBeUndefined();
    expect(ruleOf(frameOf([4_096, 4_096, 4_096, 4_096, 1]))).toBe('ops of leaves');
    expect(ruleOf(frameOf([4_097]))).toBe('ops of leaves');
  });

  test('batches above 1 MiB of inline bytes are refused', () => {
    const op = `0201 0000000161 ${META_HEX} 0000000000040000 ${'00'.repeat(34)}`;
    const one = Buffer.concat([hexFrame(op), Buffer.alloc(LEAF_BYTES)]);
    const frameOf = (count: number): Buffer =>
      Buffer.concat([batchOf(`000${count}`, ''), ...Array<Buffer>(count).fill(one)]);
    expect(ruleOf(frameOf(4))).toBeUndefined();
    expect(frameOf(5).length).toBeLessThan(FRAME_BYTES_MAX);
    expect(ruleOf(frameOf(5))).toBe('inline bytes of a batch');
  });

  test('10,001 ignore patterns, or 64 KiB and a byte of them, are refused', () => {
    const frameOf = (patterns: string[]): Buffer => {
      const writer = new Writer(1024);
      writer.raw(hexFrame(`1000000000000007 0001 76 01 00 ${'00'.repeat(24)} ${'00'.repeat(32)} 00000001 01 07 0000`));
      writer.u16(patterns.length);
      for (const pattern of patterns) writer.exact(pattern, 65_535);
      writer.u16(0);
      return writer.finish();
    };
    expect(ruleOf(frameOf(Array<string>(10_000).fill('*.tmp')))).toBeUndefined();
    expect(ruleOf(frameOf(Array<string>(10_001).fill('a')))).toBe('ignore patterns');
    expect(ruleOf(frameOf(['x'.repeat(32_768), 'y'.repeat(32_768)]))).toBeUndefined();
    expect(ruleOf(frameOf(['x'.repeat(32_768), 'y'.repeat(32_769)]))).toBe('bytes of ignore patterns');
  });
});

describe('attributes that lie', () => {
  const attr = (name: string, valueHex = '', valueBytes = valueHex.length / 2): string => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(valueBytes);
    return `${Buffer.of(name.length).toString('hex')}${Buffer.from(name, 'latin1').toString('hex')}${length.toString('hex')}${valueHex}`;
  };
  const ruleOfAttrs = (hex: string, bytes = hex.length / 2): string | undefined =>
    ruleOf(batchOf('0001', `0100 0000000161 ${STAT_META_HEX} ${bytes.toString(16).padStart(8, '0')} ${hex} 0000`));

  test.each([
    ['two, sorted', attr('trusted.a', 'ff') + attr('user.b')],
    ['an ACL and a capability', attr('security.capability', '00') + attr('system.posix_acl_access', '00')],
  ])('%s are taken', (_, hex) => {
    expect(ruleOfAttrs(hex)).toBeUndefined();
  });

  test.each([
    ['out of order', attr('user.b') + attr('user.a')],
    ['one twice', attr('user.a') + attr('user.a')],
    ['a label of the host', attr('security.selinux', '00')],
    ['the mark of a root', attr('trusted.towline.volume', '00')],
    ['a name with a NUL', attr('user.\0x')],
    ['no name', attr('')],
    ['a value that ends behind the attributes', attr('user.a', '00', 2)],
    ['a value above 64 KiB', attr('user.a', '00'.repeat(65_537))],
    ['cut within a name', '20757365722e'],
    ['cut within a length', attr('user.a').slice(0, -2)],
  ])('%s are refused', (_, hex) => {
    expect(ruleOfAttrs(hex)).toBe('attributes');
  });

  test('more than 128 KiB are refused before they are read', () => {
    expect(ruleOfAttrs('00', 128 * 1024 + 1)).toBe('bytes of attributes');
  });
});

describe('devices that lie', () => {
  const special = (type: string, numbers: string): Buffer =>
    batchOf('0001', `09${type} 0000000161 ${META_HEX} ${numbers} 0000`);

  test.each([
    ['a device', special('07', '00000001 00000003'), undefined],
    ['a major number that Linux has not', special('07', '00001000 00000003'), 'major number'],
    ['a minor number that Linux has not', special('06', '00000001 00100000'), 'minor number'],
    ['a FIFO with a number', special('04', '00000000 00000003'), 'minor number'],
    ['a file', special('01', '00000000 00000000'), 'type of a special file'],
  ])('%s: %3$s', (_, frame, rule) => {
    expect(ruleOf(frame)).toBe(rule);
  });
});

describe('extensions of a later version', () => {
  const withExtension = (tag: string): Buffer =>
    batchOf('0002', `0100 0000000161 ${META_HEX} 0001 ${tag} 00000003 010203 0702 0000000162`);

  test('one that may be ignored is skipped', () => {
    const message = decode(withExtension('8001'));
    expect(message.kind === 'batch' && message.ops.map((op) => op.path)).toEqual(['a', 'b']);
  });
  test('one that must be understood is refused: an attribute is never lost in silence', () => {
    expect(ruleOf(withExtension('0001'))).toBe('extension');
  });
  test('one that is longer than the frame is refused', () => {
    const frame = batchOf('0001', `0100 0000000161 ${META_HEX} 0001 8001 ffffffff 010203`);
    expect(ruleOf(frame)).toBe('bytes needed by the next field');
  });
  test('65 of them are refused', () => {
    expect(ruleOf(batchOf('0001', `0100 0000000161 ${META_HEX} 0041 ${'8001 00000000'.repeat(65)}`))).toBe(
      'extensions',
    );
  });
});
