/** Clones of open files, on filesystems that make them and on one that does not. */
import {spawnSync} from 'node:child_process';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {FileClones} from '../../../src/volume/file-clones.ts';
import {makeLoopFilesystem, type LoopFilesystem} from '../../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../../needs.ts';

const BYTES = 1 << 20;

function open(path: string): number {
  const fd = openSync(path, 'r');
  onTestFinished(() => closeSync(fd));
  return fd;
}

/** A folder with a file of `old`, both open; `writeFd` is the caller's to close. */
function hotFile({path}: LoopFilesystem): {dir: string; dirFd: number; fd: number; writeFd: number} {
  const dir = join(path, `dir-${Math.random()}`);
  mkdirSync(dir);
  const file = join(dir, 'file');
  writeFileSync(file, Buffer.alloc(BYTES, 'old'));
  return {dir, dirFd: open(dir), fd: open(file), writeFd: openSync(file, 'r+')};
}

const textAt = (fd: number, at: number): string => {
  const bytes = Buffer.alloc(3);
  readSync(fd, bytes, 0, 3, at);
  return bytes.toString();
};

const timesOf = (stat: {mtimeNs: bigint; ctimeNs: bigint; nlink: bigint; size: bigint}): unknown => [
  stat.mtimeNs,
  stat.ctimeNs,
  stat.nlink,
  stat.size,
];

const describeLoops = needsLoopMounts(needsCommands('mkfs.xfs', 'mkfs.btrfs', 'chattr')(describe));

describeLoops.each(['xfs', 'btrfs'] as const)('on %s', (kind) => {
  const filesystem = makeLoopFilesystem(kind, 300);

  test('a clone has the bytes of its moment; its directory and its file keep their times and names, and nothing is left', () => {
    const {dir, dirFd, fd, writeFd} = hotFile(filesystem);
    const before = [timesOf(statSync(dir, {bigint: true})), timesOf(fstatSync(fd, {bigint: true}))];
    const clones = new FileClones();
    const clone = clones.take(dirFd, fd)!;
    expect(clone).toMatchObject({isExact: true, stat: {sizeBytes: BYTES, nlink: 1}});
    expect([timesOf(statSync(dir, {bigint: true})), timesOf(fstatSync(fd, {bigint: true}))]).toEqual(before);
    expect(readdirSync(dir)).toEqual(['file']);
    writeSync(writeFd, 'new', 0);
    expect([textAt(fd, 0), textAt(clone.fd, 0)]).toEqual(['new', 'old']);
    expect(fstatSync(clone.fd)).toMatchObject({nlink: 0, uid: 0});
    expect(fstatSync(clone.fd).mode & 0o777).toBe(0o600);
    clones.close(clone.fd);
    closeSync(writeFd);
    expect([clones.count, timesOf(statSync(dir, {bigint: true}))]).toEqual([0, before[0]]);
  });

  test('of more than 8 at once the ninth is refused, until one is closed', () => {
    const {dirFd, fd, writeFd} = hotFile(filesystem);
    closeSync(writeFd);
    const clones = new FileClones();
    const taken = Array.from({length: 9}, () => clones.take(dirFd, fd));
    expect(taken.map((clone) => clone !== undefined)).toEqual([...Array<boolean>(8).fill(true), false]);
    clones.close(taken[0]!.fd);
    taken[0] = clones.take(dirFd, fd);
    expect(taken[0]).toBeDefined();
    for (const clone of taken) if (clone !== undefined) clones.close(clone.fd);
    expect(clones.count).toBe(0);
  });

  test('none is made on a read-only mount, and the next one is made when it is writable again', () => {
    const {dirFd, fd, writeFd} = hotFile(filesystem);
    closeSync(writeFd);
    const clones = new FileClones();
    filesystem.remount('ro');
    expect(clones.take(dirFd, fd)).toBeUndefined();
    filesystem.remount('rw');
    const clone = clones.take(dirFd, fd);
    expect(clone).toBeDefined();
    clones.close(clone!.fd);
  });

  test('none is made or kept while less than 5 % is free', () => {
    const {dir, dirFd, fd, writeFd} = hotFile(filesystem);
    closeSync(writeFd);
    const clones = new FileClones();
    const kept = clones.take(dirFd, fd)!;
    expect(clones.mayKeep(kept.fd)).toBe(true);
    const ballast = join(dir, 'ballast');
    spawnSync('sh', ['-c', 'head -c 1G /dev/zero > "$0"; sync -f "$0"', ballast]);
    expect([clones.mayKeep(kept.fd), clones.take(dirFd, fd)]).toEqual([false, undefined]);
    expect(clones.mayKeep(fd)).toBe(true); // the file itself costs nothing
    spawnSync('sh', ['-c', 'rm "$0"; sync -f "$1"', ballast, dir]);
    expect(clones.mayKeep(kept.fd)).toBe(true);
  });
});

describeLoops('elsewhere', () => {
  test('on btrfs a file that is written in place (chattr +C) is cloned too', () => {
    const filesystem = makeLoopFilesystem('btrfs', 200);
    const dir = join(filesystem.path, 'nocow');
    mkdirSync(dir);
    writeFileSync(join(dir, 'file'), '');
    expect(spawnSync('chattr', ['+C', join(dir, 'file')]).status).toBe(0);
    writeFileSync(join(dir, 'file'), Buffer.alloc(BYTES, 'old'));
    const clone = new FileClones().take(open(dir), open(join(dir, 'file')));
    expect(textAt(clone!.fd, 0)).toBe('old');
  });

  test('on ext4 there are none, and its directory keeps its times', () => {
    const {dir, dirFd, fd, writeFd} = hotFile(makeLoopFilesystem('ext4', 20));
    closeSync(writeFd);
    const before = timesOf(statSync(dir, {bigint: true}));
    const clones = new FileClones();
    expect(Array.from({length: 5}, () => clones.take(dirFd, fd))).toEqual(Array(5).fill(undefined));
    expect([timesOf(statSync(dir, {bigint: true})), clones.count]).toEqual([before, 0]);
  });
});
