/**
 * Making bytes durable. A failed call means they may be lost: writing them anew is the only cure, not a second fsync.
 */
import {fsync, posixFadvise, syncfs, syncFileRange, uninterrupted} from './libc.ts';

/** A file with its metadata, or a directory with its names. */
export function syncFd(fd: number): void {
  uninterrupted('fsync', () => fsync(fd));
}

/** The whole filesystem, neighbours included. Tells only of failures since `fd` was opened. */
export function syncFilesystem(fd: number): void {
  uninterrupted('syncfs', () => syncfs(fd));
}

const SYNC_FILE_RANGE_WAIT_BEFORE = 1;
const SYNC_FILE_RANGE_WRITE = 2;
const SYNC_FILE_RANGE_WAIT_AFTER = 4;
const WRITE_AND_WAIT = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

/** Starts writing a range to disk and returns: a later fsync finds less to do. Nothing is durable by this. */
export function startWriteback(fd: number, offset: number, lengthBytes: number): void {
  uninterrupted('sync_file_range', () => syncFileRange(fd, offset, lengthBytes, SYNC_FILE_RANGE_WRITE));
}

const POSIX_FADV_DONTNEED = 4;

/** Drops what memory holds of a file, as far as it is on disk already: what is read then comes from there. A hint. */
export function dropCached(fd: number): void {
  posixFadvise(fd, 0, 0, POSIX_FADV_DONTNEED); // returns its error; where there is no cache there is nothing to drop
}

/** Writes what is dirty of a file to disk, without holding it against its writers. Nothing is durable by this. */
export function writeBack(fd: number): void {
  uninterrupted('sync_file_range', () => syncFileRange(fd, 0, 0, WRITE_AND_WAIT));
}
