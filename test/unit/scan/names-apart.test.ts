/** Names of one file that a scan has seen at different moments: they are looked at once more. */
import {closeSync, constants, linkSync, mkdirSync, openSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, expect, onTestFinished, test} from 'vitest';
import {entryStore} from '../../../src/daemon/source-state.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {statFd} from '../../../src/linux/stat.ts';
import {scanHandlers, type ScanJobs} from '../../../src/scan/scan-tree.ts';
import {Scanner} from '../../../src/scan/scanner.ts';
import {makeTmpDir} from '../../tmp.ts';
import {runHere} from '../session/run-here.ts';
import {openStore} from '../state/state-fixture.ts';

beforeAll(loadXxhash);

/** A folder with a file in `a` that has so many names in `b`, scanned; `onNames` runs before single names are looked at. */
async function linkedFolder(names: number) {
  const root = makeTmpDir();
  mkdirSync(join(root, 'a'));
  mkdirSync(join(root, 'b'));
  writeFileSync(join(root, 'a/file'), 'content');
  for (let index = 0; index < names; index++) linkSync(join(root, 'a/file'), join(root, `b/${index}`));
  const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  onTestFinished(() => closeSync(fd));
  const store = openStore();
  const hooks = {onNames: (_count: number): void => undefined};
  const jobs = runHere<ScanJobs>(
    scanHandlers((job) => job({fd, mountId: statFd(fd).mountId})),
    (kind, input) => {
      const {dirs = []} = input as Partial<ScanJobs['scan-names']['in']>;
      const count = dirs.reduce((sum, {names: some = []}) => sum + some.length, 0);
      if (kind === 'scan-names' && count > 0) hooks.onNames(count);
    },
  );
  const asked = {apart: 0};
  const rows = entryStore(store);
  const parts = {store: {...rows, namesApart: () => (asked.apart++, rows.namesApart())}, jobs};
  const rules = {ignore: [], reserved: [], seed: Buffer.alloc(8)};
  const scanner = (): Scanner => new Scanner({agent: '0000000000000001', rules}, parts);
  await scanner().scan();
  const dirId = (): number => store.dirIdOf('b') as number;
  /** What a scan leaves that saw the names in `b` before a change of the file, and the one in `a` after it. */
  const tearApart = (): void => {
    const [id, print] = [dirId(), store.fingerprint(dirId())];
    for (const row of [...store.children(id)]) store.put(id, {...row, ctime: {...row.ctime, s: row.ctime.s - 9}});
    store.setFingerprint(id, print);
  };
  return {root, store, asked, hooks, scanner, tearApart};
}

test('G5 5,000 names that were seen before a change are looked at once more, 2,048 at once', async () => {
  const {store, hooks, scanner, tearApart} = await linkedFolder(5_000);
  const counts: number[] = [];
  hooks.onNames = (count) => counts.push(count);
  tearApart();
  expect(await scanner().scan()).toMatchObject({changes: [], problems: [], missed: []});
  expect(store.linkGroups.apart(1)).toEqual([]);
  expect(counts).toEqual([2_048, 2_048, 5_001 - 4_096]);
}, 20_000);

test('a directory that goes elsewhere before its names are looked at once more is found there, as moved', async () => {
  const {root, store, hooks, scanner, tearApart} = await linkedFolder(3);
  tearApart();
  hooks.onNames = () => {
    hooks.onNames = () => undefined;
    renameSync(join(root, 'b'), join(root, 'c'));
  };
  const {changes, missed, problems} = await scanner().scan();
  expect(changes).toMatchObject([{kind: 'renamed', path: 'b', to: 'c'}]);
  expect([missed, problems, store.dirIdOf('b')]).toEqual([[], [], undefined]);
  expect(store.linkGroups.apart(1)).toEqual([]);
});

test('names are not compared again by a scan before which no linked file has changed', async () => {
  const {root, asked, scanner} = await linkedFolder(3);
  const again = scanner();
  asked.apart = 0;
  await again.scan();
  expect(asked.apart).toBe(1); // of what was before it began it knows nothing
  writeFileSync(join(root, 'alone'), 'content');
  await again.scan();
  expect(asked.apart).toBe(1);
  linkSync(join(root, 'a/file'), join(root, 'another'));
  await again.scan();
  expect(asked.apart).toBe(2);
});
