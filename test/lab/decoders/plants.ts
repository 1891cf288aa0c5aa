/** Decoders with a bug each, as they are written every day: the lab has to find them. */
import {TowlineError} from '../../../src/base/errors.ts';
import type {Decoder} from './decoder.ts';

const FRAME = Buffer.from('0000000200000003aabbccddeeff0000', 'hex');
const refused = (): TowlineError => new TowlineError('PROTOCOL', 'no', {rule: '', value: '', limit: ''});

/** A list of a counted number of items. */
const list = {corpus: [FRAME], refuses: ['PROTOCOL' as const]};

export const DECODERS: readonly Decoder[] = [
  {
    ...list,
    name: 'plant: memory is taken before the count is checked',
    decode: (input) => {
      if (input.length < 8) throw refused();
      const items = Buffer.alloc(input.readUInt32BE(0) * 2);
      if (items.length > input.length - 4) throw refused();
    },
  },
  {
    ...list,
    name: 'plant: items are kept as long as the count says',
    decode: (input) => {
      if (input.length < 8) throw refused();
      const items: object[] = [];
      for (let left = input.readUInt32BE(0); left > 0; left--) items.push({left});
    },
  },
  {
    ...list,
    name: 'plant: an item of no bytes is the next one for ever',
    decode: (input) => {
      for (let at = 0; at + 4 <= input.length;) at += input.readUInt32BE(at) % 64;
    },
  },
  {
    ...list,
    name: 'plant: a field is read behind the end',
    decode: (input) => {
      if (input.length < 4) throw refused();
      input.readUInt32BE(4);
    },
  },
  {
    ...list,
    name: 'plant: every item is compared with every other',
    decode: (input) => {
      let same = 0;
      const count = input.length > 1_000 ? 20_000 : 10;
      for (let a = 0; a < count; a++) for (let b = 0; b < count; b++) same += a === b ? 1 : 0;
      if (same !== count) throw refused();
    },
    inputMsMax: 100,
  },
];
