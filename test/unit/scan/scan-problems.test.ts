import {describe, expect, test} from 'vitest';
import type {EntryType, Stat} from '../../../src/model/entry.ts';
import {relPathFault} from '../../../src/model/path.ts';
import {cannotCarry, isTooDeep} from '../../../src/scan/scan-problems.ts';
import {entry} from '../state/state-fixture.ts';

const statOf = (type: EntryType, mountId = 21): Stat => entry('x', {type, mountId});
const levels = (count: number): string => Array(count).fill('a').join('/');
const long = (bytes: number): string => `${'b'.repeat(255)}/`.repeat(Math.ceil(bytes / 256)).slice(0, bytes - 1) + 'b';

describe('what is not carried', () => {
  test.each([
    {title: 'a file', path: 'd/x', stat: statOf('file'), code: undefined},
    {title: 'a file of 64 TiB', path: 'd/x', stat: {...statOf('file'), sizeBytes: 2 ** 46}, code: undefined},
    {title: 'one byte more', path: 'd/x', stat: {...statOf('file'), sizeBytes: 2 ** 46 + 1}, code: 'not-carried'},
    {title: 'a FIFO', path: 'd/x', stat: statOf('fifo'), code: undefined},
    {title: 'a device', path: 'd/x', stat: statOf('block'), code: undefined},
    {title: 'a mount point', path: 'd/x', stat: statOf('dir', 22), code: 'mount'},
    {title: 'a directory at level 2,047', path: levels(2_047), stat: statOf('dir'), code: undefined},
    {title: 'a directory at level 2,048', path: levels(2_048), stat: statOf('dir'), code: 'too-deep'},
    {title: 'a file at level 2,048', path: levels(2_048), stat: statOf('file'), code: undefined},
    {title: 'a directory with a path of 65,279 bytes', path: long(65_279), stat: statOf('dir'), code: undefined},
    {title: 'a directory with a path of 65,280 bytes', path: long(65_280), stat: statOf('dir'), code: 'too-long'},
  ])('$title: $code', ({path, stat, code}) => {
    const problem = cannotCarry(path, stat, 21);
    expect(problem?.code).toBe(code);
    if (problem !== undefined) expect(problem.message.length).toBeLessThan(300);
  });

  test('whatever is in a directory that is entered can be named to a peer', () => {
    for (const dir of ['d', levels(2_047), long(65_279)]) {
      expect(isTooDeep(dir)).toBe(false);
      expect(relPathFault(`${dir}/${'c'.repeat(255)}`)).toBeUndefined();
    }
    for (const dir of [levels(2_048), long(65_280)]) expect(relPathFault(`${dir}/${'c'.repeat(255)}`)).toBeDefined();
  });
});
