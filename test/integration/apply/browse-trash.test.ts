import {execFileSync} from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, onTestFinished, test} from 'vitest';
import {
  emptyTrash,
  listTrash,
  restoreTrash,
  type TrashQuery,
  type TrashedItem,
} from '../../../src/apply/browse-trash.ts';
import {copyTree} from '../../../src/apply/copy-tree.ts';
import {pruneTrash} from '../../../src/apply/trash.ts';
import {removeOldest} from '../../../src/apply/trash-age.ts';
import {systemClock} from '../../../src/base/clock.ts';
import {closeFd, openDirPath} from '../../../src/linux/open-fd.ts';
import {needsCommands, needsLoopMounts, needsRoot} from '../../needs.ts';
import {makeTmpDir} from '../../tmp.ts';
import {makeDir, putFile, remove, TargetFolder} from './target-folder.ts';

const HOUR_MS = 3_600_000;
const NOON_MS = Date.UTC(2026, 10, 20, 12);

async function list(trash: string, query: TrashQuery = {}): Promise<TrashedItem[]> {
  const items: TrashedItem[] = [];
  for await (const item of listTrash(trash, query)) items.push(item);
  return items;
}

/** A target on which versions of `a` were replaced and deleted over three hours, by 12:00, 13:00 and 14:30. */
async function withHistory(): Promise<TargetFolder> {
  const target = new TargetFolder();
  const at = (nowMs: number): void => {
    target.clock = {...systemClock, nowMs: () => nowMs};
  };
  at(NOON_MS);
  await target.apply(putFile('a', 'first'), makeDir('d'), putFile('d/in', 'in d'));
  await target.apply(putFile('a', 'second'));
  at(NOON_MS + HOUR_MS);
  await target.apply(putFile('a', 'third, longer'));
  at(NOON_MS + 2.5 * HOUR_MS);
  await target.apply(remove('a'), remove('d', 'dir'));
  return target;
}

describe('the list', () => {
  test('F11 is oldest first, with time, path, type, reason, place and size', async () => {
    const {trash} = await withHistory();
    const items = await list(trash);
    expect(items).toMatchObject([
      {atMs: NOON_MS, path: 'a', type: 'file', reason: 'overwritten', sizeBytes: 5},
      {atMs: NOON_MS + HOUR_MS, path: 'a', type: 'file', reason: 'overwritten', sizeBytes: 6},
      {atMs: NOON_MS + 2.5 * HOUR_MS, path: 'a', type: 'file', reason: 'deleted', sizeBytes: 13},
      {atMs: NOON_MS + 2.5 * HOUR_MS, path: 'd', type: 'dir', reason: 'deleted', sizeBytes: undefined},
    ]);
    for (const {place} of items) expect(existsSync(join(trash, place))).toBe(true);
    const paths = async (query: TrashQuery): Promise<string[]> => (await list(trash, query)).map(({path}) => path);
    expect(await paths({path: 'd'})).toEqual(['d']);
    expect(await paths({path: 'a', limit: 2})).toEqual(['a', 'a']);
    expect(await list(trash, {limit: 2})).toEqual(items.slice(2));
    expect(await list(join(trash, 'missing'))).toEqual([]);
  });

  test('leaves out what is gone, what stands twice, and lines that name a place elsewhere', async () => {
    const {trash} = await withHistory();
    const [first] = await list(trash);
    const index = join(trash, first?.place.slice(0, 13) ?? '', 'index.ndjson');
    const line = readFileSync(index, 'utf8');
    const outside = ['../x', '/etc/passwd', '2026-11-20T13/../../x', `2026-11-20T13/${first?.place.slice(14)}`, 'x'];
    const bad = outside.map((place) => `${JSON.stringify({...(JSON.parse(line) as object), place})}\n`);
    writeFileSync(index, [line, ...bad, 'null\n', '{\n', line, line.slice(0, 40)].join(''));
    expect(await list(trash)).toHaveLength(4);
    rmSync(join(trash, first?.place ?? ''));
    expect(await list(trash)).toHaveLength(3);
  });
});

