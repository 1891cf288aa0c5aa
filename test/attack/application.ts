/**
 * The application in a container: what it does to its volume is what Towline has to carry while it is under attack.
 *
 * Invariant: it opens nothing that has a name already, so that whoever opens a FIFO or a device it was not this one.
 */
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {setXattr} from '../../src/linux/xattrs.ts';
import type {Random} from '../sync/random-tree.ts';
import {isRestTime, runInContainer, type Order, type Report} from './in-container.ts';

export interface WorkOrder extends Order {
  /** Directories that are there, parents first, and names of files in the last ones. */
  dirs: string[];
  files: string[];
  restMs: number;
}

const BURST = 6;
const OPEN_MAX = 8;
const SMALL_BYTES = 3_000;
const LARGE_BYTES = 300_000; // above what goes in a batch: sent as a delta

class Application {
  readonly #order: WorkOrder;
  readonly #chance: Random;
  /** Files that it made and still writes to. */
  readonly #open: number[] = [];
  #made = 0;
  count = 0;

  constructor(order: WorkOrder, chance: Random) {
    this.#order = order;
    this.#chance = chance;
  }

  async step(): Promise<void> {
    for (let count = 0; count < BURST && !isRestTime(this.#order); count++) {
      try {
        this.#act();
        this.count++;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === undefined) throw error; // else: swapped or gone at this moment
      }
    }
    await sleep(this.#order.restMs);
  }

  #act(): void {
    const file = this.#chance.of(this.#order.files);
    const other = this.#chance.of(this.#order.files);
    const dir = this.#chance.of(this.#order.dirs);
    const acts: (() => void)[] = [
      () => this.#put(file, SMALL_BYTES),
      () => this.#put(file, SMALL_BYTES),
      () => this.#put(file, LARGE_BYTES),
      () => this.#writeOn(),
      () => unlinkSync(file),
      () => renameSync(file, other),
      () => renameSync(dir, this.#chance.of(this.#order.dirs)),
      () => chmodSync(file, this.#chance.of([0o600, 0o644, 0o4755])),
      () => lchownSync(dir, this.#chance.below(3), this.#chance.below(3)),
      () => utimesSync(file, 1_000_000_000 + this.#chance.below(1_000_000), 1_500_000_000),
      () => linkSync(file, `${other}.link`),
      () => symlinkSync(this.#chance.of(['f0', '../s1/f1', '/d0/s0/f0']), `${other}.symlink`),
      () => this.#makeTree(`${dir}/new`),
      () => rmSync(`${dir}/new`, {recursive: true, force: true}),
      () => this.#tidy(dir),
      () => this.#repair(dir),
    ];
    this.#chance.of(acts)();
  }

  /** Under a name of its own first, as editors and databases do. */
  #put(path: string, sizeMax: number): void {
    const made = `/.made-${this.#made++ % 64}`;
    rmSync(made, {recursive: true, force: true});
    const fd = openSync(made, 'wx+');
    writeSync(fd, this.#chance.bytes(1 + this.#chance.below(sizeMax)));
    if (this.#chance.below(4) === 0) setXattr(fd, 'user.application', this.#chance.bytes(20));
    renameSync(made, path);
    this.#open.push(fd);
    if (this.#open.length > OPEN_MAX) closeSync(this.#open.shift()!);
  }

  /** In place. */
  #writeOn(): void {
    if (this.#open.length === 0) return;
    const fd = this.#chance.of(this.#open);
    if (this.#chance.below(4) === 0) ftruncateSync(fd, this.#chance.below(SMALL_BYTES));
    else writeSync(fd, this.#chance.bytes(50), 0, 50, this.#chance.below(SMALL_BYTES));
  }

  #makeTree(path: string): void {
    mkdirSync(path);
    mkdirSync(`${path}/below`);
    for (let index = 0; index < 4; index++) writeFileSync(`${path}/below/f${index}`, 'new\n', {flag: 'wx'});
  }

  /** Removes what only it has made, so that the tree does not grow without end. */
  #tidy(dir: string): void {
    for (const name of readdirSync(dir)) if (/\.(sym)?link$/.test(name)) unlinkSync(`${dir}/${name}`);
  }

  /** Makes what an attacker has left in the place of a directory one again. */
  #repair(dir: string): void {
    if (lstatSync(dir, {throwIfNoEntry: false})?.isDirectory() === true) return;
    rmSync(dir, {force: true});
    mkdirSync(dir);
    for (const file of this.#order.files) if (file.startsWith(`${dir}/f`)) this.#put(file, SMALL_BYTES);
  }
}

await runInContainer<WorkOrder, Report>((order, chance) => {
  const application = new Application(order, chance);
  return {step: () => application.step(), report: () => ({count: application.count})};
});
