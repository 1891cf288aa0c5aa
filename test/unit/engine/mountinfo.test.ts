import {describe, expect, test} from 'vitest';
import {mountedBelow, parseMountinfo, placeOf} from '../../../src/engine/mountinfo.ts';

/** `ID PARENT DEVICE ROOT POINT`, as the kernel writes the rest. */
const mounts = (...lines: string[]) =>
  parseMountinfo(lines.map((line) => `${line} rw,relatime shared:1 - ext4 /dev/vda rw\n`).join(''));

const HOST = mounts('1 0 8:1 / /', '2 1 0:5 / /proc', '3 1 8:2 / /srv', '4 3 8:2 /deep /srv/b\\040c', '5 1 8:3 / /srv');

test('a line is read with its escapes, what is no mount is left out', () => {
  expect(HOST).toHaveLength(5);
  expect(HOST[3]).toEqual({id: 4, parentId: 3, device: '8:2', root: '/deep', point: '/srv/b c'});
  expect(mounts('1 0 8:1 /\\134\\012 /\\303\\274')[0]).toMatchObject({root: '/\\\n', point: '/\u00c3\u00bc'});
  expect(parseMountinfo('\n1 2 3\n')).toEqual([]);
});

test.each([
  {path: '/var/a', place: {device: '8:1', path: '/var/a'}},
  {path: '/', place: {device: '8:1', path: '/'}},
  {path: '/proc', place: {device: '0:5', path: '/'}},
  {path: '/process', place: {device: '8:1', path: '/process'}},
  {path: '/srv/x', place: {device: '8:3', path: '/x'}}, // the later mount covers the earlier one
  {path: '/srv/b c/d', place: {device: '8:2', path: '/deep/d'}},
])('$path lies on a filesystem', ({path, place}) => {
  expect(placeOf(path, HOST)).toEqual(place);
});

describe('F13 what a container has mounted, as the kernel tells', () => {
  const ROOT = {device: '8:1', path: '/v/a/_data'};
  const inContainer = (...lines: string[]) => mounts('10 9 0:40 / /', '11 10 8:1 /v/a/_data /data', ...lines);

  test.each([
    {title: 'nothing but the volume', lines: [], paths: []},
    {title: 'another volume below it', lines: ['12 11 8:1 /v/b/_data /data/sub'], paths: ['sub']},
    {title: 'a tmpfs below it', lines: ['12 11 0:41 / /data/x\\040y/z'], paths: ['x y/z']},
    {title: 'a mount on that tmpfs', lines: ['12 11 0:41 / /data/t', '13 12 8:1 /v/b/_data /data/t/u'], paths: ['t']},
    {title: 'a file of it elsewhere', lines: ['12 10 8:1 /v/a/_data/conf.yml /etc/x'], paths: ['conf.yml']},
    {title: 'the volume a second time', lines: ['12 10 8:1 /v/a/_data /again', '13 12 0:41 / /again/t'], paths: ['t']},
    {title: 'a folder that holds it', lines: ['12 10 8:1 /v /host', '13 12 0:41 / /host/a/_data/h'], paths: ['h']},
    {title: 'the same path on another filesystem', lines: ['12 10 8:2 / /o', '13 12 0:4 / /o/v/a/_data/x'], paths: []},
    {title: 'a mount on the root itself', lines: ['12 10 8:1 /v /host', '13 12 0:41 / /host/a/_data'], paths: []},
    {title: 'a name that only begins alike', lines: ['12 10 8:1 /v/a/_data2/x /x'], paths: []},
  ])('$title', ({lines, paths}) => {
    expect(mountedBelow(ROOT, inContainer(...lines))).toEqual(paths);
  });

  test('below the root of a filesystem', () => {
    expect(mountedBelow({device: '8:1', path: '/'}, inContainer('12 11 0:41 / /data/x'))).toEqual([
      'v/a/_data',
      'v/a/_data/x',
    ]);
  });
});
