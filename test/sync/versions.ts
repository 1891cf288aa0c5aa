/**
 * Files that tell by themselves which version they are and whether they are whole, for a reader that looks while they
 * are replaced.
 *
 * A version's number decides its size, its mode and every one of its bytes. Invariant: no two versions agree in any
 * aligned 8 bytes, so a mix of two is always seen.
 */
import {chmodSync, closeSync, fstatSync, openSync, readSync, renameSync, writeFileSync} from 'node:fs';

/** Sizes from 800 to 160,000 bytes, in steps of 8. */
export function sizeOf(version: number): number {
  return 800 + ((version * 7_919) % 19_900) * 8;
}

/** Modes alternate, so that a wrong one is seen. */
export function modeOf(version: number): number {
  return version % 2 === 0 ? 0o640 : 0o600;
}

export function bytesOf(version: number): Buffer {
  return Buffer.alloc(sizeOf(version), String(version).padStart(8, '0'));
}

/** Writes a version beside the path and renames it there, as an editor does. */
export function replaceBy(path: string, version: number): void {
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, bytesOf(version), {mode: 0o600});
  chmodSync(temporary, modeOf(version));
  renameSync(temporary, path);
}

export type Seen = {version: number} | {fault: 'missing' | 'short' | 'mixed' | 'mode'; detail: string};

const bytes = Buffer.alloc(200_000);

/** Reads a path through one descriptor and judges what it saw. */
export function look(path: string): Seen {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    return {fault: 'missing', detail: String((error as NodeJS.ErrnoException).code)};
  }
  try {
    const mode = fstatSync(fd).mode & 0o7777;
    const read = readSync(fd, bytes, 0, bytes.length, 0);
    const version = Number(bytes.toString('latin1', 0, Math.min(read, 8)));
    if (read < 8) return {fault: 'short', detail: `${read} bytes`};
    if (!Number.isInteger(version)) return {fault: 'mixed', detail: bytes.toString('latin1', 0, 16)};
    if (read !== sizeOf(version)) return {fault: 'short', detail: `${read} bytes of version ${version}`};
    if (!bytes.subarray(0, read).equals(bytesOf(version))) return {fault: 'mixed', detail: `version ${version}`};
    if (mode !== modeOf(version)) return {fault: 'mode', detail: `${mode.toString(8)} at version ${version}`};
    return {version};
  } finally {
    closeSync(fd);
  }
}
