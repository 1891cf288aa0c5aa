/**
 * Fills a new file from one that the volume already holds, copied and hashed on the way, because only the digest is
 * trusted.
 *
 * Invariant: whether it has holes is as the operation says, whatever the file has that is copied; holes of that one are
 * not read. A name that only gets a file of its own keeps the holes that it has.
 */
import {filesystemOf} from '../linux/filesystem.ts';
import {openRegular, readInto, truncate, writeFrom} from '../linux/files.ts';
import {isLinuxError} from '../linux/linux-error.ts';
import {closeFd} from '../linux/open-fd.ts';
import {ContentHash} from '../model/content-hash.ts';
import {LEAF_BYTES, sha256} from '../model/digest.ts';
import type {Stat} from '../model/entry.ts';
import type {Failed, Op} from '../model/op.ts';
import {showPath, type RelPath} from '../model/path.ts';
import {holesOf} from '../volume/leaf-holes.ts';
import type {ApplyContext} from './context.ts';
import {failure} from './failure.ts';
import {writeSparse} from './sparse.ts';

type PutFile = Extract<Op, {kind: 'put-file'}>;

const SPARSE_BYTES_MAX = 2 ** 40; // a batch is no place for more: the digests that stand for it are hashed in 100 ms

/** @returns why it is not the announced content */
export function copyFile(context: ApplyContext, fd: number, op: PutFile, from: RelPath): Failed | undefined {
  const base = openCopied(context, from);
  if (base === undefined)
    return failure('base-changed', op.path, `${showPath(from)}, which holds its content, is gone`);
  try {
    const keepsHoles = from === op.path && base.stat.allocatedBytes < base.stat.sizeBytes;
    const isSparse = op.allocatedBytes !== undefined || keepsHoles;
    if (isSparse && op.sizeBytes > SPARSE_BYTES_MAX)
      return failure('base-changed', op.path, `${showPath(from)}, which holds its content, is too large to be copied`);
    if (base.stat.sizeBytes !== op.sizeBytes)
      return failure('base-changed', op.path, `${showPath(from)} has another size by now`);
    // Zeros that are not there yet would fill the disk before they are too many.
    const addedBytes = isSparse ? 0 : op.sizeBytes - base.stat.allocatedBytes;
    if (addedBytes > LEAF_BYTES && op.sizeBytes > filesystemOf(fd).freeBytes)
      return failure('no-space', op.path, `${op.sizeBytes} bytes are needed`);
    if (copyLeaves({fd, isSparse}, base, op.sizeBytes).equals(op.content)) return undefined;
    return failure('base-changed', op.path, `${showPath(from)} has another content by now`);
  } finally {
    closeFd(base.fd);
  }
}

let leaf: Buffer | undefined;

/** @returns the digest of what was copied */
function copyLeaves(to: {fd: number; isSparse: boolean}, base: {fd: number; stat: Stat}, sizeBytes: number): Buffer {
  leaf ??= Buffer.allocUnsafeSlow(LEAF_BYTES);
  const content = new ContentHash();
  const holes = holesOf(base.fd, base.stat);
  if (to.isSparse) truncate(to.fd, sizeBytes);
  for (let offset = 0; offset < sizeBytes;) {
    const holeBytes = to.isSparse ? (holes?.bytesAt(offset / LEAF_BYTES, Infinity) ?? 0) : 0;
    if (holeBytes > 0) {
      content.zeros(holeBytes);
      offset += holeBytes;
      continue;
    }
    const wanted = Math.min(LEAF_BYTES, sizeBytes - offset);
    const bytes = leaf.subarray(0, readInto(base.fd, leaf, 0, wanted, offset));
    if (bytes.length < wanted) break; // shorter by now
    content.leaf(sha256(bytes));
    if (to.isSparse) writeSparse(to.fd, bytes, offset);
    else writeFrom(to.fd, bytes, 0, bytes.length, offset);
    offset += wanted;
  }
  return content.finish();
}

function openCopied(context: ApplyContext, path: RelPath): {fd: number; stat: Stat} | undefined {
  try {
    const {dirFd, name} = context.place(path);
    return openRegular(dirFd, name);
  } catch (error) {
    if (isLinuxError(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL')) return undefined;
    throw error;
  }
}
