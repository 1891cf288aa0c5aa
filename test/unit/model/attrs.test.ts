import {describe, expect, test} from 'vitest';
import {
  ACCESS_ACL,
  ATTRS_BYTES_MAX,
  attrsFault,
  attrsOfClasses,
  CAPABILITY,
  classOf,
  decodeAttrs,
  encodeAttrs,
  modeWithoutAcl,
  NO_ATTRS,
  withAttrs,
  XATTR_CLASSES,
  type Attrs,
} from '../../../src/model/attrs.ts';

function attrs(...names: string[]): Attrs {
  return encodeAttrs(names.map((name) => ({name, value: Buffer.from(name.toUpperCase())})));
}

function namesOf(encoded: Attrs): string[] {
  return decodeAttrs(encoded).map(({name}) => name);
}

describe('the canonical form of attributes', () => {
  test('is the same in whatever order they were read, and what a peer may send', () => {
    const encoded = attrs('user.b', CAPABILITY, 'user.a', 'trusted.x');
    expect(attrs('trusted.x', 'user.a', 'user.b', CAPABILITY)).toEqual(encoded);
    expect(namesOf(encoded)).toEqual([CAPABILITY, 'trusted.x', 'user.a', 'user.b']);
    expect(decodeAttrs(encoded)[2]?.value.toString()).toBe('USER.A');
    expect(attrsFault(encoded)).toBeUndefined();
    expect(attrsFault(Buffer.alloc(ATTRS_BYTES_MAX + 1))).toContain('longer than');
  });

  test.each([
    ['user.x', 'user'],
    ['trusted.overlay.opaque', 'trusted'],
    ['trusted.towline.volume', undefined],
    [ACCESS_ACL, 'acl'],
    ['system.posix_acl_default', 'acl'],
    ['system.nfs4_acl', undefined],
    [CAPABILITY, 'capability'],
    ['security.selinux', undefined],
    ['security.ima', undefined],
    ['trusted.SGI_ACL_FILE', undefined],
  ])('%s is of the class %s', (name, wanted) => {
    expect(classOf(name)).toBe(wanted);
  });

  test('those of some classes are taken out; nothing is copied where all are wanted', () => {
    const encoded = attrs('user.a', 'trusted.b', ACCESS_ACL);
    expect(namesOf(attrsOfClasses(encoded, ['user', 'acl']))).toEqual([ACCESS_ACL, 'user.a']);
    expect(attrsOfClasses(encoded, XATTR_CLASSES)).toBe(encoded);
    expect(attrsOfClasses(encoded, [])).toEqual(NO_ATTRS);
  });

  test('a mode without its ACL gives the group what the ACL gave it, not the mask', () => {
    const entry = (tag: number, perm: number): Buffer => {
      const bytes = Buffer.alloc(8, 0xff);
      bytes.writeUInt16LE(tag, 0);
      bytes.writeUInt16LE(perm, 2);
      return bytes;
    };
    const acl = (group: number, mask: number): Attrs =>
      encodeAttrs([
        {
          name: ACCESS_ACL,
          value: Buffer.concat([Buffer.of(2, 0, 0, 0), entry(1, 6), entry(4, group), entry(0x10, mask)]),
        },
      ]);
    expect(modeWithoutAcl(0o4760, acl(0, 6)).toString(8)).toBe('4700');
    expect(modeWithoutAcl(0o660, acl(7, 4)).toString(8)).toBe('640');
    expect(modeWithoutAcl(0o664, NO_ATTRS).toString(8)).toBe('664');
  });

  test('what was there of other classes stays', () => {
    const after = withAttrs(attrs('user.old', 'trusted.stays'), attrs('user.new'), ['user']);
    expect(namesOf(after)).toEqual(['trusted.stays', 'user.new']);
    expect(withAttrs(attrs('user.old'), NO_ATTRS, ['user'])).toEqual(NO_ATTRS);
  });
});
