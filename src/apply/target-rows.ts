/**
 * The target's state after an operation: each row is what a worker saw of the entry once it was done.
 *
 * Not what is to be done (applier.ts). Invariant: the state never says more than what the disk holds.
 */
import {isUntouched, type Entry, type Stat} from '../model/entry.ts';
import type {Digest} from '../model/digest.ts';
import {isCreation, type Op, type OpResult} from '../model/op.ts';
import {nameOf, parentOf, ROOT, type Name, type RelPath} from '../model/path.ts';
import {bumped, type VersionVector} from '../model/version.ts';
import {failure} from './failure.ts';
import type {SeenDir} from './apply-jobs.ts';
import {metaOfJournal, type JournalRecord} from './journal-record.ts';
import type {GiveBack, RowsOfFile} from './give-back.ts';
import type {Switched} from './switched.ts';

/** What the applier needs of the state. */
export interface TargetStore extends RowsOfFile {
  getRoot(): Entry | undefined;
  putRoot(entry: Entry): void;
  get(parentId: number, name: Name): Entry | undefined;
  remove(parentId: number, name: Name): number;
  move(fromParentId: number, fromName: Name, toParentId: number, toName: Name): void;
  dirIdOf(path: RelPath): number | undefined;
  children(parentId: number): Iterable<{name: Name}>;
  nextSeq(): number;
  batch<T>(work: () => T): T;
  /** Makes what was put durable, as far as was agreed. */
  flush(): void;
}

/** What a worker saw of an entry. */
type SeenEntry = Pick<Switched, 'attrs'> & {stat: Stat; found?: Stat | undefined; isTouched?: boolean | undefined};

export class TargetRows {
  readonly #agent: string;
  readonly #parts: {store: TargetStore; giveBack: GiveBack};
  /** Entries with more than one name whose metadata a batch has set, by inode. */
  readonly #linked = new Map<number, Entry>();

  /** @param agent the source's short ID, for version vectors */
  constructor(agent: string, parts: {store: TargetStore; giveBack: GiveBack}) {
    this.#agent = agent;
    this.#parts = parts;
  }

  /** What was set through one name is known of the others. After each batch. */
  refreshLinked(): void {
    for (const entry of this.#linked.values()) this.#parts.store.refreshNames(entry);
    this.#linked.clear();
  }

  entryAt(path: RelPath): Entry | undefined {
    const {store} = this.#parts;
    if (path === ROOT) return store.getRoot();
    const parentId = store.dirIdOf(parentOf(path));
    return parentId === undefined ? undefined : store.get(parentId, nameOf(path));
  }

  /** Of an operation that went through the journal. */
  recordSwitched(op: Op, {stat, attrs, found, isTouched, ...other}: Switched): void {
    const {store} = this.#parts;
    if (op.kind === 'delete') {
      const parentId = store.dirIdOf(parentOf(op.path));
      if (parentId !== undefined) store.remove(parentId, nameOf(op.path));
      return;
    }
    if (op.kind === 'rename') this.#moveRow(op.path, op.to);
    if (op.kind === 'exchange') this.#exchangeRows(op.path, op.to);
    if (stat !== undefined) this.record(op, {stat, attrs, found, isTouched}, this.entryAt(placeOf(op)));
    if (op.kind === 'set-meta' && stat !== undefined && op.allocatedBytes !== undefined)
      this.#parts.giveBack.note(op.path, stat, op.allocatedBytes);
    if (op.kind !== 'exchange' || other.otherStat === undefined) return;
    const seen = {stat: other.otherStat, attrs: other.otherAttrs, found: other.otherFound, isTouched};
    this.record({...op, path: op.to, to: op.path}, seen, this.entryAt(op.path));
  }

  #moveRow(from: RelPath, to: RelPath): void {
    const {store} = this.#parts;
    const fromId = store.dirIdOf(parentOf(from));
    const toId = store.dirIdOf(parentOf(to));
    if (fromId === undefined || toId === undefined || store.get(fromId, nameOf(from)) === undefined) return;
    store.move(fromId, nameOf(from), toId, nameOf(to));
  }

