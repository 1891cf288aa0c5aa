/**
 * The packed form in which a scanning worker hands over what it saw in a directory: raw statx records and names,
 * decoded only where something changed.
 *
 * Layout of a record (little-endian): u32 record bytes, u8 status, u8 1 for more attributes than are carried, u16 path
 * bytes, i32 errno, 16 bytes fingerprint, u32 entry count, STAT_BYTES of the directory's own statx, u32 attribute bytes,
 * path, its own attributes; then, but for a brief record, per entry u8 state, u8 how its attributes came (ATTRS), u16 name bytes, u16 link bytes, u16 errno,
 * u32 attribute bytes, STAT_BYTES of struct statx if it is present, name, link target, attributes.
 *
 * A fingerprint is made of what statx tells of each entry, and of nothing that changes without its change time: it takes
 * neither attributes nor link targets, so that a brief record, which has no entries, costs no call but that one for each.
 *
 * Invariant: a record is whole; a directory that could not be read whole has the status `unreadable`.
 */
import {xxh64} from '../delta/hash.ts';
import {NO_ATTRS, type Attrs} from '../model/attrs.ts';
import type {Stat} from '../model/entry.ts';
import type {Name, RelPath} from '../model/path.ts';
import {readStat} from '../linux/stat.ts';

export const STAT_BYTES = 160; // struct statx up to and with stx_mnt_id
export const FINGERPRINT_BYTES = 16;
const OWN_STAT_AT = 32;
const OWN_ATTRS_BYTES_AT = OWN_STAT_AT + STAT_BYTES;
const HEADER_BYTES = OWN_ATTRS_BYTES_AT + 4;
const ENTRY_HEADER_BYTES = 12;
const STATUS = ['whole', 'names', 'unreadable', 'brief'] as const;
const STATE = ['present', 'absent', 'error'] as const;
const ATTRS = ['inline', 'too-many', 'large'] as const;
const INLINE_ATTRS_BYTES_MAX = 1_024; // of a directory of a million entries, each with 128 KiB, no one has the memory
const PIECE_BYTES = 1 << 20;
const PRINT_BYTES = 64 * 1024; // what is hashed at a time
const WORD_BYTES = 8;
/** Words of struct statx that change without the file: allocated blocks, access time, number of the device. */
const UNSTEADY_AT = [0x30, 0x40, 0x48, 0x88];
const MOUNT_ID_AT = 0x90;
const U64 = 0xffff_ffff_ffff_ffffn;
const ESTALE = 116;

/**
 * `names`: only the asked names were looked at, and the others are not in doubt; `brief`: all were, but only their count
 * and fingerprint are told.
 */
export type ListingStatus = (typeof STATUS)[number];

export interface ListedEntry {
  name: Name;
  state: (typeof STATE)[number];
  /** errno of a failed statx or readlink; 0 else. */
  errno: number;
  linkTarget: string;
  /** As far as they are inline. */
  attrs: Attrs;
  /** `large`: to be read by themselves; `too-many`: more than are carried. */
  attrsAre: (typeof ATTRS)[number];
  /** Decodes the stat of a present entry. */
  stat(): Stat;
}

export interface Listing {
  path: RelPath;
  status: ListingStatus;
  /** errno of what made it unreadable; 0 else. */
  errno: number;
  /** Equal to that of an earlier whole listing: nothing in this directory changed. */
  fingerprint: Buffer;
  count: number;
  /** The directory's own stat, taken when it was opened; not for an unreadable one. */
  ownStat(): Stat;
  ownAttrs: Attrs;
  hasTooManyAttrs: boolean;
  entries(): Generator<ListedEntry>;
}

export interface WriterOptions {
  /** Of the fingerprints: a container must not be able to make two listings look alike. */
  seed: bigint;
  /** Of the volume's root. Mounted again it has another, and its listings are the same. */
  mountId: number;
}

/** Writes records one after the other into a growing buffer. */
export class ListingWriter {
  readonly #options: WriterOptions;
  readonly #print = Buffer.from(new ArrayBuffer(PRINT_BYTES));
  readonly #printWords = new Float64Array(this.#print.buffer);
  #printAt = 0;
  #hashes: [bigint, bigint] = [0n, 0n];
  #isBrief = false;
  #bytes = Buffer.allocUnsafeSlow(PIECE_BYTES);
  #at = 0;
  #recordAt = 0;
  #count = 0;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /** Bytes written so far. */
  get sizeBytes(): number {
    return this.#at;
  }

