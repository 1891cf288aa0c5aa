/**
 * Disks whose power can be cut, so that nothing which was not synced is on them, and programs that take this boot of the
 * machine for another one.
 *
 * ext4 and XFS are told to go down. A btrfs does not know how: its image lies on an XFS that clones it at one moment, and
 * the clone is what is mounted next. Invariant: no process that the caller started uses a disk when it is mounted again.
 */
import {randomUUID} from 'node:crypto';
import {mkdirSync, renameSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {command} from './sync/harness.ts';
import {makeLoopFilesystem, type LoopFilesystem} from './loop-fs.ts';

export type PoweredKind = 'ext4' | 'ext4 noauto_da_alloc' | 'xfs' | 'btrfs';

export const POWERED_KINDS: readonly PoweredKind[] = ['ext4', 'ext4 noauto_da_alloc', 'xfs', 'btrfs'];
/** What they need of the machine. */
export const POWER_COMMANDS = ['xfs_io', 'mkfs.ext4', 'mkfs.xfs', 'mkfs.btrfs', 'unshare'] as const;

export interface PoweredDisk {
  /** Where it is mounted. */
  readonly path: string;
  /** From here on nothing reaches the disk. */
  cut(): void;
  /** Mounts what the cut has left, as the next boot does. */
  powerUp(): void;
  destroy(): void;
}

const SIZE_MIB = {ext4: 128, xfs: 300, btrfs: 200};
const CLONES_MIB = 900;

/** An empty disk; gone with the test file at the latest. */
export function makePoweredDisk(kind: PoweredKind): PoweredDisk {
  if (kind === 'btrfs') return makeClonedDisk();
  const [type, option = ''] = kind.split(' ') as ['ext4' | 'xfs', string | undefined];
  const filesystem = makeLoopFilesystem(type, SIZE_MIB[type], type === 'xfs' ? 'nouuid' : option);
  const {path} = filesystem;
  const image = filesystem.imagePath!;
  return {
    path,
    cut: () => void command('xfs_io', '-x', '-c', 'shutdown', path),
    powerUp: () => {
      filesystem.umount();
      // Another process with mounts of its own (a container that was started meanwhile) may still have the dead
      // filesystem, and its disk would be mounted as that: so what is mounted is another disk with the same bytes.
      command('cp', '--sparse=always', image, `${image}.next`);
      renameSync(`${image}.next`, image);
      filesystem.mount();
    },
    destroy: () => filesystem.destroy(),
  };
}

function makeClonedDisk(): PoweredDisk {
  const outer: LoopFilesystem = makeLoopFilesystem('xfs', CLONES_MIB);
  const image = join(outer.path, 'image');
  const path = join(outer.path, 'mnt');
  mkdirSync(path, {mode: 0o755});
  writeFileSync(image, '');
  truncateSync(image, SIZE_MIB.btrfs * 1024 * 1024);
  command('mkfs.btrfs', '-q', '-f', image);
  const mount = (): unknown => command('mount', '-o', 'loop', image, path);
  mount();
  return {
    path,
    cut: () => void command('cp', '--reflink=always', image, `${image}.cut`),
    powerUp: () => {
      command('umount', path);
      renameSync(`${image}.cut`, image);
      mount();
    },
    destroy: () => outer.destroy(),
  };
}

/** What stands before a program so that it takes this for another boot of the machine. @param folder for a small file */
export function bootedAnew(folder: string): string[] {
  const id = randomUUID();
  const file = join(folder, `boot-${id}`);
  writeFileSync(file, `${id}\n`);
  const script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"';
  return ['unshare', '--mount', 'sh', '-c', script, file];
}
