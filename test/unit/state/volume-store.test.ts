import {join} from 'node:path';
import {DatabaseSync} from 'node:sqlite';
import {describe, expect, test} from 'vitest';
import {encodeAttrs} from '../../../src/model/attrs.ts';
import {sha256} from '../../../src/model/digest.ts';
import {isSameListed, isUntouched, type Entry} from '../../../src/model/entry.ts';
import {PLAIN_VIEW} from '../../../src/model/view.ts';
import {NO_GROUPS} from '../../../src/state/link-groups.ts';
import {openVolumeStore} from '../../../src/state/volume-store.ts';
import {directory, entry, newFolder, openStore, unreadIn} from './state-fixture.ts';

const EVERY_BYTE = Array.from({length: 255}, (_, index) => String.fromCharCode(index + 1))
  .filter((char) => char !== '/')
  .join('');

describe('entries', () => {
  test('an entry with every name byte and numbers beyond 2^53 comes back as it went in, also after a reopening', () => {
    const place = {folder: newFolder()};
    const odd: Entry = entry(EVERY_BYTE, {
      type: 'symlink',
      content: undefined,
      linkTarget: EVERY_BYTE,
      ino: 2 ** 63 + 2 ** 60,
      sizeBytes: 2 ** 53 + 2,
      mtime: {s: -(2 ** 55), ns: 999_999_999},
      btime: {s: 2 ** 60, ns: 0},
      rdev: 4_095 * 2 ** 32 + 7,
      seq: 2 ** 40,
      version: [
        {agent: '0011223344556677', counter: 2 ** 45},
        {agent: 'ffeeddccbbaa9988', counter: 1},
      ],
    });
    const first = openStore({place});
    first.put(1, odd);
    first.close();
    const store = openStore({place});
    expect(store.get(1, EVERY_BYTE)).toEqual({...odd, parentId: 1, dirId: 0});
    expect([...store.children(1)]).toEqual([{...odd, parentId: 1, dirId: 0}]);
    expect(store.findByInode(odd.ino)[0]?.entry.name).toBe(EVERY_BYTE);
  });

  test('a directory that is put again keeps its id and what is below; one that becomes a file loses it', () => {
    const store = openStore();
    const dir = store.put(1, directory('d'));
    store.put(store.put(dir, directory('e')), entry('f'));
    expect(store.put(1, directory('d', {mode: 0o700}))).toBe(dir);
    expect(store.resolve('d/e/f')?.entry.name).toBe('f');
    expect(store.put(1, entry('d'))).toBe(0);
    expect(store.entryCount()).toBe(1);
    expect(store.dirIdOf('d/e')).toBeUndefined();
    expect(store.put(1, directory('d'))).not.toBe(dir);
    expect(store.resolve('d/e/f')).toBeUndefined();
  });

  test('renaming a directory of 1,000 files changes two rows and all paths', () => {
    const store = openStore();
    const dir = store.put(1, directory('old'));
    for (let index = 0; index < 1_000; index++) store.put(dir, entry(`f${index}`));
    const other = store.put(1, directory('other'));
    expect(store.pathOf(dir)).toBe('old');
    expect(store.dirIdOf('old')).toBe(dir);
    store.move(1, 'old', other, 'new', {ctime: {s: 5, ns: 6}});
    expect(store.pathOf(dir)).toBe('other/new');
    expect(store.dirIdOf('old')).toBeUndefined();
    expect(store.resolve('other/new/f999')?.parentId).toBe(dir);
    expect(store.get(other, 'new')).toMatchObject({dirId: dir, ctime: {s: 5, ns: 6}});
    expect(store.entryCount()).toBe(1_002);
  });

  test('a move replaces what stood there, is refused below itself, and says when there is nothing to move', () => {
    const store = openStore();
    const a = store.put(1, directory('a'));
    const b = store.put(a, directory('b'));
    store.put(1, entry('f', {mode: 0o600}));
    store.put(b, entry('g'));
    expect(() => store.move(1, 'a', b, 'c')).toThrow('below itself');
    expect(store.move(1, 'none', a, 'x')).toBe(false);
    expect(store.move(1, 'f', a, 'b')).toBe(true);
    expect(store.resolve('a/b')?.entry).toMatchObject({type: 'file', mode: 0o600});
    expect(store.entryCount()).toBe(2);
  });

  test('the root has metadata of its own, under the empty path', () => {
    const store = openStore();
    expect(store.getRoot()).toBeUndefined();
    store.putRoot(directory('ignored', {mode: 0o711}));
    expect(store.resolve('')).toMatchObject({parentId: 0, entry: {name: '', mode: 0o711, dirId: 1}});
    expect(store.entryCount()).toBe(0);
    expect(() => store.remove(0, '')).toThrow('the root is not removed');
    expect(() => store.put(99, entry('f'))).toThrow('directory 99 is missing');
  });

  test('a directory takes the place of the one that it is in with all that it holds; the rest of that goes', () => {
    const store = openStore();
    const up = store.put(1, entry('up', {type: 'dir'}));
    const middle = store.put(up, entry('middle', {type: 'dir'}));
    const inner = store.put(middle, entry('inner', {type: 'dir'}));
    for (const [dir, name] of [
      [up, 'goes'],
      [middle, 'goes too'],
      [inner, 'stays'],
    ] as const)
      store.put(dir, entry(name));
    expect(store.move(middle, 'inner', 1, 'up')).toBe(true);
    expect(store.dirIdOf('up')).toBe(inner);
    expect([...store.children(1)].map(({name}) => name)).toEqual(['up']);
    expect([...store.children(inner)].map(({name}) => name)).toEqual(['stays']);
    expect(store.entryCount()).toBe(2);
  });

  test('2,000 children are read in key order while each is being removed', () => {
    const store = openStore();
    for (let index = 0; index < 2_000; index++) store.put(1, entry(`f${index}`));
    let count = 0;
    for (const child of store.children(1)) count += store.remove(1, child.name);
    expect(count).toBe(2_000);
    expect(store.entryCount()).toBe(0);
  });
});

