/**
 * `extents: on` between two agents: pages of a large file change live, and what is read, sent and written is about as much.
 *
 * What an agent reads and writes is what the kernel counts (/proc/PID/io); equal is what cmp finds equal. TOWLINE_TEST_EXTENT_MIB
 * sets the size of the file (256).
 */
import {spawnSync} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {TestAgent} from '../hosts/agent.ts';
import {pair, untilInSync} from '../hosts/agents.ts';
import {makeAgents, needsHosts, startAll, stopAll} from '../hosts/lab.ts';
import {makeLoopFilesystem} from '../loop-fs.ts';
import {needsCommands, needsLoopMounts} from '../needs.ts';
import {versionsIn, writeVersions} from '../sync/hot-writer.ts';

const MIB = 1 << 20;
const FILE_MIB = Number(process.env['TOWLINE_TEST_EXTENT_MIB'] ?? 256);
const PAGE = 8192;
const WAIT_MS = 60_000 + FILE_MIB * 500;

type Kind = 'xfs' | 'btrfs' | 'ext4';

interface Ends {
  from: TestAgent;
  to: TestAgent;
  source: string;
  target: string;
}

/** Two agents, each with its volume `data` on a filesystem of its own. */
async function twoAgents(source: Kind, target: Kind, sending: Record<string, unknown> = {}): Promise<Ends> {
  const [sourceRoot, targetRoot] = [source, target].map((kind) => {
    const root = join(makeLoopFilesystem(kind, 300 + 4 * FILE_MIB).path, 'data');
    mkdirSync(root);
    return root;
  }) as [string, string];
  const {from, to} = makeAgents({
    from: {config: () => ({volumes: {data: {at: sourceRoot, send: ['to'], extents: 'on', ...sending}}})},
    to: {listens: false, config: () => ({volumes: {data: {at: targetRoot, receive: 'from'}}})},
  });
  await pair(to, from);
  await startAll(from, to);
  return {from, to, source: sourceRoot, target: targetRoot};
}

function makeFile(path: string): void {
  const fd = openSync(path, 'w');
  const block = randomBytes(MIB);
  for (let index = 0; index < FILE_MIB; index++) {
    block.writeUInt32LE(index, 0);
    writeSync(fd, block, 0, MIB, index * MIB);
  }
  closeSync(fd);
}

/** Pages all over the file. */
function changePages(path: string, count: number): void {
  const fd = openSync(path, 'r+');
  const step = Math.floor((FILE_MIB * MIB) / count / PAGE) * PAGE;
  for (let page = 0; page < count; page++) writeSync(fd, randomBytes(PAGE), 0, PAGE, page * step + PAGE);
  closeSync(fd);
}

function moved({pid}: TestAgent): {readBytes: number; writtenBytes: number} {
  const io = readFileSync(`/proc/${pid}/io`, 'latin1');
  const bytes = (name: string): number => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(io)?.[1]);
  return {readBytes: bytes('rchar'), writtenBytes: bytes('wchar')};
}

/** Files without a name that an agent has open. */
function clonesOf({pid}: TestAgent): number {
  const folder = `/proc/${pid}/fd`;
  const isClone = (fd: string): boolean => {
    try {
      return /\/data\/#\d+ \(deleted\)$/.test(readlinkSync(join(folder, fd)));
    } catch {
      return false; // closed since it was listed
    }
  };
  return readdirSync(folder).filter(isClone).length;
}

/** What both agents read and wrote until the change was on the target, proved and durable. */
async function costOf({from, to}: Ends, change: () => void): Promise<{source: number; target: number; sent: number}> {
  const before = [moved(from), moved(to)] as const;
  const sentBefore = (await from.link('data', 'to')).sentBytes;
  change();
  const {exitCode} = await from.flush('data', WAIT_MS);
  expect(exitCode).toBe(0);
  const after = [moved(from), moved(to)] as const;
  const of = (index: 0 | 1): number =>
    after[index].readBytes - before[index].readBytes + after[index].writtenBytes - before[index].writtenBytes;
  return {source: of(0), target: of(1), sent: (await from.link('data', 'to')).sentBytes - sentBefore};
}

function expectEqual({source, target}: Ends, name: string): void {
  const compared = spawnSync('cmp', [join(source, name), join(target, name)], {encoding: 'utf8'});
  expect([compared.status, compared.stdout]).toEqual([0, '']);
}

const describeExtents = needsHosts(
  needsLoopMounts(needsCommands('mkfs.xfs', 'mkfs.btrfs', 'cmp', 'python3')(describe)),
);