  #exchangeRows(a: RelPath, b: RelPath): void {
    const {store} = this.#parts;
    const aId = store.dirIdOf(parentOf(a));
    const bId = store.dirIdOf(parentOf(b));
    if (aId === undefined || bId === undefined) return;
    const between = '/'; // within one transaction; no file can have that name
    store.batch(() => {
      store.move(aId, nameOf(a), aId, between);
      store.move(bId, nameOf(b), aId, nameOf(a));
      store.move(aId, between, bId, nameOf(b));
    });
  }

  /** @param before what the state has there; undefined where it was created */
  record(op: Op, seen: SeenEntry, before: Entry | undefined): void {
    const {store} = this.#parts;
    const {stat, attrs} = seen;
    const path = placeOf(op);
    const linkTarget =
      op.kind === 'put-symlink'
        ? op.target
        : stat.type === 'symlink'
          ? ((op.kind === 'link' ? this.entryAt(op.to) : before)?.linkTarget ?? '')
          : '';
    // Somebody put a symlink there, or something in the place of ours, since the switch: the next scan sees what.
    if ((stat.type === 'symlink') !== (linkTarget !== '')) return;
    const entry: Entry = {
      ...stat,
      name: path === ROOT ? '' : nameOf(path),
      linkTarget,
      attrs,
      content: seen.isTouched === true ? undefined : this.#contentAfter(op, seen, before),
      isIncomplete: false,
      seq: store.nextSeq(),
      // What somebody wrote to is not this link's alone any more.
      version: seen.isTouched === true ? [] : this.#versionAfter(op, seen, before),
    };
    if (path === ROOT) return store.putRoot(entry);
    const parentId = store.dirIdOf(parentOf(path));
    if (parentId !== undefined) store.put(parentId, entry);
    if (op.kind === 'set-meta' && stat.nlink > 1 && stat.type !== 'dir') this.#linked.set(stat.ino, entry);
    // Another name changed the inode's ctime and link count: the other names' rows follow.
    if (op.kind === 'link') this.#refreshNames(op.to, entry);
  }

  /** New content is this link's alone; what somebody wrote is not made this link's by anything else: it has no version. */
  #versionAfter(op: Op, {stat, found}: SeenEntry, before: Entry | undefined): VersionVector {
    const isNew = op.kind === 'put-file' || (isCreation(op) && op.kind !== 'link');
    if (isNew || stat.type === 'dir') {
      const version = before?.version ?? [];
      return bumped(isNew ? version.filter(({agent}) => agent === this.#agent) : version, this.#agent);
    }
    const known = op.kind === 'link' ? this.#linkedTo(op.to, stat) : before;
    if (known === undefined || known.version.length === 0) return [];
    return found !== undefined && !isAsRecorded(known, found) ? [] : bumped(known.version, this.#agent);
  }

  #refreshNames(path: RelPath, linked: Entry): void {
    const {ctime, nlink, attrs} = linked;
    const entry = this.#linkedTo(path, linked);
    const parentId = this.#parts.store.dirIdOf(parentOf(path));
    if (entry === undefined || parentId === undefined) return;
    this.#parts.store.put(parentId, {...entry, ctime, nlink, attrs});
  }

  /** The row of a file that got another name; undefined when somebody has touched it: a scan sees what. */
  #linkedTo(path: RelPath, linked: Stat): Entry | undefined {
    const entry = this.entryAt(path);
    return entry !== undefined && isUntouched(entry, {...linked, ctime: entry.ctime}) ? entry : undefined;
  }

  #contentAfter(op: Op, {stat, found}: SeenEntry, before: Entry | undefined): Digest | undefined {
    if (stat.type !== 'file') return undefined;
    if (op.kind === 'put-file') return Buffer.from(op.content);
    if (op.kind === 'link') return this.#linkedTo(op.to, stat)?.content;
    // The bytes are those that were known, as long as nobody else has touched it: only its name or metadata changed.
    const isKnown = before !== undefined && (found === undefined || isAsRecorded(before, found));
    return isKnown && before.ino === stat.ino && before.sizeBytes === stat.sizeBytes ? before.content : undefined;
  }

  recordDirs(dirs: readonly SeenDir[]): void {
    const {store} = this.#parts;
    for (const {path, stat, attrs} of dirs) {
      const entry = this.entryAt(path);
      if (entry === undefined || entry.type !== 'dir' || stat.type !== 'dir') continue;
      const after = {...entry, ...stat, attrs};
      if (path === ROOT) store.putRoot(after);
      else store.put(store.dirIdOf(parentOf(path)) as number, after);
    }
  }

  /**
   * Of a batch that was completed after a crash: files that were changed in place stay known as this link's, so that the
   * next change is made in place too; what they hold is read anew. What else it did is found by the scan that follows.
   */
  recordPatched(records: readonly JournalRecord[], switched: readonly Switched[]): void {
    for (const record of records) {
      const seen = switched.find(({index}) => index === record.index);
      if (record.kind !== 'patch' || seen?.stat === undefined) continue;
      const {path, sizeBytes} = record;
      const content = Buffer.from(record.content, 'hex');
      const source = {from: 'staged', transfer: 0} as const;
      const op: Op = {kind: 'put-file', path, sizeBytes, content, source, meta: metaOfJournal(record.meta)};
      this.record(op, {...seen, stat: seen.stat}, this.entryAt(path));
      this.doubt(path, failure('base-changed', path, 'after a crash'));
    }
    if (records.some(({kind}) => kind === 'patch')) this.#parts.store.flush(); // before the row is dropped
  }

  /** Something else was found than what is recorded: its content counts as unread, so that the digests differ. */
  doubt(path: RelPath, result: OpResult): void {
    if (result.status === 'done' || result.code !== 'base-changed' || path === ROOT) return;
    const entry = this.entryAt(path);
    const parentId = this.#parts.store.dirIdOf(parentOf(path));
    if (entry?.type !== 'file' || entry.content === undefined || parentId === undefined) return;
    this.#parts.store.put(parentId, {...entry, content: undefined});
  }
}

/** Whether a file is the one of a row. Another name that was made or went since has changed its ctime. */
function isAsRecorded(row: Entry, now: Stat): boolean {
  return isUntouched(row, row.nlink > 1 ? {...now, ctime: row.ctime} : now);
}

/** Where an operation's entry is once it is done. */
function placeOf(op: Op): RelPath {
  return op.kind === 'rename' || op.kind === 'exchange' ? op.to : op.path;
}
