/**
 * Where attacks take place: two filesystems, in each a volume with lures in it and, beside it, what lies outside.
 *
 * `MNT/volume` is the root, `MNT/outside` a tree of the same shape, `MNT/volume/.stock` what lures are made of, and
 * `MNT/volume/.lures` the lures themselves; both are ignored. Invariant: until attackers are started nothing is swapped.
 */
import {lstatSync, mkdirSync, symlinkSync, writeFileSync, linkSync} from 'node:fs';
import {join} from 'node:path';
import {makeLoopFilesystem, type LoopFilesystem} from '../loop-fs.ts';
import {mountsBelow} from '../run-folders.ts';
import {command, type Pair} from '../sync/harness.ts';
import {makeTmpDir} from '../tmp.ts';
import type {WorkOrder} from './application.ts';
import {startInContainer, type Contained} from './container.ts';
import type {Report} from './in-container.ts';
import {makeOutside, Witness, type Shape} from './outside.ts';
import type {Place, SwapOrder, SwapReport} from './swapper.ts';

const TOPS = 6;
const MIDDLES = 4;
const FILES = 6;
const MORE_FILES = 60; // in each middle directory, swapped with it only: what a scan looks at
const LURES = 8;
const DISK_MIB = 768;

const range = (count: number): number[] => Array.from({length: count}, (_, index) => index);
const TOP_DIRS = range(TOPS).map((top) => `d${top}`);
const MIDDLE_DIRS = TOP_DIRS.flatMap((top) => range(MIDDLES).map((middle) => `${top}/s${middle}`));
const filesIn = (count: number): string[] =>
  MIDDLE_DIRS.flatMap((dir) => range(count).map((file) => `${dir}/f${file}`));
/** Places that are swapped, in both volumes. */
const PLACES = {dirs: [...TOP_DIRS, ...MIDDLE_DIRS], files: filesIn(FILES)};
/** What rules of `--ignore` leave out of a run in an arena. */
export const IGNORED = ['/.stock/', '/.lures/', '/.made-*'];
export const IGNORE_FLAGS = IGNORED.flatMap((pattern) => ['--ignore', pattern]);

/** Where a mount is, in the volume; what is mounted there lies outside. */
const MOUNT_PLACE = 'd5/s3';
const MOUNTED = 'd5/s2';

export interface Side {
  disk: LoopFilesystem;
  root: string;
  outside: string;
  places: Place[];
  /** Lures that nobody may open: FIFO, device, socket. */
  specials: string[];
  witness: Witness;
}

export interface Arena {
  pair: Pair;
  source: Side;
  target: Side;
}

export interface ArenaOptions {
  /** Where Towline stages and trashes in the target: in its root, in reach of the attackers, or in the state folder beside it. */
  places: 'in-root' | 'in-state';
  /** Whether something is mounted below both roots. */
  hasMounts?: boolean;
  /** In each of the 24 directories, beside those that are swapped themselves. */
  moreFiles?: number;
}

export function makeArena({places, hasMounts = false, moreFiles = MORE_FILES}: ArenaOptions): Arena {
  // All that is in the source at the start, and outside.
  const shape = {dirs: PLACES.dirs, files: filesIn(FILES + moreFiles)};
  const [source, target] = [makeSide('source', shape, hasMounts), makeSide('target', shape, hasMounts)];
  const state = places === 'in-root' ? makeTmpDir() : join(target.disk.path, 'state');
  return {pair: {source: source.root, target: target.root, state}, source, target};
}

function makeSide(side: 'source' | 'target', shape: Shape, hasMounts: boolean): Side {
  const disk = makeLoopFilesystem('ext4', DISK_MIB, 'strictatime');
  const [root, outside] = [join(disk.path, 'volume'), join(disk.path, 'outside')];
  for (const folder of ['', '.stock', '.lures']) mkdirSync(join(root, folder));
  makeOutside(outside, shape);
  const specials = makeSpecials(join(root, '.stock'), outside);
  const everything = [...PLACES.dirs, ...PLACES.files];
  const made = everything.map((path, index) => makePlace({root, outside}, path, index));
  if (side === 'source') fill(root, shape);
  if (hasMounts) {
    if (side === 'target') for (const dir of shape.dirs) mkdirSync(join(root, dir), {recursive: true});
    command('mount', '--bind', join(outside, MOUNTED), join(root, MOUNT_PLACE));
  }
  return {disk, root, outside, places: made, specials, witness: new Witness(outside, specials)};
}

