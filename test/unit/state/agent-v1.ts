/**
 * An `agent.db` of format 1, as the version that wrote it left it: SQL with the very rows and checksums.
 */
import {chmodSync} from 'node:fs';
import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';

const SQL = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) WITHOUT ROWID, STRICT;
CREATE TABLE problems (
  side TEXT NOT NULL, path TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,
  first_seen REAL NOT NULL, last_seen REAL NOT NULL, next_try REAL,
  PRIMARY KEY (side, path)
) WITHOUT ROWID, STRICT;
CREATE INDEX problems_due ON problems (next_try) WHERE next_try IS NOT NULL;
CREATE TABLE sealed (name TEXT PRIMARY KEY, body TEXT NOT NULL, sum BLOB NOT NULL) WITHOUT ROWID, STRICT;
INSERT INTO meta VALUES ('boot', 'boot-1'), ('open', 0);
INSERT INTO problems VALUES
  ('source', 'b\u00ff', 'changing', 'cannot be read', 1000, 9000, 20000),
  ('target', 'a', 'unreadable', 'cannot be read', 1000, 1000, NULL);
INSERT INTO sealed VALUES
  ('confirmation', '{"count":60}', x'418d318cde4bfecae3c4b1b6d5531764af0fb07c614b686fdbad65e665482955'),
  ('halt', '{"kind":"delete-share","count":60,"limit":50,"message":"too many","sinceMs":7}',
    x'd04fc0d72ade892ccb6da2565a545d10a80df7b6545558563e612def2f60a973'),
  ('link', '{"epoch":3,"ackedSeq":9,"peerStateId":"01010101010101010101010101010101","lastInSync":{"atMs":5,"digest":"0202020202020202020202020202020202020202020202020202020202020202"}}',
    x'b5df7a31205a9cf1fe484dc551178db4e4c4b2af6c3b532680789f93208182b5'),
  ('root', '{"path":"/srv/caf\u00c3\u00a9","mark":"ab12","filesystem":"uuid","ino":2,"btimeS":1700000000,"btimeNs":5}',
    x'd6f5e46d0150f82e135e0835c4addc6a08aec4cdf0df0e821bae780c7c1962b3');
PRAGMA user_version = 1;
`;

/** Makes the file in a folder; `alsoSql` changes it. */
export function makeAgentV1(folder: string, alsoSql = ''): void {
  const path = join(folder, 'agent.db');
  const db = new DatabaseSync(path);
  db.exec(`PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; ${SQL} ${alsoSql}`);
  db.close();
  chmodSync(path, 0o600);
}
