/**
 * A process that has mapped a file and stores into it, with no descriptor of the file open. It ends with the test file.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {afterAll} from 'vitest';

const STORE = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
os.fsync(fd)  # every page is clean: the first store to one changes the times of the file
mapped = mmap.mmap(fd, 0)
os.close(fd)
print(flush=True)
for line in sys.stdin:
    at, text = line.rstrip('\\n').split(' ', 1)
    mapped[int(at):int(at) + len(text)] = text.encode()
    print(flush=True)
`;

const writers = new Set<ChildProcess>();
afterAll(() => {
  for (const writer of writers) writer.kill('SIGKILL');
});

export interface MappedFile {
  /** Resolves when the bytes are in the mapping; they are never written by a system call. */
  store(offset: number, text: string): Promise<void>;
}

export async function mapFile(path: string): Promise<MappedFile> {
  const writer = spawn('python3', ['-c', STORE, path], {stdio: ['pipe', 'pipe', 'inherit']});
  writers.add(writer);
  const answered = (): Promise<unknown> => once(writer.stdout, 'data');
  await answered();
  return {
    store: async (offset, text) => {
      const done = answered();
      writer.stdin.write(`${offset} ${text}\n`);
      await done;
    },
  };
}
