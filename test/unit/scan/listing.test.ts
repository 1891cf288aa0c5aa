import fc from 'fast-check';
import {beforeAll, expect, test} from 'vitest';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {encodeAttrs, NO_ATTRS, type Attrs} from '../../../src/model/attrs.ts';
import {ListingWriter, readListings, STAT_BYTES} from '../../../src/scan/listing.ts';

const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const ENOENT = 2;
const EACCES = 13;
const MOUNT_ID = 31;

interface Seen {
  name: Buffer;
  /** 0, or the errno of statx. */
  failed: number;
  link: string | undefined;
  attrs?: Attrs | undefined;
  sizeBytes: number;
}

const OWN_ATTRS = attrsOf('own');

function attrsOf(value: string): Attrs {
  return encodeAttrs([{name: 'user.x', value: Buffer.from(value)}]);
}

/** A struct statx as the kernel writes it, with other bytes behind what is kept. */
function rawStat(
  {link, sizeBytes}: {link: string | undefined; sizeBytes: number},
  noise = 0,
): (into: Buffer, at: number) => number {
  return (into, at) => {
    into.fill(0xaa, at, at + 256);
    into.fill(0, at, at + STAT_BYTES);
    into.writeUInt16LE((link === undefined ? S_IFREG : S_IFLNK) | 0o644, at + 0x1c);
    into.writeBigUInt64LE(BigInt(sizeBytes), at + 0x28);
    into.writeUInt32LE(noise, at + 0x30); // blocks
    into.writeUInt32LE(noise, at + 0x40); // access time
    return 0;
  };
}

beforeAll(loadXxhash);

function newWriter(): ListingWriter {
  return new ListingWriter({seed: 7n, mountId: MOUNT_ID});
}

function write(writer: ListingWriter, path: string, entries: Seen[], {noise = 0, isBrief = false} = {}): void {
  writer.begin(path, isBrief);
  writer.own(rawStat({link: undefined, sizeBytes: 4_096}), () => OWN_ATTRS);
  for (const entry of entries) {
    const fill = entry.failed === 0 ? rawStat(entry, noise) : () => -entry.failed;
    writer.add(entry.name, fill, {
      link: () => entry.link ?? '',
      attrs: () => ('attrs' in entry ? entry.attrs : NO_ATTRS),
    });
  }
  writer.end('whole', 0);
}

const nameBytes = fc
  .uint8Array({min: 1, max: 255, minLength: 1, maxLength: 255})
  .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 0x2f ? 0x30 : byte))));
const entries = fc.array(
  fc.record({
    name: nameBytes,
    failed: fc.constantFrom(0, 0, 0, ENOENT, EACCES),
    link: fc.option(fc.string({unit: 'binary-ascii', minLength: 1, maxLength: 300}), {nil: undefined}),
    sizeBytes: fc.nat(2 ** 40),
    attrs: fc.constantFrom(NO_ATTRS, NO_ATTRS, attrsOf('1'), attrsOf('x'.repeat(70_000)), undefined),
  }),
);
const directories = fc.array(fc.record({path: nameBytes.map((bytes) => bytes.toString('latin1')), entries}));

test('what was written comes out, record by record and entry by entry, whatever bytes names and links have', () => {
  fc.assert(
    fc.property(directories, (all) => {
      const writer = newWriter();
      for (const {path, entries: some} of all) write(writer, path, some);
      const read = [...readListings(writer.take())];
      expect(read.map(({path, status, errno, count}) => ({path, status, errno, count}))).toEqual(
        all.map(({path, entries: some}) => ({path, status: 'whole', errno: 0, count: some.length})),
      );
      for (const [index, {entries: some}] of all.entries()) {
        const listed = [...read[index]!.entries()];
        expect(
          listed.map(({name, state, errno, linkTarget, attrs}) => ({name, state, errno, linkTarget, attrs})),
        ).toEqual(
          some.map(({name, failed, link, attrs}) => ({
            name: name.toString('latin1'),
            state: failed === 0 ? 'present' : failed === ENOENT ? 'absent' : 'error',
            errno: failed,
            linkTarget: failed === 0 ? (link ?? '') : '',
            attrs: failed === 0 && attrs !== undefined && attrs.length < 1_024 ? attrs : NO_ATTRS,
          })),
        );
        expect(listed.map(({attrsAre}) => attrsAre)).toEqual(
          some.map(({failed, attrs}) => {
            if (failed === 0 && attrs === undefined) return 'too-many';
            return failed === 0 && attrs!.length > 1_024 ? 'large' : 'inline';
          }),
        );
        expect(read[index]!.ownAttrs).toEqual(OWN_ATTRS);
        const sizes = listed.flatMap((entry) => (entry.state === 'present' ? [entry.stat().sizeBytes] : []));
        expect(sizes).toEqual(some.filter(({failed}) => failed === 0).map(({sizeBytes}) => sizeBytes));
      }
    }),
    {numRuns: 60},
  );
});

