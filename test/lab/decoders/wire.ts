/** Decoders of what a peer sends: frames, what is done with their contents, and the two messages of a pairing. */
import {createHash, createHmac} from 'node:crypto';
import {setImmediate as turn} from 'node:timers/promises';
import fc from 'fast-check';
import {opsOf} from '../../../src/apply/batch-frame.ts';
import {Differ} from '../../../src/delta/differ.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {buildLeaf} from '../../../src/delta/patch.ts';
import {SignatureCollector} from '../../../src/delta/signature-parts.ts';
import {IdMap} from '../../../src/model/ids.ts';
import {narrowedView, PLAIN_VIEW, viewDigest} from '../../../src/model/view.ts';
import {repairGroups} from '../../../src/session/groups.ts';
import {readCode, writeCode} from '../../../src/transport/pairing-code.ts';
import {decode, encode, peek} from '../../../src/wire/codec.ts';
import type {MessageKind} from '../../../src/wire/messages.ts';
import {negotiate, OWN_TERMS} from '../../../src/wire/negotiate.ts';
import {
  decodeAnswer,
  decodeJoin,
  encodeAnswer,
  encodeJoin,
  type PairingEnds,
} from '../../../src/wire/pairing-messages.ts';
import {FRAME_BYTES_MAX} from '../../../src/wire/limits.ts';
import {compressed, expanded, expandedBytes, isCompressed, ZSTD_FLAG} from '../../../src/wire/zstd.ts';
import {anyMessage, KINDS, MESSAGE} from '../../unit/wire/arbitraries.ts';
import {GOLDEN} from '../../unit/wire/golden.ts';
import {mutated, type Random} from '../mutations.ts';
import {must, type Decoder} from './decoder.ts';
import {signatureOf} from '../../unit/delta/signature-of.ts';

await loadXxhash();

const CORPUS_SEED = 51;
const samples = (kind: MessageKind, count: number): Buffer[] =>
  fc
    .sample(MESSAGE[kind] as fc.Arbitrary<never>, {numRuns: count, seed: CORPUS_SEED})
    .map((message) => encode(message));

const frames: Decoder = {
  name: 'frames',
  corpus: [
    ...KINDS.map((kind) => encode(GOLDEN[kind].message)),
    ...fc.sample(anyMessage, {numRuns: 300, seed: CORPUS_SEED}).map(encode),
  ],
  mutate: (material, random) => {
    const frame = mutated(material, random);
    // A broken kind is found at once: most frames keep a right header.
    if (random(8) > 0) pickOf(material.corpus, random).copy(frame, 0, 0, 8);
    return frame;
  },
  refuses: ['PROTOCOL'],
  decode: (input) => {
    const {kind, link} = peek(input);
    const message = decode(input);
    must(message.kind === kind && (!('link' in message) || message.link === link), 'peek and decode differ');
    const again = encode(message);
    must(encode(decode(again)).equals(again), 'a message that was taken does not come back as it was sent');
  },
};

/** Frames whose contents are compressed, with whatever is behind their header. */
const compressedFrames: Decoder = {
  name: 'compressed frames',
  corpus: samples('batch', 60).flatMap((frame) => compressed(frame, 1) ?? []),
  mutate: withHeader,
  refuses: ['PROTOCOL'],
  decode: async (input) => {
    peek(input, ZSTD_FLAG);
    if (!isCompressed(input)) return;
    try {
      const frame = expanded(input, expandedBytes(input));
      must(frame.length <= FRAME_BYTES_MAX && !isCompressed(frame), 'it is no frame');
      decode(frame);
    } finally {
      await turn(); // Node frees a decompressor that has failed on a later turn; a session ends with its first such frame
    }
  },
};

const VIEWS = [PLAIN_VIEW, {...PLAIN_VIEW, setuid: false, xattrs: ['user']}];

const batches: Decoder = {
  name: 'batches',
  corpus: [encode(GOLDEN.batch.message), ...samples('batch', 60)],
  mutate: withHeader,
  refuses: ['PROTOCOL'],
  decode: (input) => {
    if (peek(input).kind !== 'batch') return;
    for (const view of VIEWS) opsOf(input, view);
  },
};

/** The view of a link, which both sides narrow and hash, and its map of owners. */
const views: Decoder = {
  name: 'views',
  corpus: [encode(GOLDEN['open-link'].message), ...samples('open-link', 20), ...samples('link-opened', 20)],
  mutate: withHeader,
  refuses: ['PROTOCOL'],
  decode: (input) => {
    const message = decode(input);
    if (message.kind === 'open-link') {
      viewDigest(narrowedView(message.view, {...PLAIN_VIEW, special: 'skip'}));
      new IdMap(message.view.ids).map(7);
    } else if (message.kind === 'link-opened') viewDigest(narrowedView(PLAIN_VIEW, message.limits));
  },
};

const hellos: Decoder = {
  name: 'hello',
  corpus: [encode(GOLDEN.hello.message), ...samples('hello', 20)],
  mutate: withHeader,
  refuses: ['PROTOCOL'],
  decode: (input) => {
    const message = decode(input);
    if (message.kind === 'hello') negotiate(OWN_TERMS, message);
  },
};

const SEED = Buffer.alloc(8, 7);
const BASE = Buffer.from(Array.from({length: 3_000}, (_, index) => (index * 7) & 0xff));
const WANTED = {blockBytes: 512, sizeBytes: BASE.length, withWeak: true};
const base = signatureOf(BASE, {...WANTED, seed: SEED});

