/**
 * A directory's own row in the state: the root's, which no directory lists, or a child's of its parent.
 */
import type {Entry} from '../model/entry.ts';
import {nameOf, parentOf, ROOT, type RelPath} from '../model/path.ts';
import type {EntryStore} from './entry-store.ts';

/** The row at a path, and how to write it; nothing is written below a directory that the state does not know. */
export function rowOf(store: EntryStore, path: RelPath): {known: Entry | undefined; put: (after: Entry) => void} {
  if (path === ROOT) return {known: store.getRoot(), put: (after) => store.putRoot(after)};
  const parentId = store.dirIdOf(parentOf(path));
  if (parentId === undefined) return {known: undefined, put: () => undefined};
  return {known: store.get(parentId, nameOf(path)), put: (after) => void store.put(parentId, after)};
}

/**
 * Notes that a directory was not seen whole, or the one above it that the state knows.
 * @returns the path of that directory
 */
export function markIncomplete(store: EntryStore, path: RelPath): RelPath {
  const {known, put} = rowOf(store, path);
  if (known?.type !== 'dir') return path === ROOT ? ROOT : markIncomplete(store, parentOf(path));
  if (known.isIncomplete) return path;
  put({...known, isIncomplete: true, seq: store.nextSeq()});
  const dirId = store.dirIdOf(path);
  if (dirId !== undefined) store.setFingerprint(dirId, undefined);
  return path;
}
