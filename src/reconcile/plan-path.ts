/**
 * Plans what one path needs: what the source wants there and what the target has, steps out. Pure.
 *
 * Invariant: what destroys more than the path itself, or empties a file, is marked so that the guard can judge it.
 */
import {attrsDigest} from '../model/attrs.ts';
import {equalOrNone, sameDigest} from '../model/digest.ts';
import type {Entry, EntryType, Meta, StatMeta} from '../model/entry.ts';
import type {Op} from '../model/op.ts';
import type {RelPath} from '../model/path.ts';
import {sameInPrecision, type OwnTreeEntry, type TreeEntry} from '../model/tree.ts';
import {isTypeInView, metaInView, type View} from '../model/view.ts';

/** The file that the target has at a path, as far as it is known. */
export type Have = Pick<
  TreeEntry,
  'type' | 'meta' | 'attrs' | 'sizeBytes' | 'content' | 'count' | 'linkTarget' | 'rdev'
>;

/** What the source wants at a path, in the view. */
export type Want = Omit<OwnTreeEntry, 'name'>;

export type Step =
  /** Needs no content. `destroys` counts entries that go with it. */
  | {kind: 'op'; path: RelPath; op: Op; destroys: number}
  /** A file whose content has to be read, compared, or sent. */
  | {
      kind: 'file';
      path: RelPath;
      have: Have | undefined;
      destroys: number;
      /** The name under which the target has it, and which is gone here. */
      from?: RelPath | undefined;
      /** The file as it was when this was planned, where it is at hand. */
      entry?: Entry;
    };

/**
 * @param want undefined: nothing shall be there
 * @param have undefined: nothing is there
 */
export function planPath(path: RelPath, want: Want | undefined, have: Have | undefined, view: View): Step | undefined {
  if (want === undefined || !isTypeInView(want.type, view)) {
    if (have === undefined || !isTypeInView(have.type, view)) return undefined;
    return {kind: 'op', path, op: {kind: 'delete', path, type: have.type}, destroys: 1 + have.count};
  }
  const destroys = have !== undefined && have.type === 'dir' && want.type !== 'dir' ? 1 + have.count : 0;
  const isSameType = have?.type === want.type;
  switch (want.type) {
    case 'dir':
      if (!isSameType) return {kind: 'op', path, op: {kind: 'make-dir', path, meta: want.meta}, destroys};
      return planMeta(path, 'dir', want.meta, have, view);
    case 'symlink':
      if (isSameType && want.linkTarget === have.linkTarget) return planMeta(path, 'symlink', want.meta, have, view);
      return {kind: 'op', path, op: {kind: 'put-symlink', path, meta: want.meta, target: want.linkTarget}, destroys};
    case 'file': {
      if (!isSameType) return {kind: 'file', path, have, destroys};
      if (sameDigest(want.content, have.content)) return planMeta(path, 'file', want.meta, have, view);
      const isEmptied = want.sizeBytes === 0 && have.sizeBytes > 0;
      return {kind: 'file', path, have, destroys: isEmptied ? 1 : 0};
    }
    default: {
      const {type, meta, rdev} = want;
      if (isSameType && rdev === have.rdev) return planMeta(path, type, meta, have, view);
      return {kind: 'op', path, op: {kind: 'put-special', path, meta, type, rdev}, destroys};
    }
  }
}

/**
 * @param want of any classes; compared is what the view has of it
 * @returns the change of metadata that is left when the content is equal
 */
export function planMeta(
  path: RelPath,
  type: EntryType,
  want: Meta,
  have: Pick<Have, 'meta' | 'attrs'>,
  view: View,
): Step | undefined {
  const meta = metaInView(want, type, view);
  if (equalMeta(meta, have.meta, view, type) && equalOrNone(attrsDigest(meta.attrs), have.attrs)) return undefined;
  return {kind: 'op', path, op: {kind: 'set-meta', path, type, meta}, destroys: 0};
}

/** Whether metadata is equal as far as the view compares it; a symlink has no permissions. */
function equalMeta(a: StatMeta, b: StatMeta, view: View, type: EntryType): boolean {
  return (
    (type === 'symlink' || !view.modes || a.mode === b.mode) &&
    (!view.owners || (a.uid === b.uid && a.gid === b.gid)) &&
    sameInPrecision(a.mtime, b.mtime, view.timePrecisionNs)
  );
}
