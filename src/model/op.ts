/**
 * What the source asks the target to do, one path at a time, and what the target answers.
 *
 * Invariant: an operation names everything it needs; applying it twice gives the same tree.
 */
import type {Digest} from './digest.ts';
import type {EntryType, Meta, SpecialType} from './entry.ts';
import type {RelPath} from './path.ts';
import type {ProblemCode} from './problem.ts';
import {metaInView, type View} from './view.ts';

/** Where the bytes of a file come from. */
export type ContentSource =
  | {from: 'inline'; bytes: Buffer}
  /** Staged before by transfer number, outside any batch. */
  | {from: 'staged'; transfer: number}
  /** A file that the target already holds with this very content digest. */
  | {from: 'copy'; path: RelPath};

export type Op =
  | {kind: 'make-dir'; path: RelPath; meta: Meta}
  | {
      kind: 'put-file';
      path: RelPath;
      meta: Meta;
      sizeBytes: number;
      content: Digest;
      source: ContentSource;
      /** Of a file with holes: bytes that it has allocated on the source, less than its size. */
      allocatedBytes?: number | undefined;
    }
  | {kind: 'put-symlink'; path: RelPath; meta: Meta; target: string}
  /** A FIFO, socket or device; `rdev` as `Stat` has it. */
  | {kind: 'put-special'; path: RelPath; meta: Meta; type: SpecialType; rdev: number}
  /** `path` becomes another name of what is at `to`, which is no directory. */
  | {kind: 'link'; path: RelPath; to: RelPath}
  /** `allocatedBytes` of a file that was read: what it has allocated on the source; its size where it has no holes. */
  | {kind: 'set-meta'; path: RelPath; type: EntryType; meta: Meta; allocatedBytes?: number | undefined}
  /** `content` is what the file at `path` must hold for the rename to be right; undefined for other types. */
  | {kind: 'rename'; path: RelPath; to: RelPath; type: EntryType; content: Digest | undefined}
  /** Both names are there and change places at one instant. */
  | {kind: 'exchange'; path: RelPath; to: RelPath}
  | {kind: 'delete'; path: RelPath; type: EntryType};

export type OpKind = Op['kind'];

export type Failed = {status: 'failed'; code: ProblemCode; message: string};
export type OpResult = {status: 'done'} | Failed;

/** Whether an operation makes something without anything staged before; what is there already is another matter. */
export function isCreation(op: Op): boolean {
  if (op.kind === 'put-file') return op.source.from !== 'staged';
  return op.kind === 'make-dir' || op.kind === 'put-symlink' || op.kind === 'put-special' || op.kind === 'link';
}

/** Inline bytes an operation carries, for byte credits and statistics. */
export function inlineBytesOf(op: Op): number {
  return op.kind === 'put-file' && op.source.from === 'inline' ? op.source.bytes.length : 0;
}

/** Type of what an operation makes or changes, where it has metadata. */
function typeOf(op: Extract<Op, {meta: Meta}>): EntryType {
  if (op.kind === 'set-meta' || op.kind === 'put-special') return op.type;
  return op.kind === 'make-dir' ? 'dir' : op.kind === 'put-file' ? 'file' : 'symlink';
}

/** An operation with what of its metadata is in the view. */
export function opInView(op: Op, view: Pick<View, 'setuid' | 'xattrs'>): Op {
  if (!('meta' in op)) return op;
  const meta = metaInView(op.meta, typeOf(op), view);
  return meta === op.meta ? op : {...op, meta};
}
