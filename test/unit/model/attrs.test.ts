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
  ])('%s is of the class %s', (name, wanted) => {
    expect(classOf(name)).toBe(wanted);
  });

  test('those of some classes are taken out; nothing is copied where all are wanted', () => {
    const encoded = attrs('user.a', 'trusted.b', ACCESS_ACL);
    expect(namesOf(attrsOfClasses(encoded, ['user', 'acl']))).toEqual([ACCESS_ACL, 'user.a']);
    expect(attrsOfClasses(encoded, XATTR_CLASSES)).toBe(encoded);
    expect(attrsOfClasses(encoded, [])).toEqual(NO_ATTRS);
  });

  test('what was there of other classes stays', () => {
    const after = withAttrs(attrs('user.old', 'trusted.stays'), attrs('user.new'), ['user']);
    expect(namesOf(after)).toEqual(['trusted.stays', 'user.new']);
    expect(withAttrs(attrs('user.old'), NO_ATTRS, ['user'])).toEqual(NO_ATTRS);
  });
});
