/**
 * The digests of a volume's tree, stored per trie node and made again only where something changed, bottom up and
 * without recursion, so that depth costs no stack. How a digest is made is in model/tree.ts.
 *
 * Only entries of the view take part: with `special: skip` FIFOs, sockets and devices do not exist here, and of
 * metadata only what the view carries.
 *
 * Invariant: the shape of a trie follows from the names alone; a stored digest is that of the entries in its range.
 */
import type {SQLOutputValue} from 'node:sqlite';
import {ENTRY_TYPES, type Entry, type EntryType, type Meta} from '../model/entry.ts';
import {attrsDigest, NO_ATTRS} from '../model/attrs.ts';
import type {Digest} from '../model/digest.ts';
import {ROOT, type Name} from '../model/path.ts';
import {
  entryDigestBytes,
  innerNodeDigest,
  keyRange,
  leafNodeDigest,
  rdevOf,
  treeEntryOf,
  TRIE_DEPTH_MAX,
  TRIE_FANOUT,
  TRIE_LEAF_COUNT_MAX,
  type OwnTreeEntry,
  type Side,
  type TreeEntry,
  type TreeNode,
  type TrieChild,
} from '../model/tree.ts';
import {metaInView, typeEndOf, type View} from '../model/view.ts';
import {bufferOf, type Database, type SqlRow, type Statement} from './database.ts';
import {ROOT_ID, type Directories} from './directories.ts';
import {attrsOf, TYPE_DIR} from './entry-row.ts';
import {checkRow, SUMMED} from './row-sum.ts';

/** A place in a directory's trie. `node` is 256^depth + prefix: 1 is the root, the children of n are 256n + 0..255. */
interface Place {
  dir: number;
  node: number;
  depth: number;
}

/** A place being worked on, and what must be done before it. */
interface Frame extends Place {
  isInner: boolean;
  pendingNodes: number[];
  pendingDirs: number[];
}

const LEAF_COLUMNS = `e.name, e.type, e.mode, e.uid, e.gid, e.mtime_s, e.mtime_ns, e.size, e.content, e.link_target,
  e.incomplete, e.dir, d.digest, d.total, e.rdev, e.attrs, e.parent, e.key, e.sum`;
const LEAF_NAMES = LEAF_COLUMNS.split(',').map((column) => column.trim().replace('e.', ''));
const SUM_AT = LEAF_NAMES.length - 1;
const SUMMED_AT = SUMMED.map((column) => LEAF_NAMES.indexOf(column));
const NOTHING = Buffer.alloc(0);
const NO_META: Meta = {mode: 0, uid: 0, gid: 0, mtime: {s: 0, ns: 0}, attrs: NO_ATTRS};

export class TreeDigests {
  readonly #db: Database;
  readonly #directories: Directories;
  readonly #side: Side;
  readonly #leaf: Statement;
  readonly #wholeLeaf: Statement;
  readonly #root: Statement;
  readonly #node: Statement;
  readonly #children: Statement;
  readonly #putNode: Statement;
  readonly #putRoot: Statement;
  readonly #dropNodes: Statement;
  #view: View;
  /** Entries of types from here on are not in the view. */
  #typeEnd: number;

