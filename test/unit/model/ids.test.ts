import {expect, test} from 'vitest';
import {ACCESS_ACL, decodeAttrs, DEFAULT_ACL, encodeAttrs, NO_ATTRS} from '../../../src/model/attrs.ts';
import {ID_MAX, IdMap, idRangesFault, idsOfRanges, parseIdRange, rangesOfIds} from '../../../src/model/ids.ts';

test.each([
  ['0-999', '100000', {from: 0, to: 999, target: 100_000}],
  ['33', '1033', {from: 33, to: 33, target: 1_033}],
  [`${ID_MAX}`, '0', {from: ID_MAX, to: ID_MAX, target: 0}],
  [`0-${ID_MAX}`, '0', {from: 0, to: ID_MAX, target: 0}],
  [`0-${ID_MAX}`, '1', `0-${ID_MAX} from 1 on reaches beyond ${ID_MAX}, the highest id`],
  [`${ID_MAX + 1}`, '0', `${ID_MAX + 1} reaches beyond ${ID_MAX}, the highest id`],
  ['9-1', '0', '9-1 begins above its end'],
  ['-5', '0', '-5 is no id and no range of ids like 0-999'],
  ['1-', '0', '1- is no id and no range of ids like 0-999'],
  ['1', '-1', '-1 is no id'],
  ['1', '', ' is no id'],
])('the range %s to %s', (range, target, expected) => {
  expect(parseIdRange(range, target)).toEqual(expected);
});

test('ranges that touch are right, ranges that share one id are a fault that names both', () => {
  const ranges = rangesOfIds(['10-19:0', '0-9:500', '20-20:1']);
  expect(idRangesFault(ranges)).toBeUndefined();
  expect(idRangesFault([...ranges, {from: 20, to: 30, target: 0}])).toBe('20 and 20-30 overlap');
  expect(idRangesFault([...ranges, {from: 0, to: ID_MAX, target: 0}])).toMatch(/overlap$/);
  expect(idRangesFault(Array.from({length: 257}, (_, at) => ({from: at, to: at, target: at})))).toMatch(/^257 ranges/);
});

test('a view has ranges in one order, whatever order they were written in', () => {
  expect(idsOfRanges(rangesOfIds(['34-99:7', '0-5:9']))).toEqual(['0-5:9', '34-99:7']);
});

test('both ends of a range are mapped, what is beside it stays', () => {
  const map = new IdMap(['10-19:100', '0-0:5']);
  expect([0, 1, 9, 10, 15, 19, 20, ID_MAX].map((id) => map.map(id))).toEqual([5, 1, 9, 100, 105, 109, 20, ID_MAX]);
});

/** Entries of tag and id, with permissions 7. */
function acl(...entries: [tag: number, id: number][]): Buffer {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  for (const [at, [tag, id]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * at);
    bytes.writeUInt16LE(7, 6 + 8 * at);
    bytes.writeUInt32LE(id, 8 + 8 * at);
  }
  return bytes;
}

test('in ACLs the ids of named users and groups are mapped, and nothing else', () => {
  const none = 0xffff_ffff;
  const attrs = encodeAttrs([
    {name: ACCESS_ACL, value: acl([1, none], [2, 33], [2, 99], [4, none], [8, 33], [16, none], [32, none])},
    {name: DEFAULT_ACL, value: acl([1, none], [2, 33])},
    {name: 'user.acl', value: acl([2, 33])},
  ]);
  const mapped = decodeAttrs(new IdMap(['33-33:1033']).mapAttrs(attrs));
  expect(mapped).toEqual([
    {name: ACCESS_ACL, value: acl([1, none], [2, 1_033], [2, 99], [4, none], [8, 1_033], [16, none], [32, none])},
    {name: DEFAULT_ACL, value: acl([1, none], [2, 1_033])},
    {name: 'user.acl', value: acl([2, 33])},
  ]);
});

test('an ACL that is none stays as it is, and so do attributes without ACLs', () => {
  const map = new IdMap(['0-999:5']);
  for (const value of [Buffer.of(1), Buffer.alloc(13), Buffer.alloc(12, 9)]) {
    const attrs = encodeAttrs([{name: ACCESS_ACL, value}]);
    expect(map.mapAttrs(attrs).equals(attrs)).toBe(true);
  }
  const plain = encodeAttrs([{name: 'user.a', value: Buffer.of(1)}]);
  expect(map.mapAttrs(plain)).toBe(plain);
  expect(map.mapAttrs(NO_ATTRS)).toBe(NO_ATTRS);
});