test('the fingerprint changes with an entry, and not with access times or allocated blocks', () => {
  const entry = {name: Buffer.from('a'), failed: 0, link: undefined, sizeBytes: 5};
  const fingerprint = (some: Seen[], noise: number): string => {
    const writer = newWriter();
    write(writer, 'd', some, {noise});
    return [...readListings(writer.take())][0]!.fingerprint.toString('hex');
  };
  const first = fingerprint([entry], 0);
  expect(fingerprint([entry], 77)).toBe(first);
  expect(fingerprint([{...entry, sizeBytes: 6}], 0)).not.toBe(first);
  expect(fingerprint([{...entry, name: Buffer.from('b')}], 0)).not.toBe(first);
  expect(fingerprint([], 0)).not.toBe(first);
});

test('a directory that could not be read has its errno, no entries and no fingerprint', () => {
  const writer = newWriter();
  writer.begin('closed');
  writer.end('unreadable', EACCES);
  const [listing] = readListings(writer.take());
  expect(listing).toMatchObject({path: 'closed', status: 'unreadable', errno: EACCES, count: 0});
  expect(listing?.fingerprint.every((byte) => byte === 0)).toBe(true);
  expect([...listing!.entries()]).toEqual([]);
});

test('20,000 entries of 255 bytes, more than the first buffer holds, stay whole; the next take begins anew', () => {
  const writer = newWriter();
  const many = Array.from({length: 20_000}, (_, index) => ({
    name: Buffer.alloc(255, `${index}-`),
    failed: 0,
    link: undefined,
    sizeBytes: index,
  }));
  write(writer, 'large', many);
  const sizes = [...readListings(writer.take())].flatMap((listing) =>
    [...listing.entries()].map((entry) => entry.stat().sizeBytes),
  );
  expect(sizes).toEqual(many.map(({sizeBytes}) => sizeBytes));
  expect(writer.sizeBytes).toBe(0);
  write(writer, 'small', many.slice(0, 1));
  expect([...readListings(writer.take())].map(({path, count}) => `${path} ${count}`)).toEqual(['small 1']);
});

test('a brief record has the fingerprint of a whole one, whatever attributes and links there are, and no entries', () => {
  fc.assert(
    fc.property(entries, (some) => {
      const [whole, brief] = [false, true].map((isBrief) => {
        const writer = newWriter();
        write(writer, 'd', some, {isBrief});
        return [...readListings(writer.take())][0]!;
      });
      expect(brief).toMatchObject({path: 'd', status: 'brief', count: some.length, ownAttrs: OWN_ATTRS});
      expect(brief!.fingerprint).toEqual(whole!.fingerprint);
      expect([...brief!.entries()]).toEqual([]);
    }),
    {numRuns: 30},
  );
});

test('the fingerprint of a directory on another mount differs; when the volume is mounted again it does not', () => {
  const print = (rootMountId: number, entryMountId: number): Buffer => {
    const writer = new ListingWriter({seed: 7n, mountId: rootMountId});
    writer.begin('d', true);
    const fill = (into: Buffer, at: number): number => {
      rawStat({link: undefined, sizeBytes: 5})(into, at);
      into.writeUInt32LE(entryMountId, at + 0x90);
      return 0;
    };
    writer.add(Buffer.from('a'), fill, {link: () => '', attrs: () => NO_ATTRS});
    writer.end('whole', 0);
    return [...readListings(writer.take())][0]!.fingerprint;
  };
  expect(print(40, 40)).toEqual(print(31, 31));
  expect(print(31, 40)).not.toEqual(print(31, 31));
});
