/**
 * Small text files of Towline's own (configuration, identity): read only when nobody else can change them, and written
 * whole or not at all.
 *
 * Not for state (SQLite) and never for a path in a volume. Invariant: whoever is root or the running user wrote what is
 * read here; a power cut leaves the old content or the new one.
 */
import {randomBytes} from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readSync,
  renameSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {TowlineError} from './errors.ts';

const WRITABLE_BY_OTHERS = 0o022;
const OPEN_TO_OTHERS = 0o077;
const STICKY = 0o1000;

/**
 * @param rules `isPrivate`: others may not even read it, and a symlink does not stand for it
 * @returns undefined when there is no such file
 * @throws TowlineError REFUSED when it is not a plain file of this user or root alone, too large or no UTF-8; SYSTEM
 */
export function readOwnedText(path: string, rules: {bytesMax: number; isPrivate: boolean}): string | undefined {
  // Not blocked by a FIFO; a symlink to a configuration is the operator's choice, its target is what is judged.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | (rules.isPrivate ? constants.O_NOFOLLOW : 0);
  const fd = attempt('open', path, () => openOrNothing(path, flags));
  if (fd === undefined) return undefined;
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw refused(path, 'is not a plain file', 'write a plain file');
    checkOwned(path, stat, rules.isPrivate ? OPEN_TO_OTHERS : WRITABLE_BY_OTHERS);
    return decode(path, readUpTo(fd, path, rules.bytesMax));
  } finally {
    closeSync(fd);
  }
}

/** @throws TowlineError REFUSED when others can put files into a folder of ours; nothing when there is none */
export function checkOwnedFolder(path: string): void {
  const fd = attempt('open', path, () => openOrNothing(path, constants.O_RDONLY | constants.O_DIRECTORY));
  if (fd === undefined) return;
  try {
    const stat = fstatSync(fd);
    // In a sticky folder (/tmp) nobody can replace the files of another user.
    checkOwned(path, stat, (stat.mode & STICKY) === 0 ? WRITABLE_BY_OTHERS : 0);
  } finally {
    closeSync(fd);
  }
}

/**
 * Writes a file and syncs it and its folder.
 * @param how `isNew`: an existing file is left alone
 * @returns false when there is one already
 * @throws TowlineError SYSTEM
 */
export function writeOwnedText(path: string, text: string, how: {mode: number; isNew: boolean}): boolean {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}.new`);
  return attempt('write', path, () => {
    writeSynced(temporary, text, how.mode);
    try {
      if (how.isNew) linkSync(temporary, path);
      else renameSync(temporary, path);
    } catch (error) {
      unlinkSync(temporary);
      if (how.isNew && codeOf(error) === 'EEXIST') return false;
      throw error;
    }
    if (how.isNew) unlinkSync(temporary);
    syncFolder(folder);
    return true;
  });
}

/** Removes a file for good. @throws TowlineError SYSTEM */
export function removeOwnedFile(path: string): void {
  attempt('unlink', path, () => {
    unlinkSync(path);
    syncFolder(dirname(path));
  });
}

function writeSynced(path: string, text: string, mode: number): void {
  const fd = openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_WRONLY, 0o600);
  try {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    fchmodSync(fd, mode);
    fsyncSync(fd);
  } catch (error) {
    unlinkSync(path);
    throw error;
  } finally {
    closeSync(fd);
  }
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function openOrNothing(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags);
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function checkOwned(path: string, stat: Stats, forbidden: number): void {
  const uid = process.geteuid?.() ?? 0;
  if (stat.uid !== uid && stat.uid !== 0) {
    throw refused(path, `belongs to user ${stat.uid}, who could change it`, `type: chown ${uid} ${path}`);
  }
  if ((stat.mode & forbidden) === 0) return;
  const mode = (stat.mode & 0o7777).toString(8);
  if (forbidden === OPEN_TO_OTHERS) {
    throw refused(path, `is open to others (mode ${mode})`, `if nobody has read it, type: chmod 600 ${path}`);
  }
  throw refused(path, `may be written by others (mode ${mode})`, `type: chmod go-w ${path}`);
}

/** Reads to the end, also of a file that grows, but never more than one byte above the limit. */
function readUpTo(fd: number, path: string, bytesMax: number): Buffer {
  const sizeBytes = fstatSync(fd).size;
  const buffer = Buffer.alloc(Math.min(sizeBytes, bytesMax) + 1);
  let at = 0;
  while (at < buffer.length) {
    const count = readSync(fd, buffer, at, buffer.length - at, at);
    if (count === 0) return buffer.subarray(0, at);
    at += count;
  }
  if (sizeBytes > bytesMax) throw refused(path, `has ${sizeBytes} bytes`, `at most ${bytesMax} are read`);
  throw refused(path, 'grows while it is read', 'try again');
}

function decode(path: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', {fatal: true}).decode(bytes);
  } catch {
    throw refused(path, 'is not UTF-8', 'save it as UTF-8');
  }
}

function refused(path: string, what: string, fix: string): TowlineError<'REFUSED'> {
  return new TowlineError('REFUSED', `${path} ${what}; ${fix}`, {reason: what});
}

function attempt<T>(syscall: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const errno = codeOf(error);
    if (errno === undefined || error instanceof TowlineError) throw error;
    if (errno === 'ELOOP') throw refused(path, 'is a symbolic link', 'put the file itself there');
    const sentence = `${path}: ${(error as Error).message}`;
    throw new TowlineError('SYSTEM', sentence, {syscall, errno, path}, {cause: error});
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
