/**
 * Files with holes: made by truncate, fallocate and dd, judged by du and by python3 (SEEK_DATA, SEEK_HOLE, SHA-256).
 *
 * The content of a file of 10 GiB is compared without reading its holes: the digest is over its blocks that are not zeros,
 * each with its place.
 */
import {closeSync, openSync, writeSync} from 'node:fs';
import {command} from './harness.ts';

export interface SparseFile {
  sizeBytes: number;
  /** By `du`. */
  allocatedBytes: number;
  /** Ranges of data, as the filesystem tells them. */
  data: [number, number][];
  /** Of the content. */
  digest: string;
}

const JUDGE = `
import hashlib, json, os, sys
BLOCK = 4096
ZERO = bytes(BLOCK)
def look(path):
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    at, data, digest = 0, [], hashlib.sha256(str(size).encode())
    while at < size:
        try: begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError: break
        at = min(size, os.lseek(fd, begin, os.SEEK_HOLE))
        data.append([begin, at])
        for offset in range(begin, at, BLOCK):
            block = os.pread(fd, min(BLOCK, at - offset), offset)
            if block != ZERO[:len(block)]: digest.update(str(offset).encode() + block)
    os.close(fd)
    return {"sizeBytes": size, "data": data, "digest": digest.hexdigest()}
print(json.dumps([look(path) for path in sys.argv[1:]]))
`;

/** One after the other, as they are given. */
export function sparseFiles(paths: readonly string[]): SparseFile[] {
  const seen = JSON.parse(command('python3', '-c', JUDGE, ...paths)) as Omit<SparseFile, 'allocatedBytes'>[];
  const lines = command('du', '--block-size=1', '--count-links', '--', ...paths).split('\n');
  return seen.map((file, index) => ({...file, allocatedBytes: Number(lines[index]?.split('\t')[0])}));
}

export function sparseOf(path: string): SparseFile {
  return sparseFiles([path])[0] as SparseFile;
}

/** By `du`: the file's own blocks. */
export function allocatedBytes(path: string): number {
  return Number(command('du', '--block-size=1', '--', path).split('\t')[0]);
}

export function makeHole(path: string, sizeBytes: number): void {
  command('truncate', '-s', String(sizeBytes), path);
}

export function punch(path: string, offset: number, lengthBytes: number): void {
  command('fallocate', '--punch-hole', '-o', String(offset), '-l', String(lengthBytes), path);
}

export function writeAt(path: string, offset: number, bytes: Buffer): void {
  const fd = openSync(path, 'r+');
  try {
    writeSync(fd, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(fd);
  }
}
