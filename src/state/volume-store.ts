/**
 * What is known of a volume: its entries, directories and digests, in `volume.db`. Synchronous; one owner.
 *
 * A hint, not the truth: an entry is compared with the disk before anything is deleted or renamed because of it.
 * Writes gather in one transaction until `flush`, or until 20,000 rows changed.
 *
 * Invariant: every change leaves the digests above it stale, in the same transaction.
 */
import {systemClock, type Clock} from '../base/clock.ts';
import {invariant} from '../base/errors.ts';
import type {Digest} from '../model/digest.ts';
import type {Entry, Outline} from '../model/entry.ts';
import {nameOf, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import type {Side, OwnTreeEntry, TreeNode} from '../model/tree.ts';
import type {View} from '../model/view.ts';
import {Counters} from './counters.ts';
import {Database, type Place as DatabasePlace} from './database.ts';
import {Directories, ROOT_ID} from './directories.ts';
import type {StoredEntry} from './entry-row.ts';
import {EntryTable} from './entry-table.ts';
import {FreshReads} from './fresh-reads.ts';
import {LeftOutQueries} from './left-out.ts';
import {LinkGroups} from './link-groups.ts';
import {ProofOfLife} from './proof-of-life.ts';
import {SignatureCache, type SignatureHeader, type StoredSignature} from './signature-cache.ts';
import {storedView, storeIds, storeView} from './stored-view.ts';
import {TreeDigests} from './tree-digests.ts';
import {VolumeQueries, type FoundEntry, type Place} from './volume-queries.ts';
import {VOLUME_SCHEMA, VOLUME_SCHEMA_VERSION, VOLUME_TEMP_SCHEMA, VOLUME_UPGRADES} from './volume-schema.ts';

export interface VolumeStoreOptions {
  place: DatabasePlace;
  side: Side;
  /** Undefined: the one of the last time. */
  view?: View | undefined;
  /** Names this boot of the machine (/proc/sys/kernel/random/boot_id); '' where it is not known. */
  bootId: string;
  /** For all signatures together. */
  signatureBytesMax?: number;
  /** As in DatabaseOptions. */
  isDurable?: boolean;
  /** The machine's unless a test gives another. */
  clock?: Clock;
}

const CACHE_KIB = 8 * 1024;
const CHECKPOINT_PAGES = 2_000; // 16 MB of log: a bulk of writes is copied into the file a few times only
const SIGNATURE_BYTES_MAX = 1 << 30;

/**
 * Opens `volume.db`, or makes it.
 * @throws STATE_NEWER, STATE_DAMAGED, REFUSED (others may write there), SYSTEM, LOCKED
 */
export function openVolumeStore(options: VolumeStoreOptions): VolumeStore {
  const db = new Database({
    place: options.place,
    file: 'volume.db',
    schemaVersion: VOLUME_SCHEMA_VERSION,
    upgrades: VOLUME_UPGRADES,
    schema: VOLUME_SCHEMA,
    cacheKiB: CACHE_KIB,
    checkpointPages: CHECKPOINT_PAGES,
    isExclusive: true,
    bootId: options.bootId,
    isDurable: options.isDurable ?? true,
  });
  try {
    return new VolumeStore(db, options);
  } catch (error) {
    db.abandon();
    throw error;
  }
}

export class VolumeStore {
  /** 16 random bytes made with the file: another number means that the state was lost or replaced. */
  readonly stateId: Buffer;
  /** 8 random bytes made with the file, for hashes that a container must not be able to foresee. */
  readonly hashSeed: Buffer;
  /** Files that are to be read once more. */
  readonly freshReads: FreshReads;
  /** What a narrower view leaves out. */
  readonly leftOut: LeftOutQueries;
  /** Files whose content was forgotten when this was opened: they had changed shortly before the machine went down. */
  readonly doubtedCount: number;
  readonly #db: Database;
  readonly #side: Side;
  readonly #counters: Counters;
  readonly #directories: Directories;
  readonly #queries: VolumeQueries;
  readonly #digests: TreeDigests;
  readonly linkGroups: LinkGroups;
  readonly #entries: EntryTable;
  readonly #signatures: SignatureCache;
  readonly #life: ProofOfLife;

  constructor(db: Database, options: VolumeStoreOptions) {
    this.#db = db;
    const {side, view = storedView(db)} = options;
    this.#side = side;
    db.exec(VOLUME_TEMP_SCHEMA);
    const counters = (this.#counters = new Counters(db));
    const directories = (this.#directories = new Directories(db));
    const queries = (this.#queries = new VolumeQueries(db, directories));
    const digests = (this.#digests = new TreeDigests(db, {directories, side, view}));
    const groups = new LinkGroups(db, {directories, typeEnd: () => digests.typeEnd});
    this.leftOut = new LeftOutQueries(db, {directories, typeEnd: () => digests.typeEnd});
    this.linkGroups = groups;
    this.#entries = new EntryTable(db, {directories, queries, groups, counters});
    this.#signatures = new SignatureCache(db, {limitBytes: options.signatureBytesMax ?? SIGNATURE_BYTES_MAX});
    this.freshReads = new FreshReads(db);
    this.#life = new ProofOfLife(db, {bootId: options.bootId, clock: options.clock ?? systemClock});
    db.useHooks({onCommit: () => this.#save(), onRollback: () => this.#forget()});
    this.stateId = db.randomMeta('state-id', 16);
    this.hashSeed = db.randomMeta('hash-seed', 8);
    this.setView(view);
    const doubtedFromS = this.#life.doubtedFromS();
    this.doubtedCount = doubtedFromS === undefined ? 0 : this.distrustSince(doubtedFromS);
    this.#life.settle();
    db.flush();
  }

  /** The last run did not close this store. */
  get openedUnclean(): boolean {
    return this.#db.openedUnclean;
  }

  /** Whether it is to be set aside after it was closed: it was found damaged, or may be. */
  get isSuspect(): boolean {
    return this.#db.isSuspect;
  }

  suspect(): void {
    this.#db.suspect();
  }

  /** Whether anything is not committed yet. */
  get isDirty(): boolean {
    return this.#db.isDirty;
  }

  // Entries

  /** Id of the root directory. */
  root(): number {
    return ROOT_ID;
  }

  get(parentId: number, name: Name): StoredEntry | undefined {
    return this.#entries.get(parentId, name);
  }

  /** Entries of a directory in the order of their keys. Changes made while it is read are allowed. */
  children(parentId: number): Iterable<StoredEntry> {
    return this.#queries.children(parentId);
  }

  /** The same as a listing shows them, by name: cheaper where nearly all are as they were. */
  outlines(parentId: number): Map<Name, Outline> {
    return this.#queries.outlines(parentId);
  }

  /**
   * Adds an entry or replaces the one of that name; a directory that stays one keeps what is below it.
   * @returns own id of a directory, 0 for other types
   * @throws STATE_DAMAGED when the parent is not a directory of this volume
   */
  put(parentId: number, entry: Entry): number {
    return this.#entries.put(parentId, entry);
  }

  /** What is known of an entry by one of its names is known of its other names too. */
  refreshNames(entry: Entry): void {
    this.#entries.refreshNames(entry);
  }

  /** Removes an entry with all that is below it. @returns count of removed entries, 0 when there was none */
  remove(parentId: number, name: Name): number {
    return this.#entries.remove(parentId, name);
  }

  /**
   * Renames an entry, with all that is below it, over whatever stood there.
   * @param changes what of it changed with that (its ctime, for one)
   * @returns whether there was such an entry
   * @throws BUG when a directory would come to lie below itself
   */
  move(fromParentId: number, fromName: Name, toParentId: number, toName: Name, changes: Partial<Entry> = {}): boolean {
    const from = {parentId: fromParentId, name: fromName};
    return this.#entries.move(from, {parentId: toParentId, name: toName}, changes);
  }

  /** Notes what a file holds; undefined when that is not known any more. Nothing happens to a missing entry. */
  setContent(parentId: number, name: Name, content: Digest | undefined): void {
    this.#entries.setContent({parentId, name}, content);
  }

  /** Notes what a file held that was just read; nothing happens when it is another, or has changed, by now. */
  setContentOf(entry: Entry & {parentId: number}, content: Digest): void {
    this.#entries.setContentOf(entry, content);
  }

  /** The root directory's own metadata, once it was put. */
  getRoot(): StoredEntry | undefined {
    return this.get(0, ROOT);
  }

  /** @param entry of type dir; its name is taken as '' */
  putRoot(entry: Entry): void {
    invariant(entry.type === 'dir', 'the root is a directory');
    this.#entries.putRoot(entry);
  }

  /** The entry at a path; the root's once it was put. */
  resolve(path: RelPath): {parentId: number; entry: StoredEntry} | undefined {
    const parentId = path === ROOT ? 0 : this.#directories.idOf(parentOf(path));
    const entry = parentId === undefined ? undefined : this.get(parentId, nameOf(path));
    return entry === undefined ? undefined : {parentId: entry.parentId, entry};
  }

  /** Id of the directory at a path. */
  dirIdOf(path: RelPath): number | undefined {
    return this.#directories.idOf(path);
  }

  hasDir(dirId: number): boolean {
    return this.#directories.find(dirId) !== undefined;
  }

  /** Path of a directory. @throws STATE_DAMAGED when there is none */
  pathOf(dirId: number): RelPath {
    return this.#directories.pathOf(dirId);
  }

  /** Entries with an inode number, to find renames and hard links; the next page starts `after` the last one. */
  findByInode(ino: number, countMax = 16, after?: Place): FoundEntry[] {
    return this.#queries.byInode(ino, countMax, after);
  }

  /** Inode numbers of hard links below a directory. */
  linkedBelow(dirId: number): number[] {
    return this.#entries.linkedBelow(dirId);
  }

  /** Files that hold this content, of any that are not empty. */
  findByContent(content: Digest, sizeBytes: number, countMax: number): FoundEntry[] {
    return this.#queries.byContent(content, sizeBytes, countMax);
  }

  /** Count of files of exactly this size; 0 for small sizes, which are not looked for. */
  countOfSize(sizeBytes: number): number {
    return this.#queries.countOfSize(sizeBytes);
  }

  /** Every file whose content is known, a page at a time: what changes meanwhile may be missing. */
  readFiles(): Generator<FoundEntry> {
    return this.#queries.readFiles();
  }

  unreadCount(): number {
    return this.#counters.unread;
  }

  hasUnread(): boolean {
    return this.#counters.unread > 0;
  }

  /** Forgets the content of files with a ctime from `ctimeS` (seconds) on. @returns their count */
  distrustSince(ctimeS: number): number {
    return this.#entries.forgetContents(this.#queries.readSince(ctimeS));
  }

  /** What the scanner noted of a directory's whole listing; dropped by any change among its children. */
  fingerprint(dirId: number): Buffer | undefined {
    return this.#directories.fingerprint(dirId);
  }

  /** Whether most directories have one. */
  hasFingerprints(): boolean {
    return this.#directories.hasFingerprints();
  }

  setFingerprint(dirId: number, fingerprint: Buffer | undefined): void {
    if (this.#directories.find(dirId) === undefined) return;
    this.#directories.setFingerprint(dirId, fingerprint);
    this.#db.wrote(1);
  }

  // Digests

  /** Digest of the root's own metadata and all below it. Without a root entry it equals nothing. */
  rootDigest(): Digest {
    return this.#digests.rootDigest(this.getRoot());
  }

  /** One node of a directory's trie; a prefix below a leaf gives the part of it. */
  node(dirId: number, prefix: Buffer): TreeNode<OwnTreeEntry> {
    return this.#digests.node(dirId, prefix);
  }

  /** All entries of the volume, also those outside the view; without the root. */
  entryCount(): number {
    return this.#counters.entries;
  }

  /** Entries below a directory, in the view. */
  countBelow(dirId: number): number {
    return this.#digests.digestOf(dirId).count;
  }

  /** Digest over all groups of two paths or more that are one inode. */
  groupsDigest(): Digest {
    return this.linkGroups.digest();
  }

  /** A page of those groups; begin with `after` 0, go on with `next` until it is 0. */
  groups(after: number, countMax: number): {groups: RelPath[][]; next: number} {
    return this.linkGroups.page(after, countMax);
  }

  /** Sets what takes part in digests; when it differs from before, all are made again. */
  setView(view: View): void {
    if (!storeView(this.#db, this.#side, view)) return;
    this.#digests.setView(view);
    this.linkGroups.markStale();
  }

  /** Which owners a source's entries are mapped by (`View.ids`): by others, all have to be looked at again. */
  setIds(ids: readonly string[]): void {
    if (!storeIds(this.#db, ids)) return;
    this.#directories.forget();
    this.#db.flush();
  }

  // Signatures

  /** Stores a signature: `rows` are its pieces, one per leaf. */
  putSignature(content: Digest, header: SignatureHeader, rows: Iterable<Buffer>): void {
    this.#signatures.put(content, header, rows);
  }

  getSignature(content: Digest): StoredSignature | undefined {
    return this.#signatures.get(content);
  }

  // Transactions

  /** A number that no change had before, also not before a crash. */
  nextSeq(): number {
    return this.#counters.takeSeq();
  }

  /** The last number given. */
  seq(): number {
    return this.#counters.seq;
  }

  /** Runs `work` so that all it writes is kept or, when it throws, nothing of it; it cannot flush. */
  batch<T>(work: () => T): T {
    return this.#db.batch(work);
  }

  /**
   * Commits; durable at return.
   * @throws SYSTEM (disk full, read-only): everything since the last commit is forgotten, the volume must be rescanned
   */
  flush(): void {
    this.#db.flush();
  }

  /** To be called every minute or so: notes once that a volume which rests is on its disks. @throws SYSTEM */
  rest(): void {
    if (!this.#db.isDirty) this.#life.rest(() => this.#db.flush());
  }

  /** Commits, marks the stop as clean, closes. */
  close(): void {
    this.#db.close();
  }

  /** Closes as a kill would: what was not committed is lost, and the next open is unclean. */
  abandon(): void {
    this.#db.abandon();
  }

  #save(): void {
    this.#counters.save();
    this.freshReads.save();
    this.#life.save();
  }

  #forget(): void {
    this.#counters.load();
    this.#directories.forget();
    this.linkGroups.markStale();
    this.#signatures.reload();
    this.#life.forget();
  }
}
