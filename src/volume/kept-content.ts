/**
 * The content digest of a large file of which a version is kept: of a clone of it only what changed since is read.
 *
 * Invariant: it is the digest of the clone's bytes, which are the file's, as it was from the look at its times before the
 * clone was taken to the look behind it.
 */
import {readInto} from '../linux/files.ts';
import type {JobContext} from '../base/jobs.ts';
import {ContentHash} from '../model/content-hash.ts';
import {LEAF_BYTES, leafCountOf, sha256, type Digest} from '../model/digest.ts';
import {digestsOf, isMuch, sameLeaves} from './changed-leaves.ts';
import type {SizedFile} from './changed-ranges.ts';
import {FileClones} from './file-clones.ts';
import {KeptVersions, type ChangesSince} from './kept-versions.ts';

/** What a scope's handlers have of its files between jobs. */
export interface KeptFiles {
  clones: FileClones;
  versions: KeptVersions;
}

export function newKeptFiles(): KeptFiles {
  return {clones: new FileClones(), versions: new KeptVersions()};
}

let piece: Buffer | undefined;

/**
 * @param dirFd the file's directory, held
 * @returns undefined where it is to be read as a whole, or nobody waits for it any more
 */
export function contentSince(
  {dirFd, fd, ino}: {dirFd: number; fd: number; ino: number},
  {clones, versions}: KeptFiles,
  job: Pick<JobContext<never>, 'isCancelled'>,
): Digest | undefined {
  const clone = versions.has(ino) ? clones.take(dirFd, fd) : undefined;
  if (clone === undefined) return undefined;
  let since: ChangesSince | undefined;
  try {
    const file = {fd: clone.fd, sizeBytes: clone.stat.sizeBytes};
    since = clone.isExact ? versions.changesOf({...file, ino}) : undefined;
    return since && hashChanged(file, since, job);
  } finally {
    if (since !== undefined) versions.release(since.version);
    clones.close(clone.fd);
  }
}

function hashChanged(
  {fd, sizeBytes}: SizedFile,
  {version, ranges}: ChangesSince,
  job: Pick<JobContext<never>, 'isCancelled'>,
): Digest | undefined {
  if (isMuch({ranges, sizeBytes, baseBytes: version.sizeBytes})) return undefined;
  const leaf = (piece ??= Buffer.allocUnsafeSlow(LEAF_BYTES));
  const content = new ContentHash();
  for (let leafIndex = 0; leafIndex < leafCountOf(sizeBytes);) {
    if (job.isCancelled()) return undefined;
    const sameCount = sameLeaves(version, ranges, {leafIndex, sizeBytes});
    if (sameCount > 0) {
      content.leaf(digestsOf(version, leafIndex, sameCount));
      leafIndex += sameCount;
      continue;
    }
    const offset = leafIndex * LEAF_BYTES;
    const length = Math.min(LEAF_BYTES, sizeBytes - offset);
    if (readInto(fd, leaf, 0, length, offset) !== length) return undefined;
    content.leaf(sha256(leaf.subarray(0, length)));
    leafIndex++;
  }
  return content.finish();
}
