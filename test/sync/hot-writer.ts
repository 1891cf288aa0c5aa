/**
 * A process that changes a large file again and again, each time all over, so that a version can be told from a mix of
 * several: every block of 4 KiB begins with the number of the version, and a whole version has one number in all.
 *
 * Each version is written by one call for each 1 MiB, front to back: only a copy of one moment has at most one seam, and
 * none where the writer pauses. Where it writes without pausing no reading of a whole file finds a version.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {closeSync, openSync, readSync, statSync} from 'node:fs';
import {afterAll} from 'vitest';

const BLOCK = 4_096;
const WRITER = `
import os, sys, time
path, size, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o640)
piece = 1 << 20
version = 0
while True:
    version += 1
    block = b'%015d\\n' % version + b'x' * (4096 - 16)
    for at in range(0, size, piece):
        os.pwrite(fd, block * (min(piece, size - at) // 4096), at)
    if version == 1: print(flush=True)
    time.sleep(pause)
`;

const writers = new Set<ChildProcess>();
afterAll(() => {
  for (const writer of writers) writer.kill('SIGKILL');
});

/**
 * @param options `pauseS` between two versions, in seconds
 * @returns stops it, once the first version is written
 */
export async function writeVersions(path: string, options: {sizeBytes: number; pauseS: number}): Promise<() => void> {
  const {sizeBytes, pauseS} = options;
  const writer = spawn('python3', ['-c', WRITER, path, String(sizeBytes), String(pauseS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  writers.add(writer);
  await once(writer.stdout, 'data');
  return () => {
    writers.delete(writer);
    writer.kill('SIGKILL');
  };
}

/** The numbers of the versions that a file's blocks are of, in their order without repeats: one for a whole version. */
export function versionsIn(path: string): number[] {
  const fd = openSync(path, 'r'); // it may be replaced meanwhile: this one stays
  try {
    const {size} = statSync(`/proc/self/fd/${fd}`);
    const head = Buffer.alloc(16);
    const found: number[] = [];
    for (let at = 0; at < size; at += BLOCK) {
      readSync(fd, head, 0, 16, at);
      const version = Number(head.toString('latin1', 0, 15));
      if (found.at(-1) !== version) found.push(version);
    }
    return found;
  } finally {
    closeSync(fd);
  }
}
