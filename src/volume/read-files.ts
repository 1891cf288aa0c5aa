/**
 * Reads the content of a volume's files for sending and comparing. Runs in a worker, below a held root.
 *
 * Invariant: what is handed over as read was one version: the descriptor's stat was the expected one before the first
 * byte and after the last.
 */
import type {JobContext, JobHandlers} from '../base/jobs.ts';
import {BLOCK_COUNT_MAX, blockCountOf} from '../delta/block.ts';
import {SignatureBuilder, type Signature} from '../delta/signature.ts';
import {DirCache} from '../linux/dir-cache.ts';
import {openRegular, readInto} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {statFd} from '../linux/stat.ts';
import {dropCached} from '../linux/sync.ts';
import {ContentHash} from '../model/content-hash.ts';
import {DIGEST_BYTES, LEAF_BYTES, sha256, smallContentDigest, type Digest} from '../model/digest.ts';
import {isUntouched, type Seen} from '../model/entry.ts';
import {nameOf, parentOf, type RelPath} from '../model/path.ts';
import type {OpenRoot, WithRoot} from '../model/root.ts';
import {contentSince, newKeptFiles, type KeptFiles} from './kept-content.ts';
import {holesOf, toldAllocation, type LeafHoles} from './leaf-holes.ts';

/** How reading one file went. A number, so that thousands of them travel in one array. */
export const READ = {ok: 0, changed: 1, vanished: 2, unreadable: 3} as const;

export interface FileToRead {
  path: RelPath;
  expected: Seen;
}

export interface FilesRead {
  /** One of READ per file. */
  status: Uint8Array;
  /** errno where unreadable. */
  errno: Int32Array;
  /** Bytes allocated per file; its size where it has no holes. */
  allocated: Float64Array;
  /** 32 bytes per file; zeros where not ok. */
  digests: Uint8Array;
  /** Contents one after the other in the order of the files; only those that are ok; sizes are the expected ones. */
  bytes: Uint8Array;
}

export interface FilesToHash {
  files: FileToRead[];
  /** What the disk holds is wanted, not what memory remembers of it. */
  isFromDisk?: boolean;
}

export type ReadJobs = {
  /** Contents and digests of files of at most a leaf each. */
  'read-files': {in: {files: FileToRead[]}; out: FilesRead; part: never};
  /** Digests only, for files of any size. */
  'hash-files': {in: FilesToHash; out: FilesRead; part: never};
  /** The signature of one file with that content, or undefined when it has not (any more). */
  'sign-file': {
    in: {file: FileToRead; content: Uint8Array; blockBytes: number; seed: Uint8Array};
    out: Signature | undefined;
    part: never;
  };
};

const PIECE_BYTES = 1 << 20;
const HOLE_LEAVES_AT_ONCE = 1 << 20; // 256 GiB between two looks whether the job is cancelled
const DIRS_HELD_MAX = 64;

/** @param kept of large files, so that of those that are hashed not all need be read */
export function readHandlers(withRoot: WithRoot, kept: KeptFiles = newKeptFiles()): JobHandlers<ReadJobs> {
  return {
    'read-files': ({files}, context) =>
      withRoot((root) =>
        forEachFile(root, {files, isContentWanted: true, kept: undefined, isFromDisk: false}, context),
      ),
    'hash-files': ({files, isFromDisk = false}, context) =>
      withRoot((root) =>
        forEachFile(root, {files, isContentWanted: false, kept: isFromDisk ? undefined : kept, isFromDisk}, context),
      ),
    'sign-file': (input, context) => withRoot((root) => signFile(root, input, context)),
  };
}

function forEachFile(
  root: OpenRoot,
  {
    files,
    isContentWanted,
    kept,
    isFromDisk,
  }: {files: FileToRead[]; isContentWanted: boolean; kept: KeptFiles | undefined; isFromDisk: boolean},
  context: JobContext<never>,
): FilesRead {
  const sizeBytes = isContentWanted ? files.reduce((sum, {expected}) => sum + expected.sizeBytes, 0) : 0;
  const bytes = Buffer.allocUnsafeSlow(sizeBytes);
  const out: FilesRead = {
    status: new Uint8Array(files.length),
    errno: new Int32Array(files.length),
    allocated: new Float64Array(files.length),
    digests: new Uint8Array(files.length * DIGEST_BYTES),
    bytes,
  };
  const dirs = new DirCache({rootFd: root.fd, countMax: DIRS_HELD_MAX});
  let at = 0;
  try {
    files.forEach((file, index) => {
      if (context.isCancelled()) return void (out.status[index] = READ.changed);
      const into = isContentWanted ? bytes.subarray(at, at + file.expected.sizeBytes) : undefined;
      const read = readOne(dirs, file, (fd, holes) => {
        if (isFromDisk) dropCached(fd);
        if (into !== undefined) return readAll(fd, into);
        const {ino, sizeBytes: fileBytes} = file.expected;
        const known = kept && contentSince({dirFd: dirs.open(parentOf(file.path)), fd, ino}, kept, context);
        return known ?? hashAll(fd, fileBytes, holes, context);
      });
      out.status[index] = read.status;
      out.errno[index] = read.errno;
      out.allocated[index] = read.allocatedBytes;
      if (read.digest === undefined) return;
      out.digests.set(read.digest, index * DIGEST_BYTES);
      if (into !== undefined) at += into.length;
    });
  } finally {
    dirs.dropAll();
  }
  out.bytes = bytes.subarray(0, at);
  context.transfer(bytes.buffer);
  return out;
}

