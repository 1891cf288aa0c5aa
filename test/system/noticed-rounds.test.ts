/**
 * What a live volume has noticed once it rests is what is on the disk, however directories moved while it looked:
 * the real watcher and scanner over a real tree, with random changes before, between and after the scanner's jobs.
 *
 * A seed is a history, but for the timing. `TOWLINE_TEST_SEEDS=100-400` plays more of them.
 */
import {closeSync, constants, lstatSync, openSync, readdirSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterAll, beforeAll, expect, onTestFinished, test} from 'vitest';
import type {Clock} from '../../src/base/clock.ts';
import type {JobRunner} from '../../src/base/jobs.ts';
import {entryStore, sourceState} from '../../src/daemon/source-state.ts';
import {takeEvent} from '../../src/daemon/watch-source.ts';
import {loadXxhash} from '../../src/delta/hash.ts';
import {statFd} from '../../src/linux/stat.ts';
import {scanHandlers, type ScanJobs} from '../../src/scan/scan-tree.ts';
import {Scanner} from '../../src/scan/scanner.ts';
import {LiveVolume} from '../../src/session/live-volume.ts';
import type {VolumeStore} from '../../src/state/volume-store.ts';
import {InotifyThread} from '../../src/watch/inotify-thread.ts';
import {InotifyWatcher} from '../../src/watch/inotify-watcher.ts';
import type {WatchEvent} from '../../src/watch/watcher.ts';
import {CHANGE_NAMES, changeRandomly, makeRandomTree, Random} from '../sync/random-tree.ts';
import {makeTmpDir} from '../tmp.ts';
import {openStore} from '../unit/state/state-fixture.ts';

const ROUNDS = 3;
const CHANGES = 40;
const [FROM = 1, TO = 9] = (process.env['TOWLINE_TEST_SEEDS'] ?? '').split('-').filter(Boolean).map(Number);
/** Not what only a scan can find: writes through another name of a file, which is gone before anybody looks. */
const NAMES = CHANGE_NAMES.filter((name) => name !== 'link a file');
const HOUR_MS = 3_600_000;
const clock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : {signal}),
};
const thread = new InotifyThread();
beforeAll(loadXxhash);
afterAll(() => thread.close());

/** A worker's jobs in this thread, each before, between and after which something may `change`. */
function jobsAmidst(fd: number, random: Random, change: () => unknown): JobRunner<ScanJobs> {
  const handlers = scanHandlers((job) => job({fd, mountId: statFd(fd).mountId}));
  return {
    run: async (kind, input, options) => {
      await sleep(random.below(8));
      if (random.below(2) === 0) change();
      const parts: unknown[] = [];
      const emit = (part: unknown): void => void parts.push(part);
      const out = handlers[kind](input, {emit, transfer: () => undefined, isCancelled: () => false});
      for (const part of parts) {
        await sleep(random.below(4));
        if (random.below(3) === 0) change();
        await options?.onPart?.(part as never);
      }
      return out;
    },
  };
}

/** What the state holds otherwise than the disk. */
function differences(path: string, store: VolumeStore, dirId: number): string[] {
  const names = readdirSync(path, {encoding: 'latin1'});
  const onDisk = new Set(names);
  const extra = [...store.children(dirId)].filter(({name}) => !onDisk.has(name)).map(({name}) => `extra ${name}`);
  const wrong = names.flatMap((name) => {
    const at = `${path}/${Buffer.from(name, 'latin1').toString()}`;
    const stat = lstatSync(at, {bigint: true});
    const row = store.get(dirId, name);
    if (row === undefined) return [`missing ${at}`];
    const mtimeNs = BigInt(row.mtime.s) * 1_000_000_000n + BigInt(row.mtime.ns);
    const isSame =
      BigInt(row.ino) === stat.ino && mtimeNs === stat.mtimeNs && BigInt(row.mode) === (stat.mode & 0o7777n);
    const below = row.type === 'dir' && stat.isDirectory() ? differences(at, store, row.dirId) : [];
    return [...(isSame ? [] : [`differs ${at}`]), ...below];
  });
  return [...extra, ...wrong];
}

/** Plays a seed's history. @returns what is wrong in the end */
async function play(seed: number): Promise<string[]> {
  const random = new Random(seed * 7_919);
  const root = makeTmpDir();
  makeRandomTree(root, 20 + random.below(120), random);
  const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  onTestFinished(() => closeSync(fd));
  const store = openStore();
  let left = 0;
  /** @returns whether more may come */
  const change = (): boolean => {
    const count = Math.min(left, 1 + random.below(4));
    left -= count;
    changeRandomly(root, count, random, NAMES);
    return left > 0;
  };
  const rules = {ignore: [], reserved: [], seed: Buffer.alloc(8)};
  const jobs = jobsAmidst(fd, random, change);
  const scanner = new Scanner({agent: '0000000000000001', rules}, {store: entryStore(store), jobs});
  const nothing = (): void => undefined;
  const live = new LiveVolume(
    {settleMs: 10, maxWaitMs: 200, rescanMs: HOUR_MS, pollMs: HOUR_MS},
    {scanner, state: sourceState(store), clock, events: {onProblems: nothing, onGone: nothing, onNotice: nothing}},
  );
  const onNotice = (_: string, message: string): void => {
    throw new Error(`not expected: ${message}`);
  };
  const onEvents = (events: WatchEvent[]): void => events.forEach((event) => takeEvent(event, {live, onNotice}));
  const watcher = new InotifyWatcher({rootFd: fd, rootPath: root, skipDirs: [], onEvents}, {thread});
  await watcher.start();
  await scanner.scan();
  const ending = new AbortController();
  const running = live.run(ending.signal);
  let wrong: string[] = [];
  for (let round = 0; round < ROUNDS && wrong.length === 0; round++) {
    left = CHANGES;
    while (change()) await sleep(random.below(12));
    for (let quiet = 0; quiet < 3; quiet = live.isQuiet ? quiet + 1 : 0) {
      await watcher.drain();
      await sleep(10);
    }
    wrong = differences(root, store, store.dirIdOf('') as number);
  }
  ending.abort();
  await running;
  await watcher.close();
  return wrong;
}

for (let seed = FROM; seed < TO; seed++) {
  test(`directories that move while they are looked at are in the state as they are on the disk, seed ${seed}`, async () => {
    expect(await play(seed)).toEqual([]);
  }, 60_000);
}