  /** Begins a record; `own` of the opened directory follows. @param isBrief of a whole directory: to be told in brief */
  begin(path: RelPath, isBrief = false): void {
    this.#isBrief = isBrief;
    this.#recordAt = this.#at;
    this.#reserve(HEADER_BYTES + path.length);
    this.#bytes.fill(0, this.#at, this.#at + HEADER_BYTES);
    this.#bytes.writeUInt16LE(path.length, this.#at + 6);
    this.#at += HEADER_BYTES;
    this.#at += this.#bytes.write(path, this.#at, 'latin1');
    this.#count = 0;
    this.#printAt = 0;
    this.#hashes = [this.#options.seed, ~this.#options.seed & U64];
  }

  /** The directory itself, before its entries; `fill` and `readAttrs` as for `add`, but that `fill` throws when it fails. */
  own(fill: (into: Buffer, at: number) => void, readAttrs: () => Attrs | undefined): void {
    this.#reserve(256);
    const scratch = Buffer.alloc(256);
    fill(scratch, 0);
    scratch.copy(this.#bytes, this.#recordAt + OWN_STAT_AT, 0, STAT_BYTES);
    const attrs = readAttrs();
    this.#bytes.writeUInt8(attrs === undefined ? 1 : 0, this.#recordAt + 5);
    this.#bytes.writeUInt32LE(this.#append(attrs), this.#recordAt + OWN_ATTRS_BYTES_AT);
  }

  /**
   * Appends an entry whose stat `fill` writes. `fill(into, at)` gets room for 256 bytes at `at` and returns 0 or a
   * negative errno; -ENOENT makes an absent entry.
   * @param name bytes of the name without NUL
   * @param read of a present entry: the target of a symlink as a byte string; attributes, undefined for too many, an
   *   errno when they could not be read
   */
  add(
    name: Uint8Array,
    fill: (into: Buffer, at: number) => number,
    read: {link: () => string; attrs: () => Attrs | number | undefined},
  ): void {
    const entryAt = this.#at;
    this.#reserve(ENTRY_HEADER_BYTES + 256 + name.length);
    const statAt = entryAt + ENTRY_HEADER_BYTES;
    let failed = -fill(this.#bytes, statAt);
    const bytes = this.#bytes;
    this.#count++;
    this.#addToPrint(name, failed, statAt);
    if (this.#isBrief) return;
    let at = statAt;
    let state = 0;
    let link = '';
    let attrs: Attrs | undefined = NO_ATTRS;
    if (failed === 0) {
      bytes.fill(0, statAt + 0x30, statAt + 0x38); // allocated blocks, which come and go without the file
      const isLink = (bytes.readUInt16LE(statAt + 0x1c) & 0o170000) === 0o120000;
      if (isLink) link = read.link();
      // No symlink is empty: it became something else between two calls, and is looked at again.
      const found = isLink && link === '' ? ESTALE : read.attrs();
      if (typeof found === 'number') failed = found;
      else {
        attrs = found;
        at += STAT_BYTES;
      }
    }
    if (failed !== 0) state = failed === 2 ? 1 : 2;
    this.#at = at;
    this.#reserve(name.length + link.length);
    this.#bytes.set(name, this.#at);
    this.#at += name.length;
    if (link !== '') this.#at += this.#bytes.write(link, this.#at, 'latin1');
    const attrsAre = attrs === undefined ? 'too-many' : attrs.length > INLINE_ATTRS_BYTES_MAX ? 'large' : 'inline';
    const attrsBytes = this.#append(attrsAre === 'inline' ? attrs : undefined);
    this.#bytes.writeUInt8(state, entryAt);
    this.#bytes.writeUInt8(ATTRS.indexOf(attrsAre), entryAt + 1);
    this.#bytes.writeUInt16LE(name.length, entryAt + 2);
    this.#bytes.writeUInt16LE(link.length, entryAt + 4);
    this.#bytes.writeUInt16LE(failed, entryAt + 6);
    this.#bytes.writeUInt32LE(attrsBytes, entryAt + 8);
  }

  /** Ends the record. @param errno of what made the directory unreadable; 0 else */
  end(asked: Exclude<ListingStatus, 'brief'>, errno: number): void {
    const at = this.#recordAt;
    const status = asked === 'whole' && this.#isBrief ? 'brief' : asked;
    this.#bytes.writeUInt32LE(this.#at - at, at);
    this.#bytes.writeUInt8(STATUS.indexOf(status), at + 4);
    this.#bytes.writeInt32LE(errno, at + 8);
    this.#bytes.writeUInt32LE(this.#count, at + 28);
    if (asked !== 'whole') return;
    this.#hashPrint();
    for (const [index, hash] of this.#hashes.entries()) this.#bytes.writeBigUInt64LE(hash, at + 12 + index * 8);
  }

  /** What was written since the last take; the buffer now belongs to the caller. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#at);
    this.#bytes = Buffer.allocUnsafeSlow(PIECE_BYTES);
    this.#at = 0;
    return taken;
  }

  /** The stat, one byte for the errno, the name; filled up with zeros to whole words. */
  #addToPrint(name: Uint8Array, failed: number, statAt: number): void {
    const sizeBytes = (STAT_BYTES + 1 + name.length + WORD_BYTES) & ~(WORD_BYTES - 1); // at least one zero at the end
    if (this.#printAt + sizeBytes > PRINT_BYTES) this.#hashPrint();
    const [print, words, at] = [this.#print, this.#printWords, this.#printAt];
    this.#printAt += sizeBytes;
    words[this.#printAt / WORD_BYTES - 1] = 0;
    print.set(name, at + STAT_BYTES + 1);
    print[at + STAT_BYTES] = failed;
    if (failed !== 0) return void print.fill(0, at, at + STAT_BYTES);
    this.#bytes.copy(print, at, statAt, statAt + STAT_BYTES);
    for (const offset of UNSTEADY_AT) words[(at + offset) / WORD_BYTES] = 0;
    if (print.readUInt32LE(at + MOUNT_ID_AT) === this.#options.mountId) words[(at + MOUNT_ID_AT) / WORD_BYTES] = 0;
  }

  /** In pieces: a directory of a million entries is not held for it. */
  #hashPrint(): void {
    const bytes = this.#print.subarray(0, this.#printAt);
    const [first, second] = this.#hashes;
    this.#hashes = [xxh64(bytes, first), xxh64(bytes, second)];
    this.#printAt = 0;
  }

  #append(attrs: Attrs = NO_ATTRS): number {
    if (attrs.length === 0) return 0;
    this.#reserve(attrs.length);
    this.#bytes.set(attrs, this.#at);
    this.#at += attrs.length;
    return attrs.length;
  }

  #reserve(sizeBytes: number): void {
    if (this.#at + sizeBytes + 512 <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow((this.#bytes.length + sizeBytes) * 2);
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

/** The records of a packed buffer, in order. */
export function* readListings(packed: Uint8Array): Generator<Listing> {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at)) yield readListing(bytes, at);
}

function readListing(bytes: Buffer, at: number): Listing {
  const pathBytes = bytes.readUInt16LE(at + 6);
  const attrsAt = at + HEADER_BYTES + pathBytes;
  const entriesAt = attrsAt + bytes.readUInt32LE(at + OWN_ATTRS_BYTES_AT);
  const endAt = at + bytes.readUInt32LE(at);
  return {
    path: bytes.toString('latin1', at + HEADER_BYTES, attrsAt),
    status: STATUS[bytes.readUInt8(at + 4)] ?? 'unreadable',
    errno: bytes.readInt32LE(at + 8),
    fingerprint: bytes.subarray(at + 12, at + 12 + FINGERPRINT_BYTES),
    count: bytes.readUInt32LE(at + 28),
    ownStat: () => readStat(bytes, at + OWN_STAT_AT),
    ownAttrs: copyOf(bytes, attrsAt, entriesAt),
    hasTooManyAttrs: bytes.readUInt8(at + 5) === 1,
    entries: () => readEntries(bytes, entriesAt, endAt),
  };
}

function* readEntries(bytes: Buffer, from: number, endAt: number): Generator<ListedEntry> {
  for (let at = from; at < endAt;) {
    const state = STATE[bytes.readUInt8(at)] ?? 'error';
    const statAt = at + ENTRY_HEADER_BYTES;
    const nameAt = statAt + (state === 'present' ? STAT_BYTES : 0);
    const linkAt = nameAt + bytes.readUInt16LE(at + 2);
    const attrsAt = linkAt + bytes.readUInt16LE(at + 4);
    const nextAt = attrsAt + bytes.readUInt32LE(at + 8);
    let stat: Stat | undefined;
    yield {
      name: bytes.toString('latin1', nameAt, linkAt),
      state,
      errno: bytes.readUInt16LE(at + 6),
      linkTarget: bytes.toString('latin1', linkAt, attrsAt),
      attrs: copyOf(bytes, attrsAt, nextAt),
      attrsAre: ATTRS[bytes.readUInt8(at + 1)] ?? 'too-many',
      stat: () => (stat ??= readStat(bytes, statAt)),
    };
    at = nextAt;
  }
}

/** A copy: the state keeps it longer than the listing. */
function copyOf(bytes: Buffer, from: number, end: number): Attrs {
  return from === end ? NO_ATTRS : Buffer.from(bytes.subarray(from, end));
}
