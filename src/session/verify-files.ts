/**
 * Reads a volume's files once more, from disk, and compares each with the digest that the state has of it.
 *
 * Changes nothing and sends nothing: who asks is told, file by file. Invariant: a file that was changed in the ordinary
 * way since it was read, or while it is read, is not told as rotten.
 */
import type {JobRunner} from '../base/jobs.ts';
import {digestAt, type Digest} from '../model/digest.ts';
import {seenOf, type Entry, type Seen} from '../model/entry.ts';
import type {RelPath} from '../model/path.ts';
import {READ_STATUS} from './large-file.ts';
import type {FilesRead} from './send-item.ts';

export type VerifyJobs = {
  'hash-files': {in: {files: {path: RelPath; expected: Seen}[]; isFromDisk?: boolean}; out: FilesRead; part: never};
};

export interface FileToVerify<E extends Entry = Entry> {
  path: RelPath;
  entry: E;
}

/** What was read of one file. */
export type Verified<F> =
  | {kind: 'read'; file: F; content: Digest}
  /** Another file, or changed, or gone: what watches the volume sees to it. */
  | {kind: 'changed'; file: F}
  | {kind: 'unreadable'; file: F; errno: number};

const FILES_AT_ONCE = 128;
const BYTES_AT_ONCE = 64 << 20; // a larger file goes alone

/**
 * Reads all of them, some at a time, in the lane of long jobs.
 * @param take given each group that was read, in order; the next is read when it resolves
 * @throws the signal's reason once it is aborted, and whatever keeps the volume from being read
 */
export async function verifyFiles<F extends FileToVerify>(
  files: Iterable<F>,
  jobs: JobRunner<VerifyJobs>,
  {take, signal}: {take: (read: Verified<F>[]) => Promise<void> | void; signal: AbortSignal},
): Promise<void> {
  for (const group of groupsOf(files)) {
    signal.throwIfAborted();
    const wanted = group.map(({path, entry}) => ({path, expected: seenOf(entry)}));
    const read = await jobs.run('hash-files', {files: wanted, isFromDisk: true}, {lane: 1});
    signal.throwIfAborted();
    await take(group.map((file, index) => verifiedOf(file, index, read)));
  }
}

function verifiedOf<F extends FileToVerify>(file: F, index: number, read: FilesRead): Verified<F> {
  const status = read.status[index];
  if (status === READ_STATUS.ok) return {kind: 'read', file, content: digestAt(read.digests, index)};
  if (status === READ_STATUS.unreadable) return {kind: 'unreadable', file, errno: read.errno[index] as number};
  return {kind: 'changed', file};
}

function* groupsOf<F extends FileToVerify>(files: Iterable<F>): Generator<F[]> {
  let group: F[] = [];
  let bytes = 0;
  for (const file of files) {
    group.push(file);
    bytes += file.entry.sizeBytes;
    if (group.length < FILES_AT_ONCE && bytes < BYTES_AT_ONCE) continue;
    yield group;
    group = [];
    bytes = 0;
  }
  if (group.length > 0) yield group;
}
