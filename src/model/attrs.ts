/**
 * Extended attributes of an entry, POSIX ACLs and file capabilities among them, as one canonical byte string: two
 * entries have the same attributes when their bytes are equal.
 *
 * Layout, sorted by name bytes, each name once: u8 name bytes, name, u32 value bytes, value. Empty: no attributes.
 */
import {TowlineError} from '../base/errors.ts';
import {sha256, type Digest} from './digest.ts';

export type Attrs = Buffer;

/** Kinds of attributes that a view carries or not. `acl`: both POSIX ACLs; `capability`: security.capability. */
export const XATTR_CLASSES = ['user', 'trusted', 'acl', 'capability'] as const;
export type XattrClass = (typeof XATTR_CLASSES)[number];

export const NO_ATTRS: Attrs = Buffer.alloc(0);
export const CAPABILITY = 'security.capability';
export const ACCESS_ACL = 'system.posix_acl_access';
export const DEFAULT_ACL = 'system.posix_acl_default';
const OWN_PREFIX = 'trusted.towline.'; // the mark of a root: in no view

/** All attributes of one entry together, encoded. */
export const ATTRS_BYTES_MAX = 128 * 1024;
const VALUE_BYTES_MAX = 65_536; // XATTR_SIZE_MAX
const FIXED_BYTES = 5;

/** One attribute; its name is a byte string with the class in front: `user.x`. */
export interface Attr {
  name: string;
  value: Buffer;
}

/**
 * The class of an attribute; undefined for what never travels: ours, what each host sets for itself, and the ACLs once
 * more, as XFS lists them in its own form.
 */
export function classOf(name: string): XattrClass | undefined {
  if (name.startsWith('user.')) return 'user';
  if (name.startsWith('trusted.'))
    return name.startsWith(OWN_PREFIX) || name.startsWith('trusted.SGI_ACL_') ? undefined : 'trusted';
  if (name === ACCESS_ACL || name === DEFAULT_ACL) return 'acl';
  return name === CAPABILITY ? 'capability' : undefined;
}

/** @param attrs in any order, each name once */
export function encodeAttrs(attrs: readonly Attr[]): Attrs {
  if (attrs.length === 0) return NO_ATTRS;
  const parts: Buffer[] = [];
  for (const {name, value} of [...attrs].sort(byName)) {
    const head = Buffer.alloc(FIXED_BYTES + name.length);
    head.writeUInt8(name.length, 0);
    head.write(name, 1, 'latin1');
    head.writeUInt32LE(value.length, 1 + name.length);
    parts.push(head, value);
  }
  return Buffer.concat(parts);
}

/** Bytes that an attribute takes when it is encoded. */
export function encodedBytesOf({name, value}: Attr): number {
  return FIXED_BYTES + name.length + value.length;
}

/** The values share memory with `attrs`. @throws TowlineError INTEGRITY for bytes that are none: a damaged state */
export function decodeAttrs(attrs: Attrs): Attr[] {
  const list: Attr[] = [];
  for (let at = 0; at < attrs.length;) {
    const nameEnd = at + 1 + attrs.readUInt8(at);
    if (nameEnd + 4 > attrs.length) throw damagedAttrs(attrs);
    const valueEnd = nameEnd + 4 + attrs.readUInt32LE(nameEnd);
    if (valueEnd > attrs.length) throw damagedAttrs(attrs);
    list.push({name: attrs.toString('latin1', at + 1, nameEnd), value: attrs.subarray(nameEnd + 4, valueEnd)});
    at = valueEnd;
  }
  return list;
}

function damagedAttrs({length}: Attrs): TowlineError<'INTEGRITY'> {
  const message = `the state holds extended attributes that cannot be read (${length} bytes); it is damaged`;
  return new TowlineError('INTEGRITY', message, {path: '', expected: 'attributes', actual: `${length} bytes`});
}

/** Why bytes of a peer are not canonical attributes, or undefined when they are. */
export function attrsFault(bytes: Buffer): string | undefined {
  if (bytes.length > ATTRS_BYTES_MAX) return `longer than ${ATTRS_BYTES_MAX} bytes`;
  let last = '';
  for (let at = 0; at < bytes.length;) {
    const nameEnd = at + 1 + bytes.readUInt8(at);
    if (nameEnd + 4 > bytes.length) return 'cut within an attribute';
    const name = bytes.toString('latin1', at + 1, nameEnd);
    const valueBytes = bytes.readUInt32LE(nameEnd);
    if (valueBytes > VALUE_BYTES_MAX) return `a value of ${valueBytes} bytes`;
    if (classOf(name) === undefined || name.includes('\0')) return 'an attribute that does not travel';
    if (name <= last) return 'attributes out of order';
    last = name;
    at = nameEnd + 4 + valueBytes;
    if (at > bytes.length) return 'cut within a value';
  }
  return undefined;
}

/** Those of some classes. */
export function attrsOfClasses(attrs: Attrs, classes: readonly string[]): Attrs {
  if (attrs.length === 0 || XATTR_CLASSES.every((each) => classes.includes(each))) return attrs;
  const list = decodeAttrs(attrs);
  const kept = list.filter(({name}) => classes.includes(classOf(name) as string));
  return kept.length === list.length ? attrs : encodeAttrs(kept);
}

/** What is there after those of some classes were set: the others stay. */
export function withAttrs(before: Attrs, wanted: Attrs, classes: readonly string[]): Attrs {
  if (before.length === 0) return wanted;
  const others = decodeAttrs(before).filter(({name}) => !classes.includes(classOf(name) as string));
  return others.length === 0 ? wanted : encodeAttrs([...others, ...decodeAttrs(wanted)]);
}

const ACL_GROUP = 0x04;
const ACL_MASK = 0x10;
const ACL_ENTRY_BYTES = 8; // u16 tag, u16 permissions, u32 id; after a u32 version

/** A mode whose group bits are the mask of an access ACL, as it is without that ACL: the owning group's own rights. */
export function modeWithoutAcl(mode: number, attrs: Attrs): number {
  const acl = decodeAttrs(attrs).find(({name}) => name === ACCESS_ACL)?.value;
  if (acl === undefined) return mode;
  let [group, mask] = [0, 7];
  for (let at = 4; at + ACL_ENTRY_BYTES <= acl.length; at += ACL_ENTRY_BYTES) {
    if (acl.readUInt16LE(at) === ACL_GROUP) group = acl.readUInt16LE(at + 2);
    if (acl.readUInt16LE(at) === ACL_MASK) mask = acl.readUInt16LE(at + 2);
  }
  return (mode & ~0o070) | ((group & mask & 7) << 3);
}

/** Undefined for no attributes, which most entries have. */
export function attrsDigest(attrs: Attrs): Digest | undefined {
  return attrs.length === 0 ? undefined : sha256(attrs);
}

function byName(a: Attr, b: Attr): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
