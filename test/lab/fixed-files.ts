/**
 * A fixed set of files of which each tells by itself what it is: its number and version stand in every 16 bytes of it,
 * and the version decides its mode. No two versions of any two files agree in any aligned 16 bytes, so a mix of two is
 * seen without a table of what was ever written.
 */
import {chmodSync, closeSync, fstatSync, openSync, readSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';

/** Most are as large as a file that still goes within a batch; some go beside it, leaf by leaf. */
const SMALL_BYTES = 64 * 1024;
const LARGE_BYTES = 5 * SMALL_BYTES;
export const FILE_COUNT = 16;
const LARGE_EVERY = 8;

export type Fault = 'missing' | 'short' | 'mixed' | 'wrong file' | 'mode';
export type Look = {version: number} | {fault: Fault; detail: string};

const room = Buffer.alloc(LARGE_BYTES + 1);

export function nameOf(file: number): string {
  return `fixed-${String(file).padStart(2, '0')}`;
}

function sizeOf(file: number): number {
  return file % LARGE_EVERY === LARGE_EVERY - 1 ? LARGE_BYTES : SMALL_BYTES;
}

/** Neighbouring versions never have the same mode. */
function modeOf(version: number): number {
  return [0o600, 0o640, 0o604][version % 3]!;
}

function bytesOf(file: number, version: number): Buffer {
  return Buffer.alloc(sizeOf(file), `${String(file).padStart(4, '0')}${String(version).padStart(12, '0')}`);
}

/** Puts a version in its place by one rename. @param aside an existing folder on the same filesystem, outside of it */
export function putVersion(folder: string, aside: string, file: number, version: number): void {
  const temporary = join(aside, nameOf(file));
  writeFileSync(temporary, bytesOf(file, version), {mode: 0o600});
  chmodSync(temporary, modeOf(version));
  renameSync(temporary, join(folder, nameOf(file)));
}

/** Reads all of a file through one descriptor and judges what it saw. */
export function lookAt(folder: string, file: number): Look {
  let fd: number;
  try {
    fd = openSync(join(folder, nameOf(file)), 'r');
  } catch (error) {
    return {fault: 'missing', detail: String((error as NodeJS.ErrnoException).code)};
  }
  try {
    const mode = fstatSync(fd).mode & 0o7777;
    const bytes = room.subarray(0, readWhole(fd));
    const tag = bytes.toString('latin1', 0, 16);
    if (!/^\d{16}$/.test(tag)) return {fault: bytes.length < 16 ? 'short' : 'mixed', detail: JSON.stringify(tag)};
    const version = Number(tag.slice(4));
    if (Number(tag.slice(0, 4)) !== file) return {fault: 'wrong file', detail: tag};
    if (bytes.length !== sizeOf(file)) return {fault: 'short', detail: `${bytes.length} bytes of version ${version}`};
    if (!bytes.equals(bytesOf(file, version))) return {fault: 'mixed', detail: `beginning with version ${version}`};
    if (mode !== modeOf(version)) return {fault: 'mode', detail: `${mode.toString(8)} at version ${version}`};
    return {version};
  } finally {
    closeSync(fd);
  }
}

function readWhole(fd: number): number {
  let size = 0;
  for (let read = 1; read > 0 && size < room.length; size += read)
    read = readSync(fd, room, size, room.length - size, null);
  return size;
}
