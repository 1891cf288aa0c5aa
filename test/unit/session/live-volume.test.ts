/** Looking at what was noticed, in a real folder: what is looked at besides. */
import {
  chmodSync,
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, expect, onTestFinished, test} from 'vitest';
import {systemClock} from '../../../src/base/clock.ts';
import {entryStore, sourceState} from '../../../src/daemon/source-state.ts';
import {loadXxhash} from '../../../src/delta/hash.ts';
import {statFd} from '../../../src/linux/stat.ts';
import {ROOT} from '../../../src/model/path.ts';
import {scanHandlers, type ScanJobs} from '../../../src/scan/scan-tree.ts';
import {Scanner} from '../../../src/scan/scanner.ts';
import {LiveVolume} from '../../../src/session/live-volume.ts';
import {makeTmpDir} from '../../tmp.ts';
import {openStore} from '../state/state-fixture.ts';
import {runHere} from './run-here.ts';

beforeAll(loadXxhash);
const HOUR_MS = 3_600_000;

/** A folder that is followed (`isLate`: from `start` on), already scanned, and how many names each job was asked for. */
async function followed(fill: (root: string) => void, {isLate = false} = {}) {
  const root = makeTmpDir();
  fill(root);
  const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  onTestFinished(() => closeSync(fd));
  const store = openStore();
  const asked: number[] = [];
  const jobs = runHere<ScanJobs>(
    scanHandlers((job) => job({fd, mountId: statFd(fd).mountId})),
    (kind, input) => {
      const {dirs = []} = input as Partial<ScanJobs['scan-names']['in']>;
      if (kind === 'scan-names') asked.push(dirs.reduce((sum, {names = []}) => sum + names.length, 0));
    },
  );
  const rules = {ignore: [], reserved: [], seed: Buffer.alloc(8)};
  const scanner = new Scanner({agent: '0000000000000001', rules}, {store: entryStore(store), jobs});
  await scanner.scan();
  asked.length = 0;
  const scans: string[] = [];
  const nothing = (): void => undefined;
  const events = {onProblems: nothing, onGone: nothing, onNotice: nothing, onScan: (why: string) => scans.push(why)};
  const live = new LiveVolume(
    {settleMs: 1, maxWaitMs: 100, rescanMs: HOUR_MS, pollMs: HOUR_MS},
    {scanner, state: sourceState(store), clock: systemClock, events},
  );
  const ending = new AbortController();
  let running: Promise<void> | undefined;
  const start = (): void => void (running = live.run(ending.signal));
  if (!isLate) start();
  onTestFinished(async () => {
    ending.abort();
    await running;
  });
  return {root, store, live, asked, scans, start};
}

const NAMES = 5_000;

function fillWithLinks(root: string): void {
  mkdirSync(join(root, 'a'));
  mkdirSync(join(root, 'b'));
  writeFileSync(join(root, 'a/first'), 'content');
  for (let index = 1; index < NAMES; index++) linkSync(join(root, 'a/first'), join(root, `b/${index}`));
}

test(`G5 a chmod of a file with ${NAMES} names: all are looked at, 2,048 at once, and nothing is scanned`, async () => {
  const {root, store, live, asked, scans} = await followed(fillWithLinks);
  chmodSync(join(root, 'a/first'), 0o600);
  live.note('a', 'first');
  await expect.poll(() => live.isQuiet, {timeout: 20_000}).toBe(true);
  const modes = [...store.children(store.dirIdOf('b') as number)].map(({mode}) => mode & 0o777);
  expect([modes.length, new Set(modes)]).toEqual([NAMES - 1, new Set([0o600])]);
  expect(Math.max(...asked)).toBeLessThanOrEqual(2_048);
  expect(scans).toEqual([]);
}, 30_000);

test(`G5 the ${NAMES} names elsewhere of what was in a directory that went are looked at 2,048 at once`, async () => {
  const {root, store, live, asked, scans} = await followed((at) => {
    fillWithLinks(at);
    mkdirSync(join(at, 'c'));
    for (let index = 1; index < NAMES; index++) writeFileSync(join(at, `c/${index}`), '');
    for (let index = 1; index < NAMES; index++) {
      rmSync(join(at, `b/${index}`));
      linkSync(join(at, `c/${index}`), join(at, `b/${index}`));
    }
  });
  renameSync(join(root, 'b'), `${root}-b`);
  onTestFinished(() => rmSync(`${root}-b`, {recursive: true}));
  live.note(ROOT, 'b');
  await expect.poll(() => live.isQuiet && store.dirIdOf('b') === undefined, {timeout: 20_000}).toBe(true);
  expect(Math.max(...asked)).toBeLessThanOrEqual(2_048);
  expect(asked.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(NAMES);
  expect(scans).toEqual([]);
}, 30_000);

const EARLY_NAMES = 20_000;

test(`what is noted before anybody looks is kept up to ${EARLY_NAMES} names; beyond it one scan stands for all of it`, async () => {
  for (const {count, isScanned} of [
    {count: EARLY_NAMES, isScanned: false},
    {count: 3 * EARLY_NAMES, isScanned: true},
  ]) {
    const {root, store, live, scans, start} = await followed((folder) => mkdirSync(join(folder, 'a')), {isLate: true});
    writeFileSync(join(root, 'a/late'), 'late');
    for (let index = 0; index < count - 1; index++) live.note('a', String(index));
    live.note('a', 'late');
    expect(live.noticedCount).toBeLessThanOrEqual(EARLY_NAMES);
    start();
    await expect.poll(() => live.isQuiet, {timeout: 20_000}).toBe(true);
    expect(sourceState(store).entryAt('a/late')?.sizeBytes).toBe(4);
    expect(scans).toEqual(isScanned ? ['much changed before anybody looked'] : []);
  }
});
