/**
 * The attacker, in a container: swaps what is in its volume for something else, by renameat2(2) with RENAME_EXCHANGE, as
 * fast as it can, and counts.
 *
 * Swapped are places of the volume for lures (symlinks out of it, FIFOs, devices …), places for each other, what lies in
 * Towline's own folders as far as they are in the volume, and what is below directories that it has once opened, wherever
 * those were moved meanwhile: into the trash, say. Invariant: only calls that succeeded are counted.
 */
import {
  closeSync,
  constants,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
} from 'node:fs';
import {AT_FDCWD, renameat2, scratch, type Scratch} from '../../src/linux/libc.ts';
import type {Random} from '../sync/random-tree.ts';
import {isRestTime, runInContainer, type Order, type Report} from './in-container.ts';

/** What is exchanged for something, and what it is made of anew when it is gone; all paths are below the root. */
export interface Lure {
  lure: string;
  stock: string[];
}

/** Something in the volume with a lure of its own. */
export interface Place extends Lure {
  path: string;
  isDir: boolean;
}

export interface SwapOrder extends Order {
  places: Place[];
  /** Exchanged for each other. */
  moves: [string, string][];
  /** Folders in which anything is exchanged for one of `lures`. */
  roam: string[];
  /** Those without a place of their own. */
  lures: Lure[];
  /** How long it rests after each burst of swaps. */
  restMs: number;
}

export interface SwapReport extends Report {
  /** By kind. */
  kinds: Record<string, number>;
}

const EXCHANGE = 2;
const BURST = 12;
const HELD_MAX = 24;
const LEFT_OUT_SHARE = 0.1; // of the places that are swapped: long enough for Towline to see the lure as what is there
const LEFT_OUT_MS_MAX = 50;
const SPIN_MAX = 20_000;
const LOOK_MS = 40;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

class Swapper {
  readonly #order: SwapOrder;
  readonly #chance: Random;
  readonly #texts = new Map<string, Scratch>();
  readonly #held: number[] = [];
  /** More lies behind these than behind files: they are swapped more often. */
  readonly #dirs: Place[];
  #names: string[] = [];
  #lookedMs = 0;
  #out: {kind: string; path: string; lure: string; untilMs: number}[] = [];
  readonly kinds: Record<string, number> = {place: 0, move: 0, roam: 0, held: 0};

  constructor(order: SwapOrder, chance: Random) {
    this.#order = order;
    this.#dirs = order.places.filter(({isDir}) => isDir);
    this.#chance = chance;
  }