describe('looking for entries', () => {
  test('20 names of one inode are found in pages of 16', () => {
    const store = openStore();
    for (let index = 0; index < 20; index++) store.put(1, entry(`f${index}`, {ino: 77, nlink: 20}));
    const first = store.findByInode(77);
    const second = store.findByInode(77, 16, first.at(-1)?.entry);
    expect(first).toHaveLength(16);
    expect(new Set([...first, ...second].map((found) => found.path)).size).toBe(20);
  });

  test('files with the same content are found by it, empty and unread ones are not', () => {
    const store = openStore();
    const content = sha256(Buffer.from('same'));
    const dir = store.put(1, directory('d'));
    store.put(dir, entry('a', {content}));
    store.put(1, entry('b', {content, sizeBytes: 1}));
    store.put(1, entry('c', {content: undefined}));
    store.put(1, entry('empty', {content, sizeBytes: 0}));
    expect(store.findByContent(content, 4_096, 9).map((found) => found.path)).toEqual(['d/a']);
    expect(store.findByContent(content, 0, 9)).toEqual([]);
    store.setContent(1, 'c', content);
    expect(store.findByContent(content, 4_096, 9)).toHaveLength(2);
    expect(store.findByContent(content, 4_096, 1)).toHaveLength(1);
  });

  test('contents of files changed from a second on are distrusted, older ones kept', () => {
    const store = openStore();
    for (let index = 0; index < 1_200; index++) store.put(1, entry(`f${index}`, {ctime: {s: index, ns: 0}}));
    expect(store.hasUnread()).toBe(false);
    expect(store.distrustSince(200)).toBe(1_000);
    expect(store.unreadCount()).toBe(1_000);
    expect(unreadIn(store)).toHaveLength(1_000);
  });

  test('a fingerprint lasts until a child is put, removed or moved in or out', () => {
    const store = openStore();
    const [a, b] = [store.put(1, directory('a')), store.put(1, directory('b'))];
    const print = Buffer.alloc(16, 7);
    const changes: [string, () => void, number[]][] = [
      ['put', () => store.put(a, entry('f', {ino: 5})), [a]],
      ['the same once more', () => store.put(a, entry('f', {ino: 5})), [a]],
      ['move', () => store.move(a, 'f', b, 'g'), [a, b]],
      ['remove', () => store.remove(b, 'g'), [b]],
      ['metadata of the directory itself', () => store.put(1, directory('a', {mode: 0o700})), [1]],
    ];
    for (const [what, change, cleared] of changes) {
      for (const id of [1, a, b]) store.setFingerprint(id, print);
      change();
      for (const id of [1, a, b]) expect(store.fingerprint(id), what).toEqual(cleared.includes(id) ? undefined : print);
    }
  });
});