function fill(root: string, shape: Shape): void {
  for (const dir of shape.dirs) mkdirSync(join(root, dir));
  for (const file of shape.files) writeFileSync(join(root, file), `inside ${file}\n`);
}

function makeSpecials(stock: string, outside: string): string[] {
  command('mkfifo', join(stock, 'fifo'));
  command('mknod', join(stock, 'device'), 'c', '1', '3'); // as /dev/null
  symlinkSync(join(outside, 'fifo'), join(stock, 'to-fifo'));
  symlinkSync(join(outside, 'd0/s0'), join(stock, 'to-dir'));
  symlinkSync('../../../../outside/d0/s0', join(stock, 'to-dir-above')); // as seen from an hour of the trash
  return [join(stock, 'fifo'), join(stock, 'device')];
}

/** The lures of a path lead to its like outside, by an absolute and by a relative way. */
function makePlace({root, outside}: {root: string; outside: string}, path: string, index: number): Place {
  const stock = join(root, '.stock');
  const up = '../'.repeat(path.split('/').length);
  symlinkSync(join(outside, path), join(stock, `${index}-absolute`));
  symlinkSync(`${up}outside/${path}`, join(stock, `${index}-relative`));
  linkSync(join(stock, `${index}-relative`), join(root, '.lures', String(index)));
  const links = [`/.stock/${index}-absolute`, `/.stock/${index}-relative`];
  return {
    path: `/${path}`,
    lure: `/.lures/${index}`,
    isDir: PLACES.dirs.includes(path),
    stock: [...links, ...links, ...links, '/.stock/fifo', '/.stock/device', '/.stock/to-fifo'],
  };
}

export interface Attackers {
  /** Ends them. @returns swaps, by side and kind, and what the application did */
  stop(): Promise<{swaps: number; source: SwapReport; target: SwapReport; work: Report}>;
}

/** An attacker in each volume, and an application in the source. */
export async function attack(
  arena: Arena,
  options: {seed: number; sourceRestMs: number; targetRestMs: number; workRestMs: number},
): Promise<Attackers> {
  const {seed} = options;
  const swap = (side: Side, roam: string[]): Promise<Contained<SwapReport>> =>
    startInContainer<SwapOrder, SwapReport>('swapper.ts', {
      root: side.root,
      seed,
      rests: side === arena.source,
      places: side.places,
      moves:
        roam.length > 0
          ? []
          : [
              ['/d0', '/d1'],
              ['/d2/s0', '/d3/s1'],
              ['/d4/s2/f0', '/d4/s3/f1'],
              ['/d5/s3', '/d5/s1'],
            ],
      roam,
      lures: range(LURES).map((index) => ({
        lure: `/.lures/own-${index}`,
        stock: ['fifo', 'device', 'to-fifo', 'to-dir', 'to-dir-above'].map((name) => `/.stock/${name}`),
      })),
      restMs: side === arena.source ? options.sourceRestMs : options.targetRestMs,
    });
  const [source, target, work] = await Promise.all([
    swap(arena.source, []),
    swap(arena.target, ['/.towline/staging', '/.towline/trash']),
    startInContainer<WorkOrder, Report>('application.ts', {
      root: arena.source.root,
      seed,
      rests: true,
      dirs: PLACES.dirs.map((path) => `/${path}`),
      files: PLACES.files.map((path) => `/${path}`),
      restMs: options.workRestMs,
    }),
  ]);
  return {
    stop: async () => {
      const reports = await Promise.all([source.stop(), target.stop(), work.stop()]);
      const [ofSource, ofTarget, ofWork] = reports;
      return {swaps: ofSource.count + ofTarget.count, source: ofSource, target: ofTarget, work: ofWork};
    },
  };
}

/** Takes away what is mounted below the roots, wherever it was moved. */
export function unmountInner({disk}: Side): void {
  for (const point of mountsBelow(disk.path)) command('umount', point);
}

/** After an attack: makes directories and files again of what is none, in a volume that nobody else writes to. */
export function tidy({root, places}: Side): void {
  const isLure = '( -type p -o -type c -o ( -type l -lname *outside* ) )'.split(' ');
  command('find', root, '-path', join(root, '.stock'), '-prune', '-o', ...isLure, '-exec', 'rm', '-f', '{}', '+');
  for (const {path, isDir} of places) {
    const at = join(root, path);
    const stat = lstatSync(at, {throwIfNoEntry: false});
    if (stat === undefined && isDir) mkdirSync(at, {recursive: true});
  }
}
