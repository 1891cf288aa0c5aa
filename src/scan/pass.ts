/**
 * One pass of the scanner: what it has collected until all of it was looked at.
 *
 * Not the judge of what vanished: that is the scanner's. Invariant: what was known elsewhere before is told as moved,
 * wherever it turns up.
 */
import {isAsRead, isSameListed, sameInode, sameMeta, type Entry, type Outline, type Stat} from '../model/entry.ts';
import {joinPath, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import type {EntryStore} from './entry-store.ts';
import type {ListedEntry} from './listing.ts';
import type {PathProblem} from './scan-problems.ts';
import type {ScanRules} from './scan-tree.ts';

/** An entry as the state holds it. */
export interface KnownEntry extends Entry {
  parentId: number;
  /** Own id of a directory, 0 for other types. */
  dirId: number;
}

export type Change =
  /** `from`: a file that was there under that name, until it was moved here and changed; `before` is what was known of it. */
  | {kind: 'put'; path: RelPath; before: KnownEntry | undefined; after: Entry; from?: RelPath}
  /** `isOver`: something else was known at `to`, and went. */
  | {kind: 'renamed'; path: RelPath; to: RelPath; entry: KnownEntry; isOver: boolean}
  /** Both names have changed places; `entry` was at `path` and `other` at `to`. */
  | {kind: 'exchanged'; path: RelPath; to: RelPath; entry: KnownEntry; other: KnownEntry}
  | {kind: 'gone'; path: RelPath; before: KnownEntry; count: number};

export interface ScannerOptions {
  /** This agent's short ID, for version vectors. */
  agent: string;
  rules: ScanRules;
  /** A source's map of owners, as its view has it. */
  ids?: readonly string[];
}

export interface ScanResult {
  /** A rename or exchange stands before what builds on it. */
  changes: Change[];
  problems: PathProblem[];
  /** Paths that were looked at and have no problem of the scanner's. */
  entries: number;
  directories: number;
  /**
   * Directories that are new, parents first; what is below them is in the state, not among the changes. Of a whole scan
   * only those that took the place of something else.
   */
  newDirs: RelPath[];
  /** Directories that were not there any more, or not the same, when they were to be looked at: what they hold is in doubt. */
  missed: RelPath[];
  /** Names of hard-linked files of new directories elsewhere that are to be looked at. */
  stale: RelPath[];
  /** Names of files that are gone, because they were moved to names that are not to be read yet. */
  left: RelPath[];
}

/** Names of one directory; `names` undefined: all of them. */
export interface LookedAt {
  path: RelPath;
  names: Name[] | undefined;
}

export interface Pass {
  result: ScanResult;
  /** Vanished names by path; an entry leaves it when it turns up elsewhere. */
  gone: Map<RelPath, KnownEntry>;
  /** Names whose row was exchanged for another in this pass. */
  exchanged: Set<RelPath>;
  /** New places of what was moved. */
  moved: Set<RelPath>;
  /** Of these, files that were changed too, with their old names. */
  movedFrom: Map<RelPath, RelPath>;
  newDirs: Set<RelPath>;
  /** New directories that were scanned. */
  walked: Set<RelPath>;
  /** Entries at whose name something else was known: looked at last, when that has perhaps been found elsewhere. */
  deferred: {dirId: number; listed: ListedEntry}[];
  /** Directories of a brief scan that are to be listed, with their counts of entries. */
  again: Map<RelPath, number>;
  /** Directories that turned up while those were listed. */
  unwalked: RelPath[];
  /** Directories that took the place of others. */
  replaced: Set<RelPath>;
  /** Whether every change is wanted (live), or only renames (a walk follows). */
  isDetailed: boolean;
  /** Whether what is listed now belongs to a new directory. */
  isNew: boolean;
  mountId: number;
}

export function newPass(isDetailed: boolean): Pass {
  return {
    result: {changes: [], problems: [], entries: 0, directories: 0, newDirs: [], missed: [], stale: [], left: []},
    gone: new Map(),
    exchanged: new Set(),
    moved: new Set(),
    movedFrom: new Map(),
    newDirs: new Set(),
    walked: new Set(),
    deferred: [],
    again: new Map(),
    unwalked: [],
    replaced: new Set(),
    isDetailed,
    isNew: false,
    mountId: 0,
  };
}

/** Whether a listing shows nothing new of a known entry. */
export function isAsKnown(known: Outline, {dir, listed}: {dir: RelPath; listed: ListedEntry}, pass: Pass): boolean {
  if (listed.state !== 'present' || listed.attrsAre === 'too-many') return false;
  const stat = listed.stat();
  if (pass.mountId !== 0 && stat.mountId !== pass.mountId) return false; // a problem, however alike
  if (pass.exchanged.size > 0 && pass.exchanged.has(joinPath(dir, listed.name))) return false;
  return isSameListed(known, stat);
}

/** A whole scan keeps only directories for later: files may be many, and their names are compared with the peer's. */
export function isDeferred(known: KnownEntry, listed: ListedEntry, pass: Pass): boolean {
  const stat = listed.stat();
  return (pass.isDetailed || stat.type === 'dir' || known.type === 'dir') && !sameInode(known, stat);
}

/** Whether a directory is new or below a new one; what was moved there is as it was. */
export function isBelowNew(dir: RelPath, pass: Pass): boolean {
  for (let above = dir; above !== ROOT; above = parentOf(above)) {
    if (pass.moved.has(above)) return false;
    if (pass.newDirs.has(above)) return true;
  }
  return false;
}

/** Doubts the other names of what goes or makes room: what changed it may have been told under this name alone. */
export function doubtOtherNames({type, dirId, ino, nlink}: KnownEntry, pass: Pass, store: EntryStore): void {
  if (!pass.isDetailed || (type !== 'dir' && nlink < 2)) return;
  const names = (): RelPath[] =>
    store.findByInode(ino).map(({parentId, name}) => joinPath(store.pathOf(parentId), name));
  noteStale(pass, type === 'dir' ? store.namesBeyond(dirId) : names());
}

/** One by one: of a tree of linked files there are more than a call takes arguments. */
function noteStale(pass: Pass, paths: readonly RelPath[]): void {
  for (const path of paths) pass.result.stale.push(path);
}

/** Other names of a file whose rows show it as it was: what changed it may have been told under the new name alone. */
function staleNames(after: Entry, store: EntryStore): RelPath[] {
  const isStale = (row: KnownEntry): boolean =>
    sameInode(row, after) && (row.sizeBytes !== after.sizeBytes || !sameMeta(row, after));
  const rows = store.findByInode(after.ino).filter(isStale);
  return rows.map(({parentId, name}) => joinPath(store.pathOf(parentId), name));
}

/** Notes that an entry is about to be put; one of a new directory comes with that. */
export function tellPut(
  pass: Pass,
  path: RelPath,
  {before, after}: {before: KnownEntry | undefined; after: Entry},
  store: EntryStore,
): void {
  const isNewDir = after.type === 'dir' && before?.type !== 'dir';
  if (!pass.isDetailed && isNewDir && before !== undefined) pass.result.newDirs.push(path);
  const from = pass.movedFrom.get(path);
  if (from !== undefined) return void pass.result.changes.push({kind: 'put', path, before, after, from});
  if (!pass.isDetailed) return;
  if (pass.isNew && before === undefined) {
    if (after.type !== 'dir' && after.nlink > 1) noteStale(pass, staleNames(after, store));
    return;
  }
  if (before?.type === 'dir' && after.type !== 'dir') doubtOtherNames(before, pass, store);
  pass.result.changes.push({kind: 'put', path, before, after});
  if (isNewDir) {
    pass.newDirs.add(path);
    pass.result.newDirs.push(path);
  }
}

/**
 * Whether a new name, which is not to be read yet, is that of a file that was changed as well as moved. Where it was it stays
 * known until then: the target has what the changes are made to.
 */
export function isLeft(stat: Stat, known: KnownEntry | undefined, pass: Pass): boolean {
  if (stat.type !== 'file' || stat.nlink > 1 || known !== undefined) return false;
  for (const [from, old] of pass.gone) {
    if (!sameInode(old, stat) || isAsRead(old, stat)) continue;
    pass.gone.delete(from);
    pass.result.left.push(from);
    return true;
  }
  return false;
}

/** What was noted as gone below a directory that turned up elsewhere is gone from there. */
export function retarget(pass: Pass, from: RelPath, to: RelPath): void {
  for (const [path, entry] of [...pass.gone]) {
    if (!path.startsWith(`${from}/`)) continue;
    pass.gone.delete(path);
    pass.gone.set(to + path.slice(from.length), entry);
  }
}

/** Whether what was known at one place is now at the other, and neither holds the other. */
export function isSwap(known: KnownEntry, there: Stat, at: {from: RelPath; path: RelPath}): boolean {
  if (!sameInode(known, there) || (there.type !== 'dir' && there.nlink > 1)) return false;
  if (there.type === 'file' && !isAsRead(known, there)) return false;
  return !at.from.startsWith(`${at.path}/`);
}