describe('hard-link groups', () => {
  test('groups are sorted paths of one inode and birth, and follow a renamed directory', () => {
    const store = openStore();
    expect(store.groupsDigest()).toEqual(NO_GROUPS);
    const dir = store.put(1, directory('d'));
    store.put(1, entry('z', {ino: 9, nlink: 2}));
    store.put(dir, entry('y', {ino: 9, nlink: 2}));
    store.put(1, entry('reused', {ino: 9, nlink: 2, btime: {s: 1, ns: 1}}));
    store.put(1, entry('outside', {ino: 10, nlink: 2}));
    expect(store.groups(0, 10)).toEqual({groups: [['d/y', 'z']], next: 0});
    const before = store.groupsDigest();
    store.move(1, 'd', 1, 'zz');
    expect(store.groups(0, 10).groups).toEqual([['z', 'zz/y']]);
    expect(store.groupsDigest()).not.toEqual(before);
    store.move(1, 'zz', 1, 'd');
    expect(store.groupsDigest()).toEqual(before);
    store.remove(1, 'd');
    expect(store.groupsDigest()).toEqual(NO_GROUPS);
    expect(store.groups(0, 10)).toEqual({groups: [], next: 0});
  });

  test('a name that was alone when it was seen joins the group that a second name makes', () => {
    const store = openStore();
    store.put(1, entry('a', {ino: 9, nlink: 1}));
    store.put(1, entry('b', {ino: 9, nlink: 2}));
    expect(store.groups(0, 10).groups).toEqual([['a', 'b']]);
    store.remove(1, 'a');
    expect(store.groupsDigest()).toEqual(NO_GROUPS);
  });

  test('500 groups are paged by 200, and two stores filled in opposite order agree on their digest', () => {
    const stores = [openStore(), openStore()];
    const entries = Array.from({length: 1_000}, (_, index) => entry(`f${index}`, {ino: 1 + (index % 500), nlink: 2}));
    for (const one of entries) stores[0]?.put(1, one);
    for (const one of entries.toReversed()) stores[1]?.put(1, {...one, ino: one.ino + 4_000});
    expect(stores[0]?.groupsDigest()).toEqual(stores[1]?.groupsDigest());
    const sizes: number[] = [];
    for (let next = 0, isFirst = true; isFirst || next > 0; isFirst = false) {
      const page = stores[0]?.groups(next, 200) ?? {groups: [], next: 0};
      sizes.push(page.groups.length);
      next = page.next;
    }
    expect(sizes).toEqual([200, 200, 100]);
  });
});

describe('transactions', () => {
  test('a batch that throws leaves entries, counts, digests and groups as they were', () => {
    const store = openStore();
    store.putRoot(directory(''));
    const dir = store.put(1, directory('d'));
    store.put(dir, entry('kept', {ino: 3, nlink: 2}));
    const before = [store.rootDigest(), store.groupsDigest(), store.entryCount(), store.unreadCount()];
    const fail = (): void => {
      store.put(dir, entry('new', {content: undefined, ino: 3, nlink: 2}));
      store.remove(1, 'd');
      store.put(1, directory('other'));
      throw new Error('stop');
    };
    expect(() => store.batch(fail)).toThrow('stop');
    expect([store.rootDigest(), store.groupsDigest(), store.entryCount(), store.unreadCount()]).toEqual(before);
    expect(store.resolve('d/kept')?.parentId).toBe(dir);
  });

  test('after a kill what was flushed is there, what was not is gone, and no sequence number comes twice', () => {
    const place = {folder: newFolder()};
    const first = openStore({place});
    first.put(1, entry('flushed'));
    first.nextSeq();
    first.flush();
    expect(first.isDirty).toBe(false);
    first.put(1, entry('lost'));
    const given = first.nextSeq();
    expect(first.isDirty).toBe(true);
    first.abandon();
    const store = openStore({place});
    expect(store.openedUnclean).toBe(true);
    expect([...store.children(1)].map((child) => child.name)).toEqual(['flushed']);
    expect(store.entryCount()).toBe(1);
    expect(store.nextSeq()).toBeGreaterThan(given);
    store.abandon();
    const rebooted = openStore({place, bootId: 'boot-2'});
    expect(rebooted.openedUnclean).toBe(true);
    expect(rebooted.stateId).toEqual(first.stateId);
    rebooted.close();
    expect(openStore({place, bootId: 'boot-3'}).openedUnclean).toBe(false);
  });

  test('20,000 changed rows are committed without being asked, but not inside a batch', () => {
    const store = openStore();
    store.batch(() => {
      for (let index = 0; index < 20_001; index++) store.put(1, entry(`f${index}`));
      expect(store.isDirty).toBe(true);
      expect(() => store.flush()).toThrow('inside a batch');
    });
    expect(store.isDirty).toBe(false);
  });

  test('a view of its own kind makes other digests, and the first one again when it comes back', () => {
    const store = openStore();
    store.putRoot(directory(''));
    store.put(1, entry('f'));
    store.put(1, entry('pipe', {type: 'fifo', content: undefined}));
    store.put(1, entry('null', {type: 'char', content: undefined}));
    const plain = store.rootDigest();
    expect([store.countBelow(1), store.entryCount()]).toEqual([2, 3]);
    for (const [changes, count] of [
      [{special: 'skip'}, 1],
      [{devices: true}, 3],
    ] as const) {
      store.setView({...PLAIN_VIEW, ...changes});
      expect(store.rootDigest()).not.toEqual(plain);
      expect(store.countBelow(1)).toBe(count);
    }
    store.setView(PLAIN_VIEW);
    expect(store.rootDigest()).toEqual(plain);
  });
});

