/**
 * What the scanner makes of names and directories that it was told it cannot read: they are incomplete, until a whole
 * listing has shown that nothing is missing.
 */
import {beforeAll, expect, test} from 'vitest';
import type {JobRunner} from '../../../src/base/jobs.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {entryStore} from '../../../src/daemon/source-state.ts';
import {NO_ATTRS} from '../../../src/model/attrs.ts';
import {ListingWriter, STAT_BYTES} from '../../../src/scan/listing.ts';
import type {ScanJobs} from '../../../src/scan/scan-tree.ts';
import {Scanner} from '../../../src/scan/scanner.ts';
import {openStore} from '../state/state-fixture.ts';

beforeAll(loadXxhash);

const EIO = 5;
const MODE_AT = 0x1c;
const INO_AT = 32;
type Listed = {
  path: string;
  status: 'whole' | 'names' | 'unreadable';
  names: Record<string, 'file' | 'dir' | number>;
  /** The directory's own inode, where it is not the one that its parent's listing shows. */
  ownIno?: number;
};

/** The packed listings of a worker; a number for a name is the errno of its stat. */
function packed(listings: Listed[]): Uint8Array {
  const writer = new ListingWriter({seed: 1n, mountId: 0});
  for (const {path, status, names, ownIno} of listings) {
    writer.begin(path);
    writer.own(fillStat('dir', ownIno ?? inoOf(path)), () => NO_ATTRS);
    for (const [name, type] of Object.entries(names)) {
      const fill =
        typeof type === 'number' ? () => -type : fillStat(type, inoOf(path === '' ? name : `${path}/${name}`));
      writer.add(Buffer.from(name), fill, {link: () => '', attrs: () => NO_ATTRS});
    }
    writer.end(status, status === 'unreadable' ? EIO : 0);
  }
  return writer.take();
}

const inodes: string[] = [];

function inoOf(path: string): number {
  if (!inodes.includes(path)) inodes.push(path);
  return inodes.indexOf(path) + 10;
}

function fillStat(type: 'file' | 'dir', ino: number): (into: Buffer, at: number) => number {
  return (into, at) => {
    into.fill(0, at, at + STAT_BYTES);
    into.writeUInt16LE(type === 'dir' ? 0o040755 : 0o100644, at + MODE_AT);
    into.writeUInt32LE(1, at + 16);
    into.writeUInt32LE(ino, at + INO_AT);
    return 0;
  };
}

/** A scanner over an empty state that is told these listings, scan by scan. */
function scannerOf(...scans: Listed[][]) {
  const store = openStore();
  let next = 0;
  const jobs = {
    run: async (kind: string, _: unknown, options?: {onPart?(part: Uint8Array): unknown}) => {
      if (kind === 'scan-names') return packed(scans[next++] ?? []);
      const scan = scans[next++] ?? [];
      await options?.onPart?.(packed(scan));
      if (scan.length === 1 && scan[0] === CUT_SHORT) throw new Error('the worker is gone');
      return {directories: 0, entries: 0};
    },
  } as unknown as JobRunner<ScanJobs>;
  const rules = {ignore: [], reserved: [], seed: Buffer.alloc(8)};
  const scanner = new Scanner({agent: '0000000000000001', rules}, {store: entryStore(store), jobs});
  const isIncomplete = (name: string): boolean | undefined => store.get(1, name)?.isIncomplete;
  return {scanner, store, isIncomplete};
}

/** A scan of this alone fails after it. */
const CUT_SHORT: Listed = {path: '', status: 'whole', names: {sub: 'dir'}};
const ROOT_WITH_SUB: Listed = {path: '', status: 'whole', names: {sub: 'dir'}};

