/** The real workers of volumes, shared: each works in its own root, and lets go of it. */
import {randomBytes} from 'node:crypto';
import {mkdirSync, readdirSync, readlinkSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, onTestFinished, test} from 'vitest';
import type {ScopedRunner, WorkerPool} from '../../../src/base/worker-pool.ts';
import {sharedVolumePool, type VolumeJobs} from '../../../src/daemon/volume-jobs.ts';
import type {VolumeScope} from '../../../src/daemon/volume.worker.ts';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';
import {statAt} from '../../../src/linux/stat.ts';
import {LEAF_BYTES, smallContentDigest} from '../../../src/model/digest.ts';
import {seenOf} from '../../../src/model/entry.ts';
import {fromText} from '../../../src/model/path.ts';
import {openRoot} from '../../../src/volume/root-identity.ts';
import type {FileToRead} from '../../../src/volume/read-files.ts';
import {makeTmpDir} from '../../tmp.ts';

type Jobs = ScopedRunner<VolumeJobs>;

function makePool(): WorkerPool<VolumeJobs, VolumeScope> {
  const pool = sharedVolumePool({workers: 2});
  onTestFinished(() => pool.close());
  return pool;
}

/** A folder, as a volume of this pool. @param withPlaces as a target */
function volumeIn(pool: WorkerPool<VolumeJobs, VolumeScope>, withPlaces = false): {root: string; jobs: Jobs} {
  const folder = makeTmpDir();
  const root = join(folder, 'root');
  for (const name of ['root', 'staging', 'trash']) mkdirSync(join(folder, name));
  const {fd, identity} = openRoot(fromText(root), undefined);
  closeFd(fd);
  const places = {staging: join(folder, 'staging'), trash: join(folder, 'trash'), isInRoot: false};
  return {root, jobs: pool.scope({root: identity, places: withPlaces ? places : undefined})};
}

function fileIn(root: string, name: string, bytes: Buffer): FileToRead {
  writeFileSync(join(root, name), bytes);
  const fd = openDirPath(fromText(root));
  try {
    return {path: name, expected: seenOf(statAt(fd, name))};
  } finally {
    closeFd(fd);
  }
}

/** Descriptors of this process, all threads, that lead below a folder. */
function openBelow(root: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(root) ? [path] : [];
    } catch {
      return []; // closed meanwhile
    }
  });
}

const threads = (): number => readdirSync('/proc/self/task').length;

test('J15 100 volumes are read by two threads, each in its own root', async () => {
  const pool = makePool();
  const before = threads();
  const volumes = Array.from({length: 100}, () => volumeIn(pool));
  const read = await Promise.all(
    volumes.map(async ({root, jobs}, index) => {
      const bytes = Buffer.from(`volume ${index}`);
      const files = [fileIn(root, 'same name', bytes)];
      const {digests} = await jobs.run('hash-files', {files}, {lane: index % 2 === 0 ? 0 : 1});
      return smallContentDigest(bytes).equals(digests);
    }),
  );
  expect(read).toEqual(Array(100).fill(true));
  expect(threads()).toBe(before + 2);
});

test('a volume whose root was replaced is refused, with its guard, while another is read', async () => {
  const pool = makePool();
  const [replaced, other] = [volumeIn(pool), volumeIn(pool)];
  const files = [fileIn(replaced.root, 'file', Buffer.from('x'))];
  renameSync(replaced.root, `${replaced.root}-away`);
  mkdirSync(replaced.root);
  const refused = replaced.jobs.run('hash-files', {files});
  const read = other.jobs.run('hash-files', {files: [fileIn(other.root, 'file', Buffer.from('y'))]});
  await expect(refused).rejects.toMatchObject({code: 'HALTED', details: {kind: 'root-replaced'}});
  expect([...(await read).status]).toEqual([0]);
});

test('a closed scope leaves no file of its volume open, neither read nor staged; another keeps its own', async () => {
  const pool = makePool();
  const [gone, stays] = [volumeIn(pool, true), volumeIn(pool)];
  const bytes = randomBytes(3 * LEAF_BYTES);
  for (const {root, jobs} of [gone, stays]) {
    const reading = 'at-rest' as const;
    const input = {
      token: 1,
      file: fileIn(root, 'big', bytes),
      reading,
      base: undefined,
      seed: Buffer.alloc(8),
      link: 1,
    };
    expect(await jobs.run('open-transfer', {...input, transfer: 1}, {lane: 1})).toMatchObject({status: 0});
  }
  const file = {path: 'new', sizeBytes: LEAF_BYTES, base: undefined, allocatedBytes: undefined};
  const staged = {
    token: 1,
    stage: 't1-1',
    ...file,
    isDurable: false,
    partial: undefined,
    spare: [],
    inPlaceAbove: undefined,
  };
  expect(await gone.jobs.run('open-staged', staged, {lane: 1})).toMatchObject({result: {status: 'done'}});
  const folder = join(gone.root, '..');
  expect(openBelow(folder).sort()).toEqual([join(gone.root, 'big'), join(folder, 'staging/t1-1')].sort());
  await gone.jobs.close();
  expect(openBelow(folder)).toEqual([]);
  const {frames} = await stays.jobs.run('read-leaves', {token: 1, leafCount: 3}, {lane: 1});
  expect(frames).toHaveLength(3);
  await stays.jobs.run('close-transfer', {token: 1}, {lane: 1});
  expect(openBelow(stays.root)).toEqual([]);
});

test('a volume without places refuses what would change it', async () => {
  const {jobs} = volumeIn(makePool());
  await expect(jobs.run('sweep-staging', {nowMs: 0, spared: []})).rejects.toThrow('has no staging folder');
});
