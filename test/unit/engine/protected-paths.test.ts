import {describe, expect, test} from 'vitest';
import {protectedPaths} from '../../../src/engine/protected-paths.ts';

const ROOT = '/engine/volumes/a/_data';

/** `SOURCE:DESTINATION`; nothing before the colon for a tmpfs. */
const container = (...mounts: string[]) => ({
  mounts: mounts.map((mount) => {
    const [source = '', destination = ''] = mount.split(':');
    return {source, destination};
  }),
});
const OTHER = '/engine/volumes/b/_data';

describe('F13 what containers have mounted in a volume', () => {
  test.each([
    {title: 'a volume below the volume', mounts: [`${ROOT}:/data`, `${OTHER}:/data/sub`], paths: ['sub']},
    {title: 'a file below it', mounts: [`${ROOT}:/data`, `/etc/app.yml:/data/conf/app.yml`], paths: ['conf/app.yml']},
    {title: 'a tmpfs below it', mounts: [`${ROOT}:/data`, `:/data/cache`], paths: ['cache']},
    {
      title: 'the same below a folder of it',
      mounts: [`${ROOT}/in:/data`, `${OTHER}:/data/sub`],
      paths: ['in', 'in/sub'],
    },
    {
      title: 'below a folder that holds it',
      mounts: ['/engine:/host', `${OTHER}:/host/volumes/a/_data/x`],
      paths: ['x'],
    },
    {title: 'below the whole host', mounts: ['/:/host', `:/host${ROOT}/tmp`], paths: ['tmp']},
    {title: 'a file of it somewhere else', mounts: [`${ROOT}/conf.yml:/etc/x`], paths: ['conf.yml']},
    {
      title: 'two levels: only what lies on the volume',
      mounts: [`${ROOT}:/d`, `${OTHER}:/d/s`, ':/d/s/t'],
      paths: ['s'],
    },
    {title: 'nothing but the volume', mounts: [`${ROOT}:/data`], paths: []},
    {title: 'a mount above the volume', mounts: [`${ROOT}:/data/sub`, `${OTHER}:/data`], paths: []},
    {title: 'a destination that only begins alike', mounts: [`${ROOT}:/data`, `${OTHER}:/database/sub`], paths: []},
    {title: 'a source that only begins alike', mounts: [`${ROOT}2/x:/y`, `${ROOT}2:/data`, ':/data/z'], paths: []},
    {title: 'a mount beside the volume', mounts: ['/engine:/host', ':/host/volumes/c'], paths: []},
    {title: 'a mount on the root itself', mounts: ['/engine:/host', `${OTHER}:/host/volumes/a/_data`], paths: []},
  ])('$title', ({mounts, paths}) => {
    expect(protectedPaths(ROOT, [container(...mounts)])).toEqual(paths);
  });

  test('of all containers together, each path once, in order, as bytes', () => {
    const one = container(`${ROOT}:/data`, ':/data/ü', ':/data/b');
    const two = container(`${ROOT}:/other`, ':/other/b', ':/other/a');
    expect(protectedPaths(ROOT, [one, two])).toEqual(['a', 'b', '\u00c3\u00bc']);
  });

  test('the mount point of one container is none of another', () => {
    expect(protectedPaths(ROOT, [container(`${ROOT}:/data`), container(`${OTHER}:/data/sub`)])).toEqual([]);
  });

  test('a root at / has everything below it', () => {
    expect(protectedPaths('/', [container('/srv:/data', ':/data/x')])).toEqual(['srv', 'srv/x']);
  });

  test('paths that no volume can hold are left out', () => {
    expect(protectedPaths(ROOT, [container(`${ROOT}/../x:/y`, 'relative:relative')])).toEqual([]);
  });

  test('100,000 mounts in a container take no longer than they are many', () => {
    const many = Array.from({length: 100_000}, (_, index) => `:/data/dir/${index}`);
    const startMs = performance.now();
    expect(protectedPaths(ROOT, [container(`${ROOT}:/data`, ...many)])).toHaveLength(100_000);
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });
});
