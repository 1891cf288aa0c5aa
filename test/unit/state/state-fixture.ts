/**
 * Stores in temporary folders, and entries to fill them with.
 */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {onTestFinished} from 'vitest';
import {sha256} from '../../../src/model/digest.ts';
import type {Entry} from '../../../src/model/entry.ts';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import {joinPath, type RelPath} from '../../../src/model/path.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import {isUnread, type StoredEntry} from '../../../src/state/entry-row.ts';
import {openVolumeStore, type VolumeStore, type VolumeStoreOptions} from '../../../src/state/volume-store.ts';

/** A new folder that goes with the test. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'towline-state-'));
  onTestFinished(() => rmSync(folder, {recursive: true, force: true}));
  return folder;
}

/** A store that is closed with the test. */
export function openStore(options: Partial<VolumeStoreOptions> = {}): VolumeStore {
  const store = openVolumeStore({place: ':memory:', side: 'source', view: PLAIN_VIEW, bootId: 'boot-1', ...options});
  onTestFinished(() => store.close());
  return store;
}

let lastIno = 1_000;

/** An entry with an inode of its own. */
export function entry(name: string, changes: Partial<Entry> = {}): Entry {
  const type = changes.type ?? 'file';
  return {
    name,
    type,
    mode: 0o644,
    uid: 1_000,
    gid: 1_000,
    sizeBytes: 4_096,
    allocatedBytes: 4_096,
    mtime: {s: 1_700_000_000, ns: 123_456_789},
    ctime: {s: 1_700_000_001, ns: 987_654_321},
    btime: {s: 1_699_999_999, ns: 1},
    ino: ++lastIno,
    nlink: 1,
    rdev: 0,
    mountId: 21,
    content: type === 'file' ? sha256(Buffer.from(name, 'latin1')) : undefined,
    linkTarget: type === 'symlink' ? 'elsewhere' : '',
    attrs: NO_ATTRS,
    isIncomplete: false,
    seq: 7,
    version: [],
    ...changes,
  };
}

export function directory(name: string, changes: Partial<Entry> = {}): Entry {
  return entry(name, {type: 'dir', mode: 0o755, content: undefined, ...changes});
}

/** The files of a store whose content is not known, with their paths. */
export function unreadIn(store: VolumeStore, dirId = store.root(), path: RelPath = ''): UnreadFile[] {
  return [...store.children(dirId)].flatMap((entry): UnreadFile[] => {
    const at = joinPath(path, entry.name);
    if (entry.type === 'dir') return unreadIn(store, entry.dirId, at);
    return isUnread(entry) ? [{path: at, entry}] : [];
  });
}

interface UnreadFile {
  path: RelPath;
  entry: StoredEntry;
}
