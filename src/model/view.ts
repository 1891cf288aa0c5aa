/**
 * What a link carries, negotiated and hashed: two agents compare only digests made in the same view.
 */
import {attrsOfClasses, modeWithoutAcl, XATTR_CLASSES} from './attrs.ts';
import {sha256, type Digest} from './digest.ts';
import {ENTRY_TYPES, type EntryType, type Meta} from './entry.ts';

export interface View {
  /** gitignore patterns of the sender, in order; the last match wins. */
  ignore: readonly string[];
  /** Granularity in which modification times are compared: the coarser of both filesystems; 2 s on vfat. */
  timePrecisionNs: number;
  /** Classes of extended attributes that travel (`XattrClass`). */
  xattrs: readonly string[];
  /** Whether FIFOs and sockets travel, and devices where `devices` says so. */
  special: 'skip' | 'keep';
  devices: boolean;
  /** Whether owners are compared: not where the target may not set them. */
  owners: boolean;
  /** Whether permissions are compared: not where the target's filesystem has none (vfat). */
  modes: boolean;
  /** Whether the setuid and setgid bits of files travel. */
  setuid: boolean;
  /** Numeric id ranges mapped by the sender, as "from-to:target" (ids.ts). */
  ids: readonly string[];
}

/** All that a root may carry, but devices. */
export const PLAIN_VIEW: View = {
  ignore: [],
  timePrecisionNs: 1,
  xattrs: XATTR_CLASSES,
  special: 'keep',
  devices: false,
  owners: true,
  modes: true,
  setuid: true,
  ids: [],
};

const SET_ID_BITS = 0o6000;

/** Digest of the view; the canonical form is JSON with the keys in the order below. */
export function viewDigest(view: View): Digest {
  const {ignore, timePrecisionNs, xattrs, special, devices, owners, modes, setuid, ids} = view;
  const canonical = [2, ignore, timePrecisionNs, [...xattrs].sort(), special, devices, owners, modes, setuid, ids];
  return sha256(Buffer.from(JSON.stringify(canonical)));
}

/** Digest of ignore rules alone, as hex: a receiver may pin the sender's. */
export function ignorePinOf(ignore: readonly string[]): string {
  return sha256(Buffer.from(JSON.stringify([1, ignore]))).toString('hex');
}

/** Types from this index of ENTRY_TYPES on are not in the view. */
export function typeEndOf({special, devices}: Pick<View, 'special' | 'devices'>): number {
  if (special === 'skip') return ENTRY_TYPES.indexOf('fifo');
  return devices ? ENTRY_TYPES.length : ENTRY_TYPES.indexOf('block');
}

export function isTypeInView(type: EntryType, view: Pick<View, 'special' | 'devices'>): boolean {
  return ENTRY_TYPES.indexOf(type) < typeEndOf(view);
}

/** Metadata as the view compares it, but for owners and times. */
export function metaInView(meta: Meta, type: EntryType, view: Pick<View, 'setuid' | 'xattrs'>): Meta {
  // A directory's setgid bit gives nobody rights: it says which group new entries get.
  const withId = view.setuid || type === 'dir' ? meta.mode : meta.mode & ~SET_ID_BITS;
  const mode = view.xattrs.includes('acl') || meta.attrs.length === 0 ? withId : modeWithoutAcl(withId, meta.attrs);
  const attrs = attrsOfClasses(meta.attrs, view.xattrs);
  return mode === meta.mode && attrs === meta.attrs ? meta : {...meta, mode, attrs};
}

/** What a receiver can or will hold; the rest of a view is the sender's. */
export type ViewLimits = Pick<
  View,
  'timePrecisionNs' | 'xattrs' | 'special' | 'devices' | 'owners' | 'modes' | 'setuid'
>;

/** What is limited, each by itself. */
export const LIMIT_KINDS = [
  'special',
  'devices',
  'setuid',
  'owners',
  'modes',
  'timePrecisionNs',
  ...XATTR_CLASSES,
] as const;
export type LimitKind = (typeof LIMIT_KINDS)[number];
/** Why: the receiver's configuration, the rights of its process, or its filesystem. */
export const LIMIT_CAUSES = ['policy', 'privilege', 'filesystem'] as const;
export type LimitCause = (typeof LIMIT_CAUSES)[number];

/** What a receiver says of itself when a link is opened. */
export interface Holding {
  limits: ViewLimits;
  causes: Partial<Record<LimitKind, LimitCause>>;
  /** Who owns what is made there where owners are not set. */
  owner: {uid: number; gid: number};
}

/** The view that both sides compare in: what the sender has, as far as the receiver holds it. */
export function narrowedView(view: View, limits: ViewLimits): View {
  return {
    ...view,
    timePrecisionNs: Math.max(view.timePrecisionNs, limits.timePrecisionNs),
    xattrs: view.xattrs.filter((each) => limits.xattrs.includes(each)),
    special: limits.special === 'skip' ? 'skip' : view.special,
    devices: view.devices && limits.devices,
    owners: view.owners && limits.owners,
    modes: view.modes && limits.modes,
    setuid: view.setuid && limits.setuid,
  };
}

export function sameView(a: View, b: View): boolean {
  return viewDigest(a).equals(viewDigest(b));
}
