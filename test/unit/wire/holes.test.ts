/** What frames may say of holes; every other frame is refused by the rule that it breaks. */
import {expect, test} from 'vitest';
import {TowlineError} from '../../../src/base/errors.ts';
import {decode} from '../../../src/wire/codec.ts';

const META_HEX = '01a4 000003e8 000003e8 0000000000000001 00000000 00000000'; // no attributes
const START = '5000000000000007 0000000000000001 0000000161';
const HOLES = '5600000000000007 0000000000000001';
const SET_META = '4000000000000007 0000000000000001 0000000000000001 0001 0501 0000000161';

/** The rule that refuses a frame; undefined when none does. */
function ruleOf(hex: string): string | undefined {
  try {
    decode(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
    return undefined;
  } catch (error) {
    if (!(error instanceof TowlineError) || error.code !== 'PROTOCOL') throw error;
    return (error as TowlineError<'PROTOCOL'>).details.rule;
  }
}

test.each([
  ['a run of 1 TiB', `${HOLES} 00000000 00400000`, undefined],
  ['a run of no leaves', `${HOLES} 00000000 00000000`, 'leaves of a run'],
  ['a run of 1 TiB and a leaf', `${HOLES} 00000000 00400001`, 'leaves of a run'],
  ['a run from leaf 2^28 on', `${HOLES} 10000000 00000001`, 'index of a leaf'],
  ['a run up to leaf 2^28', `${HOLES} 0ffffffe 00000003`, 'end of a run'],
  ['a run up to the last leaf of 64 TiB', `${HOLES} 0ffffffe 00000002`, undefined],
  ['a file of 64 TiB with holes', `${START} 0000400000000000 00 01 0000000000001000`, undefined],
  ['a file of a byte more', `${START} 0000400000000001 00 01 0000000000001000`, 'size'],
  ['a file that takes more than 64 TiB', `${START} 0000400000000000 00 01 0000400000000001`, 'size'],
  ['holes that are neither there nor not', `${START} 0000000000000001 00 02`, 'presence of holes'],
  ['what a file takes', `${SET_META} ${META_HEX} 0001 8002 00000008 0000000000001000`, undefined],
  ['more than 64 TiB', `${SET_META} ${META_HEX} 0001 8002 00000008 0000400000000001`, 'size'],
  ['7 bytes of it', `${SET_META} ${META_HEX} 0001 8002 00000007 00000000001000`, 'length of allocated bytes'],
  ['nothing of it', `${SET_META} ${META_HEX} 0001 8002 00000000`, 'length of allocated bytes'],
])('%s', (_, hex, rule) => {
  expect(ruleOf(hex)).toBe(rule);
});

test.each([
  ['256 KiB', '00040000', undefined],
  ['a byte more', '00040001', 'size of a leaf op'],
  ['no bytes', '00000000', 'size of a leaf op'],
])('zeros of %s in a leaf', (_, size, rule) => {
  expect(ruleOf(`5100000000000007 0000000000000001 00000000 0001 ${'00'.repeat(32)} 0001 03 ${size}`)).toBe(rule);
});