test('F7 a name whose stat gives EIO and that was never seen makes its directory incomplete, until it can be read', async () => {
  const {scanner, store, isIncomplete} = scannerOf(
    [ROOT_WITH_SUB, {path: 'sub', status: 'whole', names: {good: 'file', bad: EIO}}],
    [ROOT_WITH_SUB, {path: 'sub', status: 'whole', names: {good: 'file', bad: 'file'}}],
  );
  const first = await scanner.scan();
  expect(first.problems).toMatchObject([{path: 'sub/bad', code: 'unreadable'}]);
  expect(isIncomplete('sub')).toBe(true);
  expect(store.getRoot()?.isIncomplete).toBe(false);
  expect((await scanner.scan()).problems).toEqual([]);
  expect(isIncomplete('sub')).toBe(false);
});

test('F7 a look at single names of a directory that could not be listed leaves it incomplete', async () => {
  const {scanner, isIncomplete} = scannerOf(
    [ROOT_WITH_SUB, {path: 'sub', status: 'unreadable', names: {}}],
    [{path: 'sub', status: 'names', names: {good: 'file'}}],
    [ROOT_WITH_SUB, {path: 'sub', status: 'whole', names: {good: 'file'}}],
  );
  await scanner.scan();
  expect(isIncomplete('sub')).toBe(true);
  await scanner.lookAt([{path: 'sub', names: ['good']}]);
  expect(isIncomplete('sub')).toBe(true);
  await scanner.scan();
  expect(isIncomplete('sub')).toBe(false);
});

test('a directory that is another one whenever it is read is incomplete and a problem, never taken for empty', async () => {
  const moving = (ownIno: number): Listed[] => [ROOT_WITH_SUB, {path: 'sub', status: 'whole', names: {}, ownIno}];
  const {scanner, isIncomplete} = scannerOf(moving(91), moving(92), moving(93), moving(94), [
    ROOT_WITH_SUB,
    {path: 'sub', status: 'whole', names: {good: 'file'}},
  ]);
  expect((await scanner.scan()).problems).toMatchObject([{path: 'sub', code: 'changing'}]);
  expect(isIncomplete('sub')).toBe(true);
  expect((await scanner.scan()).problems).toEqual([]);
  expect(isIncomplete('sub')).toBe(false);
});

test('a scan that is cut short before it took a directory in the place of a file leaves that to the next scan', async () => {
  const {scanner, store} = scannerOf(
    [{path: '', status: 'whole', names: {sub: 'file'}}],
    [CUT_SHORT],
    [CUT_SHORT, {path: 'sub', status: 'whole', names: {good: 'file'}}],
    [{path: 'sub', status: 'whole', names: {good: 'file'}}],
  );
  await scanner.scan();
  await expect(scanner.scan()).rejects.toThrow('the worker is gone');
  await scanner.scan();
  expect(store.get(1, 'sub')?.type).toBe('dir');
  expect(store.resolve('sub/good')?.entry.type).toBe('file');
});

test('a name that is replaced in a directory that is replaced itself meanwhile goes with it', async () => {
  const {scanner, store} = scannerOf(
    [
      ROOT_WITH_SUB,
      {path: 'sub', status: 'whole', names: {below: 'dir'}},
      {path: 'sub/below', status: 'whole', names: {}},
    ],
    [
      {path: '', status: 'names', names: {sub: 'file'}},
      {path: 'sub', status: 'names', names: {below: 'file'}}, // for that moment it was the directory again
    ],
  );
  await scanner.scan();
  await scanner.lookAt([
    {path: '', names: ['sub']},
    {path: 'sub', names: ['below']},
  ]);
  expect(store.get(1, 'sub')?.type).toBe('file');
  expect(store.resolve('sub/below')).toBeUndefined();
});

test('F7 a root that cannot be listed is no empty root: it halts', async () => {
  const {scanner, store} = scannerOf([{path: '', status: 'unreadable', names: {}}]);
  await expect(scanner.scan()).rejects.toMatchObject({code: 'HALTED', details: {kind: 'root-unreadable'}});
  expect(store.getRoot()).toBeUndefined();
});
