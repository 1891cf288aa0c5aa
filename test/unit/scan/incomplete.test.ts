/**
 * What the scanner makes of names and directories that it was told it cannot read: they are incomplete, until a whole
 * listing has shown that nothing is missing.
 */
import {beforeAll, expect, test} from 'vitest';
import type {JobRunner} from '../../../src/base/jobs.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {entryStore} from '../../../src/daemon/source-state.ts';
import {ListingWriter, STAT_BYTES} from '../../../src/scan/listing.ts';
import type {ScanJobs} from '../../../src/scan/scan-tree.ts';
import {Scanner} from '../../../src/scan/scanner.ts';
import {openStore} from '../state/state-fixture.ts';

beforeAll(loadXxhash);

const EIO = 5;
const MODE_AT = 0x1c;
const INO_AT = 32;
type Listed = {path: string; status: 'whole' | 'names' | 'unreadable'; names: Record<string, 'file' | 'dir' | number>};

/** The packed listings of a worker; a number for a name is the errno of its stat. */
function packed(listings: Listed[]): Uint8Array {
  const writer = new ListingWriter();
  for (const {path, status, names} of listings) {
    writer.begin(path);
    writer.own(fillStat('dir', inoOf(path)));
    for (const [name, type] of Object.entries(names)) {
      const fill =
        typeof type === 'number' ? () => -type : fillStat(type, inoOf(path === '' ? name : `${path}/${name}`));
      writer.add(Buffer.from(name), fill, () => '');
    }
    writer.end(status, status === 'unreadable' ? EIO : 0, (_, into, at) => into.fill(1, at, at + 16));
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
      await options?.onPart?.(packed(scans[next++] ?? []));
      return {directories: 0, entries: 0};
    },
  } as unknown as JobRunner<ScanJobs>;
  const rules = {ignore: [], reserved: [], seed: Buffer.alloc(8)};
  const scanner = new Scanner({agent: '0000000000000001', rules}, {store: entryStore(store), jobs});
  const isIncomplete = (name: string): boolean | undefined => store.get(1, name)?.isIncomplete;
  return {scanner, store, isIncomplete};
}

const ROOT_WITH_SUB: Listed = {path: '', status: 'whole', names: {sub: 'dir'}};

test('F7 a name whose stat gives EIO and that was never seen makes its directory incomplete, until it can be read', async () => {
  const {scanner, store, isIncomplete} = scannerOf(
    [ROOT_WITH_SUB, {path: 'sub', status: 'whole', names: {good: 'file', bad: EIO}}],
    [ROOT_WITH_SUB, {path: 'sub', status: 'whole', names: {good: 'file', bad: 'file'}}],
  );
  const first = await scanner.scanTree('');
  expect(first.problems).toMatchObject([{path: 'sub/bad', code: 'unreadable'}]);
  expect(isIncomplete('sub')).toBe(true);
  expect(store.getRoot()?.isIncomplete).toBe(false);
  expect((await scanner.scanTree('')).problems).toEqual([]);
  expect(isIncomplete('sub')).toBe(false);
});

test('F7 a look at single names of a directory that could not be listed leaves it incomplete', async () => {
  const {scanner, isIncomplete} = scannerOf(
    [ROOT_WITH_SUB, {path: 'sub', status: 'unreadable', names: {}}],
    [{path: 'sub', status: 'names', names: {good: 'file'}}],
    [ROOT_WITH_SUB, {path: 'sub', status: 'whole', names: {good: 'file'}}],
  );
  await scanner.scanTree('');
  expect(isIncomplete('sub')).toBe(true);
  await scanner.lookAt([{path: 'sub', names: ['good']}]);
  expect(isIncomplete('sub')).toBe(true);
  await scanner.scanTree('');
  expect(isIncomplete('sub')).toBe(false);
});

test('F7 a root that cannot be listed is no empty root: it halts', async () => {
  const {scanner, store} = scannerOf([{path: '', status: 'unreadable', names: {}}]);
  await expect(scanner.scanTree('')).rejects.toMatchObject({code: 'HALTED', details: {kind: 'root-unreadable'}});
  expect(store.getRoot()).toBeUndefined();
});
