/**
 * Fresh filesystems for measurements, ext4 where nothing else is said: an image file mounted over a loop device, used once and thrown away.
 *
 * Not for tests (test/loop-fs.ts serves those). Fresh because ext4 keeps away from inodes that were freed a moment ago,
 * so that the second copy into one filesystem takes up to ten times as long. Invariant: whatever ends the process by
 * itself or by Ctrl-C, every mount and image made here is gone.
 */
import {spawnSync} from 'node:child_process';
import {mkdirSync, mkdtempSync, realpathSync, truncateSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {mountsBelow, removeTree} from '../../test/run-folders.ts';

const base = mkdtempSync(join(realpathSync(tmpdir()), 'towline-bench-'));
let count = 0;

process.on('exit', () => {
  for (const point of mountsBelow(base)) spawnSync('umount', ['-l', point]);
  removeTree(base);
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

export interface FreshFilesystem {
  /** The mount point. */
  path: string;
  remove(): void;
}

export interface Room {
  /** Of the sparse image. */
  sizeMiB: number;
  /** How many files it takes; as mkfs thinks where it is not said. */
  inodes?: number;
  type?: 'ext4' | 'xfs';
}

export function makeFilesystem({sizeMiB, inodes, type = 'ext4'}: Room): FreshFilesystem {
  const image = join(base, `${count}.img`);
  const path = join(base, `${count++}`);
  mkdirSync(path);
  writeFileSync(image, '');
  truncateSync(image, sizeMiB * 1024 * 1024);
  if (type === 'xfs') {
    must('mkfs.xfs', '-q', image);
  } else {
    // All tables are written now: a thread that does it later would disturb what is measured.
    const many = inodes === undefined ? [] : ['-N', String(inodes)];
    must('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', ...many, image);
  }
  must('mount', '-t', type, '-o', 'loop', image, path);
  return {
    path,
    remove: () => {
      must('umount', path);
      removeTree(image);
      removeTree(path);
    },
  };
}

/** Runs a command to its end. @throws Error with what it said */
export function must(command: string, ...args: string[]): string {
  const {status, stdout, stderr, error} = spawnSync(command, args, {encoding: 'utf8', maxBuffer: 1 << 26});
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? `${stdout}${stderr}`.trim()}`);
  return stdout;
}

const JUDGES = {
  all: ['-aHn', '--numeric-ids', '--checksum', '--delete', '-i', '--modify-window=-1'],
  content: ['-rln', '--checksum', '--delete', '-i', '--exclude=/.stfolder'], // what Syncthing makes in each folder
};

/**
 * Compares every byte, name and time of a copy. @param what `content`: every byte and name, and nothing else
 * @throws Error with what differs
 */
export function checkCopy(source: string, copy: string, what: keyof typeof JUDGES = 'all'): void {
  const differences = must('rsync', ...JUDGES[what], `${source}/`, `${copy}/`, '--exclude=/.towline');
  if (differences !== '') throw new Error(`the copy differs:\n${differences.slice(0, 2_000)}`);
}