  constructor(db: Database, parts: {directories: Directories; side: Side; view: View}) {
    this.#db = db;
    this.#directories = parts.directories;
    this.#side = parts.side;
    this.#view = parts.view;
    this.#typeEnd = typeEndOf(parts.view);
    const leaf = `SELECT ${LEAF_COLUMNS} FROM entries e LEFT JOIN dirs d ON d.id = e.dir
      WHERE e.parent = ? AND e.key >= ? AND e.key < ? AND e.type < ? ORDER BY e.key, e.name`;
    this.#leaf = db.prepare(`${leaf} LIMIT ${TRIE_LEAF_COUNT_MAX + 1}`);
    this.#wholeLeaf = db.prepare(leaf);
    this.#root = db.prepare('SELECT digest, total FROM dirs WHERE id = ?');
    this.#node = db.prepare('SELECT digest, total FROM nodes WHERE dir = ? AND node = ?');
    this.#children = db.prepare(
      'SELECT node, digest, total FROM nodes WHERE dir = ? AND node >= ? AND node < ? ORDER BY node',
    );
    this.#putNode = db.prepare('INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?)');
    this.#putRoot = db.prepare('UPDATE dirs SET digest = ?, total = ?, is_split = ? WHERE id = ?');
    this.#dropNodes = db.prepare('DELETE FROM nodes WHERE dir = ?');
  }

  /** Types from this index of ENTRY_TYPES on are not in the view. */
  get typeEnd(): number {
    return this.#typeEnd;
  }

  /** Takes another view: every digest has to be made again. */
  setView(view: View): void {
    this.#view = view;
    this.#typeEnd = typeEndOf(view);
    this.#db.begin();
    this.#db.exec('UPDATE dirs SET digest = NULL, is_split = 0; DELETE FROM nodes');
    this.#directories.forget();
  }

  /** Digest of the trie of a known directory, and the count of entries below it in the view. */
  digestOf(dir: number): {digest: Digest; count: number} {
    this.#refresh(dir);
    const row = this.#root.get(dir) as SqlRow;
    return {digest: bufferOf(row[0]), count: row[1] as number};
  }

  /** Digest of the root's own metadata and all below it. @param root undefined: it equals nothing */
  rootDigest(root: Entry | undefined): Digest {
    const {digest, count} = this.digestOf(ROOT_ID);
    const nothing = {name: ROOT, type: 'dir', sizeBytes: 0, content: undefined, linkTarget: '', rdev: 0} as const;
    const tree =
      root === undefined
        ? {...nothing, meta: NO_META, attrs: undefined, subtree: undefined, count, isIncomplete: true}
        : {...this.inView(root), name: ROOT, subtree: digest, count};
    return leafNodeDigest([this.bytesOf(tree)]);
  }

  /** An entry as the view has it; a directory without what is below. */
  inView(entry: Entry): OwnTreeEntry {
    return treeEntryOf(entry, this.#view);
  }

  /** The bytes of a directory's entry whose trie has a digest, as they are digested. */
  bytesOf(entry: TreeEntry): Buffer {
    return entryDigestBytes(entry, this.#view, this.#side);
  }

  /** One node, for a peer that compares; absent for an unknown directory or an empty range. */
  node(dir: number, prefix: Buffer): TreeNode<OwnTreeEntry> {
    if (prefix.length > TRIE_DEPTH_MAX || this.#directories.find(dir) === undefined) return {kind: 'absent'};
    this.#refresh(dir);
    const place = {dir, node: [...prefix].reduce((node, byte) => node * TRIE_FANOUT + byte, 1), depth: prefix.length};
    const node = this.#nodeAt(place);
    this.#checkStored(place, node);
    return node;
  }

  #nodeAt(place: Place): TreeNode<OwnTreeEntry> {
    const rows = this.#leafRows(place);
    if (rows !== undefined) {
      if (rows.length === 0 && place.depth > 0) return {kind: 'absent'};
      const entries = rows.map((row) => this.#treeEntryOf(row));
      return {kind: 'leaf', digest: this.#leafDigest(entries), count: countOf(entries), entries};
    }
    const children = this.#childrenOf(place);
    return {kind: 'inner', digest: innerNodeDigest(children), count: countOfChildren(children), children};
  }

  /**
   * A walk comes by where two trees differ, so also where one of them is damaged: in what was digested, or in the digest.
   * @throws STATE_DAMAGED
   */
  #checkStored({dir, node: number, depth}: Place, node: TreeNode<OwnTreeEntry>): void {
    const row = depth === 0 ? this.#root.get(dir) : this.#node.get(dir, number);
    if (row === undefined) return; // a part of a leaf
    const stored = bufferOf(row[0]);
    const [digest, count] = node.kind === 'absent' ? [NOTHING, 0] : [node.digest, node.count];
    if (!stored.equals(digest) || row[1] !== count) throw this.#db.damaged(`a digest of directory ${dir} is wrong`);
  }

  /** Makes the stale digests at and below a directory. */
  #refresh(dir: number): void {
    if (!this.#directories.get(dir).isStale) return;
    const stack: Frame[] = [frameOf({dir, node: 1, depth: 0})];
    for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
      const node = frame.pendingNodes.pop();
      const below = node === undefined ? frame.pendingDirs.pop() : undefined;
      if (node !== undefined) stack.push(frameOf({dir: frame.dir, node, depth: frame.depth + 1}));
      else if (below !== undefined) stack.push(frameOf({dir: below, node: 1, depth: 0}));
      else if (this.#visit(frame)) stack.pop();
    }
  }

  /** Stores the digest of a place, or notes what must be made before. @returns whether it is done */
  #visit(frame: Frame): boolean {
    if (frame.isInner) {
      const children = this.#childrenOf(frame);
      this.#store(frame, innerNodeDigest(children), countOfChildren(children));
      return true;
    }
    const rows = this.#leafRows(frame);
    if (rows === undefined) {
      this.#openInner(frame);
      return false;
    }
    for (const row of rows) {
      if (row[1] !== TYPE_DIR || row[12] !== null) continue;
      const below = row[11] as number;
      if (this.#directories.get(below).parentId !== frame.dir) throw this.#directories.misplaced(below); // a circle
      frame.pendingDirs.push(below);
    }
    if (frame.pendingDirs.length > 0) return false;
    const entries = rows.map((row) => this.#treeEntryOf(row));
    this.#store(frame, rows.length === 0 && frame.depth > 0 ? NOTHING : this.#leafDigest(entries), countOf(entries));
    return true;
  }

  #openInner(frame: Frame): void {
    frame.isInner = true;
    const known = new Set(this.#childRows(frame).map((row) => row[0] as number));
    const first = frame.node * TRIE_FANOUT;
    // The last one first, so that they are taken, and rows are added, in ascending order: descending ones would split
    // a page of the table each time, at fifty times the cost.
    for (let node = first + TRIE_FANOUT - 1; node >= first; node--) if (!known.has(node)) frame.pendingNodes.push(node);
    // Said before the first node is stored: a change must know that there are nodes to drop.
    if (frame.depth === 0) this.#directories.markSplit(frame.dir);
  }

  #store(frame: Frame, digest: Buffer, total: number): void {
    if (frame.depth > 0) this.#putNode.run(frame.dir, frame.node, digest, total);
    else {
      if (!frame.isInner) this.#dropNodes.run(frame.dir);
      this.#putRoot.run(digest, total, frame.isInner ? 1 : 0, frame.dir);
      this.#directories.noteFresh(frame.dir, frame.isInner);
    }
    this.#db.wrote(1);
  }

  /** The rows of a range that makes a leaf; undefined when it makes an inner node. */
  #leafRows(place: Place): SqlRow[] | undefined {
    const {from, to} = rangeOf(place);
    const statement = place.depth < TRIE_DEPTH_MAX ? this.#leaf : this.#wholeLeaf;
    const rows = statement.all(place.dir, from, to, this.#typeEnd);
    return rows.length > TRIE_LEAF_COUNT_MAX && place.depth < TRIE_DEPTH_MAX ? undefined : rows;
  }

  /** @throws STATE_DAMAGED when the row is not as it was written */
  #treeEntryOf(row: SqlRow): OwnTreeEntry {
    checkRow(row, {at: SUMMED_AT, sumAt: SUM_AT, db: this.#db});
    return treeEntryOfRow(row, this.#view);
  }

  #childRows(place: Place): SqlRow[] {
    const first = place.node * TRIE_FANOUT;
    return this.#children.all(place.dir, first, first + TRIE_FANOUT);
  }

  #childrenOf(place: Place): TrieChild[] {
    const children: TrieChild[] = [];
    for (const [node, digest, count] of this.#childRows(place)) {
      const bytes = bufferOf(digest);
      if (bytes.length > 0)
        children.push({index: (node as number) % TRIE_FANOUT, digest: bytes, count: count as number});
    }
    return children;
  }

  #leafDigest(entries: TreeEntry[]): Digest {
    return leafNodeDigest([Buffer.concat(entries.map((entry) => this.bytesOf(entry)))]);
  }
}

function frameOf(place: Place): Frame {
  return {...place, isInner: false, pendingNodes: [], pendingDirs: []};
}

function rangeOf(place: Place): {from: number; to: number} {
  if (place.depth === 0) return keyRange(NOTHING);
  const span = 256 ** (TRIE_DEPTH_MAX - place.depth);
  const from = (place.node - 256 ** place.depth) * span;
  return {from, to: from + span};
}

function treeEntryOfRow(row: SqlRow, view: View): OwnTreeEntry {
  const type = ENTRY_TYPES[row[1] as number] as EntryType;
  const isDir = row[1] === TYPE_DIR;
  const whole = {
    mode: row[2] as number,
    uid: row[3] as number,
    gid: row[4] as number,
    mtime: {s: row[5] as number, ns: row[6] as number},
    attrs: attrsOf(row[15]),
  };
  const meta = metaInView(whole, type, view);
  return {
    name: row[0] as Name,
    type,
    meta,
    attrs: attrsDigest(meta.attrs),
    sizeBytes: row[7] as number,
    content: optional(row[8]),
    linkTarget: (row[9] as string | null) ?? '',
    rdev: rdevOf({type, rdev: row[14] as number}),
    subtree: isDir ? optional(row[12]) : undefined,
    count: isDir ? (row[13] as number) : 0,
    isIncomplete: row[10] === 1,
  };
}

function optional(value: SQLOutputValue | undefined): Buffer | undefined {
  return value === null ? undefined : bufferOf(value);
}

function countOf(entries: readonly TreeEntry[]): number {
  return entries.reduce((count, entry) => count + 1 + entry.count, 0);
}

function countOfChildren(children: readonly TrieChild[]): number {
  return children.reduce((count, child) => count + child.count, 0);
}
