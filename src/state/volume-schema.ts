/**
 * The tables of `volume.db`. Wide numbers (inodes, sizes, seconds) are REAL: SQLite keeps whole ones as integers on
 * disk, and one above 2^53 is read back as it was written instead of failing. Names and paths are TEXT whose code
 * points are the bytes: it sorts bytewise and is read faster than a BLOB.
 *
 * Invariant: a directory without a digest has only ancestors without one, and no trie node stands above it.
 */

export const VOLUME_SCHEMA_VERSION = 3;

/** Columns of an entry beside its place (parent, key, name), in the order in which they are written and read. */
export const ENTRY_COLUMNS = [
  'type INTEGER NOT NULL',
  'dir INTEGER NOT NULL', // own id of a directory, else 0
  'mode INTEGER NOT NULL',
  'uid INTEGER NOT NULL',
  'gid INTEGER NOT NULL',
  'size REAL NOT NULL',
  'allocated REAL NOT NULL',
  'mtime_s REAL NOT NULL',
  'mtime_ns INTEGER NOT NULL',
  'ctime_s REAL NOT NULL',
  'ctime_ns INTEGER NOT NULL',
  'btime_s REAL NOT NULL',
  'btime_ns INTEGER NOT NULL',
  'ino REAL NOT NULL',
  'nlink INTEGER NOT NULL',
  'rdev INTEGER NOT NULL',
  'mount INTEGER NOT NULL',
  'content BLOB', // of a file that was read
  'content_key INTEGER', // first 6 bytes of the content of a file that is not empty
  'link_target TEXT',
  'incomplete INTEGER NOT NULL',
  'seq INTEGER NOT NULL',
  'version BLOB',
  'attrs BLOB', // of an entry that has extended attributes: their canonical bytes
  'flags INTEGER NOT NULL DEFAULT 0', // of chattr, as statx tells them
  'sum INTEGER NOT NULL DEFAULT 0', // of what is sent as it stands here (row-sum.ts); 0: none
] as const;

/** Names of the columns above. */
export const ENTRY_COLUMN_NAMES = ENTRY_COLUMNS.map((column) => column.slice(0, column.indexOf(' ')));

/** Files from this size on are found by their size: to see whether a new one may be a copy of another. */
export const INDEXED_SIZE_BYTES = 65_536;

export const VOLUME_SCHEMA = `
CREATE TABLE entries (
  parent INTEGER NOT NULL, key INTEGER NOT NULL, name TEXT NOT NULL,
  ${ENTRY_COLUMNS.join(', ')},
  PRIMARY KEY (parent, key, name)
) WITHOUT ROWID, STRICT;
CREATE INDEX entries_ino ON entries (ino) WHERE ino <> 0;
CREATE INDEX entries_content ON entries (content_key) WHERE content_key IS NOT NULL;
CREATE INDEX entries_size ON entries (size) WHERE size >= ${INDEXED_SIZE_BYTES};
CREATE INDEX entries_flags ON entries (flags) WHERE flags <> 0;
CREATE INDEX entries_linked ON entries (ino, btime_s, btime_ns) WHERE nlink > 1 AND type <> 1;
CREATE TABLE dirs (
  id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, key INTEGER NOT NULL, name TEXT NOT NULL,
  digest BLOB, -- of its trie's root; NULL: to be made again
  total INTEGER NOT NULL DEFAULT 0, -- entries below, as of the digest
  is_split INTEGER NOT NULL DEFAULT 0, -- whether rows of nodes may stand for it
  fingerprint BLOB
) STRICT;
CREATE INDEX dirs_parent ON dirs (parent);
-- Below a trie's root. node = 256^depth + prefix; an empty digest: nothing in that range. No row: to be made again.
CREATE TABLE nodes (
  dir INTEGER NOT NULL, node INTEGER NOT NULL, digest BLOB NOT NULL, total INTEGER NOT NULL,
  PRIMARY KEY (dir, node)
) WITHOUT ROWID, STRICT;
CREATE TABLE counters (
  id INTEGER PRIMARY KEY, entries INTEGER NOT NULL, unread INTEGER NOT NULL, next_dir INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;
INSERT INTO dirs (id, parent, key, name) VALUES (1, 0, 0, '');
INSERT INTO counters VALUES (1, 0, 0, 2, 0);
CREATE TABLE signatures (
  content BLOB PRIMARY KEY, block_bytes INTEGER NOT NULL, size REAL NOT NULL, seed BLOB NOT NULL,
  bytes INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX signatures_used ON signatures (used);
CREATE TABLE signature_rows (
  content BLOB NOT NULL, leaf INTEGER NOT NULL, row BLOB NOT NULL, PRIMARY KEY (content, leaf)
) WITHOUT ROWID, STRICT;
`;

/**
 * Makes the next scan look at every entry, its content kept: a count of links that nothing has differs from what is
 * found, as does, of the root, which no listing shows, the mode.
 */
export const LOOK_AGAIN = `UPDATE entries SET nlink = 0 WHERE parent <> 0; UPDATE entries SET mode = 65535, sum = 0 WHERE parent = 0;
  UPDATE dirs SET fingerprint = NULL;`;

/** Version 1 did not look at attributes and flags, version 2 had no checksums of rows. */
export const VOLUME_UPGRADES: Readonly<Record<number, string>> = {
  1: `ALTER TABLE entries RENAME COLUMN xattrs TO attrs;
    ALTER TABLE entries ADD COLUMN flags INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX entries_flags ON entries (flags) WHERE flags <> 0;
    UPDATE entries SET nlink = 0 WHERE parent <> 0; UPDATE entries SET mode = 65535 WHERE parent = 0;
    UPDATE dirs SET fingerprint = NULL;`,
  2: 'ALTER TABLE entries ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;',
};

/** Tables that live as long as the process. */
export const VOLUME_TEMP_SCHEMA = `
CREATE TEMP TABLE found_groups (first TEXT NOT NULL, paths TEXT NOT NULL);
CREATE TEMP TABLE link_groups (ordinal INTEGER PRIMARY KEY, paths TEXT NOT NULL);
`;