describe('taking out', () => {
  test('F11 by place, the newest of a path, the newest up to a time; what is there is not overwritten', async () => {
    const {trash} = await withHistory();
    const items = await list(trash);
    const restore = async (choice: {place: string} | {path: string; atMs?: number}): Promise<string> => {
      const toFolder = makeTmpDir();
      const {path, leftOutCount} = await restoreTrash(trash, {...choice, toFolder});
      expect([path, leftOutCount]).toEqual([join(toFolder, 'a'), 0]);
      await expect(restoreTrash(trash, {...choice, toFolder})).rejects.toMatchObject({code: 'REFUSED'});
      expect(readdirSync(toFolder)).toEqual(['a']);
      return readFileSync(path, 'utf8');
    };
    expect(await restore({path: 'a'})).toBe('third, longer');
    expect(await restore({path: 'a', atMs: NOON_MS + 2 * HOUR_MS})).toBe('second');
    expect(await restore({place: items[0]?.place ?? ''})).toBe('first');
    expect(await list(trash)).toEqual(items);
  });

  test('what is not there, a place outside, and a folder that is missing are refused, and nothing is left behind', async () => {
    const {trash} = await withHistory();
    const toFolder = makeTmpDir();
    for (const choice of [{path: 'b'}, {path: 'a', atMs: NOON_MS - 1}, {place: '../root/d'}, {place: ''}])
      await expect(restoreTrash(trash, {...choice, toFolder})).rejects.toMatchObject({code: 'REFUSED'});
    const missing = join(toFolder, 'missing');
    await expect(restoreTrash(trash, {path: 'a', toFolder: missing})).rejects.toMatchObject({code: 'ROOT_MISSING'});
    const aborted = AbortSignal.abort(new Error('enough'));
    await expect(restoreTrash(trash, {path: 'd', toFolder, signal: aborted})).rejects.toThrow('enough');
    expect(readdirSync(toFolder)).toEqual([]);
  });

  needsRoot(needsCommands('setfattr', 'getfattr', 'setfacl', 'getfacl')(test))(
    'F11 a folder comes back with owners, modes, ns times, attributes, ACLs, holes, hard links, symlinks and FIFOs',
    async () => {
      const target = new TargetFolder();
      await target.apply(makeDir('d'), makeDir('d/sub'), putFile('d/file', 'text'));
      const at = (name: string): string => join(target.root, 'd', name);
      chmodSync(at('file'), 0o4751);
      execFileSync('chown', ['1234:4321', at('sub')]);
      execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', at('file')]);
      execFileSync('setfacl', ['-m', 'u:1234:rw,d:u:4321:r', at('sub')]);
      linkSync(at('file'), at('sub/other name'));
      symlinkSync('/etc/hostname', at('link'));
      execFileSync('mkfifo', ['-m', '0620', at('fifo')]);
      writeFileSync(at('sparse'), 'begin');
      truncateSync(at('sparse'), 64 << 20);
      writeFileSync(Buffer.from(at('caf\u00e9 \u00ff'), 'latin1'), 'no UTF-8');
      execFileSync('touch', [
        '-h',
        '-d',
        '2001-02-03T04:05:06.123456789Z',
        at('link'),
        at('file'),
        at('fifo'),
        at('sub'),
        at(''),
      ]);
      const shown = (folder: string): string =>
        execFileSync('sh', ['-c', `cd '${folder}' && ls -lAR --full-time . && getfattr -dR -m - . && getfacl -R .`], {
          encoding: 'utf8',
        });
      const before = shown(at(''));
      await target.apply(remove('d', 'dir'));
      const toFolder = makeTmpDir();
      const {path, leftOutCount} = await restoreTrash(target.trash, {path: 'd', toFolder});
      expect(leftOutCount).toBe(0);
      expect(shown(path)).toBe(before);
      expect(statSync(join(path, 'file')).ino).toBe(statSync(join(path, 'sub/other name')).ino);
      expect(statSync(join(path, 'sparse')).blocks * 512).toBeLessThan(1 << 20);
      expect(readFileSync(join(path, 'sparse')).subarray(0, 6).toString()).toBe('begin\0');
      expect(readlinkSync(join(path, 'link'))).toBe('/etc/hostname');
    },
  );

  test('I1 what is swapped for a link while it is copied is copied as a link, or not at all', () => {
    const [from, to, outside] = [makeTmpDir(), makeTmpDir(), makeTmpDir()];
    writeFileSync(join(outside, 'secret'), 'secret');
    for (let index = 0; index < 10; index++) {
      mkdirSync(join(from, `item/d${index}`), {recursive: true});
      writeFileSync(join(from, `item/d${index}/secret`), 'harmless');
    }
    const [fromFd, toFd] = [openDirPath(from), openDirPath(to)];
    onTestFinished(() => [fromFd, toFd].forEach(closeFd));
    for (const _ of copyTree({fromFd, fromName: 'item', toFd, toName: 'copy'})) {
      for (let index = 0; index < 10; index++) {
        if (lstatSync(join(from, `item/d${index}`)).isSymbolicLink()) continue;
        renameSync(join(from, `item/d${index}`), join(from, `was${index}`));
        symlinkSync(outside, join(from, `item/d${index}`));
      }
    }
    const copied = readdirSync(join(to, 'copy'), {withFileTypes: true});
    expect(copied.filter((entry) => entry.isSymbolicLink())).toHaveLength(9);
    for (const entry of copied.filter((one) => one.isDirectory()))
      expect(readFileSync(join(to, 'copy', entry.name, 'secret'), 'utf8')).toBe('harmless');
  });
});