interface OneRead {
  status: number;
  errno: number;
  allocatedBytes: number;
  digest: Digest | undefined;
}

type ReadFile = (fd: number, holes: LeafHoles | undefined) => Digest | undefined;

function readOne(dirs: DirCache, {path, expected}: FileToRead, read: ReadFile): OneRead {
  let fd = -1;
  try {
    const opened = openRegular(dirs.open(parentOf(path)), nameOf(path));
    fd = opened.fd;
    if (!isUntouched(expected, opened.stat)) return failed(READ.changed);
    const holes = holesOf(fd, opened.stat);
    const digest = read(fd, holes);
    if (digest === undefined || !isUntouched(expected, statFd(fd))) return failed(READ.changed);
    const allocatedBytes = toldAllocation(opened.stat, holes !== undefined);
    return {status: READ.ok, errno: 0, allocatedBytes, digest};
  } catch (error) {
    return failureOf(error);
  } finally {
    if (fd >= 0) closeFd(fd);
  }
}

/** What a failed system call on a file means for it. */
export function failureOf(error: unknown): OneRead {
  if (isLinuxError(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return failed(READ.vanished);
  // Something else than a file is there by now (`openRegular`).
  if (isLinuxError(error, 'EINVAL') && error.syscall === 'openat') return failed(READ.vanished);
  if (isLinuxError(error)) return failed(READ.unreadable, error.errno);
  const {errno, code} = error as {errno?: number; code?: string}; // Node's own calls
  if (code !== undefined && errno !== undefined) return failed(READ.unreadable, Math.abs(errno));
  throw error;
}

function failed(status: number, errno = 0): OneRead {
  return {status, errno, allocatedBytes: 0, digest: undefined};
}

function readAll(fd: number, into: Buffer): Digest | undefined {
  if (readInto(fd, into, 0, into.length, 0) !== into.length) return undefined;
  return into.length <= LEAF_BYTES ? smallContentDigest(into) : undefined;
}

let piece: Buffer | undefined;

/** @returns undefined when the file is shorter by now, or nobody waits for its digest any more */
function hashAll(
  fd: number,
  sizeBytes: number,
  holes: LeafHoles | undefined,
  job: Pick<JobContext<never>, 'isCancelled'>,
  signature?: SignatureBuilder,
): Digest | undefined {
  piece ??= Buffer.allocUnsafeSlow(PIECE_BYTES);
  const content = new ContentHash();
  for (let offset = 0; offset < sizeBytes;) {
    if (job.isCancelled()) return undefined;
    const holeBytes = holes?.bytesAt(offset / LEAF_BYTES, HOLE_LEAVES_AT_ONCE) ?? 0;
    if (holeBytes > 0) {
      content.zeros(holeBytes);
      signature?.zeros(holeBytes);
      offset += holeBytes;
      continue;
    }
    const wanted = Math.min(holes === undefined ? PIECE_BYTES : LEAF_BYTES, sizeBytes - offset);
    if (readInto(fd, piece, 0, wanted, offset) !== wanted) return undefined;
    signature?.update(piece.subarray(0, wanted));
    for (let at = 0; at < wanted; at += LEAF_BYTES)
      content.leaf(sha256(piece.subarray(at, Math.min(wanted, at + LEAF_BYTES))));
    offset += wanted;
  }
  return content.finish();
}

function signFile(
  root: OpenRoot,
  {file, content, blockBytes, seed}: ReadJobs['sign-file']['in'],
  job: JobContext<never>,
): Signature | undefined {
  const {sizeBytes} = file.expected;
  if (blockCountOf(sizeBytes, blockBytes) > BLOCK_COUNT_MAX) return undefined; // with holes, a file may be of any size
  using dirs = new DirCache({rootFd: root.fd, countMax: 1});
  const builder = new SignatureBuilder({blockBytes, seed: Buffer.from(seed), withWeak: true});
  const read = readOne(dirs, file, (fd, holes) => hashAll(fd, sizeBytes, holes, job, builder));
  return read.digest?.equals(content) === true ? builder.finish() : undefined;
}
