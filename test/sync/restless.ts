/**
 * A process that writes into a file without ever pausing for as long as the file takes to be read.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {writeFileSync} from 'node:fs';
import {afterAll} from 'vitest';

const FILE_BYTES = 48 << 20;
const WRITER = `
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY)
size = os.fstat(fd).st_size
count = 0
print(flush=True)
while True:
    os.pwrite(fd, b'%016d' % count, count * 4099 % (size - 16))
    count += 1
    time.sleep(0.002)
`;

const writers = new Set<ChildProcess>();
afterAll(() => {
  for (const writer of writers) writer.kill('SIGKILL');
});

/** A file that takes longer to be read than the writer's pauses are. */
export function makeLarge(path: string): void {
  writeFileSync(path, Buffer.alloc(FILE_BYTES, 'content '));
}

/** Resolves once it writes. @returns stops it */
export async function writeRestlessly(path: string): Promise<() => void> {
  const writer = spawn('python3', ['-c', WRITER, path], {stdio: ['ignore', 'pipe', 'inherit']});
  writers.add(writer);
  await once(writer.stdout, 'data');
  return () => {
    writers.delete(writer);
    writer.kill('SIGKILL');
  };
}