test('I1 a trash in the root of a volume behind a link, or that others may look into, is refused', async () => {
  const {trash} = await withHistory();
  const root = makeTmpDir();
  const inRoot = join(root, '.towline', 'trash');
  mkdirSync(join(root, '.towline'), {mode: 0o700});
  renameSync(trash, inRoot);
  expect(await list(inRoot)).toHaveLength(4);
  chmodSync(join(root, '.towline'), 0o755);
  await expect(list(inRoot)).rejects.toMatchObject({code: 'REFUSED'});
  chmodSync(join(root, '.towline'), 0o700);
  renameSync(join(root, '.towline'), join(root, 'moved'));
  symlinkSync(join(root, 'moved'), join(root, '.towline'));
  for (const look of [
    () => list(inRoot),
    () => restoreTrash(inRoot, {path: 'a', toFolder: root}),
    () => emptyTrash(inRoot),
  ])
    await expect(look()).rejects.toMatchObject({code: 'REFUSED'});
  rmSync(join(root, '.towline'));
  renameSync(join(root, 'moved'), join(root, '.towline'));
  renameSync(inRoot, join(root, 'elsewhere'));
  symlinkSync(join(root, 'elsewhere'), inRoot);
  await expect(emptyTrash(inRoot)).rejects.toMatchObject({code: 'REFUSED'});
});

describe('emptying', () => {
  test('before a time within an hour: what came before it goes, to the item', async () => {
    const target = await withHistory();
    target.clock = {...systemClock, nowMs: () => NOON_MS + 2.7 * HOUR_MS};
    await target.apply(putFile('late', 'late'));
    await target.apply(remove('late'));
    const removed = await emptyTrash(target.trash, {beforeMs: NOON_MS + 2.6 * HOUR_MS});
    expect(removed.count).toBe(4);
    expect(removed.sizeBytes).toBeGreaterThan(4 * 4_096);
    expect((await list(target.trash)).map(({path}) => path)).toEqual(['late']);
    expect(readdirSync(target.trash)).toEqual(['2026-11-20T14']);
  });

  test('of everything leaves the hour that is not over, for the agent that may be at work in it', async () => {
    const target = await withHistory();
    target.clock = systemClock;
    await target.apply(putFile('now', 'now'));
    await target.apply(remove('now'));
    expect(await emptyTrash(target.trash)).toMatchObject({count: 5});
    expect(await list(target.trash)).toEqual([]);
    expect(readdirSync(target.trash)).toEqual([new Date().toISOString().slice(0, 13)]);
    expect(await emptyTrash(join(target.trash, 'missing'))).toEqual({count: 0, sizeBytes: 0});
  });
});