  step(): void {
    const nowMs = performance.now();
    const isAtRest = isRestTime(this.#order);
    if (!isAtRest) for (let count = 0; count < BURST; count++) this.#swapOne(nowMs);
    this.putBack(({untilMs}) => isAtRest || untilMs <= nowMs);
    if (nowMs - this.#lookedMs >= LOOK_MS) {
      this.#look();
      this.#lookedMs = nowMs;
    }
    Atomics.wait(sleeper, 0, 0, this.#order.restMs);
  }

  putBack(isDue: (out: {untilMs: number}) => boolean): void {
    for (const {kind, path, lure} of this.#out.filter(isDue)) this.#exchange(kind, path, lure);
    this.#out = this.#out.filter((out) => !isDue(out));
  }

  #swapOne(nowMs: number): void {
    const kind = this.#chance.below(10);
    const {places, moves, lures} = this.#order;
    const {path, lure} = this.#chance.of(this.#chance.below(2) === 0 ? this.#dirs : places);
    if (kind < 6) {
      this.#swap('place', path, lure, nowMs);
    } else if (kind < 7 && moves.length > 0) {
      this.#exchange('move', ...this.#chance.of(moves));
    } else if (kind < 8) {
      if (this.#names.length === 0) return;
      this.#swap('roam', this.#chance.of(this.#names), this.#chance.of(lures).lure, nowMs);
    } else if (this.#held.length > 0) {
      this.#thereAndBack('held', [path.slice(path.lastIndexOf('/') + 1), lure], this.#chance.of(this.#held));
    }
  }

  #swap(kind: string, path: string, lure: string, nowMs: number): void {
    // What lies there, or above or below it, is to go back.
    if (this.#out.some((out) => out.lure === lure || out.path.startsWith(path) || path.startsWith(out.path))) return;
    if (this.#chance.next() >= LEFT_OUT_SHARE) this.#thereAndBack(kind, [path, lure]);
    else if (this.#exchange(kind, path, lure))
      this.#out.push({kind, path, lure, untilMs: nowMs + this.#chance.below(LEFT_OUT_MS_MAX)});
  }

  /** Out for some microseconds. */
  #thereAndBack(kind: string, [path, other]: [string, string], dirFd = AT_FDCWD): void {
    if (!this.#exchange(kind, path, other, dirFd)) return;
    for (let spin = this.#chance.below(SPIN_MAX); spin > 0; spin--);
    this.#exchange(kind, path, other, dirFd);
  }

  #exchange(kind: string, path: string, other: string, dirFd = AT_FDCWD): boolean {
    if (renameat2(dirFd, this.#text(path), AT_FDCWD, this.#text(other), EXCHANGE) < 0) return false;
    this.kinds[kind]!++;
    return true;
  }

  #text(path: string): number {
    let text = this.#texts.get(path);
    if (text === undefined) {
      if (this.#texts.size > 50_000) this.#texts.clear();
      text = scratch(Buffer.byteLength(path) + 1);
      text.bytes.write(path);
      this.#texts.set(path, text);
    }
    return text.address;
  }

  /** Puts back what is still out, makes lures anew, finds what is in the folders to roam, holds other directories. */
  #look(): void {
    const out = new Set(this.#out.map(({lure}) => lure));
    for (const place of this.#order.places) if (!out.has(place.lure)) this.#mend(place);
    for (const lure of this.#order.lures) if (!out.has(lure.lure)) this.#stock(lure);
    this.#names = this.#order.roam.flatMap((folder) => {
      const names = tried(() => readdirSync(folder)) ?? [];
      const below = names.filter((name) => /^\d{4}-/.test(name)).flatMap((hour) => namesIn(`${folder}/${hour}`));
      return [...names.map((name) => `${folder}/${name}`), ...below].slice(0, 500);
    });
    if (this.#held.length >= HELD_MAX) closeSync(this.#held.splice(this.#chance.below(HELD_MAX), 1)[0]!);
    const {path, isDir} = this.#chance.of(this.#order.places);
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
    const fd = isDir ? tried(() => openSync(path, flags)) : undefined;
    if (fd !== undefined) this.#held.push(fd);
  }

  #mend({path, lure, isDir, stock}: Place): void {
    const [real, lying] = [path, lure].map((name) => tried(() => lstatSync(name)));
    if (lying !== undefined && isReal(lying, isDir) && !isReal(real, isDir)) this.#exchange('place', path, lure);
    else if (lying === undefined || lying.isDirectory() || lying.isFile()) this.#stock({lure, stock});
  }

  #stock({lure, stock}: Lure): void {
    const made = `${lure}.new`;
    tried(() => rmSync(made, {recursive: true, force: true}));
    tried(() => linkSync(this.#chance.of(stock), made));
    tried(() => rmSync(lure, {recursive: true, force: true}));
    tried(() => renameSync(made, lure));
  }
}

function isReal(stat: Stats | undefined, isDir: boolean): boolean {
  return stat !== undefined && (isDir ? stat.isDirectory() : stat.isFile());
}

function namesIn(folder: string): string[] {
  return (tried(() => readdirSync(folder)) ?? []).map((name) => `${folder}/${name}`);
}

/** Everything may be swapped or gone at any moment, also by oneself. */
function tried<T>(attempt: () => T): T | undefined {
  try {
    return attempt();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return undefined;
  }
}

await runInContainer<SwapOrder, SwapReport>((order, chance) => {
  const swapper = new Swapper(order, chance);
  const count = (): number => Object.values(swapper.kinds).reduce((sum, each) => sum + each, 0);
  return {
    step: () => swapper.step(),
    end: () => swapper.putBack(() => true),
    report: () => ({count: count(), kinds: swapper.kinds}),
  };
});
