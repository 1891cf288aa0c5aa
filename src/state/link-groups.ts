/**
 * Hard-link groups of a volume: which paths are names of one inode. Built when asked for, in temporary tables, one
 * group in memory at a time, and kept until a linked entry changes or a directory moves.
 *
 * Invariant: groups follow from paths and inodes alone: paths sorted bytewise, groups by their first path.
 */
import {createHash} from 'node:crypto';
import {sha256, TREE_DIGEST_VERSION, type Digest} from '../model/digest.ts';
import {joinPath, type Name, type RelPath} from '../model/path.ts';
import type {Database, Statement} from './database.ts';
import type {Directories} from './directories.ts';

const HEADER = Buffer.from([TREE_DIGEST_VERSION, 2]);
/** The digest of a volume in which no inode has two names. */
export const NO_GROUPS: Digest = sha256(HEADER);
const SEPARATOR = '//'; // in no path, nor at the end of one

export class LinkGroups {
  readonly #db: Database;
  readonly #directories: Directories;
  readonly #typeEnd: () => number;
  readonly #any: Statement;
  readonly #linked: Statement;
  readonly #found: Statement;
  readonly #sorted: Statement;
  readonly #page: Statement;
  readonly #apart: Statement;
  #digest: Digest | undefined;

  /** @param parts `typeEnd` tells from which type on entries are not in the view */
  constructor(db: Database, parts: {directories: Directories; typeEnd: () => number}) {
    this.#db = db;
    this.#directories = parts.directories;
    this.#typeEnd = parts.typeEnd;
    const linked = 'FROM entries INDEXED BY entries_linked WHERE nlink > 1 AND type <> 1';
    this.#any = db.prepare(`SELECT 1 ${linked} LIMIT 1`);
    this.#linked = db.prepare(
      `SELECT ino, btime_s, btime_ns, parent, name ${linked} AND type < ? ORDER BY ino, btime_s, btime_ns`,
    );
    const isApart = 'min(ctime_s) <> max(ctime_s) OR min(ctime_ns) <> max(ctime_ns)';
    this.#apart = db.prepare(`SELECT ino ${linked} GROUP BY ino, btime_s, btime_ns HAVING ${isApart} LIMIT ?`);
    this.#found = db.prepare('INSERT INTO found_groups VALUES (?, ?)');
    this.#sorted = db.prepare('SELECT paths FROM link_groups ORDER BY ordinal');
    this.#page = db.prepare('SELECT ordinal, paths FROM link_groups WHERE ordinal > ? ORDER BY ordinal LIMIT ?');
  }

  /** A linked entry changed, or paths did. */
  markStale(): void {
    this.#digest = undefined;
  }

  digest(): Digest {
    this.#digest ??= this.#any.get() === undefined ? this.#none() : this.#build();
    return this.#digest;
  }

  /**
   * @param after 0 for the first page, then `next` of the page before
   * @returns at most `countMax` groups; `next` is 0 at the end
   */
  page(after: number, countMax: number): {groups: RelPath[][]; next: number} {
    this.digest();
    const rows = this.#page.all(after, countMax + 1);
    const groups = rows.slice(0, countMax).map((row) => (row[1] as string).split(SEPARATOR));
    return {groups, next: rows.length > countMax ? (rows[countMax - 1]?.[0] as number) : 0};
  }

  /**
   * Inodes whose names were seen at different moments: what happened in between is known of some of them alone.
   * @returns at most `countMax`
   */
  apart(countMax: number): number[] {
    return this.#apart.all(countMax).map(([ino]) => ino as number);
  }

  #none(): Digest {
    this.#db.exec('DELETE FROM temp.link_groups');
    return NO_GROUPS;
  }

  #build(): Digest {
    this.#db.begin(); // or each row would be a transaction
    this.#db.exec('DELETE FROM temp.found_groups; DELETE FROM temp.link_groups');
    let inode = '';
    let paths: RelPath[] = [];
    const end = (): void => {
      paths.sort();
      if (paths.length > 1) this.#found.run(paths[0] as string, paths.join(SEPARATOR));
      paths = [];
    };
    for (const [ino, btimeS, btimeNs, parentId, name] of this.#linked.each(this.#typeEnd())) {
      const found = `${String(ino)}/${String(btimeS)}/${String(btimeNs)}`;
      if (found !== inode) end();
      inode = found;
      paths.push(joinPath(this.#directories.pathOf(parentId as number), name as Name));
    }
    end();
    this.#db.exec(`INSERT INTO temp.link_groups (paths) SELECT paths FROM temp.found_groups ORDER BY first;
      DELETE FROM temp.found_groups`);
    return this.#digestOfSorted();
  }

  #digestOfSorted(): Digest {
    const sum = createHash('sha256').update(HEADER);
    const length = Buffer.alloc(4);
    for (const [paths] of this.#sorted.each()) {
      length.writeUInt32BE((paths as string).length);
      sum.update(length).update(paths as string, 'latin1');
    }
    return sum.digest();
  }
}
