/**
 * What a link carries, negotiated and hashed: two agents compare only digests made in the same view.
 */
import {sha256, type Digest} from './digest.ts';

export interface View {
  /** gitignore patterns of the sender, in order; the last match wins. */
  ignore: readonly string[];
  /** Granularity in which modification times are compared: the coarser of both filesystems. */
  timePrecisionNs: number;
  /** Classes of extended attributes that travel; none in this version. */
  xattrs: readonly string[];
  /** FIFOs, sockets and devices: none travel in this version. */
  special: 'skip' | 'keep';
  /** Whether owners are compared: not where the target may not set them. */
  owners: boolean;
  /** Numeric id ranges mapped by the sender, as "from-to:target". */
  ids: readonly string[];
}

export const PLAIN_VIEW: View = {ignore: [], timePrecisionNs: 1, xattrs: [], special: 'skip', owners: true, ids: []};

/** Digest of the view; the canonical form is JSON with the keys in the order below. */
export function viewDigest(view: View): Digest {
  const canonical = [1, view.ignore, view.timePrecisionNs, view.xattrs, view.special, view.owners, view.ids];
  return sha256(Buffer.from(JSON.stringify(canonical)));
}

/** Digest of ignore rules alone, as hex: a receiver may pin the sender's. */
export function ignorePinOf(ignore: readonly string[]): string {
  return sha256(Buffer.from(JSON.stringify([1, ignore]))).toString('hex');
}