describeExtents.each(['xfs', 'btrfs'] as const)('extents: on, on %s', {timeout: 3 * WAIT_MS}, (kind) => {
  let ends: Ends;
  const inSource = (name: string): string => join(ends.source, name);

  beforeAll(async () => {
    ends = await twoAgents(kind, kind);
    makeFile(inSource('file'));
    await untilInSync(ends.from, 'data', WAIT_MS);
  }, WAIT_MS);
  afterAll(() => stopAll(ends.from, ends.to));

  test(`B11 20 pages of 8 KiB in ${FILE_MIB} MiB: neither side reads or writes more than 20 MiB, and both are proved equal`, async () => {
    for (let round = 0; round < 3; round++) {
      const cost = await costOf(ends, () => changePages(inSource('file'), 20));
      expect(cost.sent).toBeLessThan(MIB);
      expect(cost.source).toBeLessThan(20 * MIB); // a leaf of 256 KiB for each page, and the frames
      expect(cost.target).toBeLessThan(20 * MIB);
      expectEqual(ends, 'file');
    }
    await untilInSync(ends.from, 'data', WAIT_MS);
  });

  test('what is appended, cut off and dug out arrives, and is read as little; what is renamed arrives', async () => {
    const [file, renamed] = [inSource('file'), inSource('renamed')];
    const run = (script: string): void => void spawnSync('sh', ['-ec', script, file]);
    const changes = [
      () => run('head -c 1000001 /dev/urandom >> "$0"'),
      () => run('truncate -s -3000000 "$0"'),
      () => run('truncate -s +2000000 "$0"'),
      () => run('fallocate -p -o 5000000 -l 1000000 "$0"'),
    ];
    for (const change of changes) {
      const {source, target} = await costOf(ends, change);
      expect(source).toBeLessThan(20 * MIB);
      expect(target).toBeLessThan(20 * MIB);
      expectEqual(ends, 'file');
    }
    renameSync(file, renamed);
    await ends.from.flush('data', WAIT_MS);
    await costOf(ends, () => changePages(renamed, 5));
    expectEqual(ends, 'renamed');
    await untilInSync(ends.from, 'data', WAIT_MS);
  });

  test('no clone is kept of a file that is deleted, nor while the volume is paused', async () => {
    const {from} = ends;
    makeFile(inSource('short-lived'));
    await from.flush('data', WAIT_MS);
    expect(clonesOf(from)).toBe(2);
    rmSync(inSource('short-lived'));
    await from.until('its clone is closed', () => clonesOf(from) === 1, 20_000);
    await from.pause('data');
    expect(clonesOf(from)).toBe(0);
    await from.resume('data');
    await untilInSync(from, 'data', WAIT_MS);
  });

  test('a file that another takes the place of is sent as what it is', async () => {
    makeFile(inSource('other'));
    await ends.from.flush('data', WAIT_MS);
    renameSync(inSource('other'), inSource('renamed'));
    await ends.from.flush('data', WAIT_MS);
    expectEqual(ends, 'renamed');
    await costOf(ends, () => changePages(inSource('renamed'), 3));
    expectEqual(ends, 'renamed');
    await untilInSync(ends.from, 'data', WAIT_MS);
  });
});

describeExtents('extents: on', {timeout: 3 * WAIT_MS}, () => {
  test('a file that is written all the time arrives as it was at one moment, again and again, and is in sync when it rests', async () => {
    const ends = await twoAgents('xfs', 'xfs', {'max-wait': '300ms'});
    const hot = join(ends.source, 'hot');
    const stop = await writeVersions(hot, {sizeBytes: 16 * MIB, pauseS: 0.02});
    const seen = new Set<number>();
    await ends.from.until(
      'three versions arrived',
      () => {
        let versions: number[];
        try {
          versions = versionsIn(join(ends.target, 'hot'));
        } catch {
          return false; // not there yet
        }
        expect(versions.length).toBeLessThanOrEqual(2); // written front to back: one seam at most
        seen.add(versions[0]!);
        return seen.size >= 3;
      },
      WAIT_MS,
    );
    stop();
    await untilInSync(ends.from, 'data', WAIT_MS);
    expectEqual(ends, 'hot');
    await stopAll(ends.from, ends.to);
  });

  test('on ext4 it is told once that it does nothing, and the file arrives all the same', async () => {
    const ends = await twoAgents('ext4', 'ext4');
    writeFileSync(join(ends.source, 'file'), randomBytes(8 * MIB));
    await untilInSync(ends.from, 'data', WAIT_MS);
    changePagesOfSmall(join(ends.source, 'file'));
    await untilInSync(ends.from, 'data', WAIT_MS);
    const {notices} = await ends.from.volumeReport('data');
    expect(notices.filter((notice) => notice.includes('extents'))).toEqual([
      `extents: on does nothing here: the filesystem of ${ends.source} does not clone files (XFS with reflinks and btrfs do), so that large files are read whole`,
    ]);
    expect((await ends.from.link('data', 'to')).problemCount).toBe(0);
    expect(ends.from.log().match(/extents: on does nothing/g)).toHaveLength(1);
    await stopAll(ends.from, ends.to);
  });
});

function changePagesOfSmall(path: string): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, randomBytes(PAGE), 0, PAGE, MIB);
  closeSync(fd);
}