describe('a limit of its size', () => {
  const SIZE = 1 << 20;

  /** Hours of about 1 MiB each, the last one not over. */
  function filled(hours: number): {trash: string; prune: (sizeBytesMax: number) => string[]} {
    const trash = makeTmpDir();
    for (let hour = 0; hour < hours; hour++) {
      const folder = join(trash, `2026-11-20T${String(hour).padStart(2, '0')}`);
      mkdirSync(join(folder, `${'0'.repeat(24)}-d0`), {recursive: true});
      writeFileSync(join(folder, `${'0'.repeat(24)}-d0`, 'file'), Buffer.alloc(SIZE, 7));
    }
    const fd = openDirPath(trash);
    onTestFinished(() => closeFd(fd));
    const nowMs = Date.UTC(2026, 10, 20, hours - 1, 30);
    return {
      trash,
      prune: (sizeBytesMax) => {
        pruneTrash(fd, {nowMs, keepMs: 7 * 24 * HOUR_MS, sizeBytesMax});
        return readdirSync(trash).toSorted();
      },
    };
  }

  test('H16 the oldest hours go until the rest is not larger; without a limit none', () => {
    const {prune} = filled(6);
    expect(prune(0)).toHaveLength(6);
    expect(prune(7 * SIZE)).toHaveLength(6);
    expect(prune(3.5 * SIZE)).toEqual(['2026-11-20T03', '2026-11-20T04', '2026-11-20T05']);
    expect(prune(3.5 * SIZE)).toHaveLength(3);
  });

  test('H16 of the hour that is not over the oldest items go, to the last that fit; its folder stays for the agent', async () => {
    const target = new TargetFolder();
    target.clock = {...systemClock, nowMs: () => NOON_MS};
    const names = Array.from({length: 8}, (_, index) => `file-${index}`);
    for (const name of names) await target.apply(putFile(name, 'x'.repeat(20_000)));
    for (const name of names.toReversed()) await target.apply(remove(name));
    const fd = openDirPath(target.trash);
    onTestFinished(() => closeFd(fd));
    const prune = (sizeBytesMax: number): number =>
      pruneTrash(fd, {nowMs: NOON_MS + 1_000, keepMs: 7 * 24 * HOUR_MS, sizeBytesMax});
    expect(prune(200_000)).toBe(0);
    expect(await list(target.trash)).toHaveLength(8);
    expect(prune(80_000)).toBe(0);
    expect((await list(target.trash)).map(({path}) => path)).toEqual(['file-2', 'file-1', 'file-0']);
    prune(1);
    expect(await list(target.trash)).toEqual([]);
    expect(readdirSync(target.trash)).toEqual(['2026-11-20T12']);
    await target.apply(putFile('file-0', 'again'));
    await target.apply(remove('file-0'));
    expect((await list(target.trash)).map(({path}) => path)).toEqual(['file-0']);
  });

  test('H16 a full disk takes the oldest items over all hours, with or without a line in the index, and no more', async () => {
    const target = await withHistory();
    const noted = (await list(target.trash)).map(({place}) => place);
    const unnoted = `2026-11-20T13/${'f'.repeat(24)}-d0`;
    writeFileSync(join(target.trash, unnoted), Buffer.alloc(SIZE));
    const fd = openDirPath(target.trash);
    onTestFinished(() => closeFd(fd));
    const left = (): string[] => [...noted, unnoted].filter((place) => existsSync(join(target.trash, place)));
    expect(removeOldest(fd, ({count}) => count >= 1)).toMatchObject({count: 1});
    expect(left()).toEqual([...noted.slice(1), unnoted]);
    expect(removeOldest(fd, ({sizeBytes}) => sizeBytes >= SIZE / 2).sizeBytes).toBeGreaterThanOrEqual(SIZE);
    expect(left()).toEqual(noted.filter((place) => place.startsWith('2026-11-20T14')));
    expect(removeOldest(fd, () => false).count).toBe(noted.filter((place) => place.startsWith('2026-11-20T14')).length);
    expect(readdirSync(target.trash)).toEqual(['2026-11-20T14']);
  });

  needsLoopMounts(test)('H16 what cannot be removed, or is another’s in an hour’s place, keeps nothing else', () => {
    const {trash} = filled(4);
    const item = join(trash, '2026-11-20T00', `${'0'.repeat(24)}-d0`);
    const mounted = join(item, 'a-mount');
    mkdirSync(mounted);
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', mounted]);
    onTestFinished(() => void execFileSync('umount', [mounted]));
    symlinkSync('/etc', join(trash, '2026-11-19T09'));
    const fd = openDirPath(trash);
    onTestFinished(() => closeFd(fd));
    expect(removeOldest(fd, ({count}) => count >= 1)).toMatchObject({count: 1});
    expect(readdirSync(item)).toEqual(['a-mount']);
    expect(readdirSync(trash)).toEqual(['2026-11-19T09', '2026-11-20T00', '2026-11-20T02', '2026-11-20T03']);
    expect(pruneTrash(fd, {nowMs: Date.UTC(2026, 10, 28), keepMs: 7 * 24 * HOUR_MS})).toBe(3);
    expect(readdirSync(trash)).toEqual(['2026-11-20T00']);
  });

  test('links are not followed, names of one file count once, holes do not count', () => {
    const {trash, prune} = filled(2);
    const folder = join(trash, '2026-11-20T00', `${'0'.repeat(24)}-d0`);
    symlinkSync('/usr', join(folder, 'link'));
    for (let index = 0; index < 20; index++) linkSync(join(folder, 'file'), join(folder, `name${index}`));
    truncateSync(join(folder, 'file'), 10 * SIZE);
    expect(prune(2.5 * SIZE)).toHaveLength(2);
  });

  test('an hour that is over is measured once', () => {
    const {trash, prune} = filled(3);
    prune(10 * SIZE);
    const sizes = readdirSync(trash).map((hour) => existsSync(join(trash, hour, 'size')));
    expect(sizes).toEqual([true, true, false]);
    expect(Number(readFileSync(join(trash, '2026-11-20T00', 'size'), 'utf8'))).toBeGreaterThanOrEqual(SIZE);
    writeFileSync(join(trash, '2026-11-20T01', 'size'), 'no number');
    utimesSync(join(trash, '2026-11-20T01'), 1, 1);
    expect(prune(2.5 * SIZE)).toHaveLength(2);
  });
});
