/**
 * The tables of `agent.db`, and the statements that its notes are read and written with.
 */
import {PROBLEM_CODES, type Problem, type ProblemCode} from '../model/problem.ts';
import type {RelPath} from '../model/path.ts';
import type {Database, SqlRow} from './database.ts';

export const AGENT_SCHEMA_VERSION = 2;
export const AGENT_SCHEMA = `
CREATE TABLE problems (
  scope TEXT NOT NULL, side TEXT NOT NULL, path TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,
  first_seen REAL NOT NULL, last_seen REAL NOT NULL, next_try REAL,
  PRIMARY KEY (scope, side, path)
) WITHOUT ROWID, STRICT;
CREATE TABLE sealed (
  scope TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, sum BLOB NOT NULL,
  PRIMARY KEY (scope, name)
) WITHOUT ROWID, STRICT;
`;
const COLUMNS = 'side, path, code, message, first_seen, last_seen, next_try';
/** Version 1 knew one link only, which is the scope '' now; its checksums stay valid. */
export const AGENT_FROM_1 = `
DROP INDEX problems_due;
ALTER TABLE problems RENAME TO problems_1;
ALTER TABLE sealed RENAME TO sealed_1;
${AGENT_SCHEMA}
INSERT INTO problems (scope, ${COLUMNS}) SELECT '', ${COLUMNS} FROM problems_1;
INSERT INTO sealed (scope, name, body, sum) SELECT '', name, body, sum FROM sealed_1;
DROP TABLE problems_1;
DROP TABLE sealed_1;
`;

/** Prepared once for all scopes; the scope is their first value. */
export type AgentStatements = ReturnType<typeof prepareStatements>;

export function prepareStatements(db: Database) {
  const problem = `SELECT ${COLUMNS} FROM problems WHERE scope = ?`;
  return {
    upsert: db.prepare(`INSERT INTO problems (scope, ${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (scope, side, path) DO UPDATE SET code = excluded.code, message = excluded.message,
        last_seen = excluded.last_seen, next_try = excluded.next_try`),
    clear: db.prepare('DELETE FROM problems WHERE scope = ? AND side = ? AND path = ?'),
    clearAll: db.prepare('DELETE FROM problems WHERE scope = ?'),
    page: db.prepare(`${problem} AND (side, path) > (?, ?) ORDER BY side, path LIMIT ?`),
    one: db.prepare(`${problem} AND side = ? AND path = ?`),
    count: db.prepare('SELECT count(*) FROM problems WHERE scope = ?'),
    seal: db.prepare('INSERT OR REPLACE INTO sealed (scope, name, body, sum) VALUES (?, ?, ?, ?)'),
    unseal: db.prepare('SELECT body, sum FROM sealed WHERE scope = ? AND name = ?'),
    unsealAll: db.prepare('DELETE FROM sealed WHERE scope = ?'),
    dropSealed: db.prepare('DELETE FROM sealed WHERE scope = ? AND name = ?'),
  };
}

export function problemOf(row: SqlRow): Problem {
  const [side, path, code, message, firstSeenMs, lastSeenMs, nextTryMs] = row;
  return {
    side: side as Problem['side'],
    path: path as RelPath,
    code: PROBLEM_CODES.includes(code as ProblemCode) ? (code as ProblemCode) : 'internal',
    message: message as string,
    firstSeenMs: firstSeenMs as number,
    lastSeenMs: lastSeenMs as number,
    nextTryMs: (nextTryMs as number | null) ?? undefined,
  };
}