/** Sums of a peer: joined, and then used to look for what is known. */
const signatures: Decoder = {
  name: 'signatures',
  corpus: [
    encode({
      kind: 'signature',
      link: 1,
      request: 1,
      rows: {
        blockBytes: 512,
        sizeBytes: BASE.length,
        blockIndexFirst: 0,
        isLast: true,
        weak: base.weak,
        strong: base.strong,
      },
    }),
    ...samples('signature', 20),
  ],
  mutate: withHeader,
  refuses: ['PROTOCOL'],
  decode: (input) => {
    const message = decode(input);
    if (message.kind !== 'signature') return;
    const whole = new SignatureCollector(WANTED).add(message.rows);
    if (whole === undefined) return;
    const differ = new Differ({base: whole, seed: SEED});
    differ.push(BASE.subarray(3));
    differ.finish();
    differ.take();
  },
};

const INTO = Buffer.alloc(256 * 1024);

/** Ops of leaves: nothing is written before all of them were checked. */
const leaves: Decoder = {
  name: 'leaves',
  corpus: [
    encode({
      kind: 'file-leaves',
      link: 1,
      transfer: 1,
      leafIndexFirst: 0,
      leaves: [
        {
          digest: Buffer.alloc(32),
          ops: [
            {kind: 'copy', baseOffset: 5, sizeBytes: 2_000},
            {kind: 'literal', bytes: BASE.subarray(0, 900)},
            {kind: 'zeros', sizeBytes: 100},
          ],
        },
      ],
    }),
    ...samples('file-leaves', 30),
  ],
  mutate: withHeader,
  refuses: ['PROTOCOL'],
  decode: (input) => {
    const message = decode(input);
    if (message.kind !== 'file-leaves') return;
    for (const {ops} of message.leaves) {
      const building = ops.filter((op) => op.kind !== 'kept'); // which stands alone, and needs no base
      buildLeaf(building, 3_000, INTO, {
        sizeBytes: BASE.length,
        read: (offset, sizeBytes, into, at) => {
          must(offset >= 0 && offset + sizeBytes <= BASE.length, 'a copy outside the base was read');
          must(BASE.copy(into, at, offset, offset + sizeBytes) === sizeBytes, 'a copy outside the leaf');
        },
      });
    }
  },
};

const groups: Decoder = {
  name: 'group listings',
  corpus: [encode(GOLDEN['group-listing'].message), ...samples('group-listing', 30)],
  mutate: withHeader,
  refuses: ['PROTOCOL'],
  decode: (input) => {
    const message = decode(input);
    if (message.kind === 'group-listing') repairGroups([['a', 'b']], message.groups, () => undefined);
  },
};

const ENDS: PairingEnds = {secret: Buffer.alloc(16, 1), joinerId: 'ab'.repeat(32), inviterId: 'cd'.repeat(32)};

/** The right MAC over whatever stands behind it. */
function withMac(message: Buffer, label: string): Buffer {
  const mac = createHmac('sha256', ENDS.secret)
    .update(`${label}\0`)
    .update(Buffer.from(ENDS.joinerId, 'hex'))
    .update(Buffer.from(ENDS.inviterId, 'hex'))
    .update(message.subarray(40))
    .digest();
  mac.copy(message, 8);
  return message;
}

const pairing: Decoder = {
  name: 'pairing messages',
  corpus: [
    encodeJoin({name: 'web-1', port: 7420}, ENDS),
    encodeAnswer('welcome', 'db-2', ENDS),
    encodeAnswer('failed', '', ENDS),
  ],
  mutate: (material, random) => {
    const message = mutated(material, random);
    const isSigned = message.length === 128 && random(3) > 0;
    return isSigned ? withMac(message, random(2) === 0 ? 'towline join' : 'towline welcome') : message;
  },
  refuses: ['PROTOCOL'],
  decode: (input) => {
    decodeJoin(input, ENDS);
    decodeAnswer(input, ENDS);
  },
};

const CODE = {id: 'ab'.repeat(32), secret: Buffer.alloc(16, 3), addresses: [{host: 'db-2.internal', port: 7420}]};
const SECOND_ADDRESS = {host: 'fd00::2', port: 1};

const codes: Decoder = {
  name: 'invitation codes',
  corpus: [CODE, {...CODE, addresses: [...CODE.addresses, SECOND_ADDRESS]}].map((code) => Buffer.from(writeCode(code))),
  mutate: (material, random) => {
    const text = mutated(material, random);
    if (random(3) === 0) return text;
    // The same with a right checksum, so that what is behind it is read.
    const body = mutated({corpus: material.corpus.map((code) => bodyOf(code))}, random);
    const sum = createHash('sha256').update('towline1-').update(body).digest().subarray(0, 4);
    return Buffer.from(`towline1-${Buffer.concat([body, sum]).toString('base64url')}`);
  },
  refuses: ['USAGE'],
  decode: (input) => void readCode(input.toString()),
};

function bodyOf(code: Buffer): Buffer {
  return Buffer.from(code.toString().slice('towline1-'.length), 'base64url').subarray(0, -4);
}

/** Changed behind the header alone, most of the time. */
function withHeader({corpus}: {corpus: readonly Buffer[]}, random: Random): Buffer {
  const frame = pickOf(corpus, random);
  if (random(20) === 0) return mutated({corpus}, random);
  const rest = mutated({corpus: [frame.subarray(8), pickOf(corpus, random).subarray(8)]}, random);
  return Buffer.concat([frame.subarray(0, 8), rest]);
}

function pickOf(corpus: readonly Buffer[], random: Random): Buffer {
  return corpus[random(corpus.length)] as Buffer;
}

export const WIRE_DECODERS: readonly Decoder[] = [
  frames,
  compressedFrames,
  batches,
  views,
  hellos,
  signatures,
  leaves,
  groups,
  pairing,
  codes,
];
