import {existsSync, readFileSync, statfsSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {makeLoopFilesystem} from './loop-fs.ts';
import {needsCommands, needsLoopMounts} from './needs.ts';

const kinds = [
  {kind: 'ext4', sizeMiB: 16},
  {kind: 'xfs', sizeMiB: 300},
  {kind: 'btrfs', sizeMiB: 128},
  {kind: 'tmpfs', sizeMiB: 16},
] as const;

needsLoopMounts(needsCommands('mkfs.ext4', 'mkfs.xfs', 'mkfs.btrfs')(describe))('makeLoopFilesystem', () => {
  test.each(kinds)('mounts a $kind of $sizeMiB MiB, remounts it read-only and leaves nothing', ({kind, sizeMiB}) => {
    const filesystem = makeLoopFilesystem(kind, sizeMiB);
    writeFileSync(join(filesystem.path, 'file'), 'kept');
    const {blocks, bsize} = statfsSync(filesystem.path);
    expect(blocks * bsize).toBeLessThanOrEqual(sizeMiB * 1024 * 1024);

    filesystem.remount('ro');
    expect(() => writeFileSync(join(filesystem.path, 'file'), 'lost')).toThrow('EROFS');

    filesystem.umount();
    expect(existsSync(join(filesystem.path, 'file'))).toBe(false);
    filesystem.mount();
    if (kind !== 'tmpfs') expect(readFileSync(join(filesystem.path, 'file'), 'utf8')).toBe('kept');

    filesystem.destroy();
    expect(existsSync(filesystem.path)).toBe(false);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(filesystem.path);
  });

  test('says which size a kind needs at least', () => {
    expect(() => makeLoopFilesystem('xfs', 16)).toThrow('xfs needs at least 300 MiB, not 16');
  });
});
