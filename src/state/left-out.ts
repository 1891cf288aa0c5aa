/**
 * Counts entries that a view leaves out. Each kind that is asked for gets an index of its own, made when it is first
 * needed: an answer costs what there is of the kind, not what there is in the volume; but for times and permissions,
 * which nearly every entry has.
 */
import {classOf, decodeAttrs, type XattrClass} from '../model/attrs.ts';
import {ENTRY_TYPES} from '../model/entry.ts';
import {LEFT_OUT_COUNT_MAX, LEFT_OUT_EXAMPLES, type LeftOut, type LeftOutKind} from '../model/left-out.ts';
import {joinPath, type Name, type RelPath} from '../model/path.ts';
import type {Holding} from '../model/view.ts';
import {bufferOf, type Database, type SqlRow} from './database.ts';
import type {Directories} from './directories.ts';

const LIMIT = `LIMIT ${LEFT_OUT_COUNT_MAX + 1}`;
const [FILE, SYMLINK, FIFO, SOCKET] = (['file', 'symlink', 'fifo', 'socket'] as const).map((type) =>
  ENTRY_TYPES.indexOf(type),
);
const SPECIAL = `type > ${SYMLINK}`;
const SETUID = `type = ${FILE} AND mode & 3072 <> 0`;
/** How names of a class begin in the canonical bytes; a value may hold it too, so what is found is looked at. */
const PREFIX: Record<XattrClass, string> = {
  user: 'user.',
  trusted: 'trusted.',
  acl: 'system.posix_acl_',
  capability: 'security.capability',
};
const NS_PER_S = 1_000_000_000;

export class LeftOutQueries {
  readonly #db: Database;
  readonly #directories: Directories;
  readonly #typeEnd: () => number;
  readonly #indexed = new Set<string>();

  /** @param parts `typeEnd`: what is of no type of the view is not counted once more for its owner */
  constructor(db: Database, parts: {directories: Directories; typeEnd: () => number}) {
    this.#db = db;
    this.#directories = parts.directories;
    this.#typeEnd = parts.typeEnd;
  }

  /** @param target what it holds: its precision of times, and whose what it makes is */
  count(kind: LeftOutKind, target: Pick<Holding, 'limits' | 'owner'>): LeftOut {
    if (kind === 'owners') return this.#owners(target.owner);
    const rows = this.#rowsOf(kind, target.limits.timePrecisionNs);
    return {kind, count: rows.length, examples: this.#paths(rows.slice(0, LEFT_OUT_EXAMPLES))};
  }

  #rowsOf(kind: Exclude<LeftOutKind, 'owners'>, precisionNs: number): SqlRow[] {
    switch (kind) {
      case 'special':
        this.#index('special', '(type)', SPECIAL);
        return this.#all(`${SPECIAL} AND type IN (${FIFO}, ${SOCKET})`);
      case 'devices':
        this.#index('special', '(type)', SPECIAL);
        return this.#all(`${SPECIAL} AND type > ${SOCKET}`);
      case 'flags':
        return this.#all(`flags <> 0 AND ${this.#inView()}`);
      case 'setuid':
        this.#index('setuid', '(type)', SETUID);
        return this.#all(SETUID);
      case 'modes':
        return this.#all(`type <> ${SYMLINK} AND ${this.#inView()}`);
      case 'timePrecisionNs': {
        const isCut =
          precisionNs <= NS_PER_S
            ? `mtime_ns % ${precisionNs} <> 0`
            : `(mtime_ns <> 0 OR CAST(mtime_s AS INTEGER) % ${Math.round(precisionNs / NS_PER_S)} <> 0)`;
        return this.#all(`${isCut} AND ${this.#inView()}`);
      }
      default:
        return this.#withClass(kind);
    }
  }

  #withClass(kind: XattrClass): SqlRow[] {
    const has = `attrs IS NOT NULL AND instr(attrs, X'${Buffer.from(PREFIX[kind]).toString('hex')}') > 0`;
    this.#index(`attrs_${kind}`, '(parent)', has);
    const found: SqlRow[] = [];
    for (const row of this.#db
      .prepare(`SELECT parent, name, attrs FROM entries WHERE ${has} AND ${this.#inView()}`)
      .each()) {
      if (decodeAttrs(bufferOf(row[2])).some(({name}) => classOf(name) === kind)) found.push(row);
      if (found.length > LEFT_OUT_COUNT_MAX) break;
    }
    return found;
  }

  /** From one owner to the next: there are few. */
  #owners({uid, gid}: Holding['owner']): LeftOut {
    this.#index('owner', '(uid, gid, type)', undefined);
    const next = this.#db.prepare('SELECT uid, gid FROM entries WHERE (uid, gid) > (?, ?) ORDER BY uid, gid LIMIT 1');
    const of = this.#db.prepare(
      `SELECT parent, name FROM entries WHERE uid = ? AND gid = ? AND ${this.#inView()} ${LIMIT}`,
    );
    const left: LeftOut = {kind: 'owners', count: 0, examples: []};
    for (let row = next.get(-1, -1); row !== undefined && left.count <= LEFT_OUT_COUNT_MAX;) {
      const [u, g] = row as [number, number];
      if (u !== uid || g !== gid) {
        const rows = of.all(u, g);
        left.examples.push(...this.#paths(rows.slice(0, LEFT_OUT_EXAMPLES - left.examples.length)));
        left.count = Math.min(LEFT_OUT_COUNT_MAX + 1, left.count + rows.length);
      }
      row = next.get(u, g);
    }
    return left;
  }

  #inView(): string {
    return `type < ${this.#typeEnd()}`;
  }

  #all(where: string): SqlRow[] {
    return this.#db.prepare(`SELECT parent, name FROM entries WHERE ${where} ${LIMIT}`).all();
  }

  #index(name: string, columns: string, where: string | undefined): void {
    if (this.#indexed.has(name)) return;
    this.#db.begin();
    const partial = where === undefined ? '' : `WHERE ${where}`;
    this.#db.exec(`CREATE INDEX IF NOT EXISTS entries_${name} ON entries ${columns} ${partial}`);
    this.#indexed.add(name);
  }

  #paths(rows: readonly SqlRow[]): RelPath[] {
    return rows.map(([parent, name]) =>
      parent === 0 ? '' : joinPath(this.#directories.pathOf(parent as number), name as Name),
    );
  }
}
