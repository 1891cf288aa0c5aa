/**
 * Small filesystems of a chosen kind: an image file mounted over a loop device, a tmpfs, or a ramfs, which has no attributes and no limit of size. For a full disk, reflinks,
 * a read-only remount, an unmount under the program, a fresh filesystem for a measurement.
 *
 * Needs root: declare the tests with `needsLoopMounts` (test/needs.ts).
 * Invariant: everything is unmounted and removed after the test file, also when a test failed or was killed.
 */
import {spawnSync} from 'node:child_process';
import {mkdirSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll} from 'vitest';
import {makeRunFolder, mountsBelow, removeTree} from './run-folders.ts';

export type LoopFilesystemKind = 'ext4' | 'xfs' | 'btrfs' | 'tmpfs' | 'ramfs';

const SIZE_MIB_MIN: Record<LoopFilesystemKind, number> = {ext4: 2, xfs: 300, btrfs: 114, tmpfs: 1, ramfs: 1}; // mkfs refuses less
const MKFS: Record<Exclude<LoopFilesystemKind, 'tmpfs' | 'ramfs'>, readonly string[]> = {
  ext4: ['mkfs.ext4', '-q', '-F'],
  xfs: ['mkfs.xfs', '-q', '-f', '-m', 'reflink=1'],
  btrfs: ['mkfs.btrfs', '-q', '-f'],
};

export interface LoopFilesystem {
  /** The mount point (0755), absolute and free of symbolic links. */
  readonly path: string;
  /** The image file (sparse), to copy or damage; absent for a tmpfs and a ramfs. */
  readonly imagePath: string | undefined;
  /** Throws while something keeps it busy; `lazy` detaches it at once (`umount -l`). */
  umount(how?: 'lazy'): void;
  /** Mounts it again after `umount`; a tmpfs and a ramfs come back empty. */
  mount(options?: string): void;
  /** Changes the options of the mounted filesystem, for instance `ro`. */
  remount(options: string): void;
  /** Unmounts and removes it; once is enough, the end of the file does it too. */
  destroy(): void;
}

const alive = new Set<LoopFilesystem>();
afterAll(() => {
  for (const filesystem of alive) filesystem.destroy();
});

/**
 * Makes and mounts a filesystem.
 * @param sizeMiB size in MiB; the image is sparse
 * @param mountOptions as for `mount -o`, for instance `noauto_da_alloc`
 * @param mkfsOptions for instance `-I 128`, of which ext4 has times in whole seconds
 */
export function makeLoopFilesystem(
  kind: LoopFilesystemKind,
  sizeMiB: number,
  mountOptions = '',
  mkfsOptions: readonly string[] = [],
): LoopFilesystem {
  if (sizeMiB < SIZE_MIB_MIN[kind]) throw new Error(`${kind} needs at least ${SIZE_MIB_MIN[kind]} MiB, not ${sizeMiB}`);
  const folder = makeRunFolder();
  const path = join(folder, 'mnt');
  mkdirSync(path, {mode: 0o755});
  const isInMemory = kind === 'tmpfs' || kind === 'ramfs';
  const imagePath = isInMemory ? undefined : makeImage(join(folder, 'image'), [...MKFS[kind], ...mkfsOptions], sizeMiB);
  const filesystem: LoopFilesystem = {
    path,
    imagePath,
    umount: (how) => run('umount', ...(how === 'lazy' ? ['-l'] : []), path),
    mount: (options = mountOptions) =>
      imagePath === undefined
        ? run('mount', '-t', kind, '-o', joinOptions(`size=${sizeMiB}m,mode=0755`, options), kind, path)
        : run('mount', '-t', kind, '-o', joinOptions('loop', options), imagePath, path),
    remount: (options) => run('mount', '-o', joinOptions('remount', options), path),
    destroy: () => {
      alive.delete(filesystem);
      for (const point of mountsBelow(folder)) if (!succeeds('umount', point)) run('umount', '-l', point);
      removeTree(folder);
    },
  };
  alive.add(filesystem);
  filesystem.mount();
  return filesystem;
}

function makeImage(imagePath: string, mkfs: readonly string[], sizeMiB: number): string {
  writeFileSync(imagePath, '');
  truncateSync(imagePath, sizeMiB * 1024 * 1024);
  run(...mkfs, imagePath);
  return imagePath;
}

function joinOptions(...options: string[]): string {
  return options.filter((option) => option !== '').join(',');
}

function succeeds(command: string, ...args: string[]): boolean {
  return spawnSync(command, args).status === 0;
}

function run(...words: string[]): void {
  const [command = '', ...args] = words;
  const result = spawnSync(command, args, {encoding: 'utf8'});
  if (result.status === 0) return;
  throw new Error(`${words.join(' ')} failed: ${result.error?.message ?? result.stderr.trim()}`);
}
