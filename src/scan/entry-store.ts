/**
 * What the scanner needs of the state, by shape.
 *
 * Invariant: rows are keyed by their directory's id, which a rename of the directory does not change.
 */
import type {Entry, Outline} from '../model/entry.ts';
import type {Name, RelPath} from '../model/path.ts';
import type {KnownEntry} from './pass.ts';

export interface EntryStore {
  getRoot(): Entry | undefined;
  putRoot(entry: Entry): void;
  get(parentId: number, name: Name): KnownEntry | undefined;
  isEmptyDir(dirId: number): boolean;
  /** The entries of a directory as a listing shows them. */
  outlines(dirId: number): Map<Name, Outline>;
  put(parentId: number, entry: Entry): number;
  remove(parentId: number, name: Name): number;
  move(fromParentId: number, fromName: Name, toParentId: number, toName: Name): void;
  dirIdOf(path: RelPath): number | undefined;
  hasDir(dirId: number): boolean;
  pathOf(dirId: number): RelPath;
  findByInode(ino: number): KnownEntry[];
  /** Names elsewhere of the hard links below a directory. */
  namesBeyond(dirId: number): RelPath[];
  /** Names of hard-linked files of which not all were seen at one moment. */
  namesApart(): RelPath[];
  fingerprint(dirId: number): Buffer | undefined;
  setFingerprint(dirId: number, fingerprint: Buffer | undefined): void;
  /** Whether most directories have a fingerprint. */
  hasFingerprints(): boolean;
  nextSeq(): number;
  /** Runs `work` so that all it writes is kept, or nothing of it. */
  batch<T>(work: () => T): T;
}