describe('attributes', () => {
  const attrs = (...names: string[]): Buffer => encodeAttrs(names.map((name) => ({name, value: Buffer.from('1')})));

  test('come back as they were put, and count in the digest as far as the view has them', () => {
    const store = openStore();
    store.putRoot(directory(''));
    store.put(1, entry('f', {attrs: attrs('user.a', 'trusted.b')}));
    expect(store.get(1, 'f')?.attrs).toEqual(attrs('user.a', 'trusted.b'));
    const both = store.rootDigest();
    store.put(1, {...store.get(1, 'f')!, attrs: attrs('user.a')});
    const one = store.rootDigest();
    expect(one).not.toEqual(both);
    store.setView({...PLAIN_VIEW, xattrs: ['user']});
    const narrow = store.rootDigest();
    store.put(1, {...store.get(1, 'f')!, attrs: attrs('user.a', 'trusted.b')});
    expect(store.rootDigest()).toEqual(narrow);
  });

  test('the setuid bit of a file counts where the view has it, the setgid bit of a directory always', () => {
    const store = openStore({view: {...PLAIN_VIEW, setuid: false}});
    store.putRoot(directory(''));
    const modesOf = (file: number, dir: number): string => {
      store.put(1, entry('f', {mode: file, ino: 5}));
      store.put(1, directory('d', {mode: dir, ino: 6}));
      return store.rootDigest().toString('hex');
    };
    expect(modesOf(0o4755, 0o755)).toBe(modesOf(0o755, 0o755));
    expect(modesOf(0o755, 0o2755)).not.toBe(modesOf(0o755, 0o755));
  });

  test('state of the first version has every entry looked at again, and keeps what is known of its content', () => {
    const folder = newFolder();
    const store = openVolumeStore({place: {folder}, side: 'source', view: PLAIN_VIEW, bootId: ''});
    const known = entry('f', {seq: 3});
    store.put(1, known);
    store.setFingerprint(1, Buffer.alloc(16, 1));
    store.close();
    const raw = new DatabaseSync(join(folder, 'volume.db'));
    raw.exec('DROP INDEX entries_flags; ALTER TABLE entries DROP COLUMN flags; ALTER TABLE entries DROP COLUMN sum');
    raw.exec('ALTER TABLE entries RENAME COLUMN attrs TO xattrs; PRAGMA user_version = 1');
    raw.close();
    const upgraded = openStore({place: {folder}, bootId: ''});
    const found = upgraded.get(1, 'f')!;
    expect(upgraded.fingerprint(1)).toBeUndefined();
    expect([isSameListed(found, known), isUntouched(found, known)]).toEqual([false, true]);
    expect(found.content).toEqual(known.content);
    expect(upgraded.rootDigest()).toHaveLength(32); // also while nothing was looked at
  });
});

describe('signatures', () => {
  const header = {blockBytes: 2_048, sizeBytes: 300_000, seed: Buffer.alloc(8, 3)};
  const content = (n: number): Buffer => sha256(Buffer.from([n]));

  test('a signature of 3 rows comes back row by row, the newer one in place of the older', () => {
    const store = openStore();
    store.putSignature(content(1), header, [Buffer.from('old')]);
    store.putSignature(
      content(1),
      header,
      ['a', 'b', 'c'].map((text) => Buffer.from(text)),
    );
    const found = store.getSignature(content(1));
    expect(found).toMatchObject(header);
    expect([...(found?.rows ?? [])].map(String)).toEqual(['a', 'b', 'c']);
    expect(store.getSignature(content(2))).toBeUndefined();
  });

  test('within 10,000 bytes the least recently used goes first, and a larger one is not kept', () => {
    const store = openStore({signatureBytesMax: 10_000});
    for (let n = 1; n <= 3; n++) store.putSignature(content(n), header, [Buffer.alloc(3_000)]);
    store.getSignature(content(1));
    store.putSignature(content(4), header, [Buffer.alloc(3_000)]);
    store.putSignature(content(5), header, [Buffer.alloc(9_000), Buffer.alloc(9_000)]);
    const kept = [1, 2, 3, 4, 5].filter((n) => store.getSignature(content(n)) !== undefined);
    expect(kept).toEqual([1, 3, 4]);
  });
});
