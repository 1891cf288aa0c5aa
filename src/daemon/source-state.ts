/**
 * A volume's state as the source's link and its scanner need it: the store, seen by path. Adds no state of its own.
 */
import type {Digest} from '../model/digest.ts';
import {sameInode, sameTime, type Entry} from '../model/entry.ts';
import {isWithin, nameOf, parentOf, ROOT, type RelPath} from '../model/path.ts';
import type {OwnTreeEntry} from '../model/tree.ts';
import type {View} from '../model/view.ts';
import {dueAfterRead, QUIET_MS} from '../reconcile/fresh-read.ts';
import type {EntryStore} from '../scan/entry-store.ts';
import {takeContent} from '../scan/new-content.ts';
import type {KnownEntry} from '../scan/pass.ts';
import type {SecondLookState} from '../session/second-look.ts';
import type {SourceState} from '../session/source-link.ts';
import type {StoredEntry} from '../state/entry-row.ts';
import type {VolumeStore} from '../state/volume-store.ts';

const INODES_APART_MAX = 10_000; // the next scan takes those that are left
const NAMES_MAX = 70_000; // above ext4's and XFS's limits of hard links that anybody meets

/** What the scanner needs, from the store. */
export function entryStore(store: VolumeStore): EntryStore {
  return {
    getRoot: () => store.getRoot(),
    putRoot: (entry) => store.putRoot(entry),
    get: (parentId, name) => store.get(parentId, name),
    isEmptyDir: (parentId) => store.children(parentId)[Symbol.iterator]().next().done === true,
    outlines: (parentId) => store.outlines(parentId),
    put: (parentId, entry) => store.put(parentId, entry),
    remove: (parentId, name) => store.remove(parentId, name),
    move: (fromParentId, fromName, toParentId, toName) => void store.move(fromParentId, fromName, toParentId, toName),
    dirIdOf: (path) => store.dirIdOf(path),
    hasDir: (dirId) => store.hasDir(dirId),
    pathOf: (dirId) => store.pathOf(dirId),
    findByInode: (ino): KnownEntry[] => store.findByInode(ino).map(({entry}) => entry),
    namesBeyond: (dirId) => {
      const above = store.pathOf(dirId);
      const names = store.linkedBelow(dirId).flatMap((ino) => store.findByInode(ino, NAMES_MAX));
      return names.map(({path}) => path).filter((path) => !isWithin(path, above));
    },
    namesApart: () => {
      const inodes = store.linkGroups.apart(INODES_APART_MAX);
      return inodes.flatMap((ino) => store.findByInode(ino, NAMES_MAX).map(({path}) => path));
    },
    fingerprint: (dirId) => store.fingerprint(dirId),
    setFingerprint: (dirId, fingerprint) => store.setFingerprint(dirId, fingerprint),
    hasFingerprints: () => store.hasFingerprints(),
    nextSeq: () => store.nextSeq(),
    batch: (work) => store.batch(work),
  };
}

/** Who knows which files may change without their times telling; session/second-look.ts by shape. */
export interface ReadWatch {
  /** The content of a file was read, and noted. */
  wasRead(entry: Entry): void;
  isDoubtful(entry: Entry): boolean;
}

/** By their age alone, where nobody keeps account of what was read. */
export function youngReads(nowMs: () => number): Pick<ReadWatch, 'isDoubtful'> {
  return {isDoubtful: ({ctime}) => dueAfterRead(ctime, nowMs(), QUIET_MS) !== undefined};
}

const TRUSTING: ReadWatch = {wasRead: () => undefined, isDoubtful: () => true};

/** What the source's link needs, from the store. */
export function sourceState(store: VolumeStore, reads: ReadWatch = TRUSTING): SourceState {
  const entryAt = (path: RelPath): (Entry & {parentId: number}) | undefined => {
    if (path === ROOT) return store.getRoot();
    const parentId = store.dirIdOf(parentOf(path));
    return parentId === undefined ? undefined : store.get(parentId, nameOf(path));
  };
  return {
    getRoot: () => store.getRoot(),
    node: (dirId, prefix) => store.node(dirId, prefix),
    treeEntries: (dirId, prefix) => treeEntries(store, dirId, prefix),
    children: (dirId) => store.children(dirId),
    hasUnread: () => store.hasUnread(),
    dirIdOf: (path) => store.dirIdOf(path),
    entryAt,
    setContentOf: (entry: Entry, content: Digest) => {
      if (entry.content !== undefined && isContradicted(entry as StoredEntry, content, {store, reads})) return false;
      store.setContentOf(entry as StoredEntry, content);
      reads.wasRead(entry);
      return true;
    },
    namesOf: (entry: Entry) =>
      store
        .findByInode(entry.ino, NAMES_MAX)
        .filter((found) => sameInode(found.entry, entry))
        .map(({path}) => path)
        .sort(),
    pathWith: (content, sizeBytes, except) =>
      store.findByContent(content, sizeBytes, 4).find(({path}) => path !== except)?.path,
    countOfSize: (sizeBytes) => store.countOfSize(sizeBytes),
    rootDigest: () => store.rootDigest(),
    groupsDigest: () => store.groupsDigest(),
    groups: (after, countMax) => store.groups(after, countMax),
    entryCount: () => store.entryCount(),
    setView: (view: View) => store.setView(view),
    seq: () => store.seq(),
    leftOut: (kind, target) => store.leftOut.count(kind, target),
  };
}

/** Whether a file's bytes are others than the state knows, under the very times that the state knows, for no good reason. */
export function isContradicted(
  entry: Entry & {parentId: number},
  content: Digest,
  {store, reads}: {store: VolumeStore; reads: Pick<ReadWatch, 'isDoubtful'>},
): boolean {
  const now = store.get(entry.parentId, entry.name);
  const isThis = now?.type === 'file' && sameInode(now, entry) && sameTime(now.ctime, entry.ctime);
  return isThis && now.content !== undefined && !now.content.equals(content) && !reads.isDoubtful(now);
}

/** What the second look at files needs, from the store. @param agent as the scanner's */
export function secondLookState(store: VolumeStore, agent: string): SecondLookState {
  const rows = entryStore(store);
  return {
    fresh: store.freshReads,
    fileOf: (ino) => store.findByInode(ino).find(({entry}) => entry.type === 'file'),
    takeContent: ({entry}, content) => {
      const names = store.findByInode(entry.ino, NAMES_MAX).map((found) => found.entry);
      return takeContent({entry, names, content}, {store: rows, agent});
    },
  };
}

/** Entries below a prefix of a directory's trie, a node at a time. */
function* treeEntries(store: VolumeStore, dirId: number, prefix: Buffer): Generator<OwnTreeEntry> {
  const node = store.node(dirId, prefix);
  if (node.kind === 'leaf') yield* node.entries;
  if (node.kind !== 'inner') return;
  for (const {index} of node.children) yield* treeEntries(store, dirId, Buffer.concat([prefix, Buffer.from([index])]));
}
