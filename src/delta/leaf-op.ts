/**
 * What builds one leaf of a new file. Declared here by shape, as the wire does: the two folders do not know each other.
 */

/** Copy from the base file, literal bytes, or zeros. A leaf's ops build it front to back. */
export type LeafOp =
  | {kind: 'copy'; baseOffset: number; sizeBytes: number}
  | {kind: 'literal'; bytes: Buffer}
  | {kind: 'zeros'; sizeBytes: number};

/** All ops of one leaf. */
export interface LeafOps {
  ops: LeafOp[];
}
